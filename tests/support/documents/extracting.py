"""What a loader makes of a document, in the form in which tests look at it."""

from __future__ import annotations

from pathlib import Path

from edge_index.loaders import Extracted, load


def read(name: str, content: str | bytes) -> Extracted:
    """The document, whose sections must stand in order inside its text."""
    extracted = load(Path(name), content.encode() if isinstance(content, str) else content)
    position = 0
    for section in extracted.sections:
        assert position <= section.start < section.end <= len(extracted.text)
        position = section.end
    return extracted


def by_heading(extracted: Extracted) -> list[tuple[str | None, str]]:
    """Each section's heading and text."""
    return [(s.heading, extracted.text[s.start : s.end].strip()) for s in extracted.sections]
