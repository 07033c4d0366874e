"""The model that is to be tuned, as far as its data must know it: its tokens, its template, its length and its size.

No weight is loaded: a folder's or a GGUF file's vocabulary is, and the shapes in their headers.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from math import prod
from pathlib import Path
from typing import Any, Protocol

from edge.engines.chat_template import CHATML, ChatTemplate
from edge.errors import ModelError
from edge.system.json_file import read_json_object
from edge.types import Message
from edge_converters.data.records import Example

# Embeddings and the output: a LoRA leaves them alone, and four bits are for the others.
_OUTSIDE = re.compile(r"embed|lm_head|wte|wpe|token_types|^output\.|token_embd|norm|score")


class Vocabulary(Protocol):
    @property
    def template(self) -> ChatTemplate: ...

    def tokens(self, text: str) -> list[int]: ...


@dataclass(frozen=True, slots=True)
class ModelShapes:
    """How large a model is. `linear` are the (rows, columns) of every matrix that a LoRA changes."""

    parameters: int
    layers: int
    width: int
    forward: int
    vocabulary: int
    linear: tuple[tuple[int, int], ...]


@dataclass(frozen=True, slots=True)
class TokenCount:
    """Tokens of an example: all, and those that are learnt (what the assistant says and the end of its turns).

    An answer that begins with white space may count one too many: a tokenizer can join that to what stands before.
    """

    all: int
    learnt: int


class BaseModelInfo:
    """A model that examples are counted and rendered for. Use `open_base_model`.

    `context` is what it was trained for, None where its files do not tell; `shapes` likewise. `own_template` is False
    where the model has none, so that edge writes ChatML.
    """

    def __init__(self, path: Path, vocabulary: Vocabulary, context: int | None, shapes: ModelShapes | None) -> None:
        self.path, self.context, self.shapes = path, context, shapes
        self._vocabulary = vocabulary
        self.template = vocabulary.template
        self.own_template = self.template.source != CHATML

    def count(self, example: Example) -> TokenCount:
        """Raises ModelError when the template refuses the turns."""
        tokens = self._vocabulary.tokens
        if example.text is not None:
            size = len(tokens(example.text))
            return TokenCount(size, size)
        answers = [message.content for message in example.messages if message.role == "assistant"]
        learnt = sum(len(tokens(answer)) + self._turn_end_tokens for answer in answers)
        return TokenCount(len(tokens(self.template.render(example.messages, reply=False))), learnt)

    @cached_property
    def keeps_system(self) -> bool:
        return self.template.keeps_system

    def control_tokens_in(self, text: str) -> tuple[str, ...]:
        """Control tokens of this model that a text spells out."""
        return tuple(special for special in self._control_tokens if special in text)

    @cached_property
    def _control_tokens(self) -> tuple[str, ...]:
        return tuple(special for special in self.template.specials if len(special) > 2)

    @cached_property
    def _turn_end_tokens(self) -> int:
        """Tokens between an answer's last word and the end of its turn."""
        turns = [Message("user", "Why?"), Message("assistant", "So.")]
        ending = self.template.render(turns, reply=False).rpartition("So.")[2]
        return len(self._vocabulary.tokens(ending))


def open_base_model(path: Path) -> BaseModelInfo:
    """A Hugging Face folder, a GGUF file or a folder for onnxruntime-genai.

    Raises ModelNotFound, ModelError or MissingExtra (a GGUF file needs llama-cpp-python).
    """
    if path.is_dir():
        from edge.engines.tokenizer import HuggingFaceTokenizer

        config = _config(path)
        return BaseModelInfo(path, HuggingFaceTokenizer(path), _context(config), _shapes(path, config))
    return _open_gguf(path)


def _config(folder: Path) -> dict[str, Any]:
    file = folder / "config.json"
    return read_json_object(file, ModelError, advice="fetch the model again") if file.exists() else {}


def _context(config: dict[str, Any]) -> int | None:
    found = config.get("max_position_embeddings", config.get("n_positions"))
    return found if isinstance(found, int) and found > 0 else None


def _shapes(folder: Path, config: dict[str, Any]) -> ModelShapes | None:
    """From the headers of the safetensors; None where the folder has none that can be read (ONNX)."""
    from edge.errors import ConversionError
    from edge_converters.weights.checkpoint import Checkpoint

    try:
        shapes = {name: tuple(info.shape) for name, info in Checkpoint(folder).tensors.items()}
        width, layers = int(config["hidden_size"]), int(config["num_hidden_layers"])
        return _measure(shapes, width, layers, int(config.get("intermediate_size", 4 * width)))
    except (ConversionError, KeyError, TypeError, ValueError):
        return None


def _open_gguf(path: Path) -> BaseModelInfo:
    from edge.engines.llamacpp.gguf_check import check_gguf

    header = check_gguf(path, vocab_only=True)
    prefix = f"{header.settings.get('general.architecture', '')}."
    settings = {key.removeprefix(prefix): value for key, value in header.settings.items() if key.startswith(prefix)}
    context = settings.get("context_length")
    shapes = None
    if {"embedding_length", "block_count"} <= set(settings):
        sizes = {name: tensor.shape for name, tensor in header.tensors.items()}
        width = int(settings["embedding_length"])
        forward = settings.get("feed_forward_length", 4 * width)
        shapes = _measure(sizes, width, int(settings["block_count"]), int(forward))
    vocabulary = _GgufVocabularyOnly(path)
    return BaseModelInfo(path, vocabulary, int(context) if context else None, shapes)


def _measure(tensors: dict[str, tuple[int, ...]], width: int, layers: int, forward: int) -> ModelShapes:
    linear = [shape for name, shape in tensors.items() if len(shape) == 2 and not _OUTSIDE.search(name)]
    tables = [shape for name, shape in tensors.items() if len(shape) == 2 and _OUTSIDE.search(name)]
    return ModelShapes(
        parameters=sum(map(prod, tensors.values())),
        layers=layers,
        width=width,
        forward=forward,
        vocabulary=max((max(shape) for shape in tables), default=0),
        linear=tuple((shape[0], shape[1]) for shape in linear),
    )


class _GgufVocabularyOnly:
    """The vocabulary of a GGUF file whose weights are not loaded; it goes with this object."""

    def __init__(self, path: Path) -> None:
        from edge.engines.llamacpp.bindings import bindings, load_model
        from edge.engines.llamacpp.vocabulary import GgufVocabulary

        self._lib = bindings()
        self._model = load_model(path, vocab_only=True)
        vocabulary = GgufVocabulary(self._model)
        self.tokens, self.template = vocabulary.tokens, vocabulary.template

    def __del__(self) -> None:
        if getattr(self, "_model", None):
            self._lib.llama_model_free(self._model)
