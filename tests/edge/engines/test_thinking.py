"""Thinking apart from the answer: chat templates as published, marks of many families, streams cut anywhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from edge import Chat, Delta, Message, Model, Passage, Sampling
from edge.engines.chat_template import ChatTemplate
from edge.engines.contract import Token
from edge.engines.scripted import ScriptedEngine
from edge.engines.thinking import Separator, closing, is_mark, opened_by
from edge.engines.tokenizer import HuggingFaceTokenizer
from edge.types import Adapter, Prefill
from gguf_files.seeds import make_seed

FOLDER = Path(__file__).parents[1] / "templates" / "thinking"
PUBLISHED = {path.stem: path.read_text(encoding="utf-8") for path in FOLDER.glob("*.jinja")}
TURNS = [Message("user", "Why is it blue?"), Message("assistant", "Because."), Message("user", "Is it?")]
SYSTEM = Message("system", "Be brief.")

# What turns thinking off, by the documentation of each model; what is not here cannot be told.
OFF: dict[str, dict[str, Any]] = {
    "qwen3": {"enable_thinking": False},
    "qwen3.5": {"enable_thinking": False},
    "smollm3": {"enable_thinking": False},
    "glm-4.6": {"enable_thinking": False},
    "gemma-4": {"enable_thinking": False},
    "granite-3.3": {"thinking": False},
    "seed-oss": {"thinking_budget": 0},
    "gpt-oss": {"reasoning_effort": "low"},
    "nemotron-nano-v2": {},
}
OPENS = ("deepseek-r1-distill",)
"""Whose prompt opens the thinking, and knows no way not to."""


def template(name: str) -> ChatTemplate:
    return ChatTemplate(PUBLISHED[name], "<s>", "</s>")


def transformers_render(name: str, messages: Sequence[Message], **reported: Any) -> str:
    from tokenizers import Tokenizer, models
    from transformers import PreTrainedTokenizerFast

    oracle = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer(models.BPE()), bos_token="<s>", eos_token="</s>", chat_template=PUBLISHED[name]
    )
    plain = [{"role": message.role, "content": message.content} for message in messages]
    return str(oracle.apply_chat_template(plain, tokenize=False, add_generation_prompt=True, **reported))


@pytest.mark.parametrize("name", sorted(PUBLISHED))
def test_thinking_is_off_in_every_published_template_as_transformers_turns_it_off(name: str) -> None:
    pytest.importorskip("transformers")
    for messages in (TURNS, [SYSTEM, *TURNS], TURNS[:1]):
        reported = messages
        if name == "nemotron-nano-v2":  # its model card: "/no_think" in the system text
            system = "Be brief.\n/no_think" if messages[0].role == "system" else "/no_think"
            reported = [Message("system", system), *(m for m in messages if m.role != "system")]
        assert template(name).render(messages) == transformers_render(name, reported, **OFF.get(name, {}))
    assert (opened_by(template(name).render(TURNS)) is not None) == (name in OPENS)


@pytest.mark.parametrize("name", sorted(set(OFF) - {"gpt-oss"}))
def test_thinking_can_be_asked_for(name: str) -> None:
    pytest.importorskip("transformers")
    messages = [SYSTEM, *TURNS]
    thinking = template(name).render(messages, think=True)
    assert thinking != template(name).render(messages)
    assert "</think>" not in thinking[thinking.rindex("Is it?") :]
    if name == "granite-3.3":  # a system text takes the place of the one that tells it to think
        assert "Write your thoughts between <think></think>" in thinking
        assert "Be brief." in thinking
    else:
        on = {} if name in ("seed-oss", "nemotron-nano-v2") else {"enable_thinking": True}
        assert thinking == transformers_render(name, messages, **on)


def test_a_template_that_refuses_what_it_is_given_is_left_to_its_default() -> None:
    source = (
        "{% if reasoning_effort is defined and reasoning_effort not in ['high', 'max'] %}"
        "{{ raise_exception('high or max') }}{% endif %}{{ messages[0].content }}"
    )
    assert ChatTemplate(source, "", "").render([Message("user", "Why?")]) == "Why?"


def test_none_leaves_a_template_to_its_default() -> None:
    pytest.importorskip("transformers")
    assert template("qwen3").render(TURNS, think=None) == transformers_render("qwen3", TURNS)


# (the end of the prompt, the reply, what of it is the answer, what is thought)
REPLIES = [
    ("", "<think>\nab c\n</think>\n\nEvery ninety days.", "Every ninety days.", "ab c"),
    ("<think>\n", "ab c\n</think>\n\nEvery ninety days.", "Every ninety days.", "ab c"),
    ("<think>\n", "<think>\nab\n</think>\n\nEvery.", "Every.", "ab"),
    ("", "<think>\n\n</think>\n\nEvery.", "Every.", ""),
    ("<think>\n\n</think>\n\n", "Every.", "Every.", ""),
    ("", "</think>\n\nEvery.", "Every.", ""),
    ("", "<think>a</think><think>b</think>C", "C", "a\n\nb"),
    ("", "<think>a</think>In May.\n<think>\nb\n</think>\n\nOr June.", "In May.\nOr June.", "a\n\nb"),
    ("", "In May.<think>b</think> Or June.", "In May. Or June.", "b"),
    ("", "<thinking>a</thinking>B", "B", "a"),
    ("", "<thought>\na\n</thought>\nB", "B", "a"),
    ("", "<reasoning>a</reasoning>B", "B", "a"),
    ("", "[THINK]a b[/THINK]Every.", "Every.", "a b"),
    ("", "◁think▷a◁/think▷Every.", "Every.", "a"),
    ("", "<seed:think>a</seed:think>Every.", "Every.", "a"),
    ("", "<|START_THINKING|>a<|END_THINKING|><|START_RESPONSE|>B.<|END_RESPONSE|>", "B.", "a"),
    ("<|START_THINKING|><|END_THINKING|>", "<|START_RESPONSE|>B.<|END_RESPONSE|>", "B.", ""),
    ("", "<|channel>thought\na\n<channel|>Every.", "Every.", "a"),
    ("", "<think>a</think>\n<response>\nB c.</response>", "B c.", "a"),
    ("", "Here is my thought process: a b\n\nHere is my response: C d.", "C d.", "a b"),
    ("Here are my reasoning steps:\n", "a\n[BEGIN FINAL RESPONSE]\nB.\n[END FINAL RESPONSE]", "B.\n", "a"),
    (
        "<|start|>assistant",
        "<|channel|>analysis<|message|>a b<|end|><|start|>assistant<|channel|>final<|message|>C d.",
        "C d.",
        "a b",
    ),
]

# An answer about thinking is an answer.
MENTIONS = [
    "The tag <think> marks thinking.",
    "Models write <think>x</think> first.",
    "```\n<think>\nx\n</think>\n```\nis how.",
    "Write\n<think>\nin front.",
    "`</think>` closes it.",
    "5 < 6, and [TH] is no mark <",
    "Here is my car.",
    "Here is my thought process: none.",
    "<answer>42</answer>",
    "  An indented line.",
]


def split(prompt: str, pieces: Sequence[str], *, cut: bool = False) -> tuple[str, str]:
    separator = Separator(prompt)
    parts = [*map(separator.feed, pieces), separator.finish(cut=cut)]
    return "".join(answer for answer, _ in parts), "".join(thinking for _, thinking in parts)


def everywhere(text: str) -> Iterator[list[str]]:
    """The text whole, letter by letter, and in three pieces in every way."""
    yield [text]
    yield list(text)
    for first in range(len(text) + 1):
        for second in range(first, len(text) + 1):
            yield [text[:first], text[first:second], text[second:]]


@pytest.mark.parametrize(("prompt", "reply", "answer", "thinking"), REPLIES, ids=[reply for _, reply, *_ in REPLIES])
def test_thinking_is_kept_apart_wherever_the_stream_is_cut(prompt: str, reply: str, answer: str, thinking: str) -> None:
    for pieces in everywhere(reply):
        assert split(prompt, pieces) == (answer, thinking), pieces


@pytest.mark.parametrize("reply", MENTIONS)
def test_an_answer_that_mentions_marks_stays_as_it_is(reply: str) -> None:
    for pieces in everywhere(reply):
        assert split("", pieces)[0] == reply, pieces


@pytest.mark.parametrize(
    ("prompt", "reply", "answer", "thinking"),
    [
        ("", "<think>\nab c", "", "ab c"),
        ("<think>\n", "ab c", "", "ab c"),
        ("", "<think>\nab </thi", "", "ab </thi"),
        ("", "<thi", "", ""),
        ("", "In May.\n<think>\nab", "In May.\n", "ab"),
    ],
)
def test_thinking_that_is_cut_off_is_no_answer(prompt: str, reply: str, answer: str, thinking: str) -> None:
    for pieces in everywhere(reply):
        assert split(prompt, pieces, cut=True) == (answer, thinking), pieces


def test_what_is_thought_streams_before_its_end_is_known() -> None:
    separator = Separator()
    assert [separator.feed(piece) for piece in ("<think>", "\nFirst", " this.", " Then")][1:] == [
        ("", "First"),
        ("", " this."),
        ("", " Then"),
    ]


@pytest.mark.parametrize("token", ["[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|START_THINKING|>"])
def test_control_tokens_that_are_marks_are_spelt_out(token: str) -> None:
    assert is_mark(token)
    assert not is_mark("<|im_end|>")
    assert not is_mark("[/INST]")


CONTROLS = ["[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|end|>", "<|call|>", "<|return|>", "<|spare|>"]


def test_llama_cpp_spells_out_control_tokens_that_are_marks(tmp_path: Path) -> None:
    pytest.importorskip("llama_cpp")
    pytest.importorskip("gguf")
    from edge.engines.llamacpp.bindings import bindings, load_model
    from edge.engines.llamacpp.vocabulary import GgufVocabulary

    model = load_model(make_seed(tmp_path / "seed.gguf", "qwen2", controls=CONTROLS), vocab_only=True)
    try:
        vocabulary = GgufVocabulary(model)
        tokens = {
            text: vocabulary.tokens(text) for text in ("[THINK]", "<|channel|>", "<|spare|>", "<|im_start|>", "a")
        }
        assert all(len(found) == 1 for found in tokens.values())
        said = {text: vocabulary.piece(*found).decode() for text, found in tokens.items()}
        assert said == {
            "[THINK]": "[THINK]", "<|channel|>": "<|channel|>", "<|spare|>": "", "<|im_start|>": "", "a": "a"
        }  # fmt: skip
    finally:
        bindings().llama_model_free(model)


def test_the_tokenizer_of_a_folder_spells_them_out_too(tmp_path: Path) -> None:
    from tokenizers import AddedToken, Tokenizer, models

    made = Tokenizer(models.BPE())
    made.add_special_tokens([AddedToken(text, special=True) for text in CONTROLS])
    made.save(str(tmp_path / "tokenizer.json"))
    tokenizer = HuggingFaceTokenizer(tmp_path)
    said = [tokenizer.piece(made.token_to_id(text)).decode() for text in CONTROLS]
    assert said == ["[THINK]", "[/THINK]", "<|channel|>", "<|message|>", "<|end|>", "", "", ""]
    # As in llama.cpp: in a model with channels <|end|> ends one of them, and the reply goes on.
    assert {made.id_to_token(token) for token in tokenizer.ends} == {"<|return|>"}


class Thinker(ScriptedEngine):
    """A model with a published template."""

    def __init__(self, replies: Sequence[str] | Callable[[str], str], name: str = "qwen3", **options: Any) -> None:
        super().__init__(replies, **options)
        self._template = template(name)
        self.limits: list[int] = []

    def render(self, messages: Sequence[Message], *, think: bool = False) -> str:
        return self._template.render(messages, think=think)

    def stream(
        self, prompt: str, sampling: Sampling, adapter: Adapter | None, prefix_boundaries: Sequence[int] = ()
    ) -> Iterator[Prefill | Token]:
        self.limits.append(sampling.max_tokens)
        return super().stream(prompt, sampling, adapter, prefix_boundaries)


THOUGHT = "<think>\nPassage 1 says ninety days.\n</think>\n\nEvery ninety days."


def test_a_reply_and_its_stream_carry_thinking_apart() -> None:
    model = Model(ScriptedEngine([THOUGHT]))
    reply = model.generate("Why?")
    assert (reply.text, reply.thinking) == ("Every ninety days.", "Passage 1 says ninety days.")
    assert reply.usage.completion_tokens == len(THOUGHT.split())
    deltas = list(model.stream("Why?"))
    assert "".join(delta.text for delta in deltas) == reply.text
    assert "".join(delta.thinking for delta in deltas) == reply.thinking


def test_a_stop_string_does_not_end_a_thought() -> None:
    model = Model(ScriptedEngine(["<think>\nninety days\n</think>\n\nEvery ninety days."]))
    reply = model.generate("Why?", sampling=Sampling(stop=("ninety",)))
    assert (reply.text, reply.thinking, reply.finish) == ("Every ", "ninety days", "stop")


def test_max_tokens_counts_thoughts_unless_they_have_a_budget() -> None:
    reply = "<think> a b c d </think> one two three four"
    cut = Model(ScriptedEngine([reply])).generate("Why?", sampling=Sampling(max_tokens=4))
    assert (cut.text, cut.thinking, cut.finish) == ("", "a b c", "length")
    apart = Sampling(max_tokens=3, thinking_budget=10)
    whole = Model(ScriptedEngine([reply])).generate("Why?", sampling=apart)
    assert (whole.thinking, whole.finish) == ("a b c d", "length")
    assert whole.text.split() == ["one", "two", "three"]
    spent = Model(ScriptedEngine([reply])).generate("Why?", sampling=Sampling(max_tokens=9, thinking_budget=3))
    assert (spent.text, spent.thinking, spent.finish) == ("", "a b", "length")
    none = Model(ScriptedEngine(["one two"])).generate("Why?", sampling=Sampling(max_tokens=9, thinking_budget=0))
    assert (none.text, none.finish) == ("one two", "stop")


def test_json_comes_without_thinking() -> None:
    schema = {"type": "object", "properties": {"tag": {"type": "string"}}}
    for name in ("qwen3", "deepseek-r1-distill", "gpt-oss"):
        engine = Thinker(['{"tag": "<think>a</think>"}'], name)
        model = Model(engine)
        reply = model.generate([Message("user", "Why?")], response_format=schema, think=True)
        assert (reply.text, reply.thinking) == ('{"tag": "<think>a</think>"}', "")
        assert opened_by(engine.prompts[-1]) is None
    assert engine.prompts[-1].endswith("<|start|>assistant<|channel|>final<|message|>")


def test_a_judgement_is_asked_for_where_the_answer_begins() -> None:
    prompt = template("deepseek-r1-distill").render(TURNS)
    assert (prompt + closing(prompt)).endswith("<think>\n\n</think>\n\n")
    assert closing(template("qwen3").render(TURNS)) == ""


class FakeIndex:
    """One passage for every question."""

    def search(self, query: str, k: int = 5) -> list[Passage]:
        text = "The pump is due for maintenance every ninety days."
        return [Passage(text, "m.md", None, None, 0, len(text), 0.9, "")]


def test_thinking_is_neither_checked_nor_remembered() -> None:
    engine = Thinker([THOUGHT, "<think>\n\n</think>\n\nIn March."])
    chat = Chat(Model(engine), knowledge=FakeIndex(), think=True)
    answer = chat.ask("When is the pump due for maintenance?")
    assert (answer.text, answer.thinking) == ("Every ninety days.", "Passage 1 says ninety days.")
    assert answer.unsupported == ()
    assert [citation.claim.text for citation in answer.citations] == ["Every ninety days."]
    assert chat.history[-1] == Message("assistant", "Every ninety days.")
    chat.ask("And the filter?")
    assert "Passage 1 says" not in engine.prompts[-1]
    assert not engine.prompts[-1].endswith("</think>\n\n")
    chat.think = False
    chat.ask("And the boiler?")
    assert engine.prompts[-1].endswith("<think>\n\n</think>\n\n")


def test_an_answer_that_never_came_is_no_turn() -> None:
    chat = Chat(Model(Thinker(["<think> a b c d e f"])), knowledge=FakeIndex())
    answer = chat.ask("When?", sampling=Sampling(max_tokens=4))
    assert (answer.text, answer.thinking, answer.finish) == ("", "a b c", "length")
    assert chat.history == []


@pytest.mark.parametrize(("name", "think"), [("qwen3", True), ("deepseek-r1-distill", False)])
def test_an_answer_comes_although_much_was_thought(name: str, think: bool) -> None:
    opening = "" if name in OPENS else "<think>"
    engine = Thinker([f"{opening}{' a' * 40} </think> In March, it says."], name)
    answer = Chat(Model(engine), think=think).ask("When?", sampling=Sampling(max_tokens=10))
    assert (answer.text, answer.finish) == ("In March, it says.", "stop")
    assert engine.limits[-1] > 10 + 40
    reported = Chat(Model(engine), think=think).ask("When?", sampling=Sampling(max_tokens=10, thinking_budget=5))
    assert (reported.text, reported.finish) == ("", "length")


def test_a_thinker_can_be_stopped() -> None:
    chat = Chat(Model(ScriptedEngine(["<think> a b c d </think> Done."])))
    stream = chat.stream("Why?")
    first = next(delta for delta in stream if delta.thinking)
    assert isinstance(first, Delta)
    stream.close()  # type: ignore[attr-defined]
    assert chat.history == []
    assert chat.ask("Why?").text == "Done."
