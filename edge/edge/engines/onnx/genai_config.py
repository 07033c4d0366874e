"""genai_config.json comes with a model and decides which files and which native code onnxruntime-genai loads: it is
read here only, and refused where it names anything but the model's own files.

What onnxruntime-genai makes of it: https://github.com/microsoft/onnxruntime-genai/blob/main/src/config.cpp. It hands
keys that it does not know on to onnxruntime and to its providers, so they are judged by what they look like.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from edge.errors import ModelError
from edge.system.model_folder import NATIVE, check_links, is_inside

FILE = "genai_config.json"
ALLOWED = "EDGE_CUSTOM_OPS"
"""The variable in which a user names libraries that a model may load, as PATH names folders."""

# Files of the model that onnxruntime-genai opens: filename, config_filename, adapter_filename, encoder_filename, …
_OWN_FILE = re.compile(r"(?:.*_)?filename|tokenizer_dir")
_CODE = re.compile(
    r"librar|plugin|(?:^|_)libs?(?:_|$)|backend_path|entry_?point|external_(?:alloc|free|empty)|_stream$"
)
_ELSEWHERE = re.compile(r"path|file|folder|dir(?:ectory)?(?:_|$)|profil|xclbin|load_config|cache_?dir")
# Names of tensors and texts around messages; no file is ever opened by them.
_NO_FILES = {"inputs", "outputs", "output_names_forwarder", "prompt_templates"}


class _Pairs(list[tuple[str, Any]]):
    """An object of JSON with every pair: of two equal keys Python keeps the last, onnxruntime-genai uses both."""


def load_genai_config(file: Path) -> Any:
    """What stands in `file`, a genai_config.json whose folder is the model's.

    Raises ModelError where it names a library, or anything outside of the folder, OSError, or ValueError for no JSON.
    """
    text = file.read_text(encoding="utf-8")
    try:
        for where, key, value in _leaves(json.loads(text, object_pairs_hook=_Pairs)):
            _check(file, where, key, value)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    check_links(file.parent)
    return json.loads(text)


def _leaves(value: Any, where: str = "", key: str = "") -> Iterator[tuple[str, str, Any]]:
    """(path, key, value) of every value that is neither object nor array; one in an array has the key of the array."""
    if isinstance(value, _Pairs):
        for name, inner in value:
            yield f"{where}.{name}".lstrip("."), "", name
            if name not in _NO_FILES:
                yield from _leaves(inner, f"{where}.{name}".lstrip("."), name)
    elif isinstance(value, list):
        for inner in value:
            yield from _leaves(inner, where, key)
    else:
        yield where, key, value


def _check(file: Path, where: str, key: str, value: Any) -> None:
    """Raises ModelError. Without a `key`, the value is one itself, which names a provider, too."""
    folder, name = file.parent, key.lower()
    if value in (None, "", False):
        return
    text = str(value)
    if _CODE.search(name) or NATIVE.search(text):
        if _is_allowed(folder, text):
            return
        raise ModelError(
            f"{file} names native code, which would run as soon as the model is loaded ({where}: {text!r}); take a "
            f"model that brings none. Whoever trusts that library names it: {ALLOWED}=/path/of/it"
        )
    if _OWN_FILE.fullmatch(name):
        if not is_inside(folder, text):
            raise ModelError(
                f"{file} names a file outside of the model's folder ({where}: {text!r}); fetch the model again"
            )
    elif isinstance(value, str) and (_ELSEWHERE.search(name) or re.search(r"[\\/\0]|^~|^\.\.", text)):
        raise ModelError(
            f"{file} names a file that is none of the model's ({where}: {text!r}); take that line out, or take a "
            "model without it"
        )


def _is_allowed(folder: Path, name: str) -> bool:
    named = [Path(each).expanduser().resolve() for each in os.environ.get(ALLOWED, "").split(os.pathsep) if each]
    return "\0" not in name and (folder / name).resolve() in named
