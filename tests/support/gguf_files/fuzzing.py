"""Children that load broken GGUF files: what the check refuses, what llama.cpp makes of the rest, and what dies."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from gguf_files.mutants import mutants


@dataclass
class Count:
    """What became of the files: `refused` before llama.cpp saw them, `declined` by llama.cpp with an error, `ran`.

    `ours` are exceptions that are no EdgeError, `crashed` children that died, `hung` those that were ended; each with
    the numbers of the files.
    """

    refused: int = 0
    declined: int = 0
    ran: int = 0
    ours: dict[int, str] = field(default_factory=dict)
    crashed: dict[int, str] = field(default_factory=dict)
    hung: list[int] = field(default_factory=list)


class Children:
    """One child at a time, which loads file after file and is replaced when it dies."""

    def __init__(self, folder: Path, *, limit: float = 30.0) -> None:
        self._folder, self._limit = folder, limit
        self._child: subprocess.Popen[str] | None = None
        self._errors = folder / "stderr.txt"
        self.count = Count()

    def load(self, number: int, data: bytes) -> None:
        file = self._folder / "mutant.gguf"
        file.write_bytes(data)
        child = self._child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{file}\n")
            child.stdin.flush()
        except BrokenPipeError:
            pass
        ready, _, _ = select.select([child.stdout], [], [], self._limit)
        line = child.stdout.readline() if ready else ""
        if not ready:
            self.count.hung.append(number)
            self.close()
        elif not line:
            code = child.wait()
            said = self._errors.read_text(errors="replace").strip().splitlines()
            self.count.crashed[number] = f"{code}: {said[-1] if said else ''} | " + " ".join(said[:1])
            self.close()
        else:
            kind, text = json.loads(line)
            if kind == "ours":
                self.count.ours[number] = text
            else:
                setattr(self.count, kind, getattr(self.count, kind) + 1)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _start(self) -> subprocess.Popen[str]:
        with self._errors.open("w") as errors:
            return subprocess.Popen(
                [sys.executable, "-m", "gguf_files.fuzzing"],
                env={**os.environ, "GGML_NO_BACKTRACE": "1", "PYTHONPATH": str(Path(__file__).parents[1])},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )


def run(seeds: list[Path], folder: Path, count: int, *, start: int = 0, until: float = float("inf")) -> Count:
    """Load `count` mutants in children; stops early at the time `until`."""
    children = Children(folder)
    try:
        for number, data in mutants(seeds, count, start=start):
            children.load(number, data)
            if time.monotonic() > until:
                break
    finally:
        children.close()
    return children.count


def _serve() -> None:
    """What a child does: `edge.load` with a reply of three tokens, and what `edge models show` reads."""
    import resource
    import traceback

    from edge.engines.llamacpp import bindings, gguf_check
    from edge.errors import EdgeError
    from edge_tui.facts import model_facts

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native code prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    bindings.bindings()
    for line in sys.stdin:
        path = Path(line.strip())
        outcome = "ran", ""
        try:
            try:
                gguf_check.check_gguf(path)
            except EdgeError as error:
                outcome = "refused", str(error)
            for act in (model_facts.facts, _speak):
                try:
                    act(path)
                except EdgeError as error:
                    outcome = (outcome[0] if outcome[0] == "refused" else "declined"), str(error)
        except Exception:  # whatever it is, it is what the test looks for
            outcome = "ours", traceback.format_exc()
        print(json.dumps(outcome), file=answers, flush=True)


def _speak(path: Path) -> None:
    import edge
    from edge.types import Message, Sampling

    with edge.load(path, threads=1) as model:
        # A sampler that sorts, and one that does not.
        model.generate([Message("user", "ab th é\n")], sampling=Sampling(temperature=1.0, seed=1, max_tokens=3))
        model.generate("ab", sampling=Sampling(max_tokens=3))


if __name__ == "__main__":
    _serve()
