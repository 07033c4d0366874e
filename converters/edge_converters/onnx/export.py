"""A Hugging Face directory, with adapters merged on the way -> a folder that onnxruntime-genai runs."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal

import edge.errors
from edge.errors import ConversionError, EdgeError, MissingExtra
from edge.system.offline import child_environment
from edge_converters.lora.merge import open_weights
from edge_converters.onnx.weights import DATA
from edge_converters.output import atomic_output, write_manifest
from edge_converters.types import Adapters, AdapterSource, Export, Progress, adapter_sources

Precision = Literal["int4", "int8", "fp16", "fp32"]
Provider = Literal["cpu", "cuda", "dml"]

ARCHITECTURES = (
    "Ernie4_5ForCausalLM", "Gemma2ForCausalLM", "Gemma3ForCausalLM", "GemmaForCausalLM", "GraniteForCausalLM",
    "HunYuanDenseV1ForCausalLM", "LlamaForCausalLM", "MistralForCausalLM", "NemotronForCausalLM", "OlmoForCausalLM",
    "Phi3ForCausalLM", "PhiForCausalLM", "Qwen2ForCausalLM", "Qwen3ForCausalLM", "SmolLM3ForCausalLM",
)  # fmt: skip
PRECISIONS: dict[str, tuple[str, ...]] = {
    "cpu": ("int4", "int8", "fp32"),
    "cuda": ("int4", "int8", "fp16", "fp32"),
    "dml": ("int4", "fp16"),
}
"""What the builder makes for each provider."""

_ASYMMETRIC = {"algo_config": "rtn", "is_symmetric": "false", "matmul_mixed_precision": "last_matmul:int8"}
RECIPES: dict[str, dict[str, str]] = {
    "int4": {**_ASYMMETRIC, "int8": "/attn/|/down_proj/"},
    "int8": {**_ASYMMETRIC, "int8": "/"},
}
"""The builder's options: what lost least for its size in tests/benchmarks/int4.py. `int8` is ours: a regular
expression for nodes of an int4 build that get eight bits. The builder's own int8 keeps tied embeddings in float32
beside the output head; an int4 build of nothing but eight bits shares them.
"""

_TOKENIZERS = ("tokenizer.json", "tokenizer.model", "vocab.json")
_COPIED = {".json", ".model", ".jinja", ".txt"}
_BYTES = {"int4": 1.0, "int8": 1.3, "fp16": 2.0, "fp32": 4.0}


def export_onnx(
    base: Path,
    out: Path,
    *,
    adapters: Adapters = (),
    precision: Precision = "int4",
    provider: Provider = "cpu",
    recipe: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Export:
    """Write the model of `base`, with `adapters` merged into it in float32, as the folder `out`.

    The folder holds model.onnx, its data, genai_config.json, the tokenizer and the chat template; it appears
    whole or not at all. `recipe`: options in the place of those of `RECIPES`. The builder
    (https://onnxruntime.ai/docs/genai/howto/build-model.html) runs in a process of its own, offline, and holds
    one layer at a time in memory.

    Raises ConversionError for a model or a combination that cannot be built, AdapterError for an adapter that
    does not fit, StorageError, and MissingExtra.
    """
    options = {"precision": precision, "provider": provider, "recipe": recipe_of(precision, recipe)}
    return build(base, out, adapters=adapter_sources(adapters), options=options, slots=False, progress=progress)


def build(
    base: Path,
    out: Path,
    *,
    adapters: Sequence[AdapterSource],
    options: Mapping[str, Any],
    slots: bool,
    progress: Progress | None,
) -> Export:
    """`export_onnx` and, with `slots`, the base that takes `.onnx_adapter` files."""
    started = time.monotonic()
    check_options(options["precision"], options["provider"])
    weights = open_weights(Path(base), adapters)
    check_base(weights)
    infos = weights.tensors.values()
    elements = sum(info.elements for info in infos)
    total = sum(info.nbytes for info in infos)
    with atomic_output(out, needs=int(elements * _BYTES[options["precision"]])) as partial:
        holder = partial.parent
        job = {
            "base": str(Path(base).resolve()),
            "adapters": [[str(source.path.resolve()), source.weight] for source in adapters],
            "source": str(_make_source(weights, holder / "source")),
            "out": str(partial),
            "cache": str(holder / "cache"),
            "precision": "int4" if "int8" in options["recipe"] else options["precision"],
            "provider": options["provider"],
            "options": options["recipe"],
            "slots": slots,
        }
        done = 0

        def report(count: int) -> None:
            nonlocal done
            done += count
            if progress is not None:
                progress("build", min(total, done * total // elements), total)

        _run_builder(job, holder, report)
        _complete(weights.directory, partial)
    return write_manifest(
        Path(out),
        "onnx",
        base=Path(base),
        adapters=adapters,
        options={**options, "slots": slots},
        applied=getattr(weights, "applied", None),
        started=started,
    )


def recipe_of(precision: str, recipe: Mapping[str, str] | None = None) -> dict[str, str]:
    """The builder's options for `precision`, `recipe` before the default."""
    return dict(RECIPES.get(precision, {}) if recipe is None else recipe)


def check_options(precision: str, provider: str) -> None:
    """Raises ConversionError for what the builder cannot make, MissingExtra when it is not installed."""
    if provider not in PRECISIONS:
        raise ConversionError(f"{provider!r} is no provider; choose {', '.join(PRECISIONS)}")
    if precision not in PRECISIONS[provider]:
        raise ConversionError(f"{precision!r} is not made for {provider}; choose {', '.join(PRECISIONS[provider])}")
    for package in ("onnxruntime_genai", "torch", "transformers", "onnx_ir"):
        if find_spec(package) is None:
            raise MissingExtra(package.replace("_", "-"), "convert")


def check_base(weights: Any) -> None:
    """Raises ConversionError for a Checkpoint or Merged that the builder cannot build."""
    architecture = (weights.config.get("architectures") or ["unknown"])[0]
    if architecture not in ARCHITECTURES:
        raise ConversionError(
            f"{weights.directory} is a {architecture}, which cannot be built for onnxruntime-genai here; "
            f"what can: {', '.join(name.removesuffix('ForCausalLM') for name in ARCHITECTURES)}"
        )
    if weights.config.get("quantization_config"):
        raise ConversionError(f"{weights.directory} is quantised already; start from the model's float weights")
    if not any((weights.directory / name).is_file() for name in _TOKENIZERS):
        raise ConversionError(
            f"{weights.directory} has no tokenizer ({', '.join(_TOKENIZERS)}); fetch those files of the model too"
        )


def _make_source(weights: Any, folder: Path) -> Path:
    """What the builder reads by itself: everything but the weights, and none of a model's own code."""
    folder.mkdir()
    # A merged model may have the tokenizer of its adapter.
    for origin in (weights.directory, getattr(weights, "tokenizer", weights.directory)):
        for file in origin.iterdir():
            if file.is_file() and file.suffix in _COPIED and not file.name.endswith(".index.json"):
                shutil.copyfile(file, folder / file.name)
    (folder / "config.json").write_text(json.dumps(_builders_config(weights.config)), encoding="utf-8")
    return folder


def _builders_config(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config.json that says the same in the words that the builder looks for."""
    plain = {key: value for key, value in config.items() if key != "auto_map"}
    rope = dict(plain.get("rope_parameters") or plain.get("rope_scaling") or {})
    kind = rope.get("rope_type", rope.get("type", "default"))
    if plain.get("rope_parameters"):
        plain["rope_parameters"] = {**rope, "type": kind}
    if plain["architectures"][0] == "Phi3ForCausalLM" and kind == "default":
        # The builder takes a Phi-3 for one with LongRoPE where these two differ.
        plain["original_max_position_embeddings"] = plain["max_position_embeddings"]
    return plain


def _run_builder(job: Mapping[str, Any], holder: Path, report: Any) -> None:
    environment = {
        **child_environment(),
        "HF_HOME": str(holder / "hub"),
        "TMPDIR": str(holder),
    }
    failure: dict[str, Any] = {}
    with tempfile.TemporaryFile("w+", dir=holder, encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "edge_converters.onnx.build"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, env=environment, text=True, encoding="utf-8",
        )  # fmt: skip
        # Its standard input stays open as long as we live; the builder ends when it closes.
        with process:
            assert process.stdin is not None
            assert process.stdout is not None
            try:
                process.stdin.write(json.dumps(job) + "\n")
                process.stdin.flush()
                for line in process.stdout:
                    message = json.loads(line)
                    if "elements" in message:
                        report(message["elements"])
                    else:
                        failure = message
                process.wait()
            finally:
                process.kill()
        if process.returncode:
            log.seek(0)
            _raise(failure, process.returncode, job["base"], log.read()[-2000:])


def _raise(failure: Mapping[str, Any], code: int, base: str, log: str) -> None:
    if failure.get("kind") == "OSError":
        raise OSError(failure["errno"], failure["message"])
    kind = getattr(edge.errors, failure.get("kind", ""), None)
    if isinstance(kind, type) and issubclass(kind, EdgeError) and kind is not MissingExtra:
        raise kind(failure["message"])
    if failure:
        raise ConversionError(
            f"onnxruntime-genai's model builder cannot build {base}: {failure['kind']}: {failure['message']}"
        )
    reason = f"was killed by signal {-code}, for want of memory perhaps" if code < 0 else f"ended with code {code}"
    raise ConversionError(f"the model builder {reason} while it built {base}; {log.strip().splitlines()[-1:]}")


def _complete(base: Path, out: Path) -> None:
    """Check that the engine finds everything."""
    wanted = ("model.onnx", DATA, "genai_config.json", "tokenizer_config.json")
    missing = [name for name in wanted if not (out / name).is_file()]
    if missing:
        raise ConversionError(f"onnxruntime-genai's model builder wrote no {missing[0]} for {base}; report this")
