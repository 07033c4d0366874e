"""JSON schema -> what a reply may say, for both engines. Oracles: jsonschema, pydantic and Python's own calendar."""

from __future__ import annotations

import calendar
import datetime
import decimal
import enum
import ipaddress
import json
import pathlib
import random
import re
import uuid
from collections.abc import Callable
from typing import Annotated, Any, Literal, NotRequired

import jsonschema
import numpy as np
import pydantic
import pytest
from typing_extensions import TypedDict

from edge.engines.guidance import Guidance, GuidedVocabulary
from edge.engines.json_schema import grammar_of
from edge.engines.string_formats import string_formats
from edge.errors import UsageError
from edge.structured import check, schema_of

Accepts = Callable[[Any, str], bool]

END = 256
BYTES = GuidedVocabulary([bytes([byte]) for byte in range(256)] + [b""], [END], lambda text: list(text.encode()))
"""A token a byte, and one that ends the reply."""


@pytest.fixture
def accepts() -> Accepts:
    """Whether a text is let through, token by token, and to its end, under a schema."""

    def run(schema: Any, text: str) -> bool:
        guidance = Guidance(BYTES, json.dumps(schema))
        for token in [*text.encode(), END]:
            logits = np.zeros(257, np.float32)
            guidance.restrict(logits)
            if logits[token] != 0:
                return False
            guidance.accept(token)
        return True

    return run


def spoken(schema: Any, seed: int) -> str:
    """What a model says that draws every token at random from those that the schema leaves it, and ends when it may."""
    chance, guidance, said = random.Random(seed), Guidance(BYTES, json.dumps(schema)), b""
    while not guidance.complete and len(said) < 2000:
        logits = np.zeros(257, np.float32)
        guidance.restrict(logits)
        allowed = np.flatnonzero(logits == 0).tolist()
        # Quotes and brackets oftener than chance has it, lest a value go on for long.
        closing = [token for token in allowed if token in (*b'"]}',)]
        token = END if END in allowed else chance.choice(closing if closing and chance.random() < 0.3 else allowed)
        if token == END and len(allowed) > 1 and chance.random() < 0.7:
            token = chance.choice([one for one in allowed if one != END])
        if token == END:
            break
        guidance.accept(token)
        said += bytes([token])
    return said.decode()


@pytest.mark.parametrize(("low", "high"), [(0, 7), (-12, 123), (10, 99), (95, 1005), (-250, -3), (-5, 0), (99, 100)])
def test_integers_between_bounds(accepts: Accepts, low: int, high: int) -> None:
    schema = {"type": "integer", "minimum": low, "maximum": high}
    around = {*range(low - 12, low + 13), *range(high - 12, high + 13), 0, -1, 1, 10, 100, 1000, 12345}
    assert {n for n in around if accepts(schema, str(n))} == {n for n in around if low <= n <= high}
    assert not accepts(schema, "007")
    assert not accepts(schema, f"{low}.5")


def test_exclusive_and_open_bounds(accepts: Accepts) -> None:
    assert [n for n in range(8) if accepts({"type": "integer", "exclusiveMinimum": 3}, str(n))] == [4, 5, 6, 7]
    assert [n for n in range(8) if accepts({"type": "integer", "exclusiveMaximum": 3}, str(n))] == [0, 1, 2]
    assert accepts({"type": "integer", "minimum": 3}, "123456789")
    assert accepts({"type": "integer"}, "-42")


def test_numbers_between_whole_bounds(accepts: Accepts) -> None:
    schema = {"type": "number", "minimum": -2, "maximum": 10}
    for text in ("0", "0.25", "9.99", "10", "-1.5", "-2", "-0.1", "10.1", "11", "-2.1", "-3", "1."):
        valid = text != "1." and -2 <= float(text) <= 10
        assert accepts(schema, text) == valid, text


