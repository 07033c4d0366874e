"""What `response_format` may be, and what a reply that does not keep to it says. Oracle: pydantic and jsonschema."""

from __future__ import annotations

import datetime
import json
import sys
from collections.abc import Callable
from typing import Any

import pydantic
import pytest

from edge import Chat, Model, Sampling
from edge.engines.scripted import ScriptedEngine
from edge.errors import FormatError, UsageError
from edge.structured import check, schema_of


class Invoice(pydantic.BaseModel):
    date: datetime.date
    tags: set[str] = set()


def said(reply: str, response_format: Any, **sampling: Any) -> str:
    return (
        Model(ScriptedEngine([reply]))
        .generate("x", response_format=response_format, sampling=Sampling(**sampling))
        .text
    )


@pytest.mark.parametrize(
    "response_format",
    [
        Invoice,
        pydantic.TypeAdapter(Invoice),
        Invoice.model_json_schema(),
        {"type": "json_schema", "json_schema": {"name": "invoice", "schema": Invoice.model_json_schema()}},
    ],
    ids=["class", "adapter", "schema", "OpenAI"],
)
def test_every_way_to_name_a_schema(response_format: Any) -> None:
    assert Invoice.model_validate_json(said('{"date": "2024-02-29"}', response_format))
    with pytest.raises(FormatError, match=r"\$\.date: '2023-02-29' is not a 'date'"):
        said('{"date": "2023-02-29"}', response_format)


@pytest.mark.parametrize(
    "response_format",
    [type("X", (), {}), object(), "json", ["a"], 5, True, datetime.date, Invoice(date=datetime.date(2024, 1, 1)), dict],
    ids=lambda value: "object" if type(value) is object else str(value),
)
def test_anything_else_is_refused_with_what_is_taken(response_format: Any) -> None:
    with pytest.raises(UsageError, match="pydantic model class or TypeAdapter"):
        said("{}", response_format)


@pytest.mark.parametrize(
    ("response_format", "message"),
    [
        ({"type": "json_schema"}, "no valid JSON schema"),
        ({"type": "json_schema", "json_schema": {"schema": "x"}}, "no valid JSON schema"),
        ({"type": "thing"}, "no valid JSON schema"),
        ({"minimum": float("nan")}, "no valid JSON schema"),
        ({"default": {1, 2}}, "no valid JSON schema"),
        ({"$schema": "http://json-schema.org/draft-04/schema#", "exclusiveMinimum": True, "minimum": 1}, "old draft"),
        (pydantic.TypeAdapter(Callable[[], int]), "has no JSON schema"),
    ],
)
def test_what_is_no_schema_says_why(response_format: Any, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        said("{}", response_format)


def test_nothing_is_fetched_for_a_check(monkeypatch: pytest.MonkeyPatch) -> None:
    """jsonschema alone would ask the network for it."""
    monkeypatch.setattr("urllib.request.urlopen", lambda *_a, **_k: pytest.fail("asked the network"))
    with pytest.raises(FormatError, match=r"example\.org"):
        check("1", json.dumps({"$ref": "https://example.org/schema.json"}))


def test_a_set_that_holds_something_twice_says_where() -> None:
    text = '{"date": "2024-02-29", "tags": ["a", "b", "a"]}'
    with pytest.raises(FormatError, match=r"\$\.tags: .*non-unique") as caught:
        said(text, Invoice)
    assert (caught.value.text, caught.value.finish) == (text, "stop")


def test_a_reply_that_was_cut_says_so() -> None:
    with pytest.raises(FormatError, match="max_tokens") as caught:
        said('{"date": "2024-02-29" }', Invoice, max_tokens=2)
    assert caught.value.finish == "length"


@pytest.mark.parametrize("text", ["NaN", "-Infinity", "[" * 100_000, "1" * 5000, '{"a": 1} and more'])
def test_what_is_no_json(text: str) -> None:
    with pytest.raises(FormatError, match="it is no JSON"):
        check(text, "{}")


def test_multiples_are_reckoned_in_decimals() -> None:
    tenths = json.dumps({"multipleOf": 0.1})
    for text in ("0.3", "1.1", "7", "true"):
        check(text, tenths)
    with pytest.raises(FormatError, match=r"0\.25 is not a multiple"):
        check("0.25", tenths)


def test_pydantic_and_llguidance_are_not_imported_before_they_are_needed() -> None:
    import subprocess

    program = (
        "import sys, edge; print([name for name in ('pydantic', 'llguidance', 'jsonschema') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_schema_is_as_it_was_given() -> None:
    assert json.loads(schema_of(Invoice)) == Invoice.model_json_schema()


class Even(pydantic.BaseModel):
    number: int

    @pydantic.field_validator("number")
    @classmethod
    def is_even(cls, number: int) -> int:
        if number % 2:
            raise ValueError("odd")
        return number


def test_a_chat_holds_an_answer_to_rules_that_are_no_schema() -> None:
    chat = Chat(Model(ScriptedEngine(['{"number": 4}', '{"number": 5}'])), response_format=Even)
    assert chat.ask("How many?").parsed == Even(number=4)
    with pytest.raises(FormatError, match="odd") as caught:
        chat.ask("And now?")
    assert caught.value.text == '{"number": 5}'
    with pytest.raises(UsageError, match="'not'"):
        chat.stream("And now?", response_format={"not": {}})
