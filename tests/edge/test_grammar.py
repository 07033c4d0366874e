"""JSON schema -> GBNF. Oracles: llama.cpp's own reading of the grammar, and jsonschema for what is valid."""

from __future__ import annotations

import ctypes
import json
import re
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

from edge import Model
from edge.engines.grammar import grammar_of
from edge.errors import UsageError

Accepts = Callable[[Any, str], bool]


@pytest.fixture
def accepts(smollm: Model) -> Accepts:
    """Whether llama.cpp lets a text through, and to its end, under the grammar of a schema."""
    import llama_cpp

    engine: Any = smollm.engine

    def allowed(sampler: Any, token: int) -> bool:
        data = (llama_cpp.llama_token_data * 1)(llama_cpp.llama_token_data(token, 1.0, 0.0))
        array = llama_cpp.llama_token_data_array(data, 1, -1, False)
        llama_cpp.llama_sampler_apply(sampler, ctypes.byref(array))
        return data[0].logit > float("-inf")

    def run(schema: Any, text: str) -> bool:
        grammar = grammar_of(json.dumps(schema)).encode()
        sampler = llama_cpp.llama_sampler_init_grammar(engine._vocab, grammar, b"root")
        assert sampler, grammar.decode()
        try:
            for token in engine._vocabulary.tokens(text):
                if not allowed(sampler, token):
                    return False
                llama_cpp.llama_sampler_accept(sampler, token)
            return allowed(sampler, llama_cpp.llama_vocab_eos(engine._vocab))
        finally:
            llama_cpp.llama_sampler_free(sampler)

    return run


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
     ['{"b": 1}', '{"b": 1, "a": 3}', '{"a": 3}', '{"b": 2}', '{"b":1,"c":2}', "{}"]),
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
        {"type": "array", "uniqueItems": True},
        {"type": "object", "patternProperties": {"^x": {"type": "null"}}},
        {"type": "integer", "multipleOf": 3},
        {"type": "number", "minimum": 0.5},
        {"type": "integer", "minimum": 5, "maximum": 4},
        {"not": {"type": "null"}},
        {"allOf": [{"type": "string"}, {"minLength": 3}]},
        {"oneOf": [{"type": "integer"}, {"type": "number"}]},
        {"oneOf": [{"const": 1}, {"type": "integer"}]},
        {"type": "string", "pattern": "(?=a)b"},
        {"type": "string", "pattern": "(a)\\1"},
        {"type": "string", "pattern": "["},
        {"type": "string", "pattern": "a", "maxLength": 3},
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