PATTERNS = {
    r"^[A-Z]{2}-\d{3,4}$": ["AB-123", "AB-1234", "AB-12345", "ab-123", "xAB-123"],
    r"^(red|green)( light)?$": ["red", "green light", "blue", "red  light"],
    r"cat": ["cat", "a cat!", "concatenate", "dog"],
    r"^[^aeiou]+$": ["rhythm", "audio", ""],
    r"^a.c$": ["abc", "a-c", "ac"],
    r"^\w+@\w+\.(org|com)$": ["me@example.org", "me@example.net"],
    r'^say "hi"$': ['say "hi"', "say hi"],
    r"^[\w.-]*$": ["a.b-c", "a b", ""],
}


@pytest.mark.parametrize("pattern", PATTERNS)
def test_strings_of_a_pattern(accepts: Accepts, pattern: str) -> None:
    for text in PATTERNS[pattern]:
        expected = re.search(pattern, text) is not None
        assert accepts({"type": "string", "pattern": pattern}, json.dumps(text)) == expected, text


NODE = {
    "$defs": {
        "node": {
            "type": "object",
            "properties": {
                "name": {"type": "string"},
                "children": {"type": "array", "items": {"$ref": "#/$defs/node"}},
            },
            "required": ["name"],
        }
    },
    "$ref": "#/$defs/node",
}
CASES: list[tuple[Any, list[str]]] = [
    ({"type": "array", "items": {"type": "boolean"}, "minItems": 2, "maxItems": 3},
     ["[true]", "[true,false]", "[true, false, true]", "[true,true,true,true]", "[]", "[1,2]"]),
    ({"type": "array", "items": {"type": "null"}, "maxItems": 1}, ["[]", "[null]", "[null,null]"]),
    ({"type": "array", "maxItems": 0}, ["[]", "[1]"]),
    ({"enum": ["a", 1, None, {"k": [1]}, 'q"']}, ['"a"', "1", "null", '{"k": [1]}', '"q\\""', '"b"', "2"]),
    ({"type": "string", "enum": ["a", 1]}, ['"a"', "1"]),
    ({"const": "é"}, ['"é"', '"e"']),
    ({"type": "string", "minLength": 2, "maxLength": 3}, ['"a"', '"ab"', '"äöü"', '"abcd"', '"a\\n"']),
    ({"type": ["integer", "null"], "minimum": 5}, ["5", "4", "null", '"x"']),
    ({"anyOf": [{"type": "integer", "maximum": 1}, {"type": "string"}]}, ["1", '"x"', "2", "true"]),
    ({"oneOf": [{"type": "integer"}, {"type": "string"}]}, ["1", '"x"', "true"]),
    ({"type": "object", "properties": {"a": {"type": "integer"}, "b": {"const": 1}}, "required": ["b"],
      "additionalProperties": False},
     ['{"b": 1}', '{"a": 3, "b": 1}', '{"a": 3}', '{"b": 2}', '{"b":1,"c":2}', "{}"]),
    ({"type": "object", "properties": {"a": {"const": 1}, "b": {"const": 2}}, "additionalProperties": False},
     ["{}", '{"a": 1}', '{"b": 2}', '{"a": 1, "b": 2}', '{"a": 2}', '{"c":1}']),
    ({"type": "object", "additionalProperties": {"type": "integer"}}, ["{}", '{"x": 1, "y": 2}', '{"x": "1"}']),
    ({"type": "object", "additionalProperties": False}, ["{}", '{"x": 1}']),
    ({"required": ["x"], "additionalProperties": {"type": "null"}}, ['{"x": null}', "{}", '{"x": 1}']),
    (NODE, ['{"name": "a"}', '{"name": "a", "children": [{"name": "b", "children": []}]}', '{"children": []}',
            '{"name": "a", "children": [{}]}']),
    (True, ["1", '{"a": [1, {"b": null}]}', "[", "nul"]),
]  # fmt: skip


@pytest.mark.parametrize(("schema", "texts"), CASES, ids=[json.dumps(schema)[:50] for schema, _ in CASES])
def test_what_is_let_through_is_valid(accepts: Accepts, schema: Any, texts: list[str]) -> None:
    for text in texts:
        try:
            jsonschema.validate(json.loads(text), schema)
            valid = True
        except (ValueError, jsonschema.ValidationError):
            valid = False
        assert accepts(schema, text) == valid, text


