"""Another model, adapter or index while the conversation goes on."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from edge.engines import memory_fit
from edge.engines.scripted import ScriptedEngine
from edge.errors import EncoderError, KnowledgeError, ModelError, ModelNotFound, ModelTooLarge
from edge.model import Model
from edge_tui.session.events import Adapted, Error, Event, Finished, Found, Switched
from edge_tui.session.openers import Openers
from edge_tui.session.session import Session
from support.chat.fakes import MANUAL, SEAL, FakeIndex, Watched, of, opened

Load = Callable[[], Model]


class Machine:
    """Models and indexes by name, and which models were loaded, in order."""

    def __init__(self, **models: Load | Exception) -> None:
        self.models = models
        self.indexes: dict[str, FakeIndex] = {}
        self.loaded: list[str] = []

    def model(self, wanted: str) -> tuple[Path, Load]:
        load = self.models.get(wanted)
        if load is None:
            raise ModelNotFound(f"there is no model called {wanted!r}; known: {', '.join(self.models)}")

        def counted() -> Model:
            if isinstance(load, Exception):
                raise load
            self.loaded.append(wanted)
            return load()

        return Path("/models") / wanted, counted

    def index(self, wanted: str) -> FakeIndex:
        if wanted == "foreign":
            raise EncoderError("the index was made with another encoder; edge index rebuild")
        return self.indexes[wanted]

    def session(self, first: str = "first", **more: Any) -> Session:
        knowledge = FakeIndex(MANUAL)
        self.indexes["first"] = knowledge
        chat = Session(self.model(first)[1], lambda: knowledge, openers=Openers(self.model, self.index), **more)
        opened(chat)
        return chat


def model(name: str, *replies: str, **options: Any) -> tuple[Watched, Load]:
    engine = Watched(list(replies) or [f"I am {name}."], **options)
    return engine, lambda: Model(engine, name=name, path=Path("/models") / name)


def switch(chat: Session, wanted: str) -> list[Event]:
    return list(chat.run("switching", lambda stopped: chat.switch_jobs.model(wanted, stopped)))


def index(chat: Session, wanted: str | None) -> list[Event]:
    return list(chat.run("switching", lambda _stopped: chat.switch_jobs.index(wanted)))


def test_another_model_goes_on_with_the_conversation_and_the_first_is_freed() -> None:
    (first, load_first), (second, load_second) = model("first"), model("second", context=2048)
    chat = Machine(first=load_first, second=load_second).session()
    list(chat.ask("what about cucumbers?"))
    assert switch(chat, "second") == [Switched("second answers from now on, with a context of 2,048 tokens.")]
    assert first.closed
    assert (chat.model_name, chat.speed.limit, chat.state) == ("second", 2048, "ready")
    assert of(Finished, chat.ask("and now?"))[0].markdown.startswith("*I am second.")
    assert "what about cucumbers?" in second.prompts[-1]
    assert "I am first." in second.prompts[-1]
    assert switch(chat, "second") == [Switched("second answers already.")]
    list(chat.close())
    assert second.closed


@pytest.mark.parametrize(
    ("wanted", "said"), [("absent", "no model called 'absent'"), ("broken", "is cut off"), ("huge", "are free")]
)
def test_a_model_that_cannot_be_loaded_leaves_the_one_that_answers(wanted: str, said: str) -> None:
    first, load = model("first")
    broken, huge = (
        ModelError("broken.gguf is cut off; fetch it again"),
        ModelTooLarge("huge needs 90 GB and 2 are free"),
    )
    chat = Machine(first=load, broken=broken, huge=huge).session()
    [failure] = switch(chat, wanted)
    assert isinstance(failure, Error)
    assert said in failure.message
    assert "first goes on answering." in failure.message
    assert not first.closed
    assert of(Finished, chat.ask("still there?"))[0].markdown.startswith("*I am first.")


def test_a_chat_without_a_model_gets_one() -> None:
    chat = Machine(first=ModelError("first is cut off"), second=model("second")[1]).session()
    assert chat.state == "failed"
    [failure] = switch(chat, "absent")
    assert isinstance(failure, Error)
    assert "goes on" not in failure.message
    assert of(Switched, switch(chat, "second"))
    assert chat.state == "ready"
    assert of(Finished, chat.ask("hello"))[0].markdown.startswith("*I am second.")


def test_a_model_that_loads_for_ever_can_be_stopped_and_is_freed_when_it_comes() -> None:
    begun, gate, closed = threading.Event(), threading.Event(), threading.Event()
    second, load_second = model("second")
    second.close = closed.set  # type: ignore[method-assign]

    def slow() -> Model:
        begun.set()
        assert gate.wait(20)
        return load_second()

    chat = Machine(first=model("first")[1], slow=slow).session()
    events = chat.run("switching", lambda stopped: chat.switch_jobs.model("slow", stopped))
    done: list[Event] = []
    worker = threading.Thread(target=lambda: done.extend(events))
    worker.start()
    assert begun.wait(20)
    assert chat.state == "switching"
    chat.stop("switching")
    worker.join(20)
    assert done == [Switched("Stopped; first goes on answering.")]
    gate.set()
    assert closed.wait(20)
    assert chat.model_name == "first"


class Crowded(Machine):
    """Memory holds one model: a second one is refused until the first is closed.

    A model takes 70 bytes, 50 of them mapped weights, and `free` ones are there beside the first. `after` are the
    errors of those that cannot be loaded then.
    """

    def __init__(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *, free: int = 60, **after: Exception | None
    ) -> None:
        super().__init__()
        self.tmp_path = tmp_path
        self.after = after
        self.engines: list[Watched] = []
        monkeypatch.setattr(memory_fit, "fit_of", lambda path, **_: memory_fit.Fit(50, 10, 10, 70, free, False))

    @property
    def crowded(self) -> bool:
        return any(not engine.closed for engine in self.engines)

    def model(self, wanted: str) -> tuple[Path, Load]:
        path = self.tmp_path / wanted
        path.touch()

        def load() -> Model:
            if self.crowded:
                raise ModelTooLarge(f"{wanted} does not fit beside the other")
            if (error := self.after.get(wanted)) is not None and self.engines:
                raise error
            engine = Watched([f"I am {wanted}."])
            self.engines.append(engine)
            return Model(engine, name=wanted, path=path)

        return path, load


def test_where_memory_holds_only_one_the_old_model_is_freed_first(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    machine = Crowded(monkeypatch, tmp_path)
    chat = machine.session()
    assert of(Switched, switch(chat, "second"))
    assert [engine.closed for engine in machine.engines] == [True, False]
    assert of(Finished, chat.ask("who?"))[0].markdown.startswith("*I am second.")


def test_the_old_model_comes_back_when_the_new_one_fails_all_the_same(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    chat = Crowded(monkeypatch, tmp_path, second=ModelError("second is cut off")).session()
    [failure] = switch(chat, "second")
    assert isinstance(failure, Error)
    assert "second is cut off\nfirst goes on answering." in failure.message
    assert of(Finished, chat.ask("who?"))[0].markdown.startswith("*I am first.")


def test_when_neither_can_be_loaded_the_documents_still_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = {"first": ModelNotFound("first is gone"), "second": ModelError("second is cut off")}
    chat = Crowded(monkeypatch, tmp_path, **gone).session()
    [failure] = switch(chat, "second")
    assert isinstance(failure, Error)
    assert "second is cut off" in failure.message
    assert "cannot be loaded again: first is gone" in failure.message
    assert chat.state == "failed"
    assert "No model is loaded" in of(Finished, chat.ask("how often?"))[0].notes[0]


def test_a_model_that_has_no_room_even_alone_frees_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    machine = Crowded(monkeypatch, tmp_path, free=40)
    chat = machine.session()
    [failure] = switch(chat, "second")
    assert isinstance(failure, Error)
    assert "does not fit beside the other\nfirst goes on answering." in failure.message
    assert len(machine.engines) == 1


def test_the_adapter_comes_along_where_it_fits(tmp_path: Path) -> None:
    lora = tmp_path / "legal.gguf"
    lora.touch()
    third = ScriptedEngine(["yes"])
    third.add_adapter = _refuse  # type: ignore[method-assign]
    engines = {"second": ScriptedEngine(["yes"]), "third": third}
    machine = Machine(
        first=lambda: Model(ScriptedEngine(["yes"]), name="first"),
        **{name: lambda engine=engine, name=name: Model(engine, name=name) for name, engine in engines.items()},  # type: ignore[misc]
    )
    chat = machine.session()
    [adapted] = list(chat.adapt(str(lora)))
    assert isinstance(adapted, Adapted)
    [note] = of(Switched, switch(chat, "second"))
    assert "stays behind" not in note.note
    assert chat.adapter == "legal"
    assert list(engines["second"].adapters) == ["legal"]
    [note] = of(Switched, switch(chat, "third"))
    assert "The adapter legal stays behind: it was made for another base" in note.note
    assert chat.adapter is None
    assert of(Finished, chat.ask("hello"))


def _refuse(_adapter: object) -> None:
    from edge.errors import AdapterError

    raise AdapterError("it was made for another base")


def test_other_documents_answer_and_those_before_are_closed() -> None:
    chat = (machine := Machine(first=model("first", SEAL)[1])).session()
    knowledge = machine.indexes["second"] = FakeIndex(MANUAL, MANUAL)
    assert index(chat, "second") == [Switched("Answers stand on second from now on: 2 documents.")]
    assert machine.indexes["first"].closed
    assert len(chat.documents) == 2
    assert of(Found, chat.ask("how often?"))
    assert of(Switched, index(chat, None))
    assert knowledge.closed
    assert chat.documents == ()
    assert not of(Found, chat.ask("how often?"))
    assert "/index NAME opens one" in of(Error, chat.add(["/a.md"]))[0].message
    machine.indexes["empty"] = FakeIndex()
    assert "no documents yet" in of(Switched, index(chat, "empty"))[0].note


def test_documents_that_cannot_be_opened_leave_those_that_are_there() -> None:
    class Damaged(FakeIndex):
        def documents(self) -> Any:
            raise KnowledgeError("index.sqlite is damaged; edge index check")

    chat = (machine := Machine(first=model("first")[1])).session()
    damaged = machine.indexes["damaged"] = Damaged()
    for wanted, said in (("foreign", "another encoder"), ("damaged", "is damaged")):
        [failure] = index(chat, wanted)
        assert isinstance(failure, Error)
        assert said in failure.message
        assert failure.message.endswith("The documents stay as they were.")
    assert damaged.closed
    assert of(Found, chat.ask("how often?"))


def test_an_index_that_another_process_writes_can_be_read(minilm_dir: Path, tmp_path: Path) -> None:
    from edge_index import Index
    from edge_index.encoders.encoder import Encoder
    from edge_index.storage.lock import WriterLock

    (tmp_path / "pump.md").write_text(MANUAL)
    encoder = Encoder.open(minilm_dir)
    with Index.open(tmp_path / "pumps", encoder=encoder) as real:
        real.add([tmp_path / "pump.md"])
    chat = Session(
        model("first")[1], openers=Openers(index=lambda wanted: Index.open(wanted, encoder=encoder, create=False))
    )
    opened(chat)
    with WriterLock(tmp_path / "pumps").held(1):
        [note] = of(Switched, index(chat, str(tmp_path / "pumps")))
        assert "Answers stand on pumps from now on: 1 document." in note.note
        assert chat.index_path == tmp_path / "pumps"
        found = of(Found, chat.ask("How often must the shaft seal be replaced?"))
        assert SEAL in [source.quote for source in found[0].sources]
    list(chat.close())


def test_system_text_and_sampling_count_from_the_next_question_on() -> None:
    engine, load = model("first")
    chat = Machine(first=load).session(system="Be brief.")
    list(chat.ask("one"))
    chat.system = "Be long."
    list(chat.ask("two"))
    chat.system = ""
    list(chat.ask("three"))
    chat.system = None
    list(chat.ask("four"))
    briefs = ["Be brief." in prompt for prompt in engine.prompts]
    assert briefs == [True, False, False, False]
    assert "Be long." in engine.prompts[1]
    assert "<|system|>" not in engine.prompts[2]
    assert "You answer questions from the passages" in engine.prompts[3]


@pytest.fixture
def real(smollm_path: Path, stand_in_exports: Path) -> Iterator[tuple[Session, Path, Path]]:
    import edge

    chat = Session(lambda: edge.load(smollm_path, context=512))
    opened(chat)
    yield chat, smollm_path, stand_in_exports
    list(chat.close())


def test_the_two_real_engines_take_turns_in_one_conversation(real: tuple[Session, Path, Path], tmp_path: Path) -> None:
    """llama.cpp, then onnxruntime-genai with a LoRA as PEFT saved it, then back, its first file deleted meanwhile."""
    from edge.types import Sampling

    pytest.importorskip("onnxruntime_genai")
    chat, smollm, exports = real
    chat.sampling = Sampling(max_tokens=4)
    copy = tmp_path / "copy.gguf"
    copy.write_bytes(smollm.read_bytes())
    assert of(Finished, chat.ask("What is a pump?"))
    assert of(Switched, switch(chat, str(copy)))
    copy.unlink()
    assert of(Finished, chat.ask("And a valve?"))
    [failure] = of(Error, switch(chat, str(exports / "absent.gguf")))
    assert "does not exist" in failure.message
    assert of(Switched, switch(chat, str(exports / "onnx-fp32")))
    [adapted] = of(Adapted, chat.adapt(str(exports / "lora.onnx_adapter")))
    assert adapted.name == "lora"
    answer = of(Finished, chat.ask("And a seal?"))[0]
    assert answer.speed.tokens == 4
    assert chat.speed.used > 40, "the new engine read the whole conversation"
    [note] = of(Switched, switch(chat, str(smollm)))
    assert "The adapter lora stays behind" in note.note
    [refused] = of(Error, chat.adapt(str(exports / "lora.gguf")))
    assert "goes on answering." in refused.message
    assert of(Finished, chat.ask("And a motor?"))
