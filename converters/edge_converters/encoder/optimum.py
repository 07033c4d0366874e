"""Any transformer that embeds texts or scores pairs of them -> an ONNX file, through optimum, and held against torch.

optimum-onnx asks for transformers 4 and the rest of this project for 5: this room has an environment of its own.
"""

from __future__ import annotations

import contextlib
import logging
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from edge.errors import ConversionError, MissingExtra
from edge_converters.weights.checkpoint import read_json

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

Task = Literal["feature-extraction", "text-classification"]

# The first opset whose ReduceMax takes its axes as int8 is drawn with them.
_OPSET = 18
# Of fp32 to torch, as a part of the largest value; about 1e-6 is usual.
_MOST_DIFFERENCE = 1e-3
_LEAST_COSINE_INT8 = 0.9

# One word, a sentence, and more tokens than the usual windows of local attention are wide.
_PROBES = (
    ("Yes", "No"),
    ("How high is the dam?", "The dam is 196 metres high and was finished in 1984."),
    ("What may I do with it?", "Everyone may copy, change and sell the work, as long as the notice stays. " * 40),
)
_MOST_TOKENS = 400


class Exporter:
    """A model loaded into torch in float32: what is exported, and what every exported file is compared with.

    `directory` holds config.json, safetensors and tokenizer.json. Raises MissingExtra without optimum,
    ConversionError for a model that cannot be loaded or lacks weights.
    """

    def __init__(self, directory: Path, task: Task) -> None:
        self.directory = directory
        self._task = task
        self._output = "logits" if task == "text-classification" else "last_hidden_state"
        with _quiet():
            self._torch, self._transformers, self._tasks, self._export = _import()
            self._model = self._load().eval()
        self._probes = self._tokens()

    def export(self, out: Path) -> float:
        """Write the model as an ONNX file and return its largest difference to torch, see `difference`.

        Inputs are optimum's: `input_ids`, `attention_mask` and what else the model takes, int64 [batch, sequence];
        the output is `last_hidden_state` float32 [batch, sequence, hidden] for feature-extraction and `logits`
        float32 [batch, labels] for text-classification. More than 2 GB of weights go beside it into NAME_data.

        Raises ConversionError for an architecture that optimum does not know or exports wrongly.
        """
        with _quiet():
            try:
                make = self._tasks.get_exporter_config_constructor(
                    "onnx", model=self._model, task=self._task, library_name="transformers"
                )
                config = make(self._model.config)
                opset = max(_OPSET, config.DEFAULT_ONNX_OPSET)
                self._export(self._model, config, out, opset=opset, device="cpu", dtype="fp32")
            except OSError:
                raise  # a full disk, say: what publishes the export knows it
            # optimum, torch.onnx and the code of a model each raise what they like.
            except Exception as error:
                raise ConversionError(
                    f"optimum cannot export {self.directory} ({_line(error)}); choose a model of another architecture"
                ) from error
        worst = self.difference(out)
        if not worst <= _MOST_DIFFERENCE:
            raise ConversionError(
                f"what optimum made of {self.directory} differs from the model by {worst:.2g} of its largest value; "
                "choose a model of another architecture"
            )
        return worst

    def difference(self, file: Path) -> float:
        """The largest difference of an ONNX file to torch over texts of several lengths, as a part of the largest
        value of its text.
        """
        import numpy as np

        # numpy's max, because Python's passes over a NaN.
        return float(np.max([np.abs(got - want).max() / np.abs(want).max() for got, want in self._outputs(file)]))

    def check_int8(self, file: Path) -> float:
        """The least cosine of an ONNX file in int8 to torch: of any text's mean state, or of all logits together.

        Raises ConversionError where it shows that the model does not bear int8.
        """
        import numpy as np

        pairs = list(self._outputs(file))
        if self._task == "text-classification":
            vectors = [tuple(np.concatenate(side, axis=1)[0] for side in zip(*pairs, strict=True))]
        else:
            vectors = [(got[0].mean(axis=0), want[0].mean(axis=0)) for got, want in pairs]
        least = float(np.min([got @ want / (np.linalg.norm(got) * np.linalg.norm(want)) for got, want in vectors]))
        if not least >= _LEAST_COSINE_INT8:
            raise ConversionError(
                f"{self.directory} does not bear int8 (cosine {least:.2f} to the original); convert it to fp32"
            )
        return least

    def _outputs(self, file: Path) -> Iterator[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """What `file` and torch give for every text, each alone in its batch, as the index runs it."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        session = onnxruntime.InferenceSession(file, options, providers=["CPUExecutionProvider"])
        names = [given.name for given in session.get_inputs()]
        for probe in self._probes:
            try:
                feed = {name: probe[name] for name in names}
            except KeyError as error:
                raise ConversionError(
                    f"{self.directory} wants {error.args[0]} as an input, which no text has; choose another model"
                ) from error
            with self._torch.no_grad():
                want = self._model(**{name: self._torch.from_numpy(value) for name, value in feed.items()})
            yield session.run([self._output], feed)[0], want[self._output].numpy()

    def _load(self) -> Any:
        config = _read_config(self.directory, self._transformers)
        labels = self._task == "text-classification"
        cls = self._transformers.AutoModelForSequenceClassification if labels else self._transformers.AutoModel
        try:
            # Attention is eager because the tracer does not see through the fused kinds; pickles are never read.
            model, found = cls.from_pretrained(
                self.directory,
                config=config,
                dtype=self._torch.float32,
                attn_implementation="eager",
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
        # transformers raises OSError, ValueError, RuntimeError, SafetensorError and what a model's code raises.
        except Exception as error:
            raise ConversionError(f"transformers cannot load {self.directory} ({_line(error)})") from error
        # Token states do not pass through the pooler; what else is missing would be random numbers.
        absent = [name for name in found["missing_keys"] if labels or "pooler" not in name]
        absent += [name for name, *_ in found["mismatched_keys"]]
        if absent:
            raise ConversionError(
                f"{self.directory} lacks {absent[0]} or has it in another shape ({len(absent)} weights in all); "
                "fetch the model again"
            )
        return model

    def _tokens(self) -> list[dict[str, NDArray[np.int64]]]:
        """The probe texts, or pairs of them, as inputs of the shape [1, tokens]."""
        import numpy as np
        from tokenizers import Tokenizer

        path = self.directory / "tokenizer.json"
        try:
            tokenizer = Tokenizer.from_file(str(path))
        # tokenizers raises bare Exceptions.
        except Exception as error:
            raise ConversionError(f"{path} is damaged ({_line(error)}); fetch the model again") from error
        tokenizer.no_padding()
        # RoBERTa's kind begins to count behind the padding id, so that the last positions are not for tokens.
        positions = getattr(self._model.config, "max_position_embeddings", None) or _MOST_TOKENS
        tokenizer.enable_truncation(max(8, min(_MOST_TOKENS, positions - 4)))
        probes = []
        for first, second in _PROBES:
            encoding = (
                tokenizer.encode(first, second) if self._task == "text-classification" else tokenizer.encode(second)
            )
            ids = np.array([encoding.ids], np.int64)
            probes.append(
                {
                    "input_ids": ids,
                    "attention_mask": np.ones_like(ids),
                    "token_type_ids": np.array([encoding.type_ids], np.int64),
                    "position_ids": np.arange(ids.shape[1], dtype=np.int64)[None],
                }
            )
        return probes


def _import() -> tuple[Any, Any, Any, Any]:
    try:
        import torch
        import transformers
        from optimum.exporters.onnx import export
        from optimum.exporters.tasks import TasksManager
    except ImportError as error:
        hint = (
            " in an environment of its own (python -m venv …), because optimum needs transformers 4 where "
            "edge-expert[convert] needs 5; what it makes runs here without it"
        )
        raise MissingExtra("optimum", "optimum", hint) from error
    return torch, transformers, TasksManager, export


def _read_config(directory: Path, transformers: Any) -> Any:
    """The configuration as transformers 4 reads it, with what 5 has renamed put back."""
    raw = read_json(directory / "config.json")
    try:
        config = transformers.AutoConfig.from_pretrained(directory, local_files_only=True)
    # An unknown architecture is a ValueError, one with code of its own asks at the terminal, and so on.
    except Exception as error:
        raise ConversionError(
            f"transformers {transformers.__version__} cannot read {directory / 'config.json'} ({_line(error)}); "
            "choose a model of another architecture"
        ) from error
    try:
        renamed = _older_rope(raw)
    except (KeyError, TypeError, AttributeError) as error:
        raise ConversionError(
            f"{directory / 'config.json'} was written by transformers 5 with rope_parameters that transformers 4, "
            "which optimum needs, cannot follow; save the model with transformers 4"
        ) from error
    for name, value in renamed.items():
        setattr(config, name, value)
    # ModernBERT compiles itself where it can, which cannot be traced.
    if hasattr(config, "reference_compile"):
        config.reference_compile = False
    return config


def _older_rope(config: Mapping[str, Any]) -> dict[str, Any]:
    """What transformers 4 calls the `rope_parameters` of transformers 5, which it would pass over in silence.

    Raises KeyError for a form that is not known.
    """
    rope = config.get("rope_parameters")
    if rope is None:
        return {}
    if "rope_theta" in rope:
        rest = {name: value for name, value in rope.items() if name != "rope_theta"}
        scaling = None if rest.get("rope_type", "default") == "default" else rest
        return {"rope_theta": rope["rope_theta"], "rope_scaling": scaling}
    if config["model_type"] != "modernbert" or any(part["rope_type"] != "default" for part in rope.values()):
        raise KeyError("rope_parameters")
    kinds, every = config.get("layer_types", []), config.get("global_attn_every_n_layers", 3)
    if any((kind == "full_attention") != (layer % every == 0) for layer, kind in enumerate(kinds)):
        raise KeyError("layer_types")
    thetas = {name: part["rope_theta"] for name, part in rope.items()}
    return {"global_rope_theta": thetas["full_attention"], "local_rope_theta": thetas["sliding_attention"]}


def _line(error: Exception) -> str:
    text = str(error).strip() or type(error).__name__
    return text.splitlines()[0].rstrip(".")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without what the tracer, transformers and optimum tell developers."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