def test_blanks_cannot_go_on(accepts: Accepts) -> None:
    schema = {"type": "array", "items": {"type": "integer"}}
    assert accepts(schema, "[1, 2]")
    for text in ("[1,  2]", "[ 1]", "[1 ]", "[1]\n", "\n[1]", "[1,\n2]"):
        assert not accepts(schema, text)


def test_strings_hold_no_control_characters_and_no_half_characters(accepts: Accepts) -> None:
    assert accepts({"type": "string"}, '"a\\u00e9\\n\\\\"')
    assert not accepts({"type": "string"}, '"a\nb"')
    assert not accepts({"type": "string"}, '"\\ud800"')


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"not": {"type": "null"}},
        {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        {"oneOf": [{"const": 1}, {"type": "integer"}]},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "string", "pattern": "(a)\\1"},
        {"type": "string", "pattern": "["},
        {"type": "string", "enum": [1]},
        {"$ref": "#/$defs/absent"},
        {"$ref": "https://example.org/schema"},
        {"type": "array", "minItems": 3, "maxItems": 2},
        {"type": "object", "required": ["a"], "additionalProperties": False},
        {"type": "object", "properties": {"a": False}, "required": ["a"]},
        False,
    ],
    ids=json.dumps,
)
def test_what_a_grammar_cannot_express_is_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match="response_format"):
        grammar_of(json.dumps(schema))


class Colour(enum.Enum):
    RED = "red"
    NUMBER = 2


class Kettle(pydantic.BaseModel):
    kind: Literal["kettle"] = "kettle"
    litres: Annotated[float, pydantic.Field(gt=0.5, lt=2)]


class Lamp(pydantic.BaseModel):
    model_config = pydantic.ConfigDict(extra="forbid")
    kind: Literal["lamp", "torch"]
    größe: Annotated[str, pydantic.Field(title='Größe in "m²"', max_length=4)]


class Crate(pydantic.BaseModel):
    kind: Literal["crate"]
    inside: Annotated[Kettle | Crate | None, pydantic.Field(description="may hold itself")]


class Note(TypedDict):
    when: datetime.date
    text: NotRequired[Annotated[str, pydantic.Field(pattern=r"^\w+( \w+)?$", min_length=3, max_length=9)]]


class Invoice(pydantic.BaseModel):
    number: int
    date: datetime.date
    total: decimal.Decimal
    items: Annotated[list[Note], pydantic.Field(min_length=1, max_length=2)]
    colour: Colour | None = None


Thing = Annotated[Kettle | Lamp, pydantic.Field(discriminator="kind")]
TYPES: dict[str, Any] = {
    "date": datetime.date,
    "datetime": datetime.datetime,
    "time": datetime.time,
    "timedelta": datetime.timedelta,
    "UUID": uuid.UUID,
    "UUID4": pydantic.UUID4,
    "UUID7": pydantic.UUID7,
    "Decimal": decimal.Decimal,
    "e-mail": pydantic.EmailStr,
    "any URL": pydantic.AnyUrl,
    "web address": pydantic.HttpUrl,
    "IPv4": ipaddress.IPv4Address,
    "IPv6": ipaddress.IPv6Address,
    "any address": pydantic.IPvAnyAddress,
    "IPv4 network": ipaddress.IPv4Network,
    "any network": pydantic.IPvAnyNetwork,
    "any interface": pydantic.IPvAnyInterface,
    "path": pathlib.Path,
    "bytes": bytes,
    "base64": pydantic.Base64Bytes,
    "secret": pydantic.SecretStr,
    "pair": tuple[int, datetime.date],
    "row": tuple[Annotated[int, pydantic.Field(ge=-3, le=12)], ...],
    "set of values": set[Literal["a", "b", "c"]],
    "frozen set of a few": Annotated[frozenset[bool], pydantic.Field(min_length=1)],
    "values": Literal["x", 1, None],
    "enum": Colour,
    "union": int | bool | None,
    "told apart": Thing,
    "told apart twice": Annotated[Thing | Crate, pydantic.Field(discriminator="kind")],
    "itself": Crate,
    "typed dict": Note,
    "model": Invoice,
    "dict": dict[str, int],
    "dict of dates": dict[datetime.date, Thing],
    "dict of few names": dict[Literal["a", "b"], int],
    "dict of a pattern": dict[Annotated[str, pydantic.Field(pattern="^x[0-9]$")], bool],
    "multiple": Annotated[int, pydantic.Field(multiple_of=5, gt=0, lt=100)],
    "multiple of a fraction": Annotated[float, pydantic.Field(multiple_of=0.1)],
    "closed in": Annotated[float, pydantic.Field(ge=0.25, le=0.5)],
    "short": Annotated[str, pydantic.Field(min_length=2, max_length=5)],
}


