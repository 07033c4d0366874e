"""E-mail (.eml, .mbox): subject, people and date, the text (or the HTML) of each message, its attachments by name."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from email.errors import HeaderParseError, MessageError
from email.header import decode_header, make_header
from email.message import Message
from email.parser import BytesParser
from pathlib import Path

from edge_index.loaders.blocks import join
from edge_index.loaders.extracted import Extracted
from edge_index.loaders.markup import html
from edge_index.loaders.plain.text import decode_anyhow

# How a message of a mailbox begins, "From someone Thu Jan  1 00:00:00 1970", at the top or behind an empty line.
_ENVELOPE = re.compile(rb"(?:\A|(?<=\n\n)|(?<=\n\r\n))From [^\r\n]*\d{4}[^\r\n]*\r?\n")
_QUOTED_FROM = re.compile(rb"^>(>*From )", re.MULTILINE)
_SHOWN = ("Subject", "From", "To", "Cc", "Date")
_DEEPEST_MESSAGE = 5


def load(path: Path, data: bytes) -> Extracted:
    if path.suffix.lower() == ".mbox" or _ENVELOPE.match(data):
        messages = list(_mailbox(data))
        kept = [message for message in map(_parse, messages) if message is not None]
        notes = (f"{len(messages) - len(kept)} of its messages are damaged",) if len(kept) < len(messages) else ()
        joined = join(part for message in kept for part in _parts(message, 0))
        return Extracted(joined.text, joined.sections, notes=notes + joined.notes)
    return join(_parts(BytesParser().parsebytes(data), 0))


def _mailbox(data: bytes) -> Iterator[bytes]:
    starts = list(_ENVELOPE.finditer(data))
    ends = [start.start() for start in starts[1:]] + [len(data)]
    for start, end in zip(starts, ends, strict=False):
        yield _QUOTED_FROM.sub(rb"\1", data[start.end() : end])


def _parse(data: bytes) -> Message | None:
    try:
        return BytesParser().parsebytes(data)
    except (MessageError, ValueError, LookupError, RecursionError):
        return None


def _parts(message: Message, depth: int) -> Iterator[tuple[Extracted, str | None, None]]:
    """Header, bodies, forwarded messages and the list of attachments, all under the subject."""
    subject = _header(message, "Subject") or "(no subject)"
    head = [f"{name}: {value}" for name in _SHOWN if (value := _header(message, name))]
    yield Extracted("\n".join(head)), subject, None
    attached: list[str] = []
    forwarded: list[Message] = []
    for part in _leaves(message):
        name = part.get_filename()
        kind = part.get_content_type()
        if part.get_content_maintype() == "message" and part.is_multipart():
            forwarded += [inner for inner in part.get_payload() if isinstance(inner, Message)]
        elif name or part.get_content_disposition() == "attachment" or not kind.startswith("text/"):
            attached.append(f"{_decoded(name) if name else 'without a name'} ({kind})")
        else:
            text = _content(part)
            yield html.extract(text) if kind == "text/html" else Extracted(text.strip()), subject, None
    if attached:
        yield Extracted("Attachments: " + ", ".join(attached)), subject, None
    for inner in forwarded if depth < _DEEPEST_MESSAGE else ():
        yield from _parts(inner, depth + 1)


def _leaves(message: Message) -> Iterator[Message]:
    """The parts that are shown or attached: of alternatives the plain text, where it says anything."""
    stack = [message]
    while stack:
        part = stack.pop()
        if part.get_content_maintype() == "message" or not part.is_multipart():
            yield part
            continue
        inner = [piece for piece in part.get_payload() if isinstance(piece, Message)]
        if part.get_content_subtype() == "alternative":
            plain = [p for p in inner if p.get_content_type() == "text/plain" and _content(p).strip()]
            # The last alternative is the richest.
            inner = plain[:1] or inner[-1:]
        stack += reversed(inner)


def _content(part: Message) -> str:
    """The text of a part in its encoding, or in what it seems to be."""
    payload = part.get_payload(decode=True)
    data = payload if isinstance(payload, bytes) else b""
    try:
        return data.decode(part.get_content_charset() or "utf-8").replace("\r\n", "\n")
    except (LookupError, ValueError):
        return decode_anyhow(data).replace("\r\n", "\n")


def _header(message: Message, name: str) -> str:
    value = message.get(name)
    return _decoded(str(value)) if value is not None else ""


def _decoded(value: str) -> str:
    """A header line with its encoded words decoded, where that can be done."""
    with contextlib.suppress(HeaderParseError, LookupError, ValueError):
        value = str(make_header(decode_header(value)))
    return " ".join(value.split())
