"""A small language model on the processor, read at the ends of its questions only.

A sweep asks for the likeliest next word. The last layer then owes keys and values to every place, and the rest of its
work to the ends alone; what stands before the picture is the same in every sequence and is computed once. Otherwise
this is the model's own arithmetic in fewer passes over memory: the norms' weights and the attention's scale are part
of the matrices behind them, projections of one input are one product, and a rotation is one complex product.

:func:`can_read_ends` knows Llama, Mistral and Qwen2 in float32, and reads them in it also under autocast. Any other
model is read as a whole (``sweep.py``, and the tests hold this against it), and so is a large one: the matrices made
here are its weights once more.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Complex, Float, Int
from torch import Tensor, nn

KNOWN = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer")
LARGEST = 2**28
"""Bytes of layers that are copied into fewer, larger matrices."""
PLACES = 1792
"""How many places of all sequences go through a layer together: what they hold must stay near the processor's cores."""

Affine = tuple[Float[Tensor, "into out"], Float[Tensor, " out"] | None]


@dataclass(frozen=True)
class _Layer:
    """One layer's matrices, input first. In queries and keys, the two numbers that a rotation mixes are neighbours."""

    queries: Affine
    keys_values: Affine
    queries_keys_values: Affine
    out_of_heads: Float[Tensor, "queries_dim width"]
    into_mlp: Float[Tensor, "width two_inner"]
    out_of_mlp: Float[Tensor, "inner width"]
    activation: Callable[[Tensor], Tensor]
    epsilons: tuple[float, float]


