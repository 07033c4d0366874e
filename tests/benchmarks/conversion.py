"""base + LoRA -> GGUF at full size: edge's streaming conversion against the usual route, in seconds and memory.

    python tests/benchmarks/conversion.py --scratch FOLDER --llama-cpp LLAMA_CPP_SOURCES [--layers 32] [--runs 1]

The model is a Phi-3-mini (3.8 billion random float16 weights, Phi-3's own vocabulary) with a LoRA of rank 16 on all
linear layers; both are written to FOLDER, without ever being in memory, and used again by the next run (45 GB free
are needed). The usual route is PEFT's merge_and_unload and save_pretrained, llama.cpp's convert_hf_to_gguf.py and
llama.cpp's quantiser. Every step runs in a process of its own; memory is that of its whole process tree, sampled.
LLAMA_CPP_SOURCES is vendor/llama.cpp of the llama-cpp-python source distribution.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from full_size import make_lora, make_model


@dataclass(frozen=True)
class Measured:
    """One step: wall time, time on all cores, the most anonymous memory (bytes) and resident memory with files."""

    name: str
    seconds: float
    processor_seconds: float
    anonymous: int
    resident: int


# --- the steps, each in a process of its own ---------------------------------------------------------------------


def usual_merge(base: Path, lora: Path, out: Path) -> None:
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float16)
    PeftModel.from_pretrained(model, lora).merge_and_unload().save_pretrained(out)
    for name in ("tokenizer.model", "tokenizer_config.json"):
        shutil.copy(base / name, out / name)


def usual_quantise(source: Path, out: Path) -> None:
    import ctypes

    import llama_cpp

    quiet = llama_cpp.llama_log_callback(lambda level, text, data: None)
    llama_cpp.llama_log_set(quiet, ctypes.c_void_p(0))
    params = llama_cpp.llama_model_quantize_default_params()
    params.ftype = llama_cpp.LLAMA_FTYPE_MOSTLY_Q4_K_M
    if llama_cpp.llama_model_quantize(bytes(source), bytes(out), params):
        sys.exit("llama.cpp could not quantise")


def ours(base: Path, lora: Path, out: Path, precision: str) -> None:
    from edge_converters.gguf.export import export_gguf
    from edge_converters.types import AdapterSource

    export_gguf(base, out, adapters=[AdapterSource(lora)], precision=precision)


STEPS: dict[str, Callable[..., None]] = {
    "model": lambda folder, llama_cpp, layers: make_model(Path(folder), Path(llama_cpp), int(layers)),
    "lora": lambda folder, base, layers: make_lora(Path(folder), Path(base), int(layers)),
    "merge": lambda base, lora, out: usual_merge(Path(base), Path(lora), Path(out)),
    "quantise": lambda source, out: usual_quantise(Path(source), Path(out)),
    "ours": lambda base, lora, out, precision: ours(Path(base), Path(lora), Path(out), precision),
}


def step(name: str, *arguments: object) -> list[str]:
    return [sys.executable, __file__, "--step", name, *map(str, arguments)]


def measure(name: str, command: list[str], log: Path) -> Measured:
    """Run it, sampling the memory of the process and its children every 50 ms."""
    os.sync()
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    anonymous = resident = 0
    with log.open("w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said)
        while process.poll() is None:
            found = [_memory(pid) for pid in _tree(process.pid)]
            anonymous = max(anonymous, sum(memory[0] for memory in found))
            resident = max(resident, sum(memory[1] for memory in found))
            time.sleep(0.05)
    seconds = time.perf_counter() - started
    if process.returncode:
        sys.exit(f"{name} failed:\n{log.read_text()[-4000:]}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Measured(name, round(seconds, 2), round(processor, 2), anonymous, resident)


def _tree(pid: int) -> list[int]:
    import psutil

    try:
        return [pid, *(child.pid for child in psutil.Process(pid).children(recursive=True))]
    except psutil.NoSuchProcess:
        return []


def _memory(pid: int) -> tuple[int, int]:
    """Anonymous bytes now, and the most resident bytes ever, files included."""
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0, 0
    found = {key: int(value.split()[0]) << 10 for key, _, value in (line.partition(":") for line in status.splitlines())
             if key in ("RssAnon", "VmHWM")}  # fmt: skip
    return found.get("RssAnon", 0), found.get("VmHWM", 0)


# --- the comparison ----------------------------------------------------------------------------------------------


def kept(folder: Path, name: str, *arguments: object) -> Path:
    """`folder`, made once; an interrupted run leaves nothing there."""
    if not folder.is_dir():
        partial = folder.with_name(f".{folder.name}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        made = measure(name, step(name, partial, *arguments), folder.with_suffix(".log"))
        partial.rename(folder)
        print(f"made {folder} in {made.seconds:.0f} s, {made.anonymous / 2**30:.2f} GiB", file=sys.stderr)
    return folder


def usual_route(base: Path, lora: Path, scratch: Path, llama_cpp: Path) -> list[Measured]:
    merged, whole, small = scratch / "usual-merged", scratch / "usual-f16.gguf", scratch / "usual-q4_k_m.gguf"
    log = scratch / "usual.log"
    convert = [sys.executable, str(llama_cpp / "convert_hf_to_gguf.py"), str(merged)]
    done = [measure("usual: merge and save", step("merge", base, lora, merged), log)]
    done.append(measure("usual: convert to f16", [*convert, "--outtype", "f16", "--outfile", str(whole)], log))
    shutil.rmtree(merged)
    done.append(measure("usual: quantise to q4_k_m", step("quantise", whole, small), log))
    for file in (whole, small):
        file.unlink()
    return done


def our_route(base: Path, lora: Path, scratch: Path) -> list[Measured]:
    done = []
    for precision in ("f16", "q4_k_m"):
        out = scratch / f"ours-{precision}.gguf"
        done.append(measure(f"edge: {precision}", step("ours", base, lora, out, precision), scratch / "ours.log"))
        out.unlink()
        out.with_name(f"ours-{precision}.manifest.json").unlink()
    return done


def report(rounds: list[list[Measured]], as_json: bool) -> None:
    steps = [
        Measured(
            same[0].name,
            statistics.median(m.seconds for m in same),
            statistics.median(m.processor_seconds for m in same),
            max(m.anonymous for m in same),
            max(m.resident for m in same),
        )
        for same in zip(*rounds, strict=True)
    ]
    ratios = {}
    if len(steps) == 5:
        merge, convert, quantise, f16, q4 = (m.seconds for m in steps)
        ratios = {"f16": f16 / (merge + convert), "q4_k_m": q4 / (merge + convert + quantise)}
    if as_json:
        print(json.dumps({"steps": [asdict(m) for m in steps], "ratios": ratios}, indent=2))
        return
    print(f"{'':28}{'seconds':>9}{'CPU s':>9}{'anonymous GiB':>15}{'resident GiB':>14}")
    for m in steps:
        memory = f"{m.anonymous / 2**30:>15.2f}{m.resident / 2**30:>14.2f}"
        print(f"{m.name:28}{m.seconds:>9.1f}{m.processor_seconds:>9.1f}{memory}")
    for precision, ratio in ratios.items():
        print(f"base + LoRA -> {precision}: edge takes {ratio:.2f}x the time of the usual route")


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--scratch", type=Path, required=True, help="a folder with 45 GB free")
    parser.add_argument("--llama-cpp", type=Path, required=True, help="llama.cpp's sources")
    parser.add_argument("--layers", type=int, default=32, help="fewer give a smaller model, to try it out")
    parser.add_argument("--runs", type=int, default=1, help="the sides take turns; times are medians")
    parser.add_argument("--only", choices=("usual", "ours"))
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    scratch, layers, llama_cpp = arguments.scratch.absolute(), arguments.layers, arguments.llama_cpp.absolute()
    scratch.mkdir(parents=True, exist_ok=True)
    base = kept(scratch / f"phi3-{layers}-layers", "model", llama_cpp, layers)
    lora = kept(scratch / f"lora-{layers}-layers", "lora", base, layers)
    rounds = []
    for _ in range(arguments.runs):
        done = []
        if arguments.only != "ours":
            done += usual_route(base, lora, scratch, llama_cpp)
        if arguments.only != "usual":
            done += our_route(base, lora, scratch)
        rounds.append(done)
    report(rounds, arguments.json)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--step"]:
        STEPS[sys.argv[2]](*sys.argv[3:])
    else:
        main()
