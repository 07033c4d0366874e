"""Everything that turns one file of weights into another. The names below are the public ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edge_converters.merge import merge
from edge_converters.tune import tune

if TYPE_CHECKING:
    from edge_converters.adapter import to_adapter
    from edge_converters.encoder import to_encoder
    from edge_converters.encoder_directory import convert_encoder
    from edge_converters.examples import read_examples
    from edge_converters.examples_check import check_examples
    from edge_converters.examples_write import convert_examples, split_examples
    from edge_converters.gguf import to_gguf
    from edge_converters.onnx import to_onnx
    from edge_converters.parity import Parity, check_parity
    from edge_converters.publish import AdapterSource, Export
    from edge_converters.tune import Tuned

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

_ROOMS = {
    "AdapterSource": "publish",
    "Export": "publish",
    "Parity": "parity",
    "Tuned": "tune",
    "check_examples": "examples_check",
    "check_parity": "parity",
    "convert_encoder": "encoder_directory",
    "convert_examples": "examples_write",
    "read_examples": "examples",
    "split_examples": "examples_write",
    "to_adapter": "adapter",
    "to_encoder": "encoder",
    "to_gguf": "gguf",
    "to_onnx": "onnx",
}


def __getattr__(name: str) -> object:
    # `merge` and `tune` are not lazy: they have the names of their modules, which would take their places.
    if name not in _ROOMS:
        raise AttributeError(f"module 'edge_converters' has no attribute {name!r}")
    from importlib import import_module

    value: object = getattr(import_module(f"edge_converters.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
