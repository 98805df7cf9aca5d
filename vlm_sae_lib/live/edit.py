"""The intervention and the projector as an ONNX graph: what the language model sees of a picture after an edit."""

import numpy as np
import onnx

from vlm_sae_lib.live.graph import Graph, Value
from vlm_sae_lib.live.weights import Weights
from vlm_sae_lib.sae import SparseAutoencoder


def edit_graph(weights: Weights, sae: SparseAutoencoder, n_tokens: int) -> onnx.ModelProto:
    """states (tokens, d), latents (tokens, F) and an edit → picture tokens (1, tokens − 1, width).

    The edit is that of ``steering.intervention``, of both its functions: ``chosen`` (F) is true for the latent, for
    none where the model is unsteered; ``strength`` is absolute; ``keep_error`` adds back what the SAE misses. With
    ``pushed`` the latent is not overwritten, but each token moves as far as it would, along the unit vector
    ``direction`` (d). weights: the projector's.
    """
    graph, d = Graph("edit"), sae.dim
    states = graph.input("states", (n_tokens, d))
    z = graph.input("latents", (n_tokens, sae.n_latents))
    chosen = graph.input("chosen", (sae.n_latents,), bool)
    strength = graph.input("strength", ())
    keep_error, pushed = (graph.input(name, (), bool) for name in ("keep_error", "pushed"))
    direction = graph.input("direction", (d,))

    def decoded(latents: Value) -> Value:
        return graph.Add(graph.MatMul(latents, sae.w_dec.numpy()), sae.b_dec.numpy())

    overwritten = graph.Where(graph.And(chosen, graph.Not(pushed)), strength, z)
    edited = decoded(overwritten)
    kept = graph.Add(states, graph.Sub(edited, decoded(z)))
    edited = graph.Where(keep_error, kept, edited)
    lengths = np.linalg.norm(sae.w_dec.numpy(), axis=1).astype(np.float32)
    reach = graph.Where(graph.And(chosen, pushed), graph.Abs(graph.Sub(strength, z)), np.float32(0))
    distance = graph.MatMul(reach, lengths[:, None])
    edited = graph.Add(edited, graph.Mul(distance, direction))
    graph.output("features", _projected(graph, edited, weights), (1, n_tokens - 1, "width"))
    return graph.model()


def _projected(graph: Graph, states: Value, weights: Weights) -> Value:
    """Without the class token, through two layers with the exact GELU between them."""
    x = graph.Slice(states, [1], [2**31], [0])
    x = graph.linear(x, weights["linear_1.weight"], weights["linear_1.bias"])
    share = graph.Add(graph.Erf(graph.Mul(x, np.float32(0.5**0.5))), np.float32(1))
    x = graph.Mul(graph.Mul(x, np.float32(0.5)), share)
    x = graph.linear(x, weights["linear_2.weight"], weights["linear_2.bias"])
    return graph.Unsqueeze(x, [0])
