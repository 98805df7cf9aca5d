"""The vision tower up to the hook point, and the latents there, as an ONNX graph."""

from typing import Any

import numpy as np
import onnx

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.live.graph import Graph, Value
from vlm_sae_lib.live.weights import Weights
from vlm_sae_lib.sae import SparseAutoencoder


def tower_graph(weights: Weights, config: dict[str, Any], n_blocks: int, sae: SparseAutoencoder) -> onnx.ModelProto:
    """pixels (1, 3, side, side) → states (tokens, d) of block ``n_blocks − 1`` and latents (tokens, F).

    config: the ``vision_config`` of a CLIP with quick GELU; its own class token comes first.
    Raises: UserError for another activation function, or an SAE whose gate is not a threshold.
    """
    if config["hidden_act"] != "quick_gelu" or sae.threshold is None:
        raise UserError("only a tower with quick GELU and an SAE with a threshold can be written as a graph")
    graph, side = Graph("tower"), config["image_size"]
    n_tokens = (side // config["patch_size"]) ** 2 + 1
    x = _embedded(graph, graph.input("pixels", (1, 3, side, side)), weights.under("embeddings"))
    x = _norm(graph, x, weights.under("pre_layrnorm"), config)
    for i in range(n_blocks):
        x = _block(graph, x, weights.under(f"encoder.layers.{i}"), config)
    states = graph.Squeeze(x, [0])
    graph.output("states", states, (n_tokens, config["hidden_size"]))
    graph.output("latents", _latents(graph, states, sae), (n_tokens, sae.n_latents))
    return graph.model()


def _embedded(graph: Graph, pixels: Value, weights: Weights) -> Value:
    kernel = weights["patch_embedding.weight"]
    patches = graph.Conv(pixels, kernel, strides=list(kernel.shape[2:]))
    patches = graph.Transpose(graph.Reshape(patches, [1, len(kernel), -1]), perm=[0, 2, 1])
    tokens = graph.Concat(weights["class_embedding"].reshape(1, 1, -1), patches, axis=1)
    return graph.Add(tokens, weights["position_embedding.weight"][None])


def _norm(graph: Graph, x: Value, weights: Weights, config: dict[str, Any]) -> Value:
    return graph.LayerNormalization(x, weights["weight"], weights["bias"], axis=-1, epsilon=config["layer_norm_eps"])


def _block(graph: Graph, x: Value, weights: Weights, config: dict[str, Any]) -> Value:
    def linear(value: Value, name: str) -> Value:
        return graph.linear(value, weights[f"{name}.weight"], weights[f"{name}.bias"])

    heads = config["num_attention_heads"]
    seen = _norm(graph, x, weights.under("layer_norm1"), config)
    q, k, v = (graph.heads(linear(seen, f"self_attn.{name}_proj"), heads) for name in "qkv")
    looked = graph.attention(q, k, v, config["hidden_size"] // heads)
    x = graph.Add(x, linear(looked, "self_attn.out_proj"))
    wide = linear(_norm(graph, x, weights.under("layer_norm2"), config), "mlp.fc1")
    wide = graph.Mul(wide, graph.Sigmoid(graph.Mul(wide, np.float32(1.702))))
    return graph.Add(x, linear(wide, "mlp.fc2"))


def _latents(graph: Graph, states: Value, sae: SparseAutoencoder) -> Value:
    """p · 1[p > θ] of the pre-activations, as ``SparseAutoencoder.encode``."""
    assert sae.threshold is not None
    bare = graph.Add(graph.MatMul(graph.Sub(states, sae.b_dec.numpy()), sae.w_enc.numpy()), sae.b_enc.numpy())
    positive = graph.Relu(bare)
    return graph.Where(graph.Greater(positive, sae.threshold.numpy()), positive, np.float32(0))
