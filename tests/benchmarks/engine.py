"""Prefill and decode speed of `Model.stream` beside a bare llama_decode loop on the same file, in turn; what loading
takes, in time and memory; and what it takes to swap an adapter.

    python tests/benchmarks/engine.py MODEL.gguf [--rounds 15] [--prompt 512] [--reply 64] [--adapter LORA.gguf]
        [--gpu-layers 0]

Both use the same threads, batch size and context, llama.cpp's own types of keys and values, and the same layers on a
GPU; greedy sampling, no repeat penalty, no look-up, nothing cached. Prints tokens per second
(medians over the rounds) and the median of the ratios, ours over bare, pair by pair. Memory is what a child process
holds after a prompt and a reply, less weights and the KV cache of the whole context and less what it held before
loading, the bindings imported; pages of the file that are not used any more, because llama.cpp keeps those weights in
another order, are given back first. A swap is the time from asking for a reply under the other adapter until its
prompt of one token is read, less the same without a swap; a reload is loading model and adapter anew.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from time import perf_counter
from typing import Any

import edge
from edge.engines.llamacpp.engine import BATCH
from edge.engines.memory_fit import fit_of
from edge.system.machine import physical_cores
from edge.types import Sampling


class Bare:
    """The smallest loop that llama.cpp allows from Python."""

    def __init__(self, path: Path, context: int, *, gpu_layers: int) -> None:
        import llama_cpp

        self.lib: Any = llama_cpp
        params = llama_cpp.llama_model_default_params()
        # As in our engine: llama.cpp with AMX compiled in crashes on machines that have it (its PR 26954).
        params.n_gpu_layers = gpu_layers
        params.use_extra_bufts = b"AMX_INT8 = 1" not in llama_cpp.llama_print_system_info()
        self.model = llama_cpp.llama_model_load_from_file(str(path).encode(), params)
        options = llama_cpp.llama_context_default_params()
        options.n_ctx = context
        options.n_batch = options.n_ubatch = BATCH
        options.n_threads = options.n_threads_batch = physical_cores()
        options.no_perf = True
        self.ctx = llama_cpp.llama_init_from_model(self.model, options)
        self.sampler = llama_cpp.llama_sampler_chain_init(llama_cpp.llama_sampler_chain_default_params())
        llama_cpp.llama_sampler_chain_add(self.sampler, llama_cpp.llama_sampler_init_greedy())

    def run(self, prompt: list[int], reply: int) -> tuple[float, float]:
        """Seconds of prefill and of decoding."""
        lib, ctx, sampler = self.lib, self.ctx, self.sampler
        lib.llama_memory_clear(lib.llama_get_memory(ctx), False)
        array = (lib.llama_token * len(prompt))(*prompt)
        started = perf_counter()
        for at in range(0, len(prompt), BATCH):
            part = (lib.llama_token * min(BATCH, len(prompt) - at)).from_buffer(array, at * 4)
            lib.llama_decode(ctx, lib.llama_batch_get_one(part, len(part)))
        middle = perf_counter()
        one = (lib.llama_token * 1)()
        batch = lib.llama_batch_get_one(one, 1)
        for left in range(reply - 1, -1, -1):
            one[0] = lib.llama_sampler_sample(sampler, ctx, -1)
            if left:
                lib.llama_decode(ctx, batch)
        return middle - started, perf_counter() - middle


def ours(model: edge.Model, text: str, reply: int) -> tuple[float, float, int]:
    """Seconds of prefill, seconds of decoding and tokens decoded, by the clock around the stream."""
    # Something else in between, so that no prefix is kept.
    model.generate("§", sampling=Sampling(max_tokens=1))
    sampling = Sampling(max_tokens=reply, repeat_penalty=1.0)
    started = middle = perf_counter()
    tokens = 0
    for delta in model.stream(text, sampling=sampling):
        if delta.prefill is not None and delta.prefill.done == delta.prefill.total:
            assert delta.prefill.cached <= 1
            middle = perf_counter()
        if delta.usage is not None:
            tokens = delta.usage.completion_tokens
    return middle - started, perf_counter() - middle, tokens


MEMORY = """
import ctypes, json, sys
from time import perf_counter
import psutil
import edge
from edge.engines.llamacpp.bindings import bindings

