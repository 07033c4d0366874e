"""What an exported file is: its kind, its precision, the options it was made with, and which model it is of."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from edge.engines.llamacpp.gguf_header import GgufHeader, read_gguf_header
from edge.engines.onnx.genai_config import load_genai_config
from edge.errors import ConversionError, ModelError
from edge_converters.output import read_manifest

Kind = Literal["gguf", "onnx", "gguf-lora", "onnx-adapter"]

LOSSLESS = ("f32", "f16", "bf16", "fp32", "fp16")

# GGUF's general.file_type, https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
_FILE_TYPES = {
    0: "f32", 1: "f16", 2: "q4_0", 7: "q8_0", 10: "q2_k", 12: "q3_k_m", 14: "q4_k_s", 15: "q4_k_m", 16: "q5_k_s",
    17: "q5_k_m", 18: "q6_k", 32: "bf16",
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Exported:
    """`precision` is that of the weights that are run; `options` is what the manifest says, empty without one.

    `sizes` tells which model it is of, under the names of a Hugging Face config; empty for an adapter. `graph` is the
    name of the ONNX file in its folder.
    """

    path: Path
    kind: Kind
    precision: str
    options: Mapping[str, Any] = field(default_factory=dict)
    sizes: Mapping[str, int] = field(default_factory=dict)
    graph: str = ""

    @property
    def lossless(self) -> bool:
        return self.precision in LOSSLESS

    def check_base(self, base: Path, config: Mapping[str, Any]) -> None:
        """Raise ConversionError when this is an export of another model than that of `config`."""
        for name, size in self.sizes.items():
            expected = config.get(name)
            if expected is not None and expected != size:
                raise ConversionError(
                    f"{self.path} is an export of another model: its {name} is {size:,} and that of {base} is "
                    f"{expected:,}; name the base that it was made from"
                )


def read_header(path: Path) -> GgufHeader:
    """Raises ConversionError for a GGUF file that is damaged."""
    try:
        return read_gguf_header(path)
    except ModelError as error:
        raise ConversionError(str(error)) from error


def inspect(path: Path) -> Exported:
    """Raises ConversionError for what is no export, or damaged."""
    if path.is_dir():
        return _onnx(path)
    if not path.is_file():
        raise ConversionError(f"{path} is not there; name an exported .gguf, .onnx_adapter or ONNX folder")
    if path.suffix == ".onnx_adapter":
        return Exported(path, "onnx-adapter", "fp32", _options(path))
    with path.open("rb") as file:
        if file.read(4) != b"GGUF":
            raise ConversionError(f"{path} is neither GGUF nor .onnx_adapter nor an ONNX folder; name an export")
    return _gguf(path)


def _gguf(path: Path) -> Exported:
    fields = read_header(path).settings
    options = _options(path)
    architecture = fields.get("general.architecture")
    if fields.get("general.type") == "adapter":
        return Exported(path, "gguf-lora", "f16", options)
    file_type = fields.get("general.file_type")
    precision = _FILE_TYPES.get(file_type) if isinstance(file_type, int) else None
    precision = options.get("precision", precision)
    if precision is None:
        raise ConversionError(
            f"{path} does not say how it is quantised (general.file_type {file_type}) and has no manifest beside it; "
            "convert it again with `edge convert gguf`"
        )
    sizes = {
        "hidden_size": fields.get(f"{architecture}.embedding_length"),
        "num_hidden_layers": fields.get(f"{architecture}.block_count"),
        "num_attention_heads": fields.get(f"{architecture}.attention.head_count"),
        "intermediate_size": fields.get(f"{architecture}.feed_forward_length"),
    }
    known = {name: size for name, size in sizes.items() if isinstance(size, int)}
    return Exported(path, "gguf", precision, options, known)


def _onnx(path: Path) -> Exported:
    settings = path / "genai_config.json"
    try:
        model = load_genai_config(settings)["model"]
        decoder = model["decoder"]
        graph = path / decoder["filename"]
        sizes = {name: int(decoder[name]) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")}
        sizes["vocab_size"] = int(model["vocab_size"])
    except FileNotFoundError as error:
        raise ConversionError(
            f"{path} has no genai_config.json; name the folder that `edge convert onnx` made"
        ) from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ConversionError(f"{settings} is damaged ({error!r}); convert it again") from error
    if not graph.is_file():
        raise ConversionError(f"{graph} is missing; convert it again")
    options = _options(path)
    precision = options.get("precision") or _graph_precision(graph)
    return Exported(path, "onnx", precision, options, sizes, graph.name)


def _graph_precision(graph: Path) -> str:
    """From the graph itself, where there is no manifest. A quantised one cannot be judged without its recipe."""
    import onnx

    try:
        model = onnx.load(str(graph), load_external_data=False)
    except Exception as error:  # the library hands on its parser's own exception, which is no public class
        raise ConversionError(f"{graph} is damaged; convert it again") from error
    if any(node.op_type == "MatMulNBits" for node in model.graph.node):
        raise ConversionError(
            f"{graph.parent} is quantised and has no manifest beside it that says how; convert it again with "
            "`edge convert onnx`"
        )
    logits = next(value for value in model.graph.output if value.name == "logits")
    return "fp16" if logits.type.tensor_type.elem_type == onnx.TensorProto.FLOAT16 else "fp32"


def _options(path: Path) -> dict[str, Any]:
    manifest = read_manifest(path)
    options = manifest.get("options") if manifest else None
    return dict(options) if isinstance(options, Mapping) else {}
