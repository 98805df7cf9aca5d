"""The least time that a piece of work can take on this machine, from what it must multiply and move.

Work is a list of phases that follow one another. A phase takes at least as long as its products and as its bytes, so

    floor = Σ over phases of max(fp32 flop / fp32 ceiling + the same for bf16 and int8,
                                 streamed bytes / memory + gathered bytes / gathering)

``gathering`` reads single rows of a table: at the last cache's rate for the part of the table that fits into it, at
memory's for the rest. With N pictures or a batch of B, F latents, K active ones a sample (P = N·K or B·K pairs), d
numbers a vector and 4 bytes a number:

- a training step: one product with the encoder in int8, 2·B·F·d operations, whose B·F sums of 4 bytes are written and
  read once, in the last cache, as they come and go a tile at a time; four passes over the active pairs of d numbers
  each (the exact value; decoding with the latent's gradient; the decoder's gradient; the encoder's gradient); one pass
  of Adam over both matrices, which reads parameter, gradient and two moments and writes all but the gradient, 7·2·F·d
  numbers; the encoder in int8 anew, 5 bytes a number. With D dead latents, the aux-k loss: four products with them in
  bf16, 4·2·B·D·d flop.
- the score and the statistics: the code (8 bytes a pair) and the embeddings (N·d numbers) are read once, and a row of
  embeddings is added to a latent's sum per pair: P·d numbers gathered, 2·P·d flop. One score per latent is written, or,
  for the statistics, which go on from batch to batch (``kept``), the sums themselves: 8·F·d bytes.
- uniqueness: the sixteen ids of each neuron are read, sorted by picture (read and written once more), and each pair
  that shares a picture is written: two ids and a count.
- collection, steering: all products that the forward asks for, counted by torch, in fp32; and the store's bytes.

A floor is no forecast: no kernel gathers at a cache's full rate, nor does a product over few pairs reach the rate of
a large dense one.
"""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from torch.utils.flop_counter import FlopCounterMode

from benchmarks.ceilings import Ceilings
from vlm_sae_lib.sae.kernels.coarse import TILE

NUMBER = 4
PAIR = 8  # a value and an index


@dataclass(frozen=True)
class Phase:
    """Flop and bytes of one stretch of work; ``gathered`` bytes are rows of a table of ``table`` bytes."""

    name: str
    fp32: float = 0
    bf16: float = 0
    int8: float = 0
    streamed: float = 0
    gathered: float = 0
    table: float = 0

    def seconds(self, ceilings: Ceilings) -> float:
        products = self.fp32 / ceilings.fp32 + self.bf16 / ceilings.bf16 + self.int8 / ceilings.int8
        return max(products, self.streamed / ceilings.memory + self.gathered / gathering(self.table, ceilings))


def gathering(table: float, ceilings: Ceilings) -> float:
    """Bytes a second at which rows of a table of so many bytes can be read in no order."""
    cached = min(1.0, ceilings.cache_bytes / table) if table else 1.0
    return 1 / (cached / max(ceilings.cache, ceilings.memory) + (1 - cached) / ceilings.memory)


def seconds(phases: Sequence[Phase | dict[str, Any]], ceilings: Ceilings) -> float:
    """The floor: the sum over the phases."""
    return sum((Phase(**phase) if isinstance(phase, dict) else phase).seconds(ceilings) for phase in phases)


def facts(phases: Sequence[Phase]) -> dict[str, Any]:
    """What a ``Row`` holds for its floor to be worked out once the ceilings are known."""
    return {"work_phases": [asdict(phase) for phase in phases]}


def with_floor(found: dict[str, Any], ceilings: Ceilings) -> dict[str, Any]:
    """A row's facts with ``floor_seconds``: a number, or one for each size of a line of growth."""
    more = {}
    if "work_phases" in found:
        more["floor_seconds"] = seconds(found["work_phases"], ceilings)
    if "work_phases_by_size" in found:
        more["floors"] = [seconds(phases, ceilings) for phases in found["work_phases_by_size"]]
    return found | more


def training_step(batch: int, dim: int, latents: int, k: int, *, groups: int = 1, dead: int = 0) -> list[Phase]:
    pairs, matrix = batch * k * dim * NUMBER, latents * dim * NUMBER
    rows = batch * dim * NUMBER
    phases = [
        Phase("encode", int8=2.0 * batch * latents * dim),
        Phase("candidates", gathered=2.0 * batch * latents * 4, table=4 * min(TILE, batch * latents)),
        Phase("exact values", fp32=2.0 * batch * k * dim, gathered=pairs, table=matrix),
        Phase("decode, latents' gradients", fp32=4.0 * batch * k * dim, gathered=pairs, table=matrix),
        Phase("decoder's gradient", fp32=2.0 * batch * k * dim, gathered=pairs, table=groups * rows),
        Phase("encoder's gradient", fp32=2.0 * batch * k * dim, gathered=pairs, table=rows),
        Phase("Adam", streamed=7.0 * 2 * matrix),
        Phase("encoder in int8", streamed=1.25 * matrix),
    ]
    return phases + ([Phase("aux-k", bf16=4 * 2.0 * batch * dead * dim)] if dead else [])


def score(pictures: int, latents: int, dim: int, k: int, *, kept: bool = False) -> list[Phase]:
    pairs, embeddings = pictures * k, pictures * dim * NUMBER
    streamed = PAIR * pairs + embeddings + 8 * latents * (dim if kept else 1)
    return [Phase("sums", fp32=2.0 * pairs * dim, streamed=streamed, gathered=pairs * dim * NUMBER, table=embeddings)]


def uniqueness(neurons: int, top: int, sharing: int) -> list[Phase]:
    return [Phase("ids and pairs", streamed=3.0 * neurons * top * 8 + sharing * 3 * 8)]


def counted(work: Callable[[], object], *, times: float = 1, written: float = 0) -> list[Phase]:
    """All products of ``work``, run once and counted by torch, ``times`` over; and ``written`` bytes."""
    with FlopCounterMode(display=False) as counter:
        work()
    return [Phase("products", fp32=times * float(counter.get_total_flops()), streamed=written)]
