"""What the `format` of a JSON schema lets through, as regular expressions: calendar, network and names.

Each is as wide as RFC 3339, RFC 3986 and their like allow, but for what pydantic or jsonschema refuses (the year 0000,
a 60th second, a top-level domain that is reserved): a string that comes through is valid for all of them.
https://json-schema.org/draft/2020-12/json-schema-validation#section-7.3
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple


class StringFormat(NamedTuple):
    """The whole string matches `pattern` and has at most `longest` characters."""

    pattern: str
    longest: int | None = None


INTEGER_FORMATS = {
    **{f"int{bits}": (-(2 ** (bits - 1)), 2 ** (bits - 1) - 1) for bits in (8, 16, 32, 64)},
    **{f"uint{bits}": (0, 2**bits - 1) for bits in (8, 16, 32, 64)},
}
"""OpenAPI's: the smallest and the largest number."""

FREE_FORMATS = frozenset({"binary", "password", "float", "double"})
"""Those that every string, or every number, has."""

_RESERVED_DOMAINS = ("arpa", "invalid", "local", "localhost", "onion", "test")
"""RFC 6761 and its followers: no mail address ends so."""


@cache
def string_formats() -> dict[str, StringFormat]:
    """By name; of pydantic's own names, too."""
    uri, reference = _uris()
    return {
        **_times(),
        **_addresses(),
        **_identifiers(),
        "email": StringFormat(_email(), 254),
        "idn-email": StringFormat(_email(), 254),
        "name-email": StringFormat(_email(), 254),
        "hostname": StringFormat(_hostname(), 253),
        "idn-hostname": StringFormat(_hostname(), 253),
        "uri": StringFormat(uri),
        "iri": StringFormat(uri),
        "http-url": StringFormat(_hierarchical("https?")),
        "uri-reference": StringFormat(reference),
        "iri-reference": StringFormat(reference),
        "path": StringFormat(r"[^\x00]+"),
    }


def _any(alternatives: Sequence[str]) -> str:
    return f"(?:{'|'.join(alternatives)})"


def _times() -> dict[str, StringFormat]:
    year = _any(["[1-9][0-9]{3}", "0[1-9][0-9]{2}", "00[1-9][0-9]", "000[1-9]"])
    fourth = _any(["0[48]", "[2468][048]", "[13579][26]"])
    long_months = "(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    short_months = "(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)"
    february = "02-(?:0[1-9]|1[0-9]|2[0-8])"
    leap_year = _any([f"[0-9]{{2}}{fourth}", f"{fourth}00"])
    date = _any([f"{year}-{_any([long_months, short_months, february])}", f"{leap_year}-02-29"])
    clock = "(?:[01][0-9]|2[0-3]):[0-5][0-9]"
    time = rf"{clock}:[0-5][0-9](?:\.[0-9]{{1,6}})?(?:Z|[+-]{clock})"
    return {
        "date": StringFormat(date),
        "time": StringFormat(time),
        "date-time": StringFormat(f"{date}T{time}"),
        "duration": StringFormat(_duration()),
    }


def _duration() -> str:
    """RFC 3339, appendix A: units follow one another without a gap. So many digits fit into a timedelta."""
    number = "[0-9]{1,6}"

    def chain(units: str) -> str:
        """Any run of neighbours."""
        tails = [f"{number}{units[-1]}"]
        for unit in reversed(units[:-1]):
            tails.append(f"{number}{unit}(?:{tails[-1]})?")
        return _any(tails)

    days, time = chain("YMD"), f"T{chain('HMS')}"
    return f"P{_any([f'{days}(?:{time})?', time, f'{number}W'])}"


def _addresses() -> dict[str, StringFormat]:
    byte, hextet = "(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])", "[0-9a-fA-F]{1,4}"
    ipv4 = rf"{byte}(?:\.{byte}){{3}}"
    # Groups before and after the "::", eight at most if that stands for one.
    shortened = [
        f"(?:{hextet}(?::{hextet}){{{before - 1}}})?::(?:{hextet}(?::{hextet}){{0,{6 - before}}})?"
        for before in range(1, 7)
    ]
    ipv6 = _any([f"{hextet}(?::{hextet}){{7}}", *shortened, f"{hextet}(?::{hextet}){{6}}::"])
    prefix4, prefix6 = "/(?:3[0-2]|[12]?[0-9])", "/(?:12[0-8]|1[01][0-9]|[1-9]?[0-9])"
    # Of networks, those whose prefix ends where a number does: no bit behind it is set.
    ends = [(8 * n, rf"{byte}(?:\.{byte}){{{n - 1}}}" + r"\.0" * (4 - n)) for n in range(1, 5)]
    network4 = _any([rf"{address}/{bits}" for bits, address in ends])
    network6 = _any([f"{hextet}(?::{hextet}){{{n - 1}}}::/{16 * n}" for n in range(1, 8)])
    return {
        "ipv4": StringFormat(ipv4),
        "ipv6": StringFormat(ipv6),
        "ipvanyaddress": StringFormat(_any([ipv4, ipv6])),
        "ipv4interface": StringFormat(f"{ipv4}(?:{prefix4})?"),
        "ipv6interface": StringFormat(f"{ipv6}(?:{prefix6})?"),
        "ipvanyinterface": StringFormat(_any([f"{ipv4}(?:{prefix4})?", f"{ipv6}(?:{prefix6})?"])),
        "ipv4network": StringFormat(network4),
        "ipv6network": StringFormat(network6),
        "ipvanynetwork": StringFormat(_any([network4, network6])),
    }


