"""The language model as an ONNX graph with a key-value cache: one graph for the prompt and for each further word."""

from typing import Any

import numpy as np
import onnx

from vlm_sae_lib.errors import UserError
from vlm_sae_lib.live.graph import Graph, Value
from vlm_sae_lib.live.weights import Weights


def language_graph(weights: Weights, config: dict[str, Any]) -> onnx.ModelProto:
    """Words, a picture and more words, behind what was read before → the scores of the next word.

    Inputs: ``before`` and ``after``, word ids (1, n), and ``features`` (1, m, width) between them, where n and m may
    be 0; ``cache`` (2 · layers, heads, read, head) with the keys and values of what was read, of length 0 at the start.
    Outputs: ``scores`` (vocabulary) of the word after the last, before the softmax; ``grown``, the cache with what was
    read now. config: the ``text_config`` of a Llama in which no two queries share their keys.

    Raises: UserError for another model.
    """
    heads, width = config["num_attention_heads"], config["head_dim"]
    if config["num_key_value_heads"] != heads or config["hidden_act"] != "silu" or config["attention_bias"]:
        raise UserError("only a Llama with as many keys as queries can be written as a graph")
    graph, layers = Graph("language"), config["num_hidden_layers"]
    before, after = (graph.input(name, (1, f"n_{name}"), np.int64) for name in ("before", "after"))
    features = graph.input("features", (1, "n_features", config["hidden_size"]))
    cache = graph.input("cache", (2 * layers, heads, "read", width))
    words = graph.constant(weights["model.embed_tokens.weight"])
    x = graph.Concat(graph.Gather(words, before), features, graph.Gather(words, after), axis=1)
    layer = _Layer(graph, config, x, cache)
    remembered = graph.many("Split", [cache], 2 * layers, axis=0, num_outputs=2 * layers)
    grown: list[Value] = []
    for i in range(layers):
        x, *new = layer(x, weights.under(f"model.layers.{i}"), remembered[2 * i], remembered[2 * i + 1])
        grown += new
    last = graph.Slice(x, [-1], [2**31], [1])
    scores = graph.linear(layer.norm(last, weights["model.norm.weight"]), weights["lm_head.weight"])
    graph.output("scores", graph.Reshape(scores, [-1]), (config["vocab_size"],))
    graph.output("grown", graph.Concat(*grown, axis=0), (2 * layers, heads, "read_now", width))
    return graph.model()


class _Layer:
    """What all layers share: the places of the words, as rotations and as a mask, found once."""

    def __init__(self, graph: Graph, config: dict[str, Any], x: Value, cache: Value):
        self.graph, self.config, self.width = graph, config, config["head_dim"]
        read = graph.Gather(graph.Shape(cache), np.int64(2))
        end = graph.Add(read, graph.Gather(graph.Shape(x), np.int64(1)))
        places = graph.Range(read, end, np.int64(1))
        everything = graph.Range(np.int64(0), end, np.int64(1))
        self.later = graph.Less(graph.Unsqueeze(places, [1]), graph.Unsqueeze(everything, [0]))
        self.cosines, self.sines = (graph.Gather(graph.constant(table), places) for table in rotations(config))

    def __call__(self, x: Value, weights: Weights, keys: Value, values: Value) -> tuple[Value, Value, Value]:
        """The layer's output, and its keys and values with the old ones before them."""
        graph = self.graph
        seen = self.norm(x, weights["input_layernorm.weight"])
        linear = {name: graph.linear(seen, weights[f"self_attn.{name}_proj.weight"]) for name in "qkv"}
        q, k, v = (graph.heads(linear[name], self.config["num_attention_heads"]) for name in "qkv")
        keys = graph.Concat(keys, self._turned(k), axis=2)
        values = graph.Concat(values, v, axis=2)
        looked = graph.attention(self._turned(q), keys, values, self.width, hidden=self.later)
        x = graph.Add(x, graph.linear(looked, weights["self_attn.o_proj.weight"]))
        seen = self.norm(x, weights["post_attention_layernorm.weight"])
        gate = graph.linear(seen, weights["mlp.gate_proj.weight"])
        wide = graph.Mul(graph.Mul(gate, graph.Sigmoid(gate)), graph.linear(seen, weights["mlp.up_proj.weight"]))
        return graph.Add(x, graph.linear(wide, weights["mlp.down_proj.weight"])), keys, values

    def norm(self, x: Value, weight: np.ndarray) -> Value:
        """The vector over its root mean square."""
        graph = self.graph
        square = graph.ReduceMean(graph.Mul(x, x), [-1])
        size = graph.Sqrt(graph.Add(square, np.float32(self.config["rms_norm_eps"])))
        return graph.Mul(graph.Div(x, size), weight)

    def _turned(self, x: Value) -> Value:
        """Rotary places: the first half of a head's numbers is turned together with its second half."""
        graph = self.graph
        first, second = graph.many("Split", [x], 2, axis=-1, num_outputs=2)
        across = graph.Concat(graph.Neg(second), first, axis=-1)
        return graph.Add(graph.Mul(x, self.cosines), graph.Mul(across, self.sines))


def rotations(config: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """Cosines and sines (places, head) of the angles by which a word at each place is turned; float32 as in PyTorch."""
    width, places = config["head_dim"], config["max_position_embeddings"]
    exponents = np.arange(0, width, 2, dtype=np.float32) / np.float32(width)
    speeds = np.float32(1) / np.float32(config["rope_parameters"]["rope_theta"]) ** exponents
    angles = np.arange(places, dtype=np.float32)[:, None] * np.concatenate([speeds, speeds])
    return np.cos(angles), np.sin(angles)
