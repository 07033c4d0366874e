"""The matrix products of somebody else's ONNX graph in whole numbers, as our own encoder graph has them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edge.errors import ConversionError, MissingExtra
from edge_converters.encoder.export import quantize

_CONTRIB = "com.microsoft"


def quantize_products(source: Path, out: Path) -> None:
    """Write the ONNX file `source` to `out` with every product of states and a constant matrix in int8.

    The weights get one scale a column, the states one scale a token, computed as it runs ("dynamic"), so that
    no text depends on its neighbours in a batch. Raises ConversionError when the result passes the 2 GB of an
    ONNX file, MissingExtra without onnx.
    """
    try:
        import onnx
    except ImportError as error:
        raise MissingExtra("onnx", "encoder") from error
    model = onnx.load(source)
    _Products(onnx, model.graph).replace()
    if not any(entry.domain == _CONTRIB for entry in model.opset_import):
        model.opset_import.append(onnx.helper.make_opsetid(_CONTRIB, 1))
    try:
        onnx.save(model, out)
    except ValueError as error:
        raise ConversionError(
            f"{source} in int8 is still larger than the 2 GB that an ONNX file holds; choose a smaller model"
        ) from error


class _Products:
    """The nodes of a graph as they are written anew."""

    def __init__(self, onnx: Any, graph: Any) -> None:
        self.onnx = onnx
        self.graph = graph
        self.constants = {tensor.name: tensor for tensor in graph.initializer}
        self.nodes: list[Any] = []
        self.added: dict[str, Any] = {}
        self.states: dict[str, tuple[str, str]] = {}

    def replace(self) -> None:
        import numpy as np

        self.constant("edge.one", np.array(1, np.float32))
        self.constant("edge.tiny", np.array(1e-12, np.float32))
        self.constant("edge.levels", np.array(127, np.float32))
        self.constant("edge.middle", np.array(128, np.uint8))
        self.constant("edge.last", np.array([-1], np.int64))
        for node in self.graph.node:
            if self.is_product(node):
                self.product(node)
            else:
                self.nodes.append(node)
        del self.graph.node[:]
        self.graph.node.extend(self.nodes)
        used = {name for node in self.nodes for name in node.input} | {output.name for output in self.graph.output}
        kept = [tensor for tensor in self.graph.initializer if tensor.name in used]
        del self.graph.initializer[:]
        self.graph.initializer.extend([*kept, *self.added.values()])

    def is_product(self, node: Any) -> bool:
        matrix = self.constants.get(node.input[1]) if node.op_type == "MatMul" else None
        return matrix is not None and len(matrix.dims) == 2 and matrix.data_type == self.onnx.TensorProto.FLOAT

    def product(self, node: Any) -> None:
        states, step = self.quantized(node.input[0])
        name, result = node.input[1], node.output[0]
        if name + ".int8" not in self.added:
            matrix, scale = quantize(self.onnx.numpy_helper.to_array(self.constants[name]))
            self.constant(name + ".int8", matrix)
            self.constant(name + ".scale", scale)
        inputs = [states, name + ".int8", "edge.one", name + ".scale", "edge.middle"]
        self.node("MatMulIntegerToFloat", inputs, result + ".whole", domain=_CONTRIB)
        self.node("Mul", [result + ".whole", step], result)

    def quantized(self, states: str) -> tuple[str, str]:
        """`states` as uint8 around 128 and the step of every token."""
        if states not in self.states:
            self.node("Abs", [states], states + ".sizes")
            self.peak(states)
            # A token of zeros must not become 0 / 0.
            self.node("Max", [states + ".peak", "edge.tiny"], states + ".above")
            self.node("Div", [states + ".above", "edge.levels"], states + ".step")
            self.node("Div", [states, states + ".step"], states + ".ratio")
            self.node("QuantizeLinear", [states + ".ratio", "edge.one", "edge.middle"], states + ".q")
            self.states[states] = states + ".q", states + ".step"
        return self.states[states]

    def peak(self, states: str) -> None:
        self.node("ReduceMax", [states + ".sizes", "edge.last"], states + ".peak", keepdims=1)

    def node(self, kind: str, inputs: list[str], output: str, domain: str = "", **attributes: Any) -> None:
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [output], output, domain=domain, **attributes))

    def constant(self, name: str, array: Any) -> None:
        self.added[name] = self.onnx.numpy_helper.from_array(array, name)
