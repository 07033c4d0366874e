"""Strings in training examples that look private: a tuned model may recite them to anybody.

A guess by form. Check digits are computed where a number has some, so that not every long number is a card.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

_EMAIL = re.compile(r"\b[\w.+-]{1,64}@(?:[\w-]{1,63}\.)+[^\W\d_]{2,24}\b")
_DIGITS = re.compile(r"(?<![\w.,-])\d(?:[ -]?\d){12,18}(?![\w-])")
_IBAN = re.compile(r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z\d]{4}){2,7}(?: ?[A-Z\d]{1,3})?(?!\w)")
_PHONE = re.compile(
    r"(?<![\w.+-])(?:\+\d{1,3}(?:[ ./-]?\(?\d{1,5}\)?){2,6}|\(\d{3}\) ?\d{3}[ -]\d{4}|\d{3}[.-]\d{3}[.-]\d{4}"
    r"|0\d{2,5}[ /-]\d{3,8}(?:[ -]\d{1,5}){0,3})(?![\w-])"
)
_SECRET = re.compile(
    r"-----BEGIN [A-Z ]*PRIVATE KEY-----"
    r"|(?<!\w)(?:sk-[\w-]{20,}|gh[pousr]_\w{30,}|github_pat_\w{30,}|AKIA[A-Z\d]{16}|AIza[\w-]{35}|xox[abprs]-[\w-]{10,}"
    r"|hf_\w{30,}|glpat-[\w-]{20,}|eyJ[\w-]{10,}\.eyJ[\w-]{10,}\.[\w-]{10,})"
)
_ASSIGNED = re.compile(
    r"(?i)\b(?:password|passwd|passwort|api[_ -]?key|secret|access[_ -]?token|client[_ -]?secret)\b"
    r"[\"']?\s*[:=]\s*[\"']?([^\s\"',;]{8,200})"
)
# What every standard keeps free for examples: nobody is found behind it.
_RESERVED = re.compile(
    r"@(?:[\w-]+\.)*example(?:\.(?:com|org|net))?$|\.(?:example|invalid|test)$|\b555[-. ]01\d\d$", re.IGNORECASE
)


def find_pii(text: str) -> Iterator[tuple[str, str]]:
    """What kind of thing each is ("e-mail address"), and the thing itself; each once."""
    seen: set[str] = set()
    for kind, found in _matches(text):
        if found not in seen and not _RESERVED.search(found):
            seen.add(found)
            yield kind, found


def mask(text: str) -> str:
    """Enough of a private string to find it by, and not more."""
    shown = 2 if len(text) > 8 else 1
    return f"{text[:shown]}…{text[-shown:]} ({len(text)} characters)"


def _matches(text: str) -> Iterator[tuple[str, str]]:
    for match in _SECRET.finditer(text):
        yield "key or token", match[0]
    for match in _ASSIGNED.finditer(text):
        if re.search(r"\d", match[1]) and re.search(r"[^\W\d_]", match[1]):
            yield "password or key", match[1]
    if "@" in text:
        for match in _EMAIL.finditer(text):
            yield "e-mail address", match[0]
    if sum(map(text.count, "0123456789")) < 7:
        return
    taken: list[tuple[int, int]] = []
    checks: tuple[tuple[str, re.Pattern[str], Callable[[str], bool]], ...] = (
        ("bank account (IBAN)", _IBAN, is_iban),
        ("card number", _DIGITS, is_card),
        ("telephone number", _PHONE, _is_phone),
    )
    for kind, pattern, check in checks:
        for match in pattern.finditer(text):
            if any(start < match.end() and match.start() < end for start, end in taken):
                continue
            right = check(match[0])
            if right or pattern is _IBAN:  # what has the form of an account and is none holds no card either
                taken.append(match.span())
            if right:
                yield kind, match[0]


def is_card(number: str) -> bool:
    """13 to 19 digits of an issuer's range with the check digit of Luhn's formula (ISO/IEC 7812-1)."""
    digits = [int(character) for character in number if character.isdigit()]
    if not 13 <= len(digits) <= 19 or digits[0] not in (2, 3, 4, 5, 6) or len(set(digits)) < 2:
        return False
    doubled = [sum(divmod(2 * digit, 10)) for digit in digits[-2::-2]]
    return (sum(doubled) + sum(digits[-1::-2])) % 10 == 0


def is_iban(number: str) -> bool:
    """An IBAN whose check digits are right (ISO 13616: the rest of a division by 97 is 1)."""
    plain = number.replace(" ", "")
    if not 15 <= len(plain) <= 34:
        return False
    return int("".join(str(int(character, 36)) for character in plain[4:] + plain[:4])) % 97 == 1


def _is_phone(number: str) -> bool:
    digits = sum(character.isdigit() for character in number)
    return (8 if number[0] == "+" else 9) <= digits <= 15
