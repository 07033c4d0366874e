"""The questions of the FOLDER that benchmarks take; see retrieval.py for what it holds."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any


def read_questions(folder: Path, *, answered: bool = False) -> list[dict[str, Any]]:
    """All of them in order; with `answered` only those that the documents answer."""
    lines = (folder / "questions.jsonl").read_text(encoding="utf-8").splitlines()
    return [question for question in map(json.loads, lines) if question["answers"] or not answered]
