"""Who may use a model, and when: held streams, pools that are too small, waiting that ends, a close in between."""

from __future__ import annotations

import gc
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from edge import Chat, Model, Sampling
from edge.engines.scripted import ScriptedEngine
from edge.errors import ModelBusy, ModelError
from edge.scheduler import Scheduler, Stream

LONG = " ".join(f"word{n}" for n in range(40))


def scripted(*replies: str, queue_timeout: float | None = None) -> Model:
    return Model(ScriptedEngine(replies), queue_timeout=queue_timeout)


def begun(stream: Iterator[Any]) -> Iterator[Any]:
    next(stream)
    return stream


def text_of(stream: Iterator[Any]) -> str:
    return "".join(delta.text for delta in stream)


def steps(log: list[str], name: str, count: int) -> Callable[[], Iterator[str]]:
    """An iterator that notes what of it was computed, and whether it was closed."""

    def run() -> Iterator[str]:
        try:
            for number in range(count):
                log.append(f"{name}{number}")
                yield f"{name}{number}"
        finally:
            log.append(f"{name} closed")

    return run


class Gate:
    """A step that lasts until it is opened; `entered` says that it runs."""

    def __init__(self) -> None:
        self.entered = threading.Event()
        self.opened = threading.Event()

    def steps(self) -> Iterator[str]:
        self.entered.set()
        assert self.opened.wait(60)
        yield "through"


def in_thread(call: Callable[[], Any]) -> Any:
    pool = ThreadPoolExecutor(1)
    future = pool.submit(call)
    pool.shutdown(wait=False)
    return future


def waits(scheduler: Scheduler, count: int) -> None:
    """Until so many requests stand in the queue."""
    while len(scheduler._queue) < count:
        threading.Event().wait(0.001)


def test_who_comes_first_is_served_first_and_to_the_end() -> None:
    log: list[str] = []
    scheduler = Scheduler("it")
    first, second = scheduler.stream(steps(log, "a", 3)), scheduler.stream(steps(log, "b", 2))
    assert (next(first), next(second)) == ("a0", "b0")
    assert log == ["a0", "a1", "a2", "a closed", "b0"]
    assert list(first) == ["a1", "a2"]
    assert list(second) == ["b1"]


def test_the_place_in_the_queue_is_taken_when_a_stream_is_first_asked_and_not_when_it_is_made() -> None:
    log: list[str] = []
    scheduler = Scheduler("it")
    idle, busy = scheduler.stream(steps(log, "idle", 1)), scheduler.stream(steps(log, "busy", 1))
    assert list(busy) == ["busy0"]
    assert log == ["busy0", "busy closed"]
    idle.close()


@pytest.mark.parametrize("threads", [1, 4])
def test_a_pool_smaller_than_its_streams_answers_all_of_them(threads: int) -> None:
    """As a server does it: every step of every stream is a job of the pool, whichever thread is free."""
    model = scripted(LONG)
    streams = [model.stream(f"question {n}") for n in range(12)]
    texts: dict[int, str] = dict.fromkeys(range(12), "")
    with ThreadPoolExecutor(threads) as pool:
        while streams_left := {n: s for n, s in enumerate(streams) if s is not None}:
            jobs = {n: pool.submit(next, stream, None) for n, stream in streams_left.items()}
            for n, job in jobs.items():
                delta = job.result(timeout=60)
                if delta is None:
                    streams[n] = None  # type: ignore[call-overload]
                else:
                    texts[n] += delta.text
    assert set(texts.values()) == {LONG}


def test_one_held_stream_in_a_pool_of_one_thread_does_not_refuse_the_next() -> None:
    model = scripted("one two three", "four")
    with ThreadPoolExecutor(1) as pool:
        held = model.stream("a")
        pool.submit(next, held).result(timeout=60)
        assert pool.submit(model.generate, "b").result(timeout=60).text == "four"
    assert text_of(held) == "one two three"


@pytest.mark.parametrize("end", ["close", "drop"])
def test_what_is_closed_or_dropped_is_not_computed_any_further(end: str) -> None:
    log: list[str] = []
    scheduler = Scheduler("it")
    stream: Stream[str] | None = scheduler.stream(steps(log, "a", 50))
    assert stream is not None
    assert next(stream) == "a0"
    if end == "close":
        stream.close()
        assert list(stream) == []
    stream = None
    gc.collect()
    assert log == ["a0", "a closed"]
    assert list(scheduler.stream(steps(log, "b", 1))) == ["b0"]


def test_a_dropped_answer_of_a_chat_lets_go_of_its_model() -> None:
    engine = ScriptedEngine([LONG, "four"])
    model = Model(engine)
    stream = Chat(model).stream("x")
    next(delta for delta in stream if delta.text)
    del stream
    gc.collect()
    assert not model._scheduler._queue
    assert model.generate("y").text == "four"


def test_a_stream_that_waits_is_cancelled_from_another_thread() -> None:
    scheduler, gate, log = Scheduler("it"), Gate(), list[str]()
    blocking = in_thread(lambda: list(scheduler.stream(gate.steps)))
    assert gate.entered.wait(60)
    waiting = scheduler.stream(steps(log, "b", 5))
    result = in_thread(lambda: list(waiting))
    waits(scheduler, 2)
    waiting.close()
    assert result.result(timeout=60) == []  # while the other one still runs
    gate.opened.set()
    assert blocking.result(timeout=60) == ["through"]
    assert log == []


