"""The proof on models as their makers ship them. Run by hand:

    python tests/benchmarks/proof.py published WORK
    python tests/benchmarks/proof.py dequantised MODEL.gguf WORK

`published` converts every model of tests/support/published.py under several folder names, with and without a LoRA, and
prints what the proof says of it. `dequantised` writes the weights of a published Qwen2.5 GGUF file as a Hugging Face
folder in float32, with the tokenizer as its maker ships it, and holds the file against that: both say the same, so the
proof must pass. Of the 1.5B model that takes 7 GB of disk and memory, and ten minutes on two idle cores.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import platformdirs

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "support"))

import published
import standin
import upstream
from edge_converters import AdapterSource
from edge_converters.gguf.export import export_gguf
from edge_converters.onnx.export import export_onnx
from edge_converters.parity import check_parity
from edge_converters.types import Parity

EXPORTS = ("gguf f16", "gguf q4_k_m", "onnx fp32")
_TENSORS = {
    "token_embd": "model.embed_tokens", "output_norm": "model.norm", "output": "lm_head", "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj", "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj", "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    commands = parser.add_subparsers(dest="command", required=True)
    every = commands.add_parser("published")
    every.add_argument("work", type=Path)
    every.add_argument("--only", nargs="*", default=list(published.PUBLISHED))
    every.add_argument("--exports", nargs="*", default=list(EXPORTS), choices=EXPORTS)
    real = commands.add_parser("dequantised")
    real.add_argument("model", type=Path)
    real.add_argument("work", type=Path)
    arguments = parser.parse_args()
    sources = upstream.sources(Path(platformdirs.user_cache_dir("edge-tests", appauthor=False)))
    arguments.work.mkdir(parents=True, exist_ok=True)
    if arguments.command == "published":
        for name in arguments.only:
            for line in prove_published(name, arguments.exports, sources, arguments.work):
                print(line, flush=True)
        return
    base = arguments.work / "original"
    if not base.is_dir():
        dequantise(arguments.model, sources, base)
    show(check_parity(arguments.model, base=base, progress=lambda *stage: print(*stage, file=sys.stderr)))


def prove_published(name: str, exports: list[str], sources: Path, work: Path) -> Iterator[str]:
    own = published.make_published(name, sources, work / name)
    modules = standin.LINEAR if published.PUBLISHED[name].architecture == "phi3" else ["q_proj", "v_proj", "down_proj"]
    lora = standin.make_lora(own, work / f"{name} LoRA", targets=modules)
    for folder in ("x", "my-Phi-3-notes", name):
        base = own if folder == name else Path(shutil.copytree(own, work / folder))
        for export in exports:
            for adapters in ([], [AdapterSource(lora)]):
                began = time.monotonic()
                kind, precision = export.split()
                out = work / f"out.{kind}"
                if kind == "gguf":
                    export_gguf(base, out, adapters=adapters, precision=precision)
                else:
                    export_onnx(base, out, adapters=adapters, precision="fp32")
                parity = check_parity(out, base=base, adapters=adapters)
                verdict = "passed" if parity.passed else f"FAILED {[check.name for check in parity.failed()]}"
                notes = f" ({'; '.join(parity.notes)})" if parity.notes else ""
                yield (
                    f"{name} in {folder!r}, {export}{', LoRA' if adapters else ''}: {verdict}, "
                    f"mean KL {parity.figures['mean_kl']:.2g}, {time.monotonic() - began:.0f} s{notes}"
                )
                (shutil.rmtree if out.is_dir() else Path.unlink)(out)
        if base is not own:
            shutil.rmtree(base)


def dequantise(model: Path, sources: Path, out: Path) -> None:
    """A Qwen2.5 GGUF file as a Hugging Face folder in float32, one shard a block."""
    import gguf
    import safetensors.numpy

    partial = out.with_name(f"{out.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    reader = gguf.GGUFReader(model)
    published.make_published("Qwen2.5-0.5B-Instruct", sources, partial)
    (partial / "model.safetensors").unlink()
    _write_config(partial / "config.json", reader)
    shards: dict[str, dict[str, Any]] = {}
    for tensor in reader.tensors:
        block = re.match(r"blk\.(\d+)\.", tensor.name)
        shards.setdefault(f"model-{block[1] if block else 'ends'}.safetensors", {})[_name(tensor.name)] = tensor
    index = {}
    for file, tensors in shards.items():
        arrays = {name: gguf.quants.dequantize(tensor.data, tensor.tensor_type) for name, tensor in tensors.items()}
        safetensors.numpy.save_file(arrays, partial / file)
        index.update(dict.fromkeys(arrays, file))
    content = json.dumps({"metadata": {}, "weight_map": index})
    (partial / "model.safetensors.index.json").write_text(content, encoding="utf-8")
    partial.rename(out)


def _name(name: str) -> str:
    *block, kind, part = name.split(".")
    return ".".join([*(("model.layers", block[1]) if block else ()), _TENSORS[kind], part])


def _write_config(path: Path, reader: Any) -> None:
    def of(key: str) -> Any:
        return reader.fields[f"qwen2.{key}"].contents()

    config = json.loads(path.read_text(encoding="utf-8"))
    config |= {
        "hidden_size": of("embedding_length"),
        "intermediate_size": of("feed_forward_length"),
        "num_hidden_layers": of("block_count"),
        "num_attention_heads": of("attention.head_count"),
        "num_key_value_heads": of("attention.head_count_kv"),
        "max_position_embeddings": of("context_length"),
        "rms_norm_eps": of("attention.layer_norm_rms_epsilon"),
        "rope_parameters": {"rope_type": "default", "rope_theta": of("rope.freq_base")},
        "tie_word_embeddings": not any(tensor.name == "output.weight" for tensor in reader.tensors),
        "layer_types": ["full_attention"] * of("block_count"),
    }
    path.write_text(json.dumps(config), encoding="utf-8")


def show(parity: Parity) -> None:
    for row in parity.table():
        print("  ".join(row))
    print(*parity.notes, sep="\n")
    print(f"{'passed' if parity.passed else 'FAILED'} in {parity.seconds:.0f} s", dict(parity.figures))


if __name__ == "__main__":
    main()
