"""A small way to write an ONNX graph: operators as calls, weights as they are stored, arithmetic in float32.

Weights of half precision stay so in the file and are cast when the graph is loaded, so that a model is as large on the
wire as in the repository and computes what PyTorch computes with the same weights.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

OPSET = 18
IR_VERSION = 10  # of the oldest runtime that knows the opset; a newer one is refused by some
TYPES = {np.float32: TensorProto.FLOAT, np.int64: TensorProto.INT64, bool: TensorProto.BOOL}
Value = str
"""The name of something that flows through the graph."""


class Graph:
    """A graph under construction: ``graph.Add(a, b)`` adds an operator and gives the name of what comes out.

    What is handed to an operator is such a name, or a number or array that becomes a constant of the graph.
    """

    def __init__(self, name: str):
        self.name = name
        self._nodes: list[onnx.NodeProto] = []
        self._constants: list[onnx.TensorProto] = []
        self._inputs: list[onnx.ValueInfoProto] = []
        self._outputs: list[onnx.ValueInfoProto] = []

    def __getattr__(self, operator: str) -> Any:
        if operator.startswith("_"):
            raise AttributeError(operator)

        def add(*values: Any, **attributes: Any) -> Value:
            (out,) = self.many(operator, values, 1, **attributes)
            return out

        return add

    def many(self, operator: str, values: Sequence[Any], n_outputs: int, **attributes: Any) -> list[Value]:
        """An operator with several outputs."""
        outs = [f"{operator.lower()}_{len(self._nodes)}_{i}" for i in range(n_outputs)]
        inputs = [value if isinstance(value, str) else self.constant(np.asarray(value)) for value in values]
        self._nodes.append(helper.make_node(operator, inputs, outs, **attributes))
        return outs

    def input(self, name: str, shape: Sequence[int | str], dtype: Any = np.float32) -> Value:
        """A value that the caller gives; a word in its shape is a length that is known when it runs."""
        self._inputs.append(helper.make_tensor_value_info(name, TYPES[dtype], list(shape)))
        return name

    def output(self, name: str, value: Value, shape: Sequence[int | str]) -> None:
        """A value that the caller gets."""
        self._nodes.append(helper.make_node("Identity", [value], [name]))
        self._outputs.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, list(shape)))

    def constant(self, array: np.ndarray) -> Value:
        """A constant; numbers of double precision become float32, halves stay as they are until the graph is loaded."""
        array = np.asarray(array, np.float32) if array.dtype == np.float64 else array
        tensor = numpy_helper.from_array(np.ascontiguousarray(array), f"constant_{len(self._constants)}")
        self._constants.append(tensor)
        return self.Cast(tensor.name, to=TensorProto.FLOAT) if array.dtype == np.float16 else tensor.name

    def linear(self, x: Value, weight: np.ndarray, bias: np.ndarray | None = None) -> Value:
        """x Wᵀ + b of a PyTorch layer, weight (out, in); x (…, in)."""
        product = self.MatMul(x, weight.T)
        return product if bias is None else self.Add(product, bias)

    def heads(self, x: Value, n_heads: int) -> Value:
        """(1, tokens, heads · width) to (1, heads, tokens, width)."""
        return self.Transpose(self.Reshape(x, [0, 0, n_heads, -1]), perm=[0, 2, 1, 3])

    def joined(self, x: Value) -> Value:
        """The way back from :meth:`heads`."""
        return self.Reshape(self.Transpose(x, perm=[0, 2, 1, 3]), [0, 0, -1])

    def attention(self, queries: Value, keys: Value, values: Value, width: int, hidden: Value | None = None) -> Value:
        """Softmax attention on (1, heads, tokens, width); ``hidden`` (tokens, all tokens) is true where none looks."""
        scores = self.MatMul(queries, self.Transpose(keys, perm=[0, 1, 3, 2]))
        scores = self.Mul(scores, np.float32(width**-0.5))
        if hidden is not None:
            scores = self.Where(hidden, np.float32(-1e30), scores)
        return self.joined(self.MatMul(self.Softmax(scores, axis=-1), values))

    def model(self) -> onnx.ModelProto:
        """The finished graph, checked."""
        graph = helper.make_graph(self._nodes, self.name, self._inputs, self._outputs, initializer=self._constants)
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION)
        onnx.checker.check_model(model, full_check=True)
        return model
