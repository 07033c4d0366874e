"""Weights on their way into the external data of an ONNX model: in pieces, quantised, written at once."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

if TYPE_CHECKING:
    import torch
    from numpy.typing import NDArray

DATA = "model.onnx.data"
# Elements of a matrix that are in work at once: the quantisers need some fifty bytes of memory for each.
_CHUNK = 1_000_000
# onnxruntime maps external tensors of whole pages into memory.
_ALIGNMENT = 4096


class DataFile:
    """The external data of an ONNX model, written tensor by tensor."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.file: BinaryIO = path.open("wb")

    def put(self, name: str, dtype: Any, shape: Sequence[int], chunks: Iterator[NDArray[Any]]) -> Any:
        """Append an array that comes in `chunks`, C order, and return the onnx_ir tensor that points to it."""
        import numpy as np
        import onnx_ir as ir

        offset = -(-self.file.tell() // _ALIGNMENT) * _ALIGNMENT
        self.file.write(b"\0" * (offset - self.file.tell()))
        for chunk in chunks:
            self.file.write(np.ascontiguousarray(chunk).data)
        length = self.file.tell() - offset
        return ir.ExternalTensor(
            self.path.name, offset, length, dtype, shape=ir.Shape(shape), name=name, base_dir=self.path.parent
        )

    def close(self) -> None:
        self.file.flush()
        os.fsync(self.file.fileno())
        self.file.close()


def is_quantised(model: Any, name: str) -> bool:
    return (
        model.onnx_dtype.name in ("INT4", "UINT4", "INT8", "UINT8")
        and "MatMul" in model.quant_attrs["op_types_to_quantize"]
        and name not in model.quant_attrs["nodes_to_exclude"]
    )


def quantise(
    model: Any, name: str, weight: str, matrix: NDArray[Any], bits: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The attributes and the tensors, by name, of the MatMulNBits that onnxruntime makes of one MatMul; scales in the
    type in which the model computes."""
    import numpy as np
    from onnx import TensorProto, helper, numpy_helper
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer, QuantFormat

    rows, columns = matrix.shape
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, rows])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, columns])
    node = helper.make_node("MatMul", ["x", weight], ["y"], name=name)
    graph = helper.make_graph([node], "one", [x], [y], [numpy_helper.from_array(matrix, weight)])
    settings = model.quant_attrs
    quantizer = MatMulNBitsQuantizer(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22), helper.make_opsetid("com.microsoft", 1)]),
        bits=bits,
        block_size=settings["matmul_block_size"],
        is_symmetric=settings["is_symmetric"],
        accuracy_level=settings["accuracy_level"],
        quant_format=QuantFormat.QOperator,
        op_types_to_quantize=("MatMul",),
        algo_config=model.make_algo_config(model.quantization_algo, {name: {"bits": bits}}),
    )
    quantizer.process()
    made = quantizer.model.model.graph
    tensors = {tensor.name: numpy_helper.to_array(tensor) for tensor in made.initializer}
    compute_dtype = model.io_dtype.numpy()
    tensors = {
        name: array.astype(compute_dtype) if array.dtype == np.float32 else array for name, array in tensors.items()
    }
    attributes = {attribute.name: helper.get_attribute_value(attribute) for attribute in made.node[0].attribute}
    return attributes, {name: tensors[name] for name in made.node[0].input[1:]}


def columns(matrix: torch.Tensor) -> Iterator[NDArray[Any]]:
    """A matrix [in, out] in float32 by columns; their blocks are quantised apart, so cutting changes nothing."""
    step = max(2, _CHUNK // matrix.shape[0] // 2 * 2)
    for start in range(0, matrix.shape[1], step):
        yield matrix[:, start : start + step].float().contiguous().numpy()


def rows(matrix: torch.Tensor, dtype: Any) -> Iterator[NDArray[Any]]:
    """A matrix as `dtype` by rows."""
    import torch

    kind = {"FLOAT": torch.float32, "FLOAT16": torch.float16, "BFLOAT16": torch.bfloat16}[dtype.name]
    step = max(1, 8 * _CHUNK // matrix.shape[1])
    for start in range(0, matrix.shape[0], step):
        yield matrix[start : start + step].to(kind).contiguous().numpy()
