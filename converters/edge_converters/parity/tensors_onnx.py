"""The matrices of an ONNX folder beside the merged weights that they were made of.

The layout of quantised ones: MatMulNBits in
https://github.com/microsoft/onnxruntime/blob/main/docs/ContribOperators.md
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge_converters.lora.merge import Merged
from edge_converters.parity.tensors import Stored
from edge_converters.weights.checkpoint import Checkpoint, import_torch

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_NODE = re.compile(r"/model/layers\.(\d+)/(attn|mlp)/(\w+_proj)/(?:(?!lora).)*MatMul\w*|/(lm_head)/MatMul\w*")
_FUSED = {"qkv_proj": ("q_proj", "k_proj", "v_proj"), "gate_up_proj": ("gate_proj", "up_proj")}


def onnx_tensors(folder: Path, graph: str, weights: Checkpoint | Merged) -> list[Stored]:
    """Every linear layer whose node has a name that the model builder gives."""
    import onnx

    model = onnx.load(str(folder / graph), load_external_data=False)
    arrays = {tensor.name: tensor for tensor in model.graph.initializer}
    found = []
    for node in model.graph.node:
        place = _NODE.fullmatch(node.name)
        if place is None or node.op_type not in ("MatMul", "MatMulNBits") or node.input[1] not in arrays:
            continue
        parts = _sources(place, weights)
        if not parts:
            continue
        inputs = [_array(folder, arrays[name]) if name in arrays else None for name in node.input[1:4]]
        name = node.name.rsplit("/", 1)[0].strip("/")
        found.append(_stored(name, node, inputs, parts, weights))
    return found


@dataclass(frozen=True, slots=True)
class _Part:
    """Rows start:stop of a weight of the base."""

    source: str
    start: int
    stop: int


def _sources(place: re.Match[str], weights: Checkpoint | Merged) -> list[_Part]:
    """The rows of the base that a node multiplies with, in order; none when they are not known by name."""
    layer, block, leaf, head = place.groups()
    if head:
        name = "lm_head.weight" if "lm_head.weight" in weights.tensors else "model.embed_tokens.weight"
        return [_whole(name, weights)] if name in weights.tensors else []
    prefix = f"model.layers.{layer}.{'self_attn' if block == 'attn' else 'mlp'}"

    def named(module: str) -> str:
        return f"{prefix}.{module}.weight"

    if named(leaf) in weights.tensors:
        return [_whole(named(leaf), weights)]
    parts = [named(part) for part in _FUSED.get(leaf, ())]
    if parts:
        return [_whole(part, weights) for part in parts] if all(part in weights.tensors for part in parts) else []
    for fused, leaves in _FUSED.items():
        if leaf in leaves and named(fused) in weights.tensors:
            return [_share(named(fused), leaves.index(leaf), leaves, weights)]
    return []


def _whole(source: str, weights: Checkpoint | Merged) -> _Part:
    return _Part(source, 0, weights.tensors[source].shape[0])


def _share(source: str, index: int, leaves: Sequence[str], weights: Checkpoint | Merged) -> _Part:
    rows = weights.tensors[source].shape[0]
    if len(leaves) == 2:
        return _Part(source, index * rows // 2, (index + 1) * rows // 2)
    config: Mapping[str, Any] = weights.config
    heads, pairs = config["num_attention_heads"], config.get("num_key_value_heads") or config["num_attention_heads"]
    head = rows // (heads + 2 * pairs)
    ends = [0, heads * head, (heads + pairs) * head, rows]
    return _Part(source, ends[index], ends[index + 1])


def _stored(
    name: str, node: Any, inputs: Sequence[NDArray[Any] | None], parts: Sequence[_Part], weights: Checkpoint | Merged
) -> Stored:
    matrix = inputs[0]
    assert matrix is not None
    torch = import_torch()
    lengths = [part.stop - part.start for part in parts]

    def true(start: int, stop: int) -> NDArray[np.float32]:
        blocks, begin = [], 0
        for part, length in zip(parts, lengths, strict=True):
            first, last = max(start - begin, 0), min(stop - begin, length)
            if first < last:
                rows = slice(part.start + first, part.start + last)
                blocks.append(weights.read(part.source, rows).to(torch.float32))
            begin += length
        values: NDArray[np.float32] = torch.cat(blocks).numpy()
        return values

    columns = weights.tensors[parts[0].source].shape[1]
    if node.op_type == "MatMul":

        def plain(values: NDArray[np.float32]) -> NDArray[np.float32]:
            return values.astype(matrix.dtype).astype(values.dtype)

        return Stored(
            name, sum(lengths), columns, lambda start, stop: matrix[:, start:stop].T.astype("float32"), true, plain
        )
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    bits, block = settings["bits"], settings["block_size"]
    scales, zeros = inputs[1], inputs[2] if len(inputs) > 2 else None
    assert scales is not None
    groups = -(-columns // block)
    scales = scales.reshape(-1, groups)
    zeros = None if zeros is None else zeros.reshape(scales.shape[0], -1)

    def decoded(start: int, stop: int) -> NDArray[np.float32]:
        steps = _unpacked(matrix[start:stop].reshape(stop - start, -1), bits)[:, : groups * block]
        middle: Any = 1 << (bits - 1)
        if zeros is not None:
            rows = zeros[start:stop]
            packed = rows.dtype.kind == "u" and rows.shape[1] < groups
            middle = (_unpacked(rows, bits)[:, :groups] if packed else rows.astype("float32"))[:, :, None]
        steps = steps.reshape(stop - start, groups, block) - middle
        steps *= scales[start:stop, :, None].astype("float32")
        values: NDArray[np.float32] = steps.reshape(stop - start, -1)[:, :columns]
        return values

    return Stored(
        name, sum(lengths), columns, decoded, true, lambda values: _rounded(values, bits, block, zeros is not None)
    )


def _unpacked(data: NDArray[Any], bits: int) -> NDArray[np.float32]:
    """[rows, numbers]: of two 4-bit numbers in a byte the low one is first."""
    import numpy as np

    if bits == 8:
        return data.astype(np.float32)
    pairs = np.stack([data & 15, data >> 4], axis=-1)
    return pairs.reshape(len(data), -1).astype(np.float32)


def _rounded(values: NDArray[np.float32], bits: int, block: int, with_zero: bool) -> NDArray[np.float32]:
    """Round to nearest within blocks, between the least and the largest or with the absolute largest at one end."""
    import numpy as np

    rows, columns = values.shape
    padded = np.pad(values, ((0, 0), (0, -columns % block))).reshape(rows, -1, block)
    top = (1 << bits) - 1
    if with_zero:
        low, high = np.minimum(padded.min(-1, keepdims=True), 0), np.maximum(padded.max(-1, keepdims=True), 0)
        scale = np.maximum((high - low) / top, np.float32(1e-12))
        zero = np.rint(-low / scale)
    else:
        extreme = np.take_along_axis(padded, np.abs(padded).argmax(-1)[..., None], -1)
        scale = extreme / -(1 << (bits - 1))
        scale = np.where(scale == 0, np.float32(1e-12), scale)
        zero = np.float32(1 << (bits - 1))
    back: NDArray[np.float32] = (np.clip(np.rint(padded / scale) + zero, 0, top) - zero) * scale
    return back.reshape(rows, -1)[:, :columns].astype(np.float32, copy=False)


def _array(folder: Path, tensor: Any) -> NDArray[Any]:
    """An initializer, memory-mapped where it lies in a file of its own."""
    import numpy as np
    import onnx

    dtype = onnx.helper.tensor_dtype_to_np_dtype(tensor.data_type)
    if tensor.data_location != onnx.TensorProto.EXTERNAL:
        values: NDArray[Any] = onnx.numpy_helper.to_array(tensor)
        return values
    entry = {item.key: item.value for item in tensor.external_data}
    return np.memmap(
        folder / entry["location"], dtype, "r", offset=int(entry.get("offset", 0)), shape=tuple(tensor.dims)
    )
