"""What notebooks and models cost, computed while the book is built.

``{plan} profiles`` and ``{plan} models`` are tables; ``{minutes}`PROFILE``` is a number in prose.
"""

from collections.abc import Iterable

from docutils import nodes
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective

from vlm_sae_lib.plan.estimate import plan
from vlm_sae_lib.plan.machines import GB, GIB, machine
from vlm_sae_lib.plan.models import vlm_cost
from vlm_sae_lib.plan.promises import PROMISES, promised
from vlm_sae_lib.plan.table import operations
from vlm_sae_lib.plan.work import NOTEBOOKS
from vlm_sae_lib.profiles import PROFILES, load_profile
from vlm_sae_lib.profiles.public import CLIP_B16, CLIP_B32, CLIP_L, DINO_B, DINO_S, LLAVA, SMALL_LLAVA, SMOLVLM

SHOWN = (CLIP_L, CLIP_B32, CLIP_B16, DINO_B, DINO_S, LLAVA, SMALL_LLAVA, SMOLVLM)


class PlanTable(SphinxDirective):
    required_arguments = 1

    def run(self) -> list[nodes.Node]:
        if self.arguments[0] not in TABLES:
            raise self.error(f"{self.arguments[0]!r} is none of {', '.join(TABLES)}.")
        return self.parse_text_to_nodes("\n".join(TABLES[self.arguments[0]]()), allow_section_headings=False)


def profiles() -> list[str]:
    """A row per profile, on the machine that it is meant for."""
    head = ("profile", "machine", "to fetch", "disk", "GPU memory", "operations", "all notebooks", "notebook 5 alone")
    return table(head, map(row, PROFILES))


def row(name: str) -> tuple[str, ...]:
    found, where = promised(name), machine(PROMISES[name].machine)
    alone = plan(load_profile(name), where, NOTEBOOKS[-1])
    flop = sum(one.flop for one in found.estimates)
    gpu = f"{found.gpu_gib * GIB / GB:.0f} GB" if where.gpu_gib else "–"
    fetched = f"{found.fetched_gb:.1f} GB" if found.fetched_gb else "nothing"
    counted = operations(flop).removesuffix(" operations")
    return (f"*{name}*", where.title, fetched, f"{found.disk_gb:.0f} GB", gpu, counted, span(found.minutes),
            span(alone.minutes))  # fmt: skip


def span(minutes: float) -> str:
    return f"{minutes / 60:.0f} hours" if minutes > 180 else f"{minutes:.0f} minutes"


def models() -> list[str]:
    """A row per public model: what is fetched, what it holds, what a picture costs the tower and a prompt the words."""
    head = ("model", "weights", "to fetch", "in half precision", "in 4 bits", "a picture", "a picture with 70 tokens")
    return table(head, map(model, SHOWN))


def model(spec: str) -> tuple[str, ...]:
    cost = vlm_cost(spec)
    prompt = f"{cost.prompt_flop(70) / 1e12:.2g} TFLOP" if cost.speaks else "–"
    four = f"{cost.bytes_held(4, 2) / GB:.1f} GB" if cost.speaks else "–"
    return (cost.name.rpartition("/")[2], f"{cost.weights / 1e9:.2f} × 10⁹", f"{cost.fetched / GB:.2g} GB",
            f"{cost.bytes_held(None, 2) / GB:.2g} GB", four, f"{cost.tower_flop / 1e9:.0f} GFLOP", prompt)  # fmt: skip


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> list[str]:
    head = tuple(head)
    lines = [head, ("---",) + ("---:",) * (len(head) - 1), *rows]
    return ["| " + " | ".join(line) + " |" for line in lines]


TABLES = {"profiles": profiles, "models": models}


def minutes(name: str, rawtext: str, profile: str, *_: object, **__: object) -> tuple[list[nodes.Node], list]:
    """``{minutes}`PROFILE```: what all five notebooks take on the machine that the profile is meant for."""
    return [nodes.Text(f"{promised(profile).minutes:.0f}")], []


def setup(app: Sphinx) -> dict:
    app.add_directive("plan", PlanTable)
    app.add_role("minutes", minutes)
    return {"version": "1", "parallel_read_safe": True, "parallel_write_safe": True}