def _identifiers() -> dict[str, StringFormat]:
    def uuid(version: str) -> str:
        return f"[0-9a-fA-F]{{8}}-[0-9a-fA-F]{{4}}-{version}-[0-9a-fA-F]{{12}}"

    four, step = "[0-9a-fA-F]{4}", "/(?:[^/~]|~[01])*"
    versions = {f"uuid{n}": StringFormat(uuid(f"{n}[0-9a-fA-F]{{3}}-[89abAB][0-9a-fA-F]{{3}}")) for n in range(1, 9)}
    return {
        **versions,
        "uuid": StringFormat(uuid(f"{four}-{four}")),
        "json-pointer": StringFormat(f"(?:{step})*"),
        "base64": StringFormat(_base64("[A-Za-z0-9+/]")),
        "base64url": StringFormat(_base64("[A-Za-z0-9_-]")),
        "color": StringFormat("#[0-9a-fA-F]{6}"),
    }


def _base64(digit: str) -> str:
    return f"(?:{digit}{{4}})*(?:{digit}{{3}}=|{digit}{{2}}==)?"


# No two hyphens side by side: those mark encoded names ("xn--"), which would have to decode.
_LABEL = "[A-Za-z0-9](?:-?[A-Za-z0-9]){0,31}"


def _hostname() -> str:
    return rf"{_LABEL}(?:\.{_LABEL})*"


def _email() -> str:
    letter = "[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]"
    last = _other_than(_RESERVED_DOMAINS)
    return rf"{letter}(?:\.?{letter}){{0,31}}@(?:{_LABEL}\.)+{last}"


def _other_than(words: Sequence[str]) -> str:
    """Two or more small letters that are none of `words`."""

    def behind(ends: Sequence[str], least: int) -> str:
        """`least` or more letters that are none of `ends`."""
        if not ends:
            return f"[a-z]{{{least},}}"
        firsts = sorted({end[0] for end in ends if end})
        others = "".join(letter for letter in map(chr, range(ord("a"), ord("z") + 1)) if letter not in firsts)
        rest = max(least - 1, 0)
        ways = [f"[{others}][a-z]{{{rest},}}"]
        ways += [first + behind([end[1:] for end in ends if end[:1] == first], rest) for first in firsts]
        return _any(ways if least or "" in ends else ["", *ways])

    return behind(words, 2)


_PATH = "(?:[A-Za-z0-9._~!$&'()*+,;=:@-]|%[0-9A-Fa-f]{2})"
_QUERY = rf"(?:\?(?:{_PATH}|[/?])*)?"
_FRAGMENT = f"(?:#(?:{_PATH}|[/?])*)?"


def _hierarchical(scheme: str) -> str:
    """With a host, which browsers read as a number where its last label begins with a digit."""
    addresses = _addresses()
    name = rf"(?:{_LABEL}\.)*[A-Za-z](?:-?[A-Za-z0-9]){{0,31}}"
    host = _any([name, addresses["ipv4"].pattern, rf"\[{addresses['ipv6'].pattern}\]"])
    user, port = "(?:[A-Za-z0-9._~-]+(?::[A-Za-z0-9._~-]*)?@)?", "(?::(?:[1-5][0-9]{4}|[1-9][0-9]{0,3}))?"
    return f"{scheme}://{user}{host}{port}(?:/{_PATH}*)*{_QUERY}{_FRAGMENT}"


def _uris() -> tuple[str, str]:
    """URIs, and references, which may be relative."""
    opaque = [
        f"urn:[a-z0-9][a-z0-9-]{{0,30}}[a-z0-9]:{_PATH}+",
        f"mailto:{_PATH}+",
        r"tel:\+?[0-9](?:-?[0-9]){0,30}",
        f"file://(?:/{_PATH}*)+",
    ]
    uri = _any([_hierarchical("[a-z][a-z0-9+.-]{0,20}"), *(f"{one}{_QUERY}{_FRAGMENT}" for one in opaque)])
    first = "(?:[A-Za-z0-9._~!$&'()*+,;=@-]|%[0-9A-Fa-f]{2})+"
    relative = f"(?:(?:/{_PATH}+|{first})(?:/{_PATH}*)*|/)?{_QUERY}{_FRAGMENT}"
    return uri, _any([uri, relative])
