"""A LoRA as a loaded model wants it: of the engine's own format, made from a PEFT directory where it is one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from edge.errors import AdapterError, ModelError
from edge.system import paths

if TYPE_CHECKING:
    from edge.engines.llamacpp.gguf_header import GgufHeader
    from edge.types import Adapter


@dataclass(frozen=True, slots=True)
class ConvertedAdapter:
    """An adapter in an engine's own format; `modules` of the model are changed by it, in the `ranks` that occur."""

    path: Path
    modules: int
    ranks: tuple[int, ...]


class AdapterConverter(Protocol):
    """Turns the PEFT directory `adapter` into what the engine of `model` reads, kept in the folder `cache`."""

    def __call__(self, adapter: Path, model: Path, *, cache: Path) -> ConvertedAdapter: ...


_converter: AdapterConverter | None = None


def register_converter(converter: AdapterConverter) -> None:
    """Have PEFT directories converted by `converter` from now on.

    `edge_converters` registers its own when it is imported: the runtime knows no converter by name.
    """
    global _converter
    _converter = converter


def prepare_adapter(adapter: Adapter, model: Path) -> Adapter:
    """The same adapter with the path of a file that the engine of `model` reads.

    A PEFT directory is converted once and kept in the cache, by the SHA-256 of its files. Raises AdapterError.
    """
    source, onnx = Path(adapter.path), model.is_dir()
    if source.is_dir():
        made = _convert(source, model)
        return replace(adapter, path=str(made.path), modules=made.modules, ranks=made.ranks)
    suffix, engine = (".onnx_adapter", "onnxruntime-genai") if onnx else (".gguf", "llama.cpp")
    if source.suffix != suffix:
        raise AdapterError(
            f"{source} cannot be used with {model.name}, which runs on {engine}: name a *{suffix} file, or the folder "
            "of the LoRA as PEFT saved it"
        )
    if onnx or not source.is_file():
        return adapter
    ranks = ranks_of(read_lora_header(source))
    return replace(adapter, modules=len(ranks), ranks=tuple(sorted(set(ranks))))


def _convert(source: Path, model: Path) -> ConvertedAdapter:
    if not (source / "adapter_config.json").is_file():
        raise AdapterError(f"{source} has no adapter_config.json; name the folder of a LoRA as PEFT saves it")
    if _converter is None:
        raise AdapterError(
            f"{source} is a LoRA as PEFT saves it, which has to be converted for {model.name}, and this program has "
            "loaded nothing that converts; put `import edge_converters` before it"
        )
    return _converter(source, model, cache=paths.cache_dir() / "adapters")


def read_lora_header(source: Path) -> GgufHeader:
    """The header of a GGUF LoRA. Raises AdapterError for any other file."""
    from edge.engines.llamacpp.gguf_check import check_gguf

    try:
        header = check_gguf(source, kind="adapter")
    except ModelError as error:
        raise AdapterError(f"{source} is no GGUF LoRA or is damaged: {error}") from error
    if header.settings.get("general.type") != "adapter":
        raise AdapterError(f"{source} is a model and no LoRA; name a GGUF LoRA that was made for this base")
    return header


def ranks_of(lora: GgufHeader) -> list[int]:
    """The rank of every module that a GGUF LoRA changes."""
    return [tensor.shape[0] for name, tensor in lora.tensors.items() if name.endswith(".lora_a")]