def test_waiting_ends_with_the_timeout_and_says_how_many_wait() -> None:
    scheduler, gate, log = Scheduler("The model", timeout=0.01), Gate(), list[str]()
    blocking = in_thread(lambda: list(scheduler.stream(gate.steps)))
    assert gate.entered.wait(60)
    with pytest.raises(ModelBusy, match=r"The model is busy: no turn came within 0\.01 seconds, and 1 wait") as caught:
        next(scheduler.stream(steps(log, "b", 5)))
    assert caught.value.waiting == 1
    gate.opened.set()
    assert blocking.result(timeout=60) == ["through"]
    assert list(scheduler.stream(steps(log, "c", 1))) == ["c0"]


def test_a_timeout_is_no_limit_for_a_reply_that_has_begun() -> None:
    model = scripted("one two three", queue_timeout=0)
    assert model.generate("x").text == "one two three"


def test_ctrl_c_in_the_step_of_another_one_ends_both_with_an_error_each() -> None:
    def interrupted() -> Iterator[str]:
        yield "first"
        raise KeyboardInterrupt

    scheduler, log = Scheduler("it"), list[str]()
    held = scheduler.stream(interrupted)
    assert next(held) == "first"
    with pytest.raises(KeyboardInterrupt):
        next(scheduler.stream(steps(log, "b", 5)))
    with pytest.raises(ModelError, match="was interrupted by KeyboardInterrupt"):
        next(held)
    assert list(scheduler.stream(steps(log, "c", 1))) == ["c0"]
    assert log == ["c0", "c closed"]


def test_ctrl_c_in_ones_own_step_frees_the_engine_at_once() -> None:
    def interrupted() -> Iterator[str]:
        raise KeyboardInterrupt
        yield "never"

    scheduler, log = Scheduler("it"), list[str]()
    with pytest.raises(KeyboardInterrupt):
        next(scheduler.stream(interrupted))
    assert list(scheduler.stream(steps(log, "c", 1))) == ["c0"]


def test_an_error_in_the_step_of_another_one_reaches_its_own_reader() -> None:
    def broken() -> Iterator[str]:
        yield "first"
        raise ValueError("its own")

    scheduler, log = Scheduler("it"), list[str]()
    held = scheduler.stream(broken)
    assert next(held) == "first"
    assert list(scheduler.stream(steps(log, "b", 1))) == ["b0"]
    with pytest.raises(ValueError, match="its own"):
        next(held)
    assert list(held) == []


def test_a_model_closes_with_a_held_stream_and_the_stream_says_so() -> None:
    with scripted(LONG) as model:
        stream = begun(model.stream("x"))
    with pytest.raises(ModelError, match="was closed before this was complete"):
        list(stream)


def test_the_users_own_error_is_not_masked_by_a_held_stream() -> None:
    held = []

    def fail() -> None:
        with scripted(LONG) as model:
            held.append(begun(model.stream("x")))
            raise ValueError("my own")

    with pytest.raises(ValueError, match="my own"):
        fail()


def test_a_close_waits_for_the_step_in_hand_and_ends_those_who_wait() -> None:
    scheduler, gate, log, freed = Scheduler("It"), Gate(), list[str](), list[bool]()
    running = in_thread(lambda: list(scheduler.stream(gate.steps)))
    assert gate.entered.wait(60)

    def alone() -> None:
        with scheduler.exclusive():
            log.append("alone")

    waiting = [in_thread(lambda: list(scheduler.stream(steps(log, "b", 5)))), in_thread(alone)]
    waits(scheduler, 3)
    closing = in_thread(lambda: scheduler.close(lambda: freed.append(gate.opened.is_set())))
    for one in waiting:
        with pytest.raises(ModelError, match="It was closed"):
            one.result(timeout=60)
    assert not freed
    gate.opened.set()
    closing.result(timeout=60)
    with pytest.raises(ModelError, match="It was closed"):
        running.result(timeout=60)
    scheduler.close(lambda: freed.append(False))
    assert (freed, log) == ([True], [])


def test_a_call_from_within_a_step_is_an_error_and_no_deadlock() -> None:
    def nested() -> Iterator[str]:
        with scheduler.exclusive():
            yield "never"

    scheduler = Scheduler("It")
    with pytest.raises(ModelError, match="It is at work in this very call"):
        next(scheduler.stream(nested))


def test_questions_of_two_threads_to_one_chat_never_mix_its_history() -> None:
    model = scripted(LONG, queue_timeout=None)
    chat = Chat(model)
    start = threading.Barrier(4)

    def ask(name: str) -> str:
        start.wait()
        return chat.ask(f"who is {name}?", sampling=Sampling(max_tokens=500)).text

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(ask, "abcd")) == {LONG}
    assert [message.role for message in chat.history] == ["user", "assistant"] * 4
    assert {message.content for message in chat.history[1::2]} == {LONG}
    assert len({message.content for message in chat.history[::2]}) == 4


def test_a_held_answer_is_complete_in_the_history_before_the_next_question() -> None:
    chat = Chat(scripted("one two three", "four"))
    held = chat.stream("x")
    next(delta for delta in held if delta.text)
    assert chat.ask("y").text == "four"
    assert [message.content for message in chat.history] == ["x", "one two three", "y", "four"]
    *_, last = held
    assert last.answer is not None
    assert last.answer.text == "one two three"


def test_a_chat_that_begins_again_ends_the_answer_that_was_held() -> None:
    chat = Chat(scripted("one two three", "four"))
    held = chat.stream("x")
    next(delta for delta in held if delta.text)
    chat.clear()
    with pytest.raises(ModelError, match="begun again"):
        list(held)
    assert chat.history == []
