"""Everything that turns one file of weights into another. The names below are the public ones.

Importing this package also gives `edge` what converts a PEFT directory that is added to a loaded model.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from edge.adapters import ConvertedAdapter, register_converter

if TYPE_CHECKING:
    from edge_converters.convert import to_adapter, to_gguf, to_onnx
    from edge_converters.data.check import check_examples
    from edge_converters.data.reader import read_examples
    from edge_converters.data.writer import convert_examples, split_examples
    from edge_converters.encoder.directory import convert_encoder
    from edge_converters.encoder.export import to_encoder
    from edge_converters.lora.merge import merge
    from edge_converters.parity import check_parity
    from edge_converters.tuning.tune import Tuned, tune
    from edge_converters.types import AdapterSource, Export, Parity

__all__ = [
    "AdapterSource",
    "Export",
    "Parity",
    "Tuned",
    "check_examples",
    "check_parity",
    "convert_encoder",
    "convert_examples",
    "merge",
    "read_examples",
    "split_examples",
    "to_adapter",
    "to_encoder",
    "to_gguf",
    "to_onnx",
    "tune",
]

_MODULES = {
    "AdapterSource": "types",
    "Export": "types",
    "Parity": "types",
    "Tuned": "tuning.tune",
    "check_examples": "data.check",
    "check_parity": "parity",
    "convert_encoder": "encoder.directory",
    "convert_examples": "data.writer",
    "merge": "lora.merge",
    "read_examples": "data.reader",
    "split_examples": "data.writer",
    "to_adapter": "convert",
    "to_encoder": "encoder.export",
    "to_gguf": "convert",
    "to_onnx": "convert",
    "tune": "tuning.tune",
}


def __getattr__(name: str) -> object:
    if name not in _MODULES:
        raise AttributeError(f"module 'edge_converters' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"edge_converters.{_MODULES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})


def _convert_adapter(adapter: Path, model: Path, *, cache: Path) -> ConvertedAdapter:
    from edge_converters.adapter import convert_for_engine

    return convert_for_engine(adapter, model, cache=cache)


register_converter(_convert_adapter)
