"""Reads a SentencePiece `tokenizer.model`, and rebuilds its scores where only a tokenizer.json is left of it.

The file is a protocol buffer: https://github.com/google/sentencepiece/blob/master/src/sentencepiece_model.proto
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from enum import IntEnum
from pathlib import Path
from typing import Any

from edge.errors import ConversionError


class Kind(IntEnum):
    """What a token is; SentencePiece and GGUF use the same numbers."""

    NORMAL = 1
    UNKNOWN = 2
    CONTROL = 3
    USER_DEFINED = 4
    UNUSED = 5
    BYTE = 6


_PIECE, _TEXT, _SCORE, _KIND = 1, 1, 2, 3


def read_pieces(path: Path) -> list[tuple[str, float, Kind]]:
    """Text, score and kind of every piece, in order. Raises ConversionError when it is no such file."""
    try:
        fields = _fields(path.read_bytes())
        pieces = [_piece(content) for number, content in fields if number == _PIECE and isinstance(content, bytes)]
    except (OSError, ValueError, IndexError, struct.error) as error:
        raise ConversionError(f"{path} is no SentencePiece model or is damaged ({error}); fetch it again") from error
    if not pieces:
        raise ConversionError(f"{path} is no SentencePiece model: it has no pieces; fetch it again")
    return pieces


def scores_of_merges(vocab: Mapping[str, int], merges: Sequence[Any]) -> list[float]:
    """SentencePiece's scores of a byte-pair model that was turned into tokenizer.json, by token id.

    A piece's score is minus its place among the merged pieces, which the merges keep: they are in the order of the
    pieces that they make. What no merge makes (characters, bytes) comes after them all.
    """
    places: dict[str, int] = {}
    for merge in merges:
        piece = "".join(merge if isinstance(merge, list) else merge.split(" "))
        places.setdefault(piece, len(places))
    scores = [0.0] * (max(vocab.values()) + 1)
    for piece, token in sorted(vocab.items(), key=lambda entry: entry[1]):
        scores[token] = -float(places.setdefault(piece, len(places)))
    return scores


def _piece(content: bytes) -> tuple[str, float, Kind]:
    fields = dict(_fields(content))
    text, score, kind = fields.get(_TEXT, b""), fields.get(_SCORE, b"\0\0\0\0"), fields.get(_KIND, 1)
    if not isinstance(text, bytes) or not isinstance(score, bytes) or not isinstance(kind, int):
        raise ValueError("a piece without text")
    return text.decode("utf-8"), struct.unpack("<f", score)[0], Kind(kind)


def _fields(data: bytes) -> Iterator[tuple[int, int | bytes]]:
    """Number and content of every field: an int for varints, bytes for the others."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield number, value
            continue
        if wire == 2:
            length, position = _varint(data, position)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise ValueError(f"wire type {wire}")
        if position + length > len(data):
            raise ValueError("it ends in the middle of a field")
        yield number, data[position : position + length]
        position += length


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        value |= (byte & 0x7F) << shift
        position, shift = position + 1, shift + 7
        if byte < 0x80:
            return value, position
