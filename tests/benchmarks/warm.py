"""The first word of an answer: passages read beforehand against prompts that are read when they are asked.

    python tests/benchmarks/warm.py FOLDER MODEL.gguf --rows ROWS.jsonl [--limit 50] [--joined 15] [--server PROGRAM]

FOLDER as for retrieval.py. Each question is asked as the first of a chat, of one model file, in turn:

  four    the best four passages, read when asked; so three, two and one
  warm    the best passage, read beforehand (`edge index warm`) and kept on the disk
  auto    as `edge ask` does it: as many passages as the question is worth, the best one of them read beforehand
  cold    as `edge ask` does it, nothing read beforehand
  llama   the four-passage prompt of `four`, on llama-cpp-python's own `Llama` with its RAM cache
  server  the same prompt on llama.cpp's llama-server with its prompt cache, where --server names one

`--joined` of the questions are two of the set in one, whose answers stand in different paragraphs. Rows are kept as
they come; the same command goes on after a kill. Prints, for all, for the plain and for the joined ones, medians of the
seconds to the first word and to the whole answer, F1 against the known answers (against both, where there are two) with
a paired 95 % bootstrap interval against `four`, and whether `warm` says token for token what `one` says, which computes
the same prompt afresh. Times of one question are taken one after the other, so that they meet the same noise.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import socket
import statistics
import subprocess
import tempfile
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from time import perf_counter, sleep
from typing import Any

from question_set import read_questions

import edge
from edge.evaluation.metrics import contains, token_f1
from edge.evaluation.statistics import interval
from edge.model import Model
from edge.rag.passage_selection import find
from edge.rag.prompts import is_small, turn
from edge_index import Index

SYSTEM = (
    "Answer from the passages, with the answer alone, in as few words as possible. If the passages do not tell, say "
    "that they do not tell."
)
SAMPLING = edge.Sampling(max_tokens=40)
CONTEXT = 2048

Answered = tuple[str, float, float]
"""Text, seconds to the first word, seconds to the end."""


def chat_way(model: Model, index: Index, passages: int | None = None) -> Callable[[str], Answered]:
    def ask(question: str) -> Answered:
        # All but the fixed words is forgotten: the last question may have been this one, asked in another way.
        model.generate([edge.Message("system", SYSTEM), edge.Message("user", "")], sampling=edge.Sampling(max_tokens=1))
        chat = edge.Chat(
            model, knowledge=index, system=SYSTEM, rag=edge.RagOptions(prompt_passages=passages, min_answerable=0.0)
        )
        began, first, text = perf_counter(), 0.0, ""
        for delta in chat.stream(question, sampling=SAMPLING):
            if delta.text and not first:
                first = perf_counter() - began
            text += delta.text
        return text, first, perf_counter() - began

    return ask


def prompt_of(model: Model, index: Index, question: str) -> str:
    """What `four` sends."""
    passages, _ = find(index, question, 5)
    asked = turn(question, passages[:4], index.evidence(question, passages), small=is_small(model.parameters))
    return model.render([edge.Message("system", SYSTEM), edge.Message("user", asked)])


def llama_way(path: Path, model: Model, index: Index) -> Callable[[str], Answered]:
    from llama_cpp import Llama, LlamaRAMCache

    llama = Llama(str(path), n_ctx=CONTEXT, n_threads=os.cpu_count(), verbose=False)
    llama.set_cache(LlamaRAMCache(2 << 30))

    def ask(question: str) -> Answered:
        prompt = prompt_of(model, index, question)
        pieces = (
            piece["choices"][0]["text"]
            for piece in llama.create_completion(prompt, max_tokens=SAMPLING.max_tokens, temperature=0.0, stream=True)
        )
        return timed(pieces)

    return ask


def server_way(binary: str, path: Path, model: Model, index: Index) -> tuple[Callable[[str], Answered], Any]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    words = [binary, "-m", str(path), "-c", str(CONTEXT), "-np", "1", "--port", str(port), "-t", str(os.cpu_count())]
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for _ in range(300):
        sleep(0.2)
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=1).read()
            break
        except OSError:
            continue

    def ask(question: str) -> Answered:
        body = {
            "prompt": prompt_of(model, index, question),
            "n_predict": SAMPLING.max_tokens,
            "temperature": 0.0,
            "stream": True,
            "cache_prompt": True,
        }
        request = urllib.request.Request(f"http://127.0.0.1:{port}/completion", json.dumps(body).encode())

        def pieces() -> Iterator[str]:
            with urllib.request.urlopen(request, timeout=300) as reply:
                for line in reply:
                    if line.startswith(b"data: "):
                        yield json.loads(line[6:])["content"]

        return timed(pieces())

    return ask, process


def timed(pieces: Iterator[str]) -> Answered:
    began, first, text = perf_counter(), 0.0, ""
    for piece in pieces:
        if piece and not first:
            first = perf_counter() - began
        text += piece
    return text, first, perf_counter() - began


def questions(folder: Path, limit: int, joined: int) -> list[dict[str, Any]]:
    """Plain ones and, spread among them, joined ones, each with the texts of its answers."""
    known = read_questions(folder, answered=True)
    random.Random(7).shuffle(known)
    plain = [asked(question) for question in known[:limit]]
    pairs = [
        (first, second)
        for first, second in zip(known[-1::-2], known[-2::-2], strict=False)
        if (first["document"], first["paragraph"]) != (second["document"], second["paragraph"])
    ]
    for number, (first, second) in enumerate(pairs[:joined]):
        both = {"question": f"{first['question'].strip()} And {lowered(second['question'].strip())}", "joined": True}
        both["answers"] = [f"{one} {other}" for one in texts(first) for other in texts(second)]
        both["parts"] = [texts(first), texts(second)]
        plain.insert((number + 1) * (limit // joined + 1) - 1, both)
    return plain


def asked(question: dict[str, Any]) -> dict[str, Any]:
    return {"question": question["question"], "joined": False, "answers": texts(question), "parts": [texts(question)]}


def texts(question: dict[str, Any]) -> list[str]:
    return [answer["text"] for answer in question["answers"]]


def lowered(question: str) -> str:
    """In the middle of a sentence; only the word that asks is known to be no name."""
    first, _, rest = question.partition(" ")
    asking = first.lower() in {
        "who",
        "what",
        "which",
        "when",
        "where",
        "why",
        "how",
        "in",
        "on",
        "to",
        "by",
        "the",
        "did",
    }
    return f"{first.lower()} {rest}" if asking else question


def report(rows: list[dict[str, Any]], title: str) -> None:
    four = {row["question"]: row for row in rows if row["variant"] == "four"}
    print(
        f"\n{title}: {len(four)} questions\n| | first word, s | whole answer, s | F1 | against four | answer in reply |"
    )
    print("|---|--:|--:|--:|--:|--:|")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        first, whole = (statistics.median(row[name] for row in own) for name in ("first", "seconds"))
        f1, contained = (statistics.fmean(row[name] for row in own) for name in ("f1", "contains"))
        differences = [row["f1"] - four[row["question"]]["f1"] for row in own if row["question"] in four]
        low, high = interval(differences)
        gain = f"{statistics.fmean(differences):+.3f} ({low:+.3f} to {high:+.3f})"
        print(f"| {variant} | {first:.2f} | {whole:.2f} | {f1:.3f} | {gain} | {contained:.3f} |")
    for ours in ("warm", "auto"):
        first = {row["question"]: row["first"] for row in rows if row["variant"] == ours}
        for variant in ("one", "four", "llama", "server"):
            ratios = [
                row["first"] / first[row["question"]]
                for row in rows
                if row["variant"] == variant and row["question"] in first
            ]
            if ratios:
                print(f"first word, {variant} over {ours}: median {statistics.median(ratios):.1f}")
    one = {row["question"]: row["text"] for row in rows if row["variant"] == "one"}
    same = [row["text"] == one[row["question"]] for row in rows if row["variant"] == "warm" and row["question"] in one]
    if same:
        print(f"warm says what one says: {sum(same)} of {len(same)}")


def plot(rows: list[dict[str, Any]], file: Path) -> None:
    """F1 with its 95 % interval over the median of the seconds to the first word, one point a way."""
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(7, 4.2), layout="constrained")
    for variant in dict.fromkeys(row["variant"] for row in rows):
        own = [row for row in rows if row["variant"] == variant]
        first, f1 = statistics.median(row["first"] for row in own), [row["f1"] for row in own]
        low, high = interval(f1)
        ours = variant in ("warm", "auto", "cold")
        axes.errorbar(
            first,
            statistics.fmean(f1),
            [[statistics.fmean(f1) - low], [high - statistics.fmean(f1)]],
            fmt="o" if ours else "s",
            capsize=3,
            color="tab:green" if ours else "tab:gray",
        )
        axes.annotate(
            f"{variant} ({len(own)})", (first, statistics.fmean(f1)), xytext=(6, 6), textcoords="offset points"
        )
    axes.set(xscale="log", xlabel="seconds to the first word (median)", ylabel="F1, 95 % interval")
    ticks = (0.3, 0.5, 1, 2, 3, 5, 10)
    axes.set_xlim(0.25, 15)
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.set_xticks([], minor=True)
    axes.grid(alpha=0.3)
    figure.savefig(file)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("--rows", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=50)
    parser.add_argument("--joined", type=int, default=15)
    parser.add_argument("--variants", default="four,one,warm,auto,llama")
    parser.add_argument("--plot", type=Path, metavar="FILE.svg", help="draw F1 over the first word's seconds")
    parser.add_argument("--server", help="the llama-server program")
    options = parser.parse_args()
    done = [json.loads(line) for line in options.rows.read_text().splitlines()] if options.rows.exists() else []
    seen = {(row["variant"], row["question"]) for row in done}
    variants = options.variants.split(",") + (["server"] if options.server else [])
    asked = questions(options.folder, options.limit, options.joined)
    server = None
    with (
        tempfile.TemporaryDirectory() as folder,
        edge.load(options.model, context=CONTEXT, kv_budget=0) as cold,
        edge.load(options.model, context=CONTEXT, kv_budget=20) as kept,
        Index.open(folder) as index,
    ):
        index.add([options.folder / "docs"])
        asking = {name: chat_way(cold, index, count) for count, name in enumerate(("one", "two", "three", "four"), 1)}
        asking |= {"cold": chat_way(cold, index), "warm": chat_way(kept, index, 1), "auto": chat_way(kept, index)}
        if "llama" in variants:
            asking["llama"] = llama_way(options.model, cold, index)
        if options.server:
            asking["server"], server = server_way(options.server, options.model, cold, index)
        began, sizes = perf_counter(), []
        warming = edge.Chat(kept, knowledge=index, system=SYSTEM)
        for question in asked:
            found, _ = find(index, question["question"], 5)
            if found and (size := warming.prefill_cache(found[0])):
                sizes.append(size)
        if sizes:
            each = (perf_counter() - began) / len(sizes)
            print(
                f"{len(sizes)} passages read beforehand, {each:.2f} s and {statistics.fmean(sizes) / 1e6:.1f} MB each"
            )
        with options.rows.open("a", encoding="utf-8") as file:
            for question in asked:
                for variant in variants:
                    if (variant, question["question"]) in seen:
                        continue
                    text, first, seconds = asking[variant](question["question"])
                    row = {
                        "variant": variant,
                        "question": question["question"],
                        "joined": question["joined"],
                        "text": text,
                    }
                    row |= {"first": first, "seconds": seconds, "f1": token_f1(text, question["answers"])}
                    row["contains"] = statistics.fmean(contains(text, part) for part in question["parts"])
                    done.append(row)
                    file.write(json.dumps(row) + "\n")
                    file.flush()
        if server is not None:
            server.terminate()
    if options.plot:
        plot([row for row in done if not row["joined"]], options.plot)
    report(done, "All")
    for title, joined in (("Plain", False), ("Two in one", True)):
        if options.joined and options.limit:
            report([row for row in done if row["joined"] is joined], title)


if __name__ == "__main__":
    main()
