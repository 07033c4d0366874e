"""What a program may ask of a Chat beside the question: sampling, a form, a retriever of its own, a log."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pydantic
import pytest

import edge
from edge.engines.scripted import ScriptedEngine
from edge.model import Model
from edge.structured_answer import parsed
from edge.types import Adapter, Passage, Sampling

TEXT = "The seal of the main pump is made of green silicone rubber. It is changed every spring."
PASSAGE = Passage(TEXT, "/docs/pump.md", None, "Pump", 0, len(TEXT), 0.8, "0" * 64)
SCHEMA = {
    "type": "object",
    "properties": {"material": {"type": "string"}, "colour": {"type": "string"}, "parts": {"type": "integer"}},
    "required": ["material", "colour", "parts"],
}
REPLY = json.dumps({"material": "green silicone rubber", "colour": 'the colour of "old" money', "parts": 3})


class Seal(pydantic.BaseModel):
    material: str
    colour: str
    parts: int


class Documents:
    """A retriever of a program's own, which judges what it found."""

    def __init__(self, passages: Sequence[Passage] = (PASSAGE,), probability: float = 1.0) -> None:
        self.passages = list(passages)
        self.probability = probability

    def search(self, query: str, k: int = 5) -> list[Passage]:
        return self.passages[:k]

    def answerable(self, query: str, passages: Sequence[Passage]) -> float:
        return self.probability


class Recording(ScriptedEngine):
    """Notes how it was asked to choose tokens."""

    def __init__(self, *replies: str) -> None:
        super().__init__(replies or (REPLY,))
        self.samplings: list[Sampling] = []

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Any:
        self.samplings.append(sampling)
        return super().stream(prompt, sampling, adapter, prefix_boundaries)


def test_sampling_holds_for_all_questions_but_those_with_their_own() -> None:
    engine = Recording("A.")
    chat = edge.Chat(Model(engine), sampling=Sampling(temperature=0.7, max_tokens=9))
    chat.ask("One?")
    chat.ask("Two?", sampling=Sampling(max_tokens=5))
    chat.ask("Three?")
    assert [(sampling.temperature, sampling.max_tokens) for sampling in engine.samplings] == [
        (0.7, 9),
        (0, 5),
        (0.7, 9),
    ]
    with pytest.raises(edge.UsageError, match="sampling"):
        edge.Chat(Model(engine), sampling={"temperature": 1})  # type: ignore[arg-type]


def test_a_form_is_asked_of_the_engine_and_its_value_is_there() -> None:
    engine = Recording()
    answer = edge.Chat(Model(engine), response_format=SCHEMA).ask("What is the seal made of?")
    assert json.loads(engine.samplings[0].schema or "") == SCHEMA
    assert answer.parsed == {"material": "green silicone rubber", "colour": 'the colour of "old" money', "parts": 3}
    plain = edge.Chat(Model(Recording("Rubber.")))
    assert plain.ask("What?").parsed is None


def test_a_form_for_one_question() -> None:
    engine = Recording(REPLY, "Rubber.")
    chat = edge.Chat(Model(engine))
    assert chat.ask("What?", response_format=SCHEMA).parsed["parts"] == 3
    assert chat.ask("What?").parsed is None
    assert engine.samplings[1].schema is None
    with pytest.raises(edge.UsageError, match="response_format"):
        chat.stream("What?", response_format={"type": "no such type"})


def test_the_texts_of_a_form_are_cited_and_its_keys_are_not() -> None:
    chat = edge.Chat(Model(Recording()), knowledge=Documents(), response_format=SCHEMA)
    answer = chat.ask("Tell me of the pump.")
    [citation] = answer.citations
    assert answer.text[citation.claim.start : citation.claim.end] == citation.claim.text == "green silicone rubber"
    assert citation.quote == "The seal of the main pump is made of green silicone rubber."
    [own] = answer.unsupported
    assert answer.text[own.start : own.end] == own.text == 'the colour of \\"old\\" money'
    assert str(answer).splitlines()[::2] == [answer.text, f"[1] pump.md, Pump: “{citation.quote}”"]


def test_what_the_documents_do_not_tell_has_no_form() -> None:
    engine = Recording()
    chat = edge.Chat(Model(engine), knowledge=Documents(probability=0.2), response_format=SCHEMA)
    answer = chat.ask("Who painted the roof?")
    assert (answer.parsed, answer.answerable, answer.citations, engine.samplings) == (None, 0.2, (), [])
    assert "do not" in answer.text
    assert edge.Chat(Model(engine), knowledge=Documents(()), response_format=SCHEMA).ask("Who?").answerable == 0.0


def test_the_protocols_are_what_chat_looks_for() -> None:
    assert isinstance(Documents(), edge.JudgingRetriever)
    assert isinstance(Documents(), edge.Retriever)
    assert not isinstance(Documents(), edge.EvidenceRetriever)


def test_the_log_says_what_was_done_and_no_word_of_anybody(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edge")
    chat = edge.Chat(Model(Recording("The seal is made of green silicone rubber.")), knowledge=Documents())
    chat.ask("What is the xylophone made of?")
    edge.Chat(Model(Recording()), knowledge=Documents(probability=0)).ask("What is the xylophone made of?")
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "answered from 1 of 1 passages" in said
    assert "the documents do not tell" in said
    assert not any(word in said for word in ("xylophone", "silicone", "seal"))


def test_what_is_left_out_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "edge")
    chat = edge.Chat(Model(ScriptedEngine(["word " * 30], context=120)), sampling=Sampling(max_tokens=20))
    for _ in range(4):
        chat.ask("word " * 10)
    assert "the history was cut 1 times" in caplog.text


def test_nothing_is_printed_unasked(capfd: pytest.CaptureFixture[str]) -> None:
    logging.getLogger("edge").warning("a warning that nobody listens to")
    edge.Chat(Model(Recording("A."))).ask("What?")
    assert any(isinstance(handler, logging.NullHandler) for handler in logging.getLogger("edge").handlers)


# Loading -----------------------------------------------------------------------------------------------------------


def test_loading_tells_how_far_it_is(smollm_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, "edge")
    reported: list[float] = []
    with edge.load(smollm_path, context=64, kv_budget=0, progress=reported.append) as model:
        assert reported == sorted(set(reported))
        assert (reported[0], reported[-1]) == (0.0, 1.0)
        assert len(reported) > 5
        assert model.count("a")
    assert "loaded in" in caplog.text
    assert any(record.name == "edge.llama" and "llama" in record.getMessage() for record in caplog.records)


def test_what_progress_raises_ends_the_loading(smollm_path: Path) -> None:
    class Enough(Exception):
        pass

    def stop(share: float) -> None:
        if share >= 0.5:
            raise Enough

    for _ in range(3):  # what was half loaded was freed
        with pytest.raises(Enough):
            edge.load(smollm_path, context=64, progress=stop)
    with edge.load(smollm_path, context=64, kv_budget=0) as model:
        assert model.count("a")


@pytest.mark.parametrize("form", [Seal, pydantic.TypeAdapter(Seal)])
def test_a_pydantic_form_comes_back_as_its_object(form: Any) -> None:
    seal = Seal(material="green silicone rubber", colour='the colour of "old" money', parts=3)
    assert parsed(REPLY, form) == seal
