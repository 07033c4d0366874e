"""What `Model` adds to an engine: stop strings, usage, cancelling, locking."""

from __future__ import annotations

import threading

import pytest

from edge import Message, Model, Sampling
from edge.engines.scripted import ScriptedEngine
from edge.errors import AdapterError, ModelError, UsageError


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
    stream.close()  # type: ignore[attr-defined]  # an Iterator by type, a generator by promise
    assert model.generate("y").text == "four"


def test_a_second_stream_in_the_same_thread_is_an_error_and_not_a_deadlock() -> None:
    model = scripted("one two three")
    stream = model.stream("x")
    next(stream)
    with pytest.raises(ModelError, match="already answering in this thread"):
        model.generate("y")


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