class Ends:
    """The last hidden states at the ends of sequences that share a beginning, a mask and positions.

    beginning: what stands before the parts that differ; it sees nothing behind it.
    mask: added to the scores, 0 where a place (row) sees another.
    positions: of all places, for the rotations.
    ends: the places that are read, none of them in the beginning.
    """

    @torch.autocast("cpu", enabled=False)
    @torch.no_grad()
    def __init__(
        self,
        model: Any,
        beginning: Float[Tensor, "begun width"],
        mask: Float[Tensor, "length length"],
        positions: Int[Tensor, " length"],
        ends: Int[Tensor, " ends"],
    ):
        attention = model.layers[0].self_attn
        self._width, self._head = model.config.hidden_size, attention.head_dim
        self._kv = attention.k_proj.out_features // self._head
        self._group = attention.q_proj.out_features // self._head // self._kv
        self._layers = [_layer(layer, self._head) for layer in model.layers]
        self._norm, self._mask, self._ends = model.norm, mask, ends
        cos, sin = (part[0, :, : self._head // 2] for part in model.rotary_emb(beginning[None], positions[None]))
        self._turn: Complex[Tensor, "length half"] = torch.complex(cos, sin)
        self._past: list[tuple[Tensor, Tensor]] = []
        self._begun = 0
        if len(beginning):
            self._run(beginning[None].clone(), torch.arange(len(beginning)), self._past)
            self._begun = len(beginning)

    @torch.autocast("cpu", enabled=False)
    @torch.no_grad()
    def read(self, rest: Float[Tensor, "batch rest width"]) -> Float[Tensor, "batch ends width"]:
        """``rest``: the embeddings of all places behind the beginning."""
        parts = rest.chunk(max(1, -(-len(rest) * rest.shape[1] // PLACES)))
        read = [self._run(part.clone(memory_format=torch.contiguous_format), self._ends) for part in parts]
        return self._norm(torch.cat(read))

    def _run(
        self, hidden: Float[Tensor, "batch length width"], wanted: Int[Tensor, " wanted"], keep: list | None = None
    ) -> Float[Tensor, "batch wanted width"]:
        """The wanted places' states before the last norm; ``hidden`` is overwritten. keep: takes keys and values."""
        n, length = hidden.shape[:2]
        begun, heads = self._begun, [self._kv * self._group, self._kv, self._kv]
        places = torch.arange(begun, begun + length)
        keys, values = (torch.empty(n, self._kv, begun + length, self._head) for _ in range(2))
        rows = hidden.view(-1, self._width)
        for i, layer in enumerate(self._layers):
            if begun:
                keys[:, :, :begun], values[:, :, :begun] = self._past[i]
            is_last = i == len(self._layers) - 1
            normed = _normed(rows, layer.epsilons[0])
            if is_last:
                key, value = self._heads(normed, layer.keys_values, n).split(heads[1:], 2)
                rows, normed = (x.view(n, length, -1)[:, wanted - begun].flatten(0, 1) for x in (rows, normed))
                query = self._heads(normed, layer.queries, n)
            else:
                query, key, value = self._heads(normed, layer.queries_keys_values, n).split(heads, 2)
            self._rotate(key, places, keys[:, :, begun:])
            values[:, :, begun:] = value.transpose(1, 2)
            if keep is not None:
                keep.append((keys.clone(), values.clone()))
            places = wanted if is_last else places
            queries = torch.empty(n, heads[0], len(places), self._head)
            self._rotate(query, places, queries)
            _add_product(rows, self._seen(queries, keys, values, places), layer.out_of_heads)
            gate, up = (_normed(rows, layer.epsilons[1]) @ layer.into_mlp).chunk(2, -1)
            _add_product(rows, layer.activation(gate).mul_(up), layer.out_of_mlp)
        return rows.view(n, -1, self._width)

    def _heads(self, rows: Float[Tensor, "rows width"], into: Affine, n: int) -> Float[Tensor, "n length heads head"]:
        weight, bias = into
        out = rows @ weight if bias is None else torch.addmm(bias, rows, weight)
        return out.view(n, len(rows) // n, -1, self._head)

    def _rotate(self, x: Float[Tensor, "n length heads head"], places: Tensor, out: Tensor) -> None:
        """Rotate each pair by its place's angle, into ``out``: (n, heads, length, head)."""
        pairs, rotated = (torch.view_as_complex(y.unflatten(-1, (-1, 2))) for y in (x.transpose(1, 2), out))
        torch.mul(pairs, self._turn[places], out=rotated)

    def _seen(
        self,
        queries: Float[Tensor, "n heads wanted head"],
        keys: Float[Tensor, "n kv length head"],
        values: Float[Tensor, "n kv length head"],
        places: Int[Tensor, " wanted"],
    ) -> Float[Tensor, "n_wanted queries_dim"]:
        # Three products over all heads at once: on a few dozen places the fused attention takes nearly twice as long.
        n, heads, wanted = queries.shape[:3]
        mask = self._mask[places, : keys.shape[2]].repeat(self._group, 1)
        grouped = queries.view(n * self._kv, self._group * wanted, self._head)
        scores = torch.baddbmm(mask, grouped, keys.flatten(0, 1).transpose(1, 2)).softmax(-1)
        seen = torch.bmm(scores, values.flatten(0, 1)).view(n, heads, wanted, self._head)
        return seen.transpose(1, 2).reshape(n * wanted, -1)


def can_read_ends(model: Any) -> bool:
    """Whether :class:`Ends` can read a language model."""
    layers = list(getattr(model, "layers", []))
    return (
        len(layers) > 0
        and all(type(layer).__name__ in KNOWN and _is_plain(layer) for layer in layers)
        and all(w.device.type == "cpu" and w.dtype == torch.float32 for w in model.parameters())
        and sum(w.nbytes for layer in layers for w in layer.parameters()) <= LARGEST
    )


def _is_plain(layer: Any) -> bool:
    # Quantised or adapted projections are no plain ones, and a bias is known before the heads only.
    before = [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj]
    behind = [layer.self_attn.o_proj, layer.mlp.gate_proj, layer.mlp.up_proj, layer.mlp.down_proj]
    return all(type(part) is nn.Linear for part in before + behind) and all(part.bias is None for part in behind)


def _layer(layer: Any, head: int) -> _Layer:
    attention, mlp, norm = layer.self_attn, layer.mlp, layer.input_layernorm
    neighbours = torch.arange(head).view(2, -1).T.flatten()  # a rotation mixes i and i + head / 2

    def rotated(part: nn.Linear, scale: float = 1.0) -> tuple[Tensor, Tensor | None]:
        order = torch.arange(part.out_features).view(-1, head)[:, neighbours].flatten()
        return part.weight[order] * scale, None if part.bias is None else part.bias[order] * scale

    def joined(*parts: tuple[Tensor, Tensor | None]) -> Affine:
        weight = torch.cat([weight for weight, _ in parts]) * norm.weight
        biases = [bias for _, bias in parts if bias is not None]
        return weight.T.contiguous(), torch.cat(biases) if biases else None

    query, key = rotated(attention.q_proj, attention.scaling), rotated(attention.k_proj)
    value = (attention.v_proj.weight, attention.v_proj.bias)
    into_mlp = torch.cat([mlp.gate_proj.weight, mlp.up_proj.weight]) * layer.post_attention_layernorm.weight
    return _Layer(
        queries=joined(query),
        keys_values=joined(key, value),
        queries_keys_values=joined(query, key, value),
        out_of_heads=attention.o_proj.weight.T.contiguous(),
        into_mlp=into_mlp.T.contiguous(),
        out_of_mlp=mlp.down_proj.weight.T.contiguous(),
        activation=mlp.act_fn,
        epsilons=(norm.variance_epsilon, layer.post_attention_layernorm.variance_epsilon),
    )


def _add_product(to: Float[Tensor, "n out"], rows: Float[Tensor, "n into"], matrix: Float[Tensor, "into out"]) -> None:
    torch.addmm(to, rows, matrix, out=to)  # as addmm_, which torch's counter of operations overlooks


def _normed(x: Float[Tensor, "n width"], epsilon: float) -> Float[Tensor, "n width"]:
    length = torch.linalg.vector_norm(x, dim=-1, keepdim=True)
    return x * (length.square_() / x.shape[1] + epsilon).rsqrt_()
