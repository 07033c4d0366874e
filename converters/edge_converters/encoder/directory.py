"""A sentence-transformers directory -> a directory with an ONNX file in place of the weights, ready for the index.

BERT-shaped encoders are drawn by `encoder`; all others, and rerankers, go through `optimum_export`.
"""

from __future__ import annotations

import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edge.errors import ConversionError
from edge.system.own_process import in_own_process
from edge_converters.encoder.export import Variant, can_convert, refuse_pickle, to_encoder
from edge_converters.encoder.int8 import quantize_products
from edge_converters.encoder.optimum import Exporter
from edge_converters.output import atomic_output, write_manifest
from edge_converters.types import Export, Progress
from edge_converters.weights.checkpoint import Checkpoint, load_json, read_json

Kind = Literal["encoder", "reranker"]

_KEPT = {".json", ".jinja", ".md", ".model", ".txt"}
_MODULES = {"Transformer", "Pooling", "Normalize"}


@in_own_process
def convert_encoder(
    directory: Path, out: Path, *, variant: Variant = "int8", progress: Progress | None = None
) -> Export:
    """Write a sentence-transformers model as the folder that an index opens without torch.

    `out` holds tokenizer, configuration and modules as they were and, in place of the weights, onnx/model.onnx (fp32)
    or onnx/model_int8.onnx. The kind of the export is "encoder", or "reranker" for a cross-encoder, whose file takes
    pairs of texts and gives `logits` (float32, [batch, labels]); the activation on them is named in the configuration.

    Args:
        directory: The model's folder.
        out: The folder to make.
        variant: "int8" or "fp32".
        progress: Called as (stage, done, total).

    Returns:
        The export.

    Raises:
        ConversionError: For pickles, unknown architectures and modules, and an export that differs from its model.
        MissingExtra: Where a package is absent.
        StorageError: Where `out` cannot be written.

    Examples:
        >>> edge_converters.convert_encoder(Path("all-MiniLM-L6-v2"), Path("minilm")).kind
        'encoder'
    """
    started = time.monotonic()
    if variant not in ("fp32", "int8"):
        raise ConversionError(f"{variant!r} is no variant of an encoder; choose fp32 or int8")
    source = _Source.read(directory)
    checkpoint = Checkpoint(source.transformer)
    drawn = source.kind == "encoder" and can_convert(checkpoint.config)
    total = sum(tensor.nbytes for tensor in checkpoint.tensors.values())
    floats = 4 * sum(tensor.elements for tensor in checkpoint.tensors.values())
    if progress:
        progress("export", 0, total)
    # Unless it is drawn, the file in int8 is made from one in float32.
    with atomic_output(out, needs=floats if drawn or variant == "fp32" else 2 * floats) as partial:
        file = source.copy(partial) / "onnx" / ("model_int8.onnx" if variant == "int8" else "model.onnx")
        file.parent.mkdir()
        if drawn:
            to_encoder(source.transformer, file, variant=variant)
            measured = {}
        else:
            measured = _through_optimum(source, file, variant, scratch=partial.parent)
    if progress:
        progress("export", total, total)
    options = {"variant": variant, "exporter": "edge" if drawn else "optimum", **measured}
    return write_manifest(out, source.kind, base=directory, options=options, started=started)


def _through_optimum(source: _Source, file: Path, variant: Variant, scratch: Path) -> dict[str, float]:
    exporter = Exporter(
        source.transformer, "text-classification" if source.kind == "reranker" else "feature-extraction"
    )
    if variant == "fp32":
        return {"difference": exporter.export(file)}
    whole = scratch / "float" / "model.onnx"
    difference = exporter.export(whole)
    quantize_products(whole, file)
    return {"difference": difference, "cosine": exporter.check_int8(file)}


@dataclass(frozen=True)
class _Source:
    """What stands where in a sentence-transformers directory."""

    directory: Path
    transformer: Path
    folders: tuple[Path, ...]
    kind: Kind

    @classmethod
    def read(cls, directory: Path) -> _Source:
        """Checked to be something that the index, or onnxruntime, can run afterwards."""
        modules = _modules(directory)
        unknown = [name for name, _ in modules if name not in _MODULES]
        if unknown:
            raise ConversionError(
                f"{directory / 'modules.json'} lists {', '.join(unknown)}; a model of Transformer, Pooling and "
                "Normalize alone can be converted, choose another one"
            )
        names = [name for name, _ in modules]
        if "Transformer" not in names:
            raise ConversionError(f"{directory / 'modules.json'} lists no Transformer; fetch the model again")
        transformer = directory / dict(modules)["Transformer"]
        refuse_pickle(transformer)
        if not (transformer / "tokenizer.json").is_file():
            raise ConversionError(
                f"{transformer / 'tokenizer.json'} is missing; load the model in sentence-transformers and save it "
                "with a fast tokenizer"
            )
        folders = tuple(dict.fromkeys([directory, *(directory / path for _, path in modules)]))
        return cls(directory, transformer, folders, _kind(directory, transformer, names))

    def copy(self, out: Path) -> Path:
        """Write everything but the weights below `out`; the transformer's folder there."""
        for folder in self.folders:
            target = out / folder.relative_to(self.directory)
            target.mkdir(parents=True, exist_ok=True)
            if not folder.is_dir():
                continue  # Normalize has nothing to keep
            for path in folder.iterdir():
                licence = path.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE"))
                kept = path.suffix in _KEPT and not path.name.endswith(".index.json")
                if path.is_file() and (kept or licence):
                    shutil.copyfile(path, target / path.name)
        return out / self.transformer.relative_to(self.directory)


def _kind(directory: Path, transformer: Path, modules: list[str]) -> Kind:
    if "Pooling" in modules:
        return "encoder"
    architectures = read_json(transformer / "config.json").get("architectures") or []
    if any(str(name).endswith("ForSequenceClassification") for name in architectures):
        return "reranker"
    raise ConversionError(
        f"{directory} has neither a Pooling module, as an encoder has, nor a classification head, as a "
        "reranker has; give the directory of a sentence-transformers model"
    )


def _modules(directory: Path) -> list[tuple[str, str]]:
    """Kind and folder of every module; a cross-encoder that was saved before they had modules is one Transformer."""
    path = directory / "modules.json"
    if not path.is_file() and (directory / "config.json").is_file():
        return [("Transformer", "")]
    modules = load_json(path)
    try:
        found = [(str(module["type"]).rpartition(".")[2], str(module.get("path", ""))) for module in modules]
    except (TypeError, KeyError, AttributeError) as error:
        raise ConversionError(f"{path} does not hold what it should; fetch the model again") from error
    outside = next((folder for _, folder in found if not _inside(directory, folder)), None)
    if outside is not None:
        raise ConversionError(f"{path} names the folder {outside}, which lies outside; fetch the model again")
    return found


def _inside(directory: Path, folder: str) -> bool:
    return (directory / folder).resolve().is_relative_to(directory.resolve())
