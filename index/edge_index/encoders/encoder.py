"""Texts -> unit vectors: a sentence-transformers model on onnxruntime and tokenizers, without torch."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge import arguments
from edge.errors import ConversionError, EncoderError
from edge.system.checksum import sha256_of
from edge.system.json_file import read_json
from edge.system.machine import physical_cores
from edge.system.model_folder import is_inside
from edge.system.offline import silence_native
from edge.system.paths import cache_dir
from edge_index.closable import Closable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Variant = Literal["fp32", "int8"]
Span = tuple[int, int]

# Texts of one length share a forward pass up to so many tokens: more no longer pays, it only leaves the cache.
# In int8 every text goes alone: the range of its values sets the steps, and must not depend on its neighbours.
_PASS_TOKENS = {"fp32": 512, "int8": 1}
# Their first token has the position behind the padding id.
_COUNTS_FROM_PADDING = ("roberta", "xlm-roberta", "camembert", "mpnet", "data2vec-text", "longformer", "ibert", "xmod")
# The ONNX files that a directory may bring; for fp32 the first one is the last choice.
_READY = ("onnx/model_int8.onnx", "onnx/model.onnx", "model.onnx")
# Texts are tokenised in windows of so many, so that memory does not grow with a corpus.
_WINDOW = 1024


class Encoder(Closable):
    """A text encoder that stays loaded. Safe to use from several threads; after `close` all is an EncoderError.

    Make one with `Encoder.open`.

    Attributes:
        name: The name of its folder.
        dim: Numbers of a vector.
        max_tokens: The longest text that is not cut, in tokens.
        fingerprint: Tells vectors of one encoder from those of another.

    Examples:
        >>> from edge_index import Encoder
        >>> with Encoder.open("all-MiniLM-L6-v2") as encoder:
        ...     encoder.encode(["The pump", "The boiler"]).shape
        (2, 384)
    """

    closed_error = EncoderError
    name: str
    dim: int
    max_tokens: int
    fingerprint: str

    @classmethod
    def open(
        cls,
        directory: Path | str,
        *,
        variant: Variant = "int8",
        threads: int | None = None,
        cache: Path | None = None,
    ) -> Encoder:
        """Load a sentence-transformers model.

        Its weights are converted once. A model that cannot be converted so, or comes without safetensors, runs from an
        ONNX file of its own, of `variant` if there is one; `edge convert encoder` makes such folders.

        Args:
            directory: Its folder.
            variant: "int8" or "fp32".
            threads: None takes the physical cores.
            cache: Where the converted file is kept; None is edge's cache directory.

        Returns:
            The encoder; use it in a `with` block, or `close` it.

        Raises:
            EncoderError: For a broken or unsupported model.
            MissingExtra: When the conversion needs a package.
        """
        folder = Path(directory)
        layout = _Layout.read(folder)
        return cls(folder, layout, variant, threads, cache if cache is not None else cache_dir() / "encoders")

    def __init__(self, directory: Path, layout: _Layout, variant: Variant, threads: int | None, cache: Path) -> None:
        silence_native()
        self.name = directory.resolve().name
        self.max_tokens = layout.max_tokens
        self._pooling = layout.pooling
        self._tokenizer = _open_tokenizer(layout)
        self._session, weights = _load(layout, variant, cache)
        # onnxruntime writes "tensor(int64)".
        self._inputs = {given.name: given.type[7:-1] for given in self._session.get_inputs()}
        self._output, self.dim = _hidden_states(self._session, directory)
        self._pass_tokens = _PASS_TOKENS[variant]
        # One text a thread: nothing waits for the slowest part of an operator, which counts on a busy machine.
        self._workers = ThreadPoolExecutor(threads or physical_cores(), thread_name_prefix="encoder")
        facts = [weights, layout.pooling, layout.max_tokens, layout.lower_case, _sha256(layout.tokenizer)]
        self.fingerprint = hashlib.sha256(json.dumps(facts).encode()).hexdigest()

    def encode(self, texts: Sequence[str]) -> NDArray[np.float32]:
        """The vectors of texts.

        Args:
            texts: Each is cut after `max_tokens` tokens.

        Returns:
            float32 [n, dim], of unit length and in their order.
        """
        return self._encode(texts, None)[0]

    def encode_with_spans(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]]
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """The vectors of texts and those of spans in them, from one pass.

        A span's vector is the mean of the states of the tokens that lie in it, so that it knows its surroundings ("late
        chunking", https://arxiv.org/abs/2409.04701).

        Args:
            texts: As in `encode`.
            spans: For each text its spans, in characters, end exclusive.

        Returns:
            The vectors as `encode` gives them, and for each text float32 [spans, dim], of unit length, or zero where no
            token of a span is left after `max_tokens`.

        Raises:
            EncoderError: Where there are not as many lists of spans as texts.
        """
        if len(spans) != len(texts):
            raise EncoderError(f"{len(texts)} texts came with the spans of {len(spans)}; give one list for each")
        return self._encode(texts, spans)

    def count(self, text: str) -> int:
        """Tokens of a text, the special ones included and nothing cut off.

        Args:
            text: The text.

        Returns:
            How many.
        """
        encoding = self._tokenize([arguments.text("text", text)], offsets=False)[0]
        special: int = self._tokenizer.num_special_tokens_to_add(False)
        return len(encoding.ids) + sum(len(rest.ids) - special for rest in encoding.overflowing)

    def _name(self) -> str:
        return f"the encoder {self.name}"

    def _free(self) -> None:
        self._workers.shutdown()
        self._session = self._tokenizer = None

    def __repr__(self) -> str:
        closed = ", closed" if self.closed else ""
        return f"Encoder({self.name!r}, dim={self.dim}, max_tokens={self.max_tokens}{closed})"

    def _encode(
        self, texts: Sequence[str], spans: Sequence[Sequence[Span]] | None
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        import numpy as np

        texts = arguments.texts("texts", texts)
        vectors = np.zeros((len(texts), self.dim), np.float32)
        parts = [vectors[:0]] * len(texts)
        for start in range(0, len(texts), _WINDOW):
            encodings = self._tokenize(texts[start : start + _WINDOW], offsets=spans is not None)

            def run(rows: list[int], start: int = start, encodings: list[Any] = encodings) -> None:
                hidden = self._forward([encodings[row].ids for row in rows])
                vectors[[start + row for row in rows]] = self._pool(hidden)
                if spans is not None:
                    for row, states in zip(rows, hidden, strict=True):
                        parts[start + row] = _span_vectors(encodings[row], states, spans[start + row])

            for _ in self._workers.map(run, self._passes(encodings)):
                pass  # raises here what a worker raised
        return vectors, parts

    def _passes(self, encodings: list[Any]) -> list[list[int]]:
        """Indices that go through the model together: texts of one length, so that nothing is padded or masked."""
        lengths: dict[int, list[int]] = {}
        for row, encoding in enumerate(encodings):
            lengths.setdefault(len(encoding.ids), []).append(row)
        passes = []
        # The longest first: the threads then end together.
        for length, rows in sorted(lengths.items(), reverse=True):
            size = max(1, self._pass_tokens // length)
            passes += [rows[i : i + size] for i in range(0, len(rows), size)]
        return passes

    def _tokenize(self, texts: Sequence[str], *, offsets: bool) -> list[Any]:
        encode = self._tokenizer.encode_batch if offsets else self._tokenizer.encode_batch_fast
        try:
            return list(encode(list(texts)))
        except (TypeError, UnicodeEncodeError):
            # Half a surrogate pair is no character for tokenizers; "?" in its place keeps every offset.
            return list(encode([text.encode("utf-8", "replace").decode() for text in texts]))

    def _forward(self, rows: list[list[int]]) -> NDArray[np.float32]:
        import numpy as np

        ids = np.array(rows, dtype=np.int64)
        ones = np.ones_like(ids)
        values = {"input_ids": ids, "attention_mask": ones, "token_type_ids": 0 * ids}
        values["position_ids"] = ones.cumsum(axis=1) - 1
        feed = {name: values[name].astype(kind, copy=False) for name, kind in self._inputs.items()}
        hidden: NDArray[np.float32] = self._session.run([self._output], feed)[0]
        return hidden

    def _pool(self, hidden: NDArray[np.float32]) -> NDArray[np.float32]:
        import numpy as np

        if self._pooling in ("cls", "lasttoken"):
            return _unit(hidden[:, 0 if self._pooling == "cls" else -1])
        if self._pooling == "max":
            return _unit(np.max(hidden, axis=1))
        return _unit(np.mean(hidden, axis=1))


def _unit(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    import numpy as np

    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.maximum(length, 1e-12), np.float32)


def _span_vectors(encoding: Any, states: NDArray[np.float32], spans: Sequence[Span]) -> NDArray[np.float32]:
    import numpy as np

    # Special tokens stand at (0, 0), as does whatever the tokenizer made of nothing.
    offsets = np.array(encoding.offsets).reshape(-1, 2)
    edges = np.array(spans, dtype=np.int64).reshape(-1, 2)
    inside = (offsets[:, 0] >= edges[:, :1]) & (offsets[:, 1] <= edges[:, 1:]) & (offsets[:, 1] > offsets[:, 0])
    return _unit(inside.astype(np.float32) @ states[: len(offsets)])


@dataclass(frozen=True)
class _Layout:
    """What a sentence-transformers directory says about its model."""

    transformer: Path
    config: dict[str, Any]
    pooling: str
    max_tokens: int
    lower_case: bool

    @property
    def tokenizer(self) -> Path:
        return self.transformer / "tokenizer.json"

    @classmethod
    def read(cls, directory: Path) -> _Layout:
        modules = _read_json(directory / "modules.json", list)
        found = [module for module in modules if isinstance(module, dict)]
        for module in found:
            if not is_inside(directory, str(module.get("path", ""))):
                raise EncoderError(
                    f"{directory / 'modules.json'} names a folder outside of it ({module['path']!r}); "
                    "fetch the encoder again"
                )
        folders = {str(module.get("type")).rpartition(".")[2]: directory / module.get("path", "") for module in found}
        unknown = folders.keys() - {"Transformer", "Pooling", "Normalize"}
        if unknown or not {"Transformer", "Pooling"} <= folders.keys():
            raise EncoderError(
                f"{directory / 'modules.json'} lists {', '.join(folders) or 'nothing'}; an encoder of Transformer, "
                "Pooling and Normalize is needed, choose another one"
            )
        transformer = folders["Transformer"]
        config = _read_json(transformer / "config.json", dict)
        own = transformer / "sentence_bert_config.json"
        settings = _read_json(own, dict) if own.is_file() else {}
        extra = transformer / "tokenizer_config.json"
        tokenizer = _read_json(extra, dict) if extra.is_file() else {}
        positions = config.get("max_position_embeddings")
        if positions and config.get("model_type") in _COUNTS_FROM_PADDING:
            positions -= config.get("pad_token_id", 1) + 1
        limits = [settings.get("max_seq_length"), tokenizer.get("model_max_length"), positions]
        return cls(
            transformer,
            config,
            _read_pooling(folders["Pooling"] / "config.json"),
            int(min([limit for limit in limits if limit], default=512)),
            bool(settings.get("do_lower_case")),
        )


def _read_pooling(path: Path) -> str:
    """`mean`, `cls`, `max` or `lasttoken`: in flags, or one name since sentence-transformers 6."""
    config = _read_json(path, dict)
    flags = [key for key, value in config.items() if key.startswith("pooling_mode_") and value is True]
    named = config.get("pooling_mode", [flag.removeprefix("pooling_mode_").split("_tok")[0] for flag in flags])
    modes = [named] if isinstance(named, str) else list(named) or ["mean"]
    if modes in (["mean"], ["cls"], ["max"], ["lasttoken"]):
        return str(modes[0])
    raise EncoderError(
        f"{path} asks for the pooling {' + '.join(map(str, modes))}; only mean, cls, max and lasttoken are known, "
        "choose another encoder"
    )


_ADVICE = "give the directory of a sentence-transformers model, or fetch the starter encoder: edge models pull starter"


def _read_json(path: Path, kind: type) -> Any:
    value = read_json(path, EncoderError, advice=_ADVICE)
    if not isinstance(value, kind):
        raise EncoderError(f"{path} does not hold what it should; fetch the encoder again")
    return value


def _open_tokenizer(layout: _Layout) -> Any:
    from tokenizers import Tokenizer, normalizers

    # Read here, so that a missing file and a broken one are told apart: tokenizers raises bare Exceptions.
    text = json.dumps(_read_json(layout.tokenizer, dict))
    try:
        tokenizer = Tokenizer.from_str(text)
    except Exception as error:
        raise EncoderError(f"{layout.tokenizer} is damaged ({error}); fetch the encoder again") from error
    tokenizer.no_padding()
    tokenizer.enable_truncation(layout.max_tokens)
    if layout.lower_case:
        steps = [normalizers.Lowercase(), *([tokenizer.normalizer] if tokenizer.normalizer else [])]
        tokenizer.normalizer = normalizers.Sequence(steps)
    return tokenizer


def _load(layout: _Layout, variant: Variant, cache: Path) -> tuple[Any, str]:
    """The session and what identifies its weights; makes the ONNX file of this model if there is none yet."""
    from edge_converters.encoder.export import VERSION, can_convert, to_encoder

    weights = layout.transformer / "model.safetensors"
    names = _READY if variant == "int8" else (*_READY[1:], _READY[0])
    ready = [layout.transformer / name for name in names if (layout.transformer / name).is_file()]
    if ready and not (can_convert(layout.config) and weights.is_file()):
        # Above 2 GB the numbers stand beside the graph.
        parts = [path for path in (ready[0], Path(f"{ready[0]}_data")) if path.is_file()]
        return _open_session(ready[0], fuse=True), "-".join(map(_sha256, parts))
    digests = [_sha256(path) for path in (weights, layout.transformer / "config.json") if path.is_file()]
    identity = hashlib.sha256("-".join([*digests, variant, str(VERSION)]).encode()).hexdigest()
    path = cache / f"{layout.transformer.resolve().name}-{variant}-{identity[:16]}.onnx"
    if path.is_file():
        try:
            return _open_session(path), identity
        except EncoderError:
            pass  # only a cached copy, and damaged: it is made again
    try:
        return _open_session(to_encoder(layout.transformer, path, variant=variant)), identity
    except ConversionError as error:
        raise EncoderError(str(error)) from error


def _open_session(path: Path, *, fuse: bool = False) -> Any:
    """`fuse` is for files that others exported; ours are drawn as they run best."""
    import onnxruntime
    from onnxruntime.capi import onnxruntime_pybind11_state as errors

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    options.log_severity_level = 4
    # Every length is a shape of its own: a plan of the memory for each of them would only pile up.
    options.enable_mem_pattern = False
    if not fuse:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    # onnxruntime 1.31's SkipLayerNormalization takes four times as long as its two parts.
    disabled = ["SkipLayerNormFusion"]
    broken = errors.Fail, errors.InvalidArgument, errors.InvalidGraph, errors.InvalidProtobuf, errors.RuntimeException
    try:
        return onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"], disabled_optimizers=disabled)
    except (*broken, errors.NoSuchFile, errors.NotImplemented) as error:
        raise EncoderError(f"onnxruntime cannot load {path} ({error}); fetch the encoder again") from error


def _hidden_states(session: Any, directory: Path) -> tuple[str, int]:
    """Name and width of the output [batch, sequence, hidden]."""
    for output in session.get_outputs():
        if len(output.shape) == 3 and isinstance(output.shape[2], int):
            return output.name, output.shape[2]
    raise EncoderError(
        f"the ONNX file of {directory} gives no token states [batch, sequence, hidden]; "
        "export it for feature extraction"
    )


def _sha256(path: Path) -> str:
    try:
        return sha256_of(path)
    except OSError as error:
        raise EncoderError(f"cannot read {path} ({error.strerror}); make it readable or fetch it again") from error