@pytest.mark.parametrize("name", TYPES)
def test_whatever_is_said_pydantic_takes(name: str) -> None:
    """And jsonschema, which looks at formats, too."""
    adapter = pydantic.TypeAdapter(TYPES[name])
    schema = adapter.json_schema()
    looks = jsonschema.Draft202012Validator(schema, format_checker=jsonschema.Draft202012Validator.FORMAT_CHECKER)
    said = {spoken(schema, seed) for seed in range(12)}
    for text in said:
        adapter.validate_json(text)
        if "multiple of" not in name:  # which jsonschema reckons in binary fractions
            looks.validate(json.loads(text))
        check(text, json.dumps(schema))
    assert len(said) > 1


VALUES: dict[str, list[Any]] = {
    "date": [datetime.date(2024, 2, 29), datetime.date(1, 1, 1), datetime.date(9999, 12, 31)],
    "datetime": [datetime.datetime(2026, 11, 28, 21, 5, 9, 120000, datetime.UTC)],
    "time": [datetime.time(23, 59, 59, tzinfo=datetime.UTC)],
    "timedelta": [datetime.timedelta(days=3), datetime.timedelta(hours=2, minutes=5, seconds=7)],
    "UUID": [uuid.UUID(int=7), uuid.uuid5(uuid.NAMESPACE_DNS, "example.org")],
    "e-mail": ["jane.doe+mail@sub.example-shop.co.uk", "o'neil@example.org"],
    "any URL": [pydantic.AnyUrl(text) for text in ("https://u:p@example.org:8080/a?c=d#e", "urn:isbn:045", "ws://[::1]/")],
    "web address": [pydantic.HttpUrl(text) for text in ("https://www.example.org/manual/p.html", "http://127.0.0.1:5/")],
    "IPv4": [ipaddress.IPv4Address("255.0.19.200")],
    "IPv6": [ipaddress.IPv6Address(text) for text in ("::", "::1", "1::", "2001:db8::800:417a", "1:2:3:4:5:6:7:8")],
    "IPv4 network": [ipaddress.IPv4Network("10.0.0.0/8"), ipaddress.IPv4Network("192.168.7.0/24")],
    "base64": [b"", b"a", b"ab", b"any carnal pleas"],
    "pair": [(3, datetime.date(2000, 2, 29))],
    "set of values": [{"c", "a"}, set()],
    "told apart": [Kettle(litres=1.25), Lamp(kind="torch", größe="é🚢")],
    "itself": [Crate(kind="crate", inside=Crate(kind="crate", inside=Kettle(litres=1)))],
    "dict of dates": [{datetime.date(2024, 2, 29): Kettle(litres=1)}],
    "multiple of a fraction": [0.3, 1.1],
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_what_is_valid_can_be_said(accepts: Accepts, name: str) -> None:
    adapter = pydantic.TypeAdapter(TYPES[name])
    for value in VALUES[name]:
        text = adapter.dump_json(value).decode()
        assert accepts(adapter.json_schema(), text), text


def test_dates_are_those_of_the_calendar() -> None:
    date = re.compile(string_formats()["date"].pattern)
    for year in (0, 1, 4, 100, 400, 1600, 1899, 1900, 1999, 2000, 2023, 2024, 2100, 2400, 9996, 9999):
        for month in range(14):
            days = calendar.monthrange(year, month)[1] if year and 1 <= month <= 12 else 0
            taken = [day for day in range(34) if date.fullmatch(f"{year:04}-{month:02}-{day:02}")]
            assert taken == list(range(1, days + 1)), (year, month)


@pytest.mark.parametrize(
    "text",
    ["jane@localhost", "jane@mail.local", "jane@example.test", "a..b@example.org", ".a@example.org", "a@-x.org", "a@b"],
)
def test_mail_addresses_that_no_one_can_have(accepts: Accepts, text: str) -> None:
    with pytest.raises(pydantic.ValidationError):
        pydantic.TypeAdapter(pydantic.EmailStr).validate_python(text)
    assert not accepts({"type": "string", "format": "email"}, json.dumps(text))


def test_formats_of_numbers(accepts: Accepts) -> None:
    assert accepts({"type": "integer", "format": "int32"}, "2147483647")
    assert not accepts({"type": "integer", "format": "int32"}, "2147483648")
    assert not accepts({"type": "integer", "format": "uint8"}, "-1")
    assert accepts({"type": "number", "format": "double"}, "0.5")
    assert accepts({"type": ["string", "integer"], "format": "date"}, "5")


def test_a_format_holds_beside_a_pattern_and_a_length(accepts: Accepts) -> None:
    schema = {"type": "string", "format": "date", "pattern": "^20", "maxLength": 10}
    assert accepts(schema, '"2024-02-29"')
    assert not accepts(schema, '"1999-01-01"')
    assert not accepts(schema, '"2023-02-29"')


def test_small_sets_hold_nothing_twice(accepts: Accepts) -> None:
    schema = {"type": "array", "items": {"enum": ["a", "b", "c"]}, "uniqueItems": True, "minItems": 2}
    for text, valid in {'["b", "a"]': True, '["c","b","a"]': True, '["a", "a"]': False, '["a"]': False}.items():
        assert accepts(schema, text) == valid, text
    with pytest.raises(UsageError):
        accepts({**schema, "minItems": 4}, "[]")
    many = {"type": "array", "items": {"enum": list(range(10))}, "uniqueItems": True}
    assert accepts(many, json.dumps(list(range(10))))
    assert not accepts(many, json.dumps([*range(10), 1]))


def test_a_property_that_tells_apart_must_be_there(accepts: Accepts) -> None:
    """Its name may hold blanks, and what a discriminator is, no draft says."""
    parts = [{"properties": {"of kind": {"const": kind}}, "type": "object"} for kind in "ab"]
    schema = {"oneOf": parts, "discriminator": {"propertyName": "of kind"}}
    assert accepts(schema, '{"of kind": "b"}')
    assert not accepts(schema, "{}")
    assert accepts({"oneOf": [{"type": "null"}, {"type": "boolean"}], "discriminator": "kind"}, "null")


def test_names_that_the_schema_does_not_hold_are_not_made_up(accepts: Accepts) -> None:
    """A small model would add them until its tokens are spent."""
    schema: dict[str, Any] = {"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a", "z"]}
    assert accepts(schema, '{"a": 1, "z": [2]}')
    assert not accepts(schema, '{"a": 1, "z": 2, "b": 3}')
    assert accepts({**schema, "additionalProperties": True}, '{"a": 1, "z": 2, "b": 3}')
    both = {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}, "required": ["b"]}]}
    assert accepts({"type": "object", **both}, '{"a": 1, "b": 2}')


