"""What int4 recipes of the ONNX model builder cost in bytes and in quality, as a Markdown table.

    python tests/benchmarks/int4.py MODEL_FOLDER [--recipe algo_config=rtn,block_size=16 …]

Every recipe is built and run over int4.txt, the beginning of this repository's README when the figures of
docs/benchmarks.md were measured; the reference is transformers in float32 on the same tokens. KL is the mean over the
positions of KL(reference || export) in nats, top-1 how often the most probable token stays the same. The first line
loses least per byte: the smallest product of KL and size.
"""

from __future__ import annotations

import argparse
import gc
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import edge.system.offline

edge.system.offline.silence()

WINDOW, WINDOWS, SKIPPED = 192, 2, 16
"""Tokens of a window; windows; first tokens of each that are not judged."""

LAST = "matmul_mixed_precision=last_matmul:int8"
MIXED = "matmul_mixed_precision=last_matmul:int8+mixed_layers:int8"
ASYMMETRIC = "algo_config=rtn,is_symmetric=false"
RECIPES = [
    "",
    "block_size=16",
    "block_size=128",
    "accuracy_level=1",
    "algo_config=rtn",
    f"algo_config=rtn,{LAST}",
    f"algo_config=rtn,{MIXED}",
    ASYMMETRIC,
    f"{ASYMMETRIC},block_size=16",
    f"{ASYMMETRIC},{LAST}",
    f"{ASYMMETRIC},block_size=16,{LAST}",
    f"{ASYMMETRIC},{MIXED}",
    f"{ASYMMETRIC},block_size=16,{MIXED}",
    f"{ASYMMETRIC},{LAST},int8=down_proj",
    f"{ASYMMETRIC},{LAST},int8=attn",
    f"{ASYMMETRIC},{LAST},int8=attn|down_proj",
    f"{ASYMMETRIC},{LAST},int8=/",
    "algo_config=k_quant",
    f"algo_config=k_quant,{MIXED}",
]
"""Options of `export_onnx`; + stands for a comma within one of them. Without algo_config: onnxruntime's own rounding,
which is symmetric, as rtn is where nothing else is said. k_quant is never symmetric."""

OWN: dict[str, dict[str, str] | None] = {"int4": {}, "int8": None, "fp32": None}
"""What no recipe means: for int4 the builder's own, else ours."""


def windows(model: Path) -> Any:
    """Token ids [windows, length] of the beginning of the text."""
    import numpy as np
    from transformers import AutoTokenizer

    text = Path(__file__).with_suffix(".txt").read_text(encoding="utf-8")
    ids = AutoTokenizer.from_pretrained(model)(text, add_special_tokens=False)["input_ids"]
    return np.array(ids[: WINDOW * WINDOWS], np.int64).reshape(WINDOWS, WINDOW)


def reference(model: Path, tokens: Any, threads: int) -> Any:
    """Logits [positions, vocabulary] of transformers in float32."""
    import numpy as np
    import torch
    from transformers import AutoModelForCausalLM

    torch.set_num_threads(threads)
    network = AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32).eval()
    with torch.no_grad():
        rows = [network(torch.tensor(row[None])).logits[0, SKIPPED:].numpy() for row in tokens]
    return np.concatenate(rows)


def exported(folder: Path, tokens: Any, threads: int) -> Any:
    """Logits [positions, vocabulary] of model.onnx in onnxruntime."""
    import numpy as np
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(folder / "model.onnx", options, providers=["CPUExecutionProvider"])
    shapes = {entry.name: entry.shape for entry in session.get_inputs()}
    heads = folder_heads(folder)
    rows = []
    for row in tokens:
        feed = {"input_ids": row[None], "attention_mask": np.ones((1, len(row)), np.int64)}
        feed |= {name: np.zeros((1, heads[0], 0, heads[1]), np.float32) for name in shapes if "past" in name}
        if "position_ids" in shapes:
            feed["position_ids"] = np.arange(len(row))[None]
        rows.append(session.run(["logits"], feed)[0][0, SKIPPED:])
    return np.concatenate(rows)


def folder_heads(folder: Path) -> tuple[int, int]:
    import json

    decoder = json.loads((folder / "genai_config.json").read_text())["model"]["decoder"]
    return decoder["num_key_value_heads"], decoder["head_size"]


def compare(wanted: Any, found: Any) -> tuple[float, float]:
    """Mean KL in nats and the share of positions with the same top token, both over [positions, vocabulary]."""
    import numpy as np

    divergence = 0.0
    for ours, theirs in zip(wanted, found, strict=True):
        p, q = (row.astype(np.float64) - row.max() for row in (ours, theirs))
        p, q = p - np.log(np.exp(p).sum()), q - np.log(np.exp(q).sum())
        divergence += float((np.exp(p) * (p - q)).sum())
    return divergence / len(wanted), float((wanted.argmax(1) == found.argmax(1)).mean())


def measure(model: Path, recipe: str, precision: str, tokens: Any, wanted: Any, threads: int) -> dict[str, Any]:
    from edge_converters.onnx.export import export_onnx

    pairs = (pair.split("=", 1) for pair in recipe.split(",") if pair)
    options = {key: value.replace("+", ",") for key, value in pairs}
    with tempfile.TemporaryDirectory() as scratch:
        started = time.monotonic()
        chosen: Any = precision
        export = export_onnx(
            model, Path(scratch) / "model", precision=chosen, recipe=options if recipe else OWN[precision]
        )
        seconds = time.monotonic() - started
        size = sum(file.stat().st_size for file in (Path(scratch) / "model").glob("model.onnx*"))
        started = time.monotonic()
        found = exported(Path(export.path), tokens, threads)
        divergence, same = compare(wanted, found)
    gc.collect()
    return {
        "recipe": recipe or ("the builder's own" if OWN[precision] == {} else "ours"),
        "precision": precision,
        "MB": size / 1e6,
        "KL": divergence,
        "top-1": same,
        "build s": seconds,
        "run s": time.monotonic() - started,
    }


def table(rows: list[dict[str, Any]]) -> str:
    lines = [
        "| precision | recipe | MB | mean KL | same top token | KL x GB | build s | run s |",
        "|---|---|--:|--:|--:|--:|--:|--:|",
    ]
    for row in sorted(rows, key=lambda row: float(row["KL"] * row["MB"])):
        lines.append(
            f"| {row['precision']} | {row['recipe']} | {row['MB']:.0f} | {row['KL']:.4f} | {row['top-1']:.1%} "
            f"| {row['KL'] * row['MB'] / 1000:.4f} | {row['build s']:.0f} | {row['run s']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--recipe", action="append", help="options of the builder; + instead of a comma in a value")
    parser.add_argument("--precision", action="append", default=[], help="others to compare with: int8, fp32")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    tokens = windows(arguments.model)
    wanted = reference(arguments.model, tokens, arguments.threads)
    gc.collect()
    wishes = [("int4", recipe) for recipe in arguments.recipe or RECIPES] + [
        (other, "") for other in arguments.precision
    ]
    rows = []
    for precision, recipe in wishes:
        try:
            rows.append(measure(arguments.model, recipe, precision, tokens, wanted, arguments.threads))
        except edge_error() as error:
            print(f"{precision} {recipe}: {error}", file=sys.stderr)
            continue
        print(rows[-1], file=sys.stderr, flush=True)
    print(f"{arguments.model.name}: {len(wanted)} positions\n\n{table(rows)}")


def edge_error() -> type[Exception]:
    from edge.errors import EdgeError

    return EdgeError


if __name__ == "__main__":
    main()
