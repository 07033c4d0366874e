"""A cross-encoder on onnxruntime: reads query and text together and says how well the one answers the other."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge import arguments
from edge.errors import EncoderError
from edge.system.json_file import read_json_object
from edge_index.closable import Closable

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

_BATCH = 16
"""Pairs that go through the model together, of nearly one length."""

_LONGEST = 512
"""Tokens of a pair, where the directory does not say."""


class Reranker(Closable):
    """Any cross-encoder that was exported to a folder with model.onnx, with one logit, and tokenizer.json.

    Make one with `Reranker.open`. Safe to use from several threads. After `close` everything is an EncoderError.

    Attributes:
        path: The folder.

    Examples:
        >>> from edge_index import Reranker
        >>> index = Index.open("pumps", reranker=Reranker.open("ms-marco-minilm"))  # doctest: +SKIP
    """

    closed_error = EncoderError

    def __init__(self, path: Path, session: Any, tokenizer: Any, padding: int) -> None:
        self.path = path
        self._session = session
        self._tokenizer = tokenizer
        self._padding = padding
        self._inputs = {field.name for field in session.get_inputs()}

    @classmethod
    def open(cls, path: Path | str, *, threads: int | None = None) -> Reranker:
        """Load a cross-encoder.

        Args:
            path: Its folder; `onnx/model.onnx` is found, too.
            threads: None leaves it to onnxruntime.

        Returns:
            The reranker.

        Raises:
            EncoderError: For what is missing or damaged, and for a model that gives more than one logit.
        """
        from edge.system.offline import silence_native

        silence_native()
        import onnxruntime as ort
        from tokenizers import Tokenizer

        folder = Path(path).expanduser()
        model = next((file for file in (folder / "model.onnx", folder / "onnx" / "model.onnx") if file.is_file()), None)
        if model is None or not (folder / "tokenizer.json").is_file():
            raise EncoderError(f"{folder} is no reranker: it needs model.onnx and tokenizer.json; export one there")
        options = ort.SessionOptions()
        options.log_severity_level = 3
        options.intra_op_num_threads = threads or 0
        try:
            session = ort.InferenceSession(str(model), options, providers=["CPUExecutionProvider"])
            tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        except Exception as error:  # both libraries raise plain exceptions of many kinds
            raise EncoderError(f"{folder} cannot be loaded as a reranker ({error}); export it again") from error
        logits = session.get_outputs()[0].shape
        if len(logits) != 2 or (isinstance(logits[1], int) and logits[1] != 1):
            raise EncoderError(f"{model} gives {logits} per batch, not one logit a pair; take a model for ranking")
        tokenizer.no_padding()
        tokenizer.enable_truncation(_longest(folder), strategy="only_second")
        padding = _config(folder / "config.json").get("pad_token_id")
        return cls(folder, session, tokenizer, padding if isinstance(padding, int) else 0)

    def scores(self, query: str, texts: Sequence[str], /) -> NDArray[np.float32]:
        """Read a question together with each of some texts.

        Args:
            query: The question.
            texts: Each is cut at its end where the pair is too long.

        Returns:
            The logit of every pair, float32 [n]; higher is better.

        Raises:
            EncoderError: For a question that is too long by itself.
        """
        import numpy as np

        query, texts = arguments.text("query", query), arguments.texts("texts", texts)
        if not texts:
            return np.empty(0, np.float32)
        try:
            pairs = self._tokenizer.encode_batch([(query, text) for text in texts])
        except Exception as error:  # tokenizers raises a plain Exception when the query alone is too long
            raise EncoderError(f"the question does not fit into the reranker at {self.path} ({error})") from error
        found = np.empty(len(texts), np.float32)
        order = sorted(range(len(texts)), key=lambda i: len(pairs[i].ids))
        for start in range(0, len(order), _BATCH):
            rows = order[start : start + _BATCH]
            found[rows] = self._logits([pairs[row] for row in rows])
        return found

    def _logits(self, pairs: Sequence[Any]) -> NDArray[np.float32]:
        import numpy as np

        shape = (len(pairs), max(len(pair.ids) for pair in pairs))
        ids = np.full(shape, self._padding, np.int64)
        mask, types = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        for row, pair in enumerate(pairs):
            length = len(pair.ids)
            ids[row, :length], mask[row, :length], types[row, :length] = pair.ids, 1, pair.type_ids
        feed = {"input_ids": ids, "attention_mask": mask, "token_type_ids": types}
        feed = {name: value for name, value in feed.items() if name in self._inputs}
        logits: NDArray[np.float32] = self._session.run(None, feed)[0]
        return logits.astype(np.float32).reshape(len(pairs))

    def _name(self) -> str:
        return f"the reranker at {self.path}"

    def __repr__(self) -> str:
        return f"Reranker({str(self.path)!r}{', closed' if self.closed else ''})"

    def _free(self) -> None:
        self._session = self._tokenizer = None


def _longest(folder: Path) -> int:
    """Tokens of a pair: the smaller of what tokenizer and model say."""
    found = [
        _config(folder / "tokenizer_config.json").get("model_max_length"),
        _config(folder / "config.json").get("max_position_embeddings"),
        _LONGEST,
    ]
    return min(int(value) for value in found if isinstance(value, (int, float)) and value > 0)


def _config(path: Path) -> dict[str, Any]:
    return read_json_object(path, EncoderError, advice="fetch the reranker again") if path.exists() else {}
