"""What a program hands us wrongly is a UsageError with the name, the value and what is allowed; what a retriever gives
or raises is an error that names it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import edge
from edge import Chat, Message, Model, Passage, Sampling
from edge.engines.scripted import ScriptedEngine
from edge.errors import EdgeError, KnowledgeError, UsageError

PASSAGE = Passage("The pump needs oil of grade 3.", "pump.md", None, None, 0, 30, 0.9, "")


def model() -> Model:
    return Model(ScriptedEngine(["The pump needs oil."]))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("temperature", -1),
        ("temperature", "hot"),
        ("temperature", float("nan")),
        ("temperature", True),
        ("top_p", 1.1),
        ("top_k", 2.5),
        ("top_k", -1),
        ("min_p", -0.1),
        ("repeat_penalty", 0),
        ("repeat_last", -1),
        ("seed", "7"),
        ("max_tokens", 0),
        ("max_tokens", 1.5),
        ("stop", 7),
        ("stop", ["a", None]),
        ("schema", {"type": "object"}),
    ],
)
def test_sampling_names_the_setting_and_the_value(name: str, value: Any) -> None:
    with pytest.raises(UsageError, match=rf"Sampling\.{name} is .*; give ") as caught:
        Sampling(**{name: value})
    shown = repr(None) if name == "stop" and isinstance(value, list) else repr(value)
    assert shown in str(caught.value)


def test_sampling_takes_numbers_of_any_kind_and_one_stop_string_as_one() -> None:
    sampling = Sampling(temperature=np.float32(0.5), max_tokens=np.int64(7), stop="END")  # type: ignore[arg-type]
    assert (sampling.temperature, type(sampling.max_tokens), sampling.stop) == (0.5, int, ("END",))
    assert Model(ScriptedEngine(["one END two"])).generate("x", sampling=Sampling(stop="END")).text == "one "


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        ([], r"prompt is \[\]; give a list of messages"),
        (None, "prompt is None; give a list of messages"),
        (7, "prompt is 7"),
        ({"role": "user", "content": "x"}, "give a list of messages"),
        (
            [{"role": "robot", "content": "x"}],
            "the role of a message is 'robot'; give 'system' or 'user' or 'assistant'",
        ),
        ([{"role": "user"}], "a message is {'role': 'user'}; give"),
        ([{"role": "user", "content": None}], "the content of a message is None; give a str"),
        ([{"role": "user", "content": []}], r"the content of a message is \[\]"),
        ([{"role": "user", "content": [{"type": "image_url", "image_url": "x"}]}], "the content of a message is"),
        (["hello"], "a message is 'hello'; give an edge.Message, or a dict"),
        ([Message("robot", "x")], "the role of a message is 'robot'"),  # type: ignore[arg-type]
    ],
)
def test_a_prompt_that_is_none_says_what_one_is(prompt: Any, message: str) -> None:
    for ask in (
        model().stream,
        model().generate,
        lambda p: model().score(p, ["yes"]),
        lambda p: model().prefill_cache(p, []),
    ):
        with pytest.raises(UsageError, match=message):
            ask(prompt)


def test_contents_in_parts_of_text_are_read_as_openai_has_them() -> None:
    parts = [{"type": "text", "text": "The pump."}, {"type": "text", "text": "Which oil?"}]
    whole = model().render([Message("user", "The pump.\nWhich oil?")])
    assert model().render([{"role": "user", "content": parts}]) == whole  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: model().generate("x", sampling={"temperature": 1}),
            "sampling is {'temperature': 1}; give an edge.Samp",
        ),
        (lambda: model().score("x", "yes"), "continuations is 'yes'; give a list of str"),
        (lambda: model().stream("x", shared_prefixes="abc"), "shared_prefixes is 'abc'; give a list of str"),
        (lambda: model().prefill_cache("x", "abc"), "shared_prefixes is 'abc'; give a list of str"),
        (lambda: model().count(None), "text is None; give a str"),
        (lambda: model().generate("x", scale="1"), "scale is '1'; give a number"),
        (lambda: model().add_adapter(None), "path is None; give a path"),
        (lambda: Model(ScriptedEngine(), queue_timeout=-1), "queue_timeout is -1"),
        (lambda: Chat(model()).ask(None), "question is None; give a str"),
        (lambda: Chat(model()).ask(" "), "the question is empty"),
        (lambda: Chat("smollm2"), "model is 'smollm2'; give a Model"),
        (lambda: edge.RagOptions(k=0), "k is 0; give a whole number of 1 or more"),
        (lambda: Chat(model(), knowledge=["a"]), r"knowledge is \['a'\]; give an edge_index.Index"),
        (lambda: Chat(model(), knowledge="manuals"), "knowledge is 'manuals'"),
        (lambda: setattr(Chat(model()), "knowledge", 3), "knowledge is 3"),
        (lambda: Chat(model()).restore("abc"), "history is 'abc'"),
        (lambda: edge.load(None), "model is None; give a path"),
        (lambda: edge.load("m", context="4k"), "context is '4k'; give a whole number of 1 or more"),
        (lambda: edge.load("m", context=-5), "context is -5"),
        (lambda: edge.load("m", threads=0), "threads is 0"),
        (lambda: edge.load("m", gpu_layers=-2), "gpu_layers is -2"),
        (lambda: edge.load("m", gpu_layers="some"), "gpu_layers is 'some'"),
        (lambda: edge.load("m", kv_type="q9"), "kv_type is 'q9'; give 'f16' or 'q8_0' or 'q4_0'"),
        (lambda: edge.load("m", kv_budget=-1), "kv_budget is -1"),
        (lambda: edge.load("m", engine="vllm"), "engine is 'vllm'; give 'auto' or 'gguf' or 'onnx'"),
    ],
)
def test_each_argument_is_named_with_its_value(call: Callable[[], object], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        call()


class Gives:
    """A retriever that returns, or raises, what it was told to."""

    def __init__(self, found: Any) -> None:
        self.found = found

    def search(self, query: str, k: int = 5) -> Any:
        if isinstance(self.found, Exception):
            raise self.found
        return self.found


class Async:
    async def search(self, query: str, k: int = 5) -> list[Passage]:
        return []


@pytest.mark.parametrize(
    ("knowledge", "message"),
    [
        (Gives(None), r"the retriever Gives gave None, not a list of edge\.Passage \(its search\(\)\)"),
        (Gives("The pump needs oil."), "the retriever Gives gave a str"),
        (Gives(["The pump needs oil."]), r"the retriever Gives gave a str where an edge\.Passage is needed"),
        (Gives([{"text": "The pump needs oil."}]), "the retriever Gives gave a dict where"),
        (
            Gives(ConnectionError("server down")),
            r"the retriever Gives failed in search\(\): ConnectionError: server down",
        ),
        (Async(), "the retriever Async is async"),
    ],
)
def test_a_retriever_that_gives_something_else_is_named(knowledge: Any, message: str) -> None:
    with pytest.raises(KnowledgeError, match=message) as caught:
        Chat(model(), knowledge=knowledge).ask("Which oil?")
    if isinstance(getattr(knowledge, "found", None), Exception):
        assert caught.value.__cause__ is knowledge.found


def test_a_retriever_may_be_a_generator_and_its_own_edge_errors_stay_what_they_are() -> None:
    class Lazy:
        def search(self, query: str, k: int = 5) -> Iterator[Passage]:
            yield PASSAGE

    assert Chat(model(), knowledge=Lazy()).ask("Which oil?").passages == (PASSAGE,)  # type: ignore[arg-type]
    with pytest.raises(EdgeError, match="its own"):
        Chat(model(), knowledge=Gives(EdgeError("its own"))).ask("Which oil?")


def test_what_else_a_retriever_gives_is_checked_too() -> None:
    class Half(Gives):
        def evidence(self, query: str, passages: Any, limit: int = 3) -> Any:
            return ["a sentence"]

    class Unsure(Gives):
        def answerable(self, query: str, passages: Any) -> Any:
            return None

    with pytest.raises(KnowledgeError, match=r"Half gave a str where an edge\.Evidence is needed"):
        Chat(model(), knowledge=Half([PASSAGE])).ask("Which oil?")
    with pytest.raises(KnowledgeError, match=r"Unsure gave None, not a number from 0 to 1 \(its answerable"):
        Chat(model(), knowledge=Unsure([PASSAGE])).ask("Which oil?")