@pytest.mark.parametrize(
    ("favourite", "schema"),
    [(b" ", {"type": "string"}), (b"\\n", {"type": "string"}), (b"7", {"type": "number"}), (b"0", {"minItems": 1})],
)
def test_what_goes_on_for_ever_is_cut_short(favourite: bytes, schema: Any) -> None:
    """A model that says the same over and over, where it may."""
    guidance, said, times = Guidance(BYTES, json.dumps(schema)), b"", 0
    while not guidance.complete and len(said) < 300:
        logits = np.zeros(257, np.float32)
        guidance.restrict(logits)
        best = [favourite[times % len(favourite)], END, *b'"]}0', *range(256)]
        token = next(one for one in best if logits[one] == 0)
        if token == END:
            break
        times += token == best[0]
        guidance.accept(token)
        said += bytes([token])
    json.loads(said)


HOSTILE: dict[str, Any] = {
    "a reference to itself": {"$ref": "#"},
    "a ring": {"$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}, "$ref": "#/$defs/a"},
    "a ring of parts": {"$defs": {"a": {"oneOf": [{"$ref": "#/$defs/a"}]}}, "$ref": "#/$defs/a"},
    "a value within itself": {
        "$defs": {"n": {"type": "object", "properties": {"n": {"$ref": "#/$defs/n"}}, "required": ["n"]}},
        "$ref": "#/$defs/n",
    },
    "a web address": {"$ref": "https://example.org/schema.json"},
    "a file": {"$ref": "file:///etc/passwd"},
    "a schema of its own": {"properties": {"a": {"$id": "https://example.org/a", "type": "null"}}},
}


@pytest.mark.parametrize("schema", HOSTILE.values(), ids=HOSTILE)
def test_schemas_that_lead_nowhere_are_refused(schema: Any) -> None:
    with pytest.raises(UsageError, match="response_format"):
        grammar_of(json.dumps(schema))


def test_a_schema_nested_too_deeply_is_refused() -> None:
    schema: dict[str, Any] = {"type": "integer"}
    for _ in range(3000):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UsageError, match="response_format"):
        grammar_of(schema_of(schema))