bindings()
before = psutil.Process().memory_info().rss
started = perf_counter()
model = edge.load(sys.argv[1])
seconds = perf_counter() - started
model.generate("word " * 700, sampling=edge.Sampling(max_tokens=16))
madvise = ctypes.CDLL(None).madvise
for line in open("/proc/self/maps"):
    if line.rstrip().endswith(".gguf"):
        start, end = (int(side, 16) for side in line.split()[0].split("-"))
        madvise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), 4)
model.generate("other " * 700, sampling=edge.Sampling(max_tokens=16))
print(json.dumps([seconds, psutil.Process().memory_info().rss - before, model.context]))
"""


def loading(path: Path) -> None:
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", MEMORY, str(path)], capture_output=True, check=True)
        runs.append(json.loads(done.stdout))
    seconds, held, context = (statistics.median(column) for column in zip(*runs, strict=True))
    fit = fit_of(path, context=int(context))
    print(
        f"load: {seconds:.2f} s; memory beyond weights and the KV cache of {int(context):,} tokens: "
        f"{(held - fit.kv - fit.weights) / 1e6:.0f} MB"
    )


def swapping(path: Path, lora: Path, rounds: int) -> None:
    one = Sampling(max_tokens=1)

    def answered(model: edge.Model, name: str | None) -> float:
        started = perf_counter()
        model.generate("a", adapter=name, sampling=one)
        return perf_counter() - started

    reloads = []
    for _ in range(3):
        started = perf_counter()
        with edge.load(path) as model:
            model.add_adapter(lora, name="one")
            reloads.append(perf_counter() - started)
    with edge.load(path) as model:
        model.add_adapter(lora, name="one")
        answered(model, "one")
        swaps, stays = [], []
        for _ in range(rounds):
            swaps.append(answered(model, None))
            stays.append(answered(model, None))
            swaps.append(answered(model, "one"))
            stays.append(answered(model, "one"))
    swap = statistics.median(swaps) - statistics.median(stays)
    print(f"adapter: swap {1000 * swap:.1f} ms, reload {1000 * statistics.median(reloads):.0f} ms")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--reply", type=int, default=64)
    parser.add_argument("--gpu-layers", type=int, default=0)
    parser.add_argument("--adapter", type=Path, help="a LoRA in GGUF format made for the model")
    options = parser.parse_args()
    loading(options.model)
    if options.adapter is not None:
        swapping(options.model, options.adapter, options.rounds)
    context = options.prompt + options.reply + 64
    model = edge.load(options.model, context=context, gpu_layers=options.gpu_layers)
    bare = Bare(options.model, context, gpu_layers=options.gpu_layers)
    # Counting runs on without an end of its own, so that neither side stops early.
    text = " ".join(str(number) for number in range(options.prompt))
    engine: Any = model.engine
    prompt = engine._vocabulary.prompt_tokens(text)[: options.prompt]
    text = b"".join(engine._vocabulary.piece(token) for token in prompt).decode()
    rows = []
    for i in range(options.rounds + 1):
        # Each goes first in turn: a machine that grows slower or faster meanwhile favours neither.
        if i % 2:
            our_prefill, our_decode, tokens = ours(model, text, options.reply)
            bare_prefill, bare_decode = bare.run(prompt, options.reply)
        else:
            bare_prefill, bare_decode = bare.run(prompt, options.reply)
            our_prefill, our_decode, tokens = ours(model, text, options.reply)
        assert tokens == options.reply, "the reply ended early: take another prompt"
        ratios = (bare_prefill / our_prefill, bare_decode / our_decode)
        rows.append((*ratios, our_prefill, bare_prefill, our_decode, bare_decode))
    rows = rows[1:]  # the first round warms up
    medians = [statistics.median(column) for column in zip(*rows, strict=True)]
    ratio_prefill, ratio_decode, op, bp, od, bd = medians
    tokens = options.reply
    print(
        f"{options.model.name}, {engine.device}, prompt {len(prompt)}, reply {tokens} tokens, {options.rounds} rounds"
    )
    print(f"prefill: ours {len(prompt) / op:7.1f} tokens/s  bare {len(prompt) / bp:7.1f}  ratio {ratio_prefill:.3f}")
    print(f"decode:  ours {tokens / od:7.1f} tokens/s  bare {tokens / bd:7.1f}  ratio {ratio_decode:.3f}")


if __name__ == "__main__":
    main()
