"""Passages whose KV caches were computed apart and put behind one another: what that is worth, and what it costs.

    python tests/benchmarks/stitching.py FOLDER MODEL.gguf --rows ROWS.jsonl [--limit 60] [--again 0,16,32]

FOLDER as for retrieval.py. Each question is asked with its best four passages. `fresh` computes them in one prompt.
The others take the first passage as it is, exact, and shift the KV cache of each further one, computed beforehand
behind the fixed words alone, into its place (rotary positions are moved, what the passage could have read of those
before it is missing: arXiv 2311.04934, 2405.16444), after computing its first 0, 16 or 32 tokens again where it stands.

Prints seconds to the first word (medians, taken one after the other), F1 with a paired 95 % bootstrap interval against
`fresh`, how often the reply is the same, and the mean KL divergence of the first token's probabilities. Rows are kept
as they come; the same command goes on after a kill.
"""

from __future__ import annotations

import argparse
import ctypes
import json
import os
import random
import statistics
import tempfile
from pathlib import Path
from time import perf_counter
from typing import Any

import numpy as np
from numpy.typing import NDArray
from question_set import read_questions
from warm import SYSTEM

from edge.engines.llamacpp.bindings import bindings, load_model
from edge.engines.llamacpp.vocabulary import GgufVocabulary
from edge.evaluation.metrics import token_f1
from edge.evaluation.statistics import interval
from edge.rag.prompts import numbered
from edge.types import Message
from edge_index import Index

CONTEXT, BATCH, REPLY, PASSAGES = 2048, 512, 40, 4
MARK = "\0"


class Stitcher:
    """A context with a second sequence, in which a kept passage is moved before it joins the first."""

    def __init__(self, path: Path) -> None:
        self.lib = bindings()
        self.model = load_model(path, gpu_layers=0)
        self.vocabulary = GgufVocabulary(self.model)
        params = self.lib.llama_context_default_params()
        params.n_ctx, params.n_batch, params.n_ubatch = CONTEXT, BATCH, BATCH
        params.n_seq_max, params.kv_unified = 2, True
        params.n_threads = params.n_threads_batch = os.cpu_count()
        self.context = self.lib.llama_init_from_model(self.model, params)
        self.memory = self.lib.llama_get_memory(self.context)
        self.states: dict[str, bytes] = {}

    def tokens(self, question: str, blocks: list[str]) -> tuple[list[int], list[list[int]], list[int]]:
        """Of the fixed words, of each passage, and of all that comes behind them."""
        asked = f"Passages:\n\n{MARK}Question: {question}"
        before, behind = self.vocabulary.template.render([Message("system", SYSTEM), Message("user", asked)]).split(
            MARK
        )
        return (
            self.vocabulary.prompt_tokens(before),
            [self.vocabulary.tokens(block) for block in blocks],
            self.vocabulary.tokens(behind),
        )

    def compute(self, tokens: list[int]) -> None:
        for start in range(0, len(tokens), BATCH):
            piece = tokens[start : start + BATCH]
            array = (self.lib.llama_token * len(piece))(*piece)
            assert self.lib.llama_decode(self.context, self.lib.llama_batch_get_one(array, len(piece))) == 0

    def prepare(self, before: list[int], block: list[int], key: str) -> None:
        """The state of a passage right behind the fixed words."""
        if key not in self.states:
            self.lib.llama_memory_clear(self.memory, False)
            self.compute(before)
            self.compute(block)
            size = self.lib.llama_state_seq_get_size(self.context, 0)
            buffer = (ctypes.c_uint8 * size)()
            self.lib.llama_state_seq_get_data(self.context, buffer, size, 0)
            self.states[key] = bytes(buffer)

    def take(self, key: str, sequence: int) -> None:
        state = self.states[key]
        data = ctypes.cast(ctypes.c_char_p(state), ctypes.POINTER(ctypes.c_uint8))
        assert self.lib.llama_state_seq_set_data(self.context, data, len(state), sequence) == len(state)

    def fresh(self, before: list[int], blocks: list[list[int]], behind: list[int]) -> None:
        self.lib.llama_memory_clear(self.memory, False)
        for piece in (before, *blocks, behind):
            self.compute(piece)

    def stitched(
        self, before: list[int], blocks: list[list[int]], behind: list[int], keys: list[str], again: int
    ) -> None:
        lib, memory = self.lib, self.memory
        lib.llama_memory_clear(memory, False)
        self.take(keys[0], 0)
        at = len(before) + len(blocks[0])
        for block, key in zip(blocks[1:], keys[1:], strict=True):
            head = min(again, len(block))
            if head:
                self.compute(block[:head])
            if head < len(block):
                self.take(key, 1)
                lib.llama_memory_seq_rm(memory, 1, 0, len(before) + head)
                lib.llama_memory_seq_add(memory, 1, 0, -1, at - len(before))
                lib.llama_memory_seq_cp(memory, 1, 0, -1, -1)
                lib.llama_memory_seq_rm(memory, 1, -1, -1)
            at += len(block)
        self.compute(behind)

    def logits(self) -> NDArray[np.float32]:
        size = self.lib.llama_vocab_n_tokens(self.vocabulary.pointer)
        return np.ctypeslib.as_array(self.lib.llama_get_logits_ith(self.context, -1), (size,)).astype(np.float32)

    def reply(self) -> tuple[str, NDArray[np.float32]]:
        """Greedy, with the logarithms of the first token's probabilities."""
        first = self.logits().astype(np.float64)
        first -= first.max()
        first -= np.log(np.exp(first).sum())
        text = b""
        for _ in range(REPLY):
            token = int(self.logits().argmax())
            if self.lib.llama_vocab_is_eog(self.vocabulary.pointer, token):
                break
            text += self.vocabulary.piece(token)
            self.compute([token])
        return text.decode("utf-8", "replace").strip(), first.astype(np.float32)


