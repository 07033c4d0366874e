"""What holds threads, memory and files of one process, in another process."""

from __future__ import annotations

import asyncio
import copy
import os
import pickle
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import edge
from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge_index import Encoder, Index
from index_fakes import WordEncoder


def in_a_forked_child(use: Callable[[], object]) -> str:
    """What using something raises in a child, which must not hang."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        threading.Timer(30, os._exit, (9,)).start()
        try:
            use()
            said = "nothing was raised"
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(writing, said.encode()[:4000])
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as pipe:
        said = pipe.read().decode()
    assert os.waitpid(child, 0)[1] == 0, "the child hung"
    return said


@pytest.fixture
def model() -> Model:
    return Model(ScriptedEngine(["One two three."]), name="small")


@pytest.fixture
def index(tmp_path: Path) -> Iterator[Index]:
    with Index.open(tmp_path / "index", encoder=WordEncoder()) as index:
        index.add_text("The seal of the pump is green.", name="note")
        yield index


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork here")
@pytest.mark.filterwarnings("ignore:.*fork.*:DeprecationWarning")
def test_a_forked_child_is_refused_and_does_not_hang(model: Model, index: Index) -> None:
    stream = model.stream("a")
    next(stream)
    with index._lock:  # as another thread may hold it at the moment of the fork
        for use in (
            lambda: model.generate("a"),
            lambda: model.count("a"),
            lambda: next(stream),
            lambda: edge.Chat(model).ask("a"),
            lambda: index.search("seal"),
            lambda: index.add_text("x", name="y"),
        ):
            said = in_a_forked_child(use)
            assert "before this process was forked" in said, said
            assert said.startswith(("ModelError: small", "KnowledgeError: the index at")), said
        for close in (model.close, index.close, stream.close):
            assert in_a_forked_child(close) == "nothing was raised"
    assert model.generate("a").text  # the parent goes on
    assert index.search("seal")


def test_a_forked_child_cannot_encode(minilm_dir: Path) -> None:
    with Encoder.open(minilm_dir) as encoder:
        encoder.encode(["a"])
        assert in_a_forked_child(lambda: encoder.encode(["a"])).startswith("EncoderError: the encoder all-MiniLM-L6-v2")


def test_what_belongs_to_a_process_is_not_pickled(model: Model, index: Index) -> None:
    for thing in (model, edge.Chat(model), index):
        for send in (pickle.dumps, copy.copy, copy.deepcopy):
            with pytest.raises(TypeError, match=f"^{type(thing).__name__} cannot be pickled or copied"):
                send(thing)


def test_records_travel(model: Model, index: Index) -> None:
    answer = edge.Chat(model, knowledge=index, rag=edge.RagOptions(min_answerable=0)).ask("What is the seal?")
    assert pickle.loads(pickle.dumps(answer)) == answer
    assert answer.passages


def test_reprs_are_short_and_know_what_is_closed(model: Model, index: Index) -> None:
    chat = edge.Chat(model, knowledge=index)
    assert repr(model) == "Model('small', context=4096, device='a script')"
    assert repr(chat) == "Chat('small', turns=0, knowledge=Index)"
    assert repr(index) == f"Index({str(index.path)!r})"
    model.close()
    index.close()
    assert repr(model) == "Model('small', closed)"
    assert repr(chat)
    assert repr(index)


def test_a_stream_works_in_asyncio_beside_other_tasks(model: Model) -> None:
    async def words() -> str:
        return "".join([delta.text async for delta in model.stream("a")])

    async def both() -> list[str]:
        return list(await asyncio.gather(words(), words()))

    assert asyncio.run(both()) == ["One two three.", "One two three."]


def test_a_task_that_leaves_a_stream_cancels_it(model: Model) -> None:
    async def first() -> str:
        async for delta in model.stream("a"):
            if delta.text:
                return delta.text
        return ""

    assert asyncio.run(first())
    assert model.generate("a").text == "One two three."
