"""What `Model` adds to an engine: stop strings, usage, cancelling, locking."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from edge import Adapter, Message, Model, Sampling
from edge.engines.contract import Token
from edge.engines.scripted import ScriptedEngine
from edge.errors import AdapterError, FormatError, ModelError, UsageError
from edge.types import Prefill


def scripted(*replies: str, **options: float) -> Model:
    return Model(ScriptedEngine(replies, **options))


@pytest.mark.parametrize(
    ("stop", "text"),
    [
        (("five",), "one two three four "),
        (("e fo",), "one two thre"),  # across the border of two tokens
        (("three four five six", "two"), "one "),  # the longer one only begins: the text is not swallowed
        (("e four five nine",), "one two three four five six"),
        ((" six",), "one two three four five"),
        (("",), "one two three four five six"),
    ],
)
def test_a_stop_string_ends_the_reply_and_is_not_part_of_it(stop: tuple[str, ...], text: str) -> None:
    reply = scripted("one two three four five six").generate("count", sampling=Sampling(stop=stop))
    assert (reply.text, reply.finish) == (text, "stop")


def test_text_that_may_open_a_stop_string_is_held_back_until_it_is_known() -> None:
    stream = scripted("alpha beta gamma").stream("x", sampling=Sampling(stop=("beta gamma delta",)))
    pieces = [delta.text for delta in stream if delta.text]
    assert "".join(pieces) == "alpha beta gamma"
    assert pieces[0] == "alpha"


def test_the_limit_of_tokens_is_reported_as_such() -> None:
    reply = scripted("one two three").generate("x", sampling=Sampling(max_tokens=2))
    assert (reply.text, reply.finish, reply.usage.completion_tokens) == ("one two", "length", 2)


def test_the_last_delta_carries_the_usage() -> None:
    *_, last = scripted("one two three").stream("a b c d")
    assert last.usage is not None
    assert (last.usage.prompt_tokens, last.usage.completion_tokens, last.finish) == (4, 3, "stop")


def test_a_closed_stream_frees_the_model_for_the_next_question() -> None:
    model = scripted("one two three", "four")
    stream = model.stream("x")
    assert next(text for text in (delta.text for delta in stream) if text) == "one"
    stream.close()
    assert model.generate("y").text == "four"


def test_a_stream_that_is_held_answers_on_when_another_question_comes_in_the_same_thread() -> None:
    model = scripted("one two three", "four")
    stream = model.stream("x")
    next(stream)
    assert model.generate("y").text == "four"
    assert "".join(delta.text for delta in stream) == "one two three"


def test_two_threads_wait_for_each_other() -> None:
    model = scripted("one two three four five six", delay=0.001)
    replies: list[str] = []
    threads = [threading.Thread(target=lambda: replies.append(model.generate("x").text)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert replies == ["one two three four five six"] * 4


def test_a_closed_model_says_so() -> None:
    model = scripted("one")
    model.close()
    model.close()
    with pytest.raises(ModelError, match="closed"):
        model.generate("x")


def test_unknown_adapters_and_malformed_messages_are_named() -> None:
    model = scripted("one")
    with pytest.raises(AdapterError, match="'legal'"):
        model.stream("x", adapter="legal")
    with pytest.raises(UsageError, match="role"):
        model.generate([{"role": "robot", "content": "x"}])


def test_messages_may_be_records_or_mappings() -> None:
    model = scripted("one")
    as_records = model.render([Message("user", "hello")])
    assert model.render([{"role": "user", "content": "hello"}]) == as_records


def adapted(*replies: str) -> tuple[Model, list[Adapter | None]]:
    """A model, and the adapters that its engine is asked to use."""
    engine = ScriptedEngine(replies)
    used: list[Adapter | None] = []
    stream = engine.stream

    def recording(
        prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        used.append(adapter)
        return stream(prompt, sampling, adapter)

    engine.stream = recording  # type: ignore[method-assign]
    return Model(engine), used


def test_adapters_come_and_go_by_name_at_any_scale(tmp_path: Path) -> None:
    for name in ("legal.gguf", "medical.gguf"):
        (tmp_path / name).touch()
    model, used = adapted("yes")
    legal = model.add_adapter(tmp_path / "legal.gguf")
    medical = model.add_adapter(tmp_path / "medical.gguf", name="doctor", scale=0.5)
    assert model.adapters == (legal, medical)
    model.generate("x", adapter="legal")
    model.generate("x")
    model.generate("x", adapter="doctor")
    model.generate("x", adapter="doctor", scale=2)
    assert used == [legal, None, medical, replace(medical, scale=2)]
    with pytest.raises(AdapterError, match="'legal' is loaded already"):
        model.add_adapter(tmp_path / "legal.gguf")
    model.remove_adapter("legal")
    with pytest.raises(AdapterError, match="no adapter 'legal' is loaded; loaded: doctor"):
        model.generate("x", adapter="legal")
    with pytest.raises(AdapterError, match="no adapter 'legal'"):
        model.remove_adapter("legal")
    with pytest.raises(AdapterError, match=r"absent\.gguf does not exist"):
        model.add_adapter(tmp_path / "absent.gguf")
    model.add_adapter(tmp_path / "legal.gguf")


def test_an_adapter_that_answers_is_taken_away_when_its_reply_is_complete(tmp_path: Path) -> None:
    (tmp_path / "legal.gguf").touch()
    model, _ = adapted("one two three")
    model.add_adapter(tmp_path / "legal.gguf")
    stream = model.stream("x", adapter="legal")
    next(stream)
    model.remove_adapter("legal")
    assert "three" in "".join(delta.text for delta in stream)
    model.add_adapter(tmp_path / "legal.gguf")
    waiting = model.stream("x", adapter="legal")
    model.remove_adapter("legal")
    with pytest.raises(AdapterError, match="no adapter 'legal' is loaded"):
        next(waiting)


NUMBER = {"type": "object", "properties": {"n": {"type": "integer", "maximum": 9}}, "required": ["n"]}


@pytest.mark.parametrize(
    "response_format",
    [
        NUMBER,
        {"type": "json_schema", "json_schema": {"name": "number", "schema": NUMBER}},
        {"type": "json_schema", "schema": NUMBER},
    ],
)
def test_a_schema_reaches_the_engine_in_every_form(response_format: dict[str, Any]) -> None:
    engine = ScriptedEngine(['{"n": 7}'])
    asked: list[Sampling] = []
    stream = engine.stream
    engine.stream = lambda text, sampling, *more: (asked.append(sampling), stream(text, sampling, *more))[1]  # type: ignore[method-assign]
    assert Model(engine).generate("x", response_format=response_format).text == '{"n": 7}'
    assert json.loads(str(asked[0].schema)) == NUMBER


def test_a_reply_that_is_cut_or_breaks_its_schema_is_an_error_with_the_reply() -> None:
    with pytest.raises(FormatError, match="raise max_tokens") as caught:
        scripted('{"n": 7 }').generate("x", response_format=NUMBER, sampling=Sampling(max_tokens=2))
    assert caught.value.text == '{"n": 7'
    with pytest.raises(FormatError, match="10 is greater than the maximum of 9"):
        scripted('{"n": 10}').generate("x", response_format=NUMBER)
    with pytest.raises(FormatError, match="it is no JSON"):
        scripted("Sure!").generate("x", response_format={"type": "json_object"})
    with pytest.raises(UsageError, match="no valid JSON schema"):
        scripted("x").generate("x", response_format={"type": "number", "minimum": "a"})
