"""Which tokens are learnt from, against computations that look at tokens alone, and how rows are packed."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

import tune_bases
from edge.errors import TuningError
from edge.types import Message
from edge_converters.data.records import Example
from edge_converters.tuning.tokens import IGNORED, Encoded, Encoder, pack

TALK = (
    Message("system", "You keep the station."),
    Message("user", "Is the lamp red?\nReally?"),
    Message("assistant", "It is. Café, naïve: 你好 🙂"),
    Message("user", "assistant\n and now?"),
    Message("assistant", " Still red.\n\nVery. "),
)


def example(*messages: Message) -> Example:
    return Example(messages, "talk.jsonl", 1)


def by_chatml(tokenizer: Any, tokens: list[int]) -> list[int]:
    """The labels, from the control tokens alone: from behind "<|im_start|>assistant\\n" to "<|im_end|>"."""
    start, end = tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    [head] = [tokenizer("assistant\n", add_special_tokens=False)["input_ids"]]
    labels, speaking, at = [], False, 0
    while at < len(tokens):
        if tokens[at] == start and tokens[at + 1 : at + 1 + len(head)] == head:
            labels += [IGNORED] * (1 + len(head))
            at += 1 + len(head)
            speaking = True
            continue
        labels.append(tokens[at] if speaking else IGNORED)
        speaking = speaking and tokens[at] != end
        at += 1
    return labels


def test_the_mask_of_chatml_is_what_the_control_tokens_say(stand_in: Path) -> None:
    encoder = Encoder(stand_in)
    rolls = random.Random(3)
    words = "red lamp\n door 12 <b> it's café 你好 🙂 , . assistant user".split(" ")
    for _ in range(40):
        turns = [Message("system", "Be brief.")] if rolls.random() < 0.5 else []
        for _ in range(rolls.randint(1, 4)):
            said = [" ".join(rolls.choices(words, k=rolls.randint(1, 12))) for _ in range(2)]
            turns += [Message("user", said[0]), Message("assistant", said[1])]
        encoded = encoder.encode(example(*turns))
        whole = [{"role": turn.role, "content": turn.content} for turn in turns]
        expected = encoder.tokenizer.apply_chat_template(whole, tokenize=True, return_dict=True)["input_ids"]
        assert list(encoded.tokens) == expected
        assert list(encoded.labels) == by_chatml(encoder.tokenizer, expected)


def test_it_is_what_generation_marks_say(stand_in: Path) -> None:
    """Templates with {% generation %} have transformers mark the tokens; ours does without them."""
    encoder = Encoder(stand_in)
    marked = (
        "{% for m in messages %}{% if m.role == 'assistant' %}<|im_start|>assistant\n"
        "{% generation %}{{ m.content }}<|im_end|>{% endgeneration %}{{ '\\n' }}"
        "{% else %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endif %}{% endfor %}"
    )
    whole = [{"role": turn.role, "content": turn.content} for turn in TALK]
    theirs = encoder.tokenizer.apply_chat_template(
        whole, chat_template=marked, tokenize=True, return_dict=True, return_assistant_tokens_mask=True
    )
    encoded = encoder.encode(example(*TALK))
    assert list(encoded.tokens) == theirs["input_ids"]
    assert [int(label != IGNORED) for label in encoded.labels] == theirs["assistant_masks"]


def test_a_turn_ends_with_its_own_end_and_not_with_that_of_the_text(tmp_path: Path) -> None:
    encoder = Encoder(tune_bases.make_base(tmp_path / "base"))
    encoded = encoder.encode(example(*TALK))
    spoken = encoder.tokenizer.decode([label for label in encoded.labels if label != IGNORED])
    assert spoken == "It is. Café, naïve: 你好 🙂<|end|>Still red.\n\nVery.<|end|>"
    assert encoder.tokenizer.decode(list(encoded.tokens)).endswith("Very.<|end|>\n<|end|>")


def test_thoughts_that_the_template_strips_from_earlier_turns(tmp_path: Path) -> None:
    template = (
        "{% for m in messages %}<|{{ m.role }}|>{% if m.role == 'assistant' and not loop.last %}"
        "{{ m.content.split('</think>')[-1] }}{% else %}{{ m.content }}{% endif %}<|end|>{% endfor %}"
        "{% if add_generation_prompt %}<|assistant|>{% endif %}"
    )
    encoder = Encoder(tune_bases.make_base(tmp_path / "base", template=template))
    turns = [Message("user", "a?"), Message("assistant", "<think>x</think>one")]
    turns += [Message("user", "b?"), Message("assistant", "<think>y</think>two")]
    encoded = encoder.encode(example(*turns))
    spoken = encoder.tokenizer.decode([label for label in encoded.labels if label != IGNORED])
    assert spoken == "<think>y</think>two<|end|>"


def test_a_control_token_in_the_text_stays_text(stand_in: Path) -> None:
    encoder = Encoder(stand_in)
    encoded = encoder.encode(example(Message("user", "What?"), Message("assistant", "<|im_end|> ends a turn.")))
    end = encoder.tokenizer.convert_tokens_to_ids("<|im_end|>")
    assert [label for label in encoded.labels if label == end] == [end]
    assert encoded.labels[-2] == end


def test_a_base_without_a_template_is_refused_with_what_to_do(tmp_path: Path) -> None:
    base = tune_bases.make_base(tmp_path / "base", template=None)
    with pytest.raises(TuningError, match=r"no chat template.*-Instruct"):
        Encoder(base)


def test_a_template_that_refuses_names_the_example(tmp_path: Path) -> None:
    template = "{{ raise_exception('only one turn') }}"
    encoder = Encoder(tune_bases.make_base(tmp_path / "base", template=template))
    with pytest.raises(TuningError, match=r"talk\.jsonl:1: .*only one turn"):
        encoder.encode(example(Message("user", "a"), Message("assistant", "b")))


def test_rows_hold_every_example_once_and_whole() -> None:
    rolls = random.Random(5)
    examples = []
    for number in range(300):
        tokens = tuple(1000 * number + at for at in range(rolls.randint(1, 60)))
        examples.append(Encoded(tokens, tokens, str(number)))
    rows = pack(examples, length=64, most=4)
    assert all(len(row.tokens) == sum(row.lengths) <= 64 and len(row.lengths) <= 4 for row in rows)
    found = []
    for row in rows:
        at = 0
        for length in row.lengths:
            found.append(tuple(row.tokens[at : at + length]))
            assert row.labels[at : at + length] == row.tokens[at : at + length]
            at += length
    assert sorted(found) == sorted(encoded.tokens for encoded in examples)
    used = sum(len(row.tokens) for row in rows) / (64 * len(rows))
    assert used > 0.95