def asked(stitcher: Stitcher, index: Index, question: dict[str, Any], variants: list[int]) -> list[dict[str, Any]]:
    passages = index.search(question["question"], PASSAGES)
    blocks = [f"{numbered(number, passage)}\n\n" for number, passage in enumerate(passages, 1)]
    before, parts, behind = stitcher.tokens(question["question"], blocks)
    for block, tokens in zip(blocks, parts, strict=True):
        stitcher.prepare(before, tokens, block)
    answers = [answer["text"] for answer in question["answers"]]
    rows: list[dict[str, Any]] = []
    wanted, said = None, ""
    for variant in ("fresh", *variants):
        began = perf_counter()
        if variant == "fresh":
            stitcher.fresh(before, parts, behind)
        else:
            stitcher.stitched(before, parts, behind, blocks, int(variant))
        first = perf_counter() - began
        text, logs = stitcher.reply()
        if wanted is None:
            wanted, said = logs, text
        kl = float((np.exp(wanted.astype(np.float64)) * (wanted - logs)).sum())
        row = {"question": question["question"], "variant": str(variant), "text": text, "first": first, "kl": kl}
        rows.append(row | {"f1": token_f1(text, answers), "same": text == said})
    return rows


def report(rows: list[dict[str, Any]]) -> None:
    fresh = {row["question"]: row for row in rows if row["variant"] == "fresh"}
    print(f"{len(fresh)} questions")
    print("| computed again | first word, s | fresh over it | F1 | against fresh | same reply | KL |")
    print("|---|--:|--:|--:|--:|--:|--:|")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        first, f1, same, kl = (statistics.fmean(row[name] for row in own) for name in ("first", "f1", "same", "kl"))
        first = statistics.median(row["first"] for row in own)
        ratio = statistics.median(fresh[row["question"]]["first"] / row["first"] for row in own)
        differences = [row["f1"] - fresh[row["question"]]["f1"] for row in own]
        low, high = interval(differences)
        gain = f"{statistics.fmean(differences):+.3f} ({low:+.3f} to {high:+.3f})"
        print(f"| {variant} | {first:.2f} | {ratio:.1f} | {f1:.3f} | {gain} | {100 * same:.0f} % | {kl:.2f} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=60)
    parser.add_argument("--again", default="0,16,32")
    options = parser.parse_args()
    done = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    seen = {row["question"] for row in done}
    questions = read_questions(options.folder, answered=True)
    random.Random(7).shuffle(questions)
    variants = [int(variant) for variant in options.again.split(",")]
    with tempfile.TemporaryDirectory() as folder, Index.open(folder) as index:
        index.add([options.folder / "docs"])
        stitcher = Stitcher(options.model)
        with options.rows.open("a", encoding="utf-8") as file:
            for question in questions[: options.limit]:
                if question["question"] in seen:
                    continue
                rows = asked(stitcher, index, question, variants)
                done += rows
                file.write("".join(json.dumps(row) + "\n" for row in rows))
                file.flush()
    report(done)


if __name__ == "__main__":
    main()