def test_large_schemas_are_followed(accepts: Accepts) -> None:
    values = [f"value {i}" for i in range(1000)]
    assert accepts({"enum": values}, '"value 999"')
    long = {"type": "string", "minLength": 3, "maxLength": 1000}
    assert accepts(long, json.dumps("é" * 1000))
    assert not accepts(long, json.dumps("é" * 1001))
    assert accepts({"type": "array", "items": {"type": "null"}, "maxItems": 100_000}, "[null]")


@pytest.mark.parametrize("pattern", ["^(a+)+$", "^(a|aa|a*)*b$", "(x+x+)+y"])
def test_a_pattern_that_backtracks_costs_no_more_than_another(accepts: Accepts, pattern: str) -> None:
    """Python's own expressions would not come back from any of these texts."""
    for text in ("a" * 400 + "!", "x" * 400):
        assert not accepts({"type": "string", "pattern": pattern}, json.dumps(text))
        with pytest.raises(Exception, match="does not match"):
            check(json.dumps(text), json.dumps({"pattern": pattern}))


@pytest.mark.parametrize(
    ("word", "schema"),
    [
        ("not", {"not": {"type": "null"}}),
        ("contains", {"type": "array", "contains": {"const": 1}}),
        ("minContains", {"type": "array", "minContains": 1}),
        ("if", {"if": {"required": ["a"]}, "then": {"required": ["b"]}}),
        ("dependentRequired", {"dependentRequired": {"a": ["b"]}}),
        ("dependentSchemas", {"dependentSchemas": {"a": {"required": ["b"]}}}),
        ("dependencies", {"dependencies": {"a": ["b"]}}),
        ("unevaluatedProperties", {"unevaluatedProperties": False}),
        ("unevaluatedItems", {"unevaluatedItems": False}),
        ("propertyNames", {"propertyNames": {"maxLength": 3}}),
        ("$dynamicRef", {"$dynamicRef": "#a"}),
        ("contentMediaType", {"contentMediaType": "application/json"}),
        ("base32", {"contentEncoding": "base32"}),
        ("minLenght", {"type": "string", "minLenght": 3}),
        ("oneOf", {"oneOf": [{"minimum": 1}, {"maximum": 5}]}),
        ("file-path", pydantic.TypeAdapter(pydantic.FilePath).json_schema()),
        ("'regex'", pydantic.TypeAdapter(re.Pattern[str]).json_schema()),
        ("phone", {"properties": {"a": {"items": {"type": "string", "format": "phone"}}}}),
    ],
)
def test_what_cannot_be_held_is_named(word: str, schema: Any) -> None:
    with pytest.raises(UsageError, match=re.escape(word)):
        grammar_of(json.dumps(schema))
