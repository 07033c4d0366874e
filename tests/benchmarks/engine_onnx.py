"""`Model.stream` beside a bare loop on onnxruntime-genai on the same folder, in turn; and what an adapter swap costs.

    python tests/benchmarks/engine_onnx.py FOLDER [--adapter FILE.onnx_adapter] [--rounds 7] [--prompt 512] [--reply 64]
        [--threads 2] [--provider cpu]

Both use the same threads and context, the bare loop onnxruntime's own session options; greedy, no repeat penalty,
nothing cached. Which of two models in one process was loaded first decides over some percent, so that half of the
rounds run with ours first and half with the bare one. Prints tokens per second (medians over the rounds) and the ratio,
ours over bare: the geometric mean of both halves' medians, each of them pair by pair. With an adapter, the time from
asking for a token under another adapter to the beginning of the prompt's computation, against loading the model anew.
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
from edge.engines.memory_fit import needs_of
from edge.engines.onnx.bindings import bindings
from edge.system.machine import physical_cores
from edge.types import Sampling

MEMORY = """
import sys
import psutil
import edge
from edge.engines.onnx.bindings import bindings

bindings()
before = psutil.Process().memory_info().rss
model = edge.load(sys.argv[1], provider=sys.argv[2])
model.generate("word " * 700, sampling=edge.Sampling(max_tokens=16))
print(psutil.Process().memory_info().rss - before, model.context)
"""


class Bare:
    """The loop of onnxruntime-genai's own examples."""

    def __init__(self, options: argparse.Namespace, context: int) -> None:
        self.og: Any = bindings()
        config = self.og.Config(str(options.folder))
        config.clear_providers()
        if options.provider != "cpu":
            config.append_provider(options.provider)
        config.overlay(
            json.dumps({"model": {"decoder": {"session_options": {"intra_op_num_threads": options.threads}}}})
        )
        self.model = self.og.Model(config)
        self.context = context

    def run(self, prompt: list[int], reply: int) -> tuple[float, float]:
        """Seconds of prefill and of decoding."""
        params = self.og.GeneratorParams(self.model)
        params.set_search_options(max_length=self.context, do_sample=False)
        generator = self.og.Generator(self.model, params)
        started = perf_counter()
        generator.append_tokens([prompt])
        middle = perf_counter()
        for _ in range(reply):
            generator.generate_next_token()
            generator.get_next_tokens()
        return middle - started, perf_counter() - middle


def ours(model: edge.Model, text: str, reply: int) -> tuple[float, float]:
    """Seconds of prefill and of decoding, by the clock around the stream."""
    # Something else in between, so that no prefix is kept.
    model.generate("§", sampling=Sampling(max_tokens=1))
    started = middle = perf_counter()
    for delta in model.stream(text, sampling=Sampling(max_tokens=reply, repeat_penalty=1.0)):
        if delta.prefill is not None and delta.prefill.done == delta.prefill.total:
            assert delta.prefill.cached <= 1
            middle = perf_counter()
        assert delta.usage is None or delta.usage.completion_tokens == reply, "it ended early: take another prompt"
    return middle - started, perf_counter() - middle


def speed(options: argparse.Namespace) -> None:
    context = options.prompt + options.reply + 64
    rows: list[list[tuple[float, float, float, float]]] = []
    for ours_first in (True, False):
        bare = None if ours_first else Bare(options, context)
        chosen: Any = {"threads": options.threads, "provider": options.provider}
        with edge.load(options.folder, context=context, **chosen) as model:
            rows.append(_rounds(model, bare or Bare(options, context), options))
            device = model.engine.device
    halves = [
        [statistics.median(row[bare] / row[ours] for row in half) for half in rows] for ours, bare in ((0, 1), (2, 3))
    ]
    prefill, decode = (statistics.geometric_mean(half) for half in halves)
    op, bp, od, bd = (statistics.median(column) for column in zip(*rows[0] + rows[1], strict=True))
    size, reply = options.prompt, options.reply
    print(
        f"{options.folder.name}, {device}, prompt {size}, reply {reply} tokens, {2 * options.rounds} rounds\n"
        f"prefill: ours {size / op:7.1f} tokens/s  bare {size / bp:7.1f}  ratio {prefill:.3f}\n"
        f"decode:  ours {reply / od:7.1f} tokens/s  bare {reply / bd:7.1f}  ratio {decode:.3f}"
    )


def _rounds(model: edge.Model, bare: Bare, options: argparse.Namespace) -> list[tuple[float, float, float, float]]:
    """Seconds of prefill, ours and bare, and of decoding, ours and bare."""
    # Counting runs on without an end of its own, so that neither side stops early.
    engine: Any = model.engine
    text = " ".join(str(number) for number in range(options.prompt))
    while model.count(text) > options.prompt:
        text = text[: -max(1, (model.count(text) - options.prompt) // 2)]
    prompt = engine._tokenizer.prompt(text)
    rows = []
    for i in range(options.rounds + 1):
        # Each goes first in turn: a machine that grows slower or faster meanwhile favours neither.
        if i % 2:
            our_prefill, our_decode = ours(model, text, options.reply)
            bare_prefill, bare_decode = bare.run(prompt, options.reply)
        else:
            bare_prefill, bare_decode = bare.run(prompt, options.reply)
            our_prefill, our_decode = ours(model, text, options.reply)
        rows.append((our_prefill, bare_prefill, our_decode, bare_decode))
    return rows[1:]  # the first round warms up


def memory(options: argparse.Namespace) -> None:
    """Of a child process, after a prompt of 700 tokens and a reply."""
    command = [sys.executable, "-c", MEMORY, str(options.folder), options.provider]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    held, context = map(int, done.stdout.split())
    weights = sum(file.stat().st_size for file in options.folder.glob("*.onnx*"))
    kv = needs_of(options.folder).kv(context, "f16")
    print(f"memory beyond weights and the KV cache of {context:,} tokens: {(held - weights - kv) / 1e6:.0f} MB")


def swaps(model: edge.Model, options: argparse.Namespace) -> None:
    """A new generator with the adapter in it, at the default context: what there is to do before the prompt."""
    engine: Any = model.engine
    started = perf_counter()
    model.add_adapter(options.adapter, name="lora")
    added = perf_counter() - started
    times: dict[str, list[float]] = {"base -> adapter": [], "adapter -> base": [], "a new scale": []}
    for i in range(options.rounds):
        scaled = ("lora", 0.5 + i / 100, None)
        for name, key in (("base -> adapter", ("lora", 1.0, None)), ("a new scale", scaled)):
            times[name].append(_start(engine, key))
        times["adapter -> base"].append(_start(engine, (None, 0.0, None)))
    started = perf_counter()
    edge.load(options.folder, threads=options.threads, provider=options.provider).close()
    reloaded = perf_counter() - started
    for name, seconds in times.items():
        print(f"{name}: {statistics.median(seconds) * 1000:.0f} ms", end=" · ")
    print(f"adding the adapter: {added * 1000:.0f} ms · loading the model: {reloaded * 1000:.0f} ms")


def _start(engine: Any, key: Any) -> float:
    started = perf_counter()
    engine._start(key)
    return perf_counter() - started


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--adapter", type=Path)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--prompt", type=int, default=512)
    parser.add_argument("--reply", type=int, default=64)
    parser.add_argument("--threads", type=int, default=physical_cores())
    parser.add_argument("--provider", default="cpu")
    options = parser.parse_args()
    memory(options)
    speed(options)
    if options.adapter is not None:
        with edge.load(options.folder, threads=options.threads, provider=options.provider) as model:
            swaps(model, options)


if __name__ == "__main__":
    main()
