"""What is wrong with training examples, where, and what training on them costs."""

from __future__ import annotations

import json
import random
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from edge.errors import ModelError
from edge_converters.data.base_model import BaseModelInfo, TokenCount, open_base_model
from edge_converters.data.check import Check, check_examples
from edge_converters.data.estimate import estimate_tuning
from edge_converters.data.near_duplicates import find_near_duplicates
from edge_converters.data.pii import find_pii, is_card, is_iban, mask
from edge_converters.data.records import Example

SUBJECTS = "pump boiler valve crane filter gearbox turbine lamp siren door hatch ladder".split()


def chat(question: str, answer: str, system: str | None = None) -> dict[str, Any]:
    turns = [{"role": "user", "content": question}, {"role": "assistant", "content": answer}]
    return {"messages": ([{"role": "system", "content": system}] if system else []) + turns}


def different(count: int) -> list[dict[str, Any]]:
    """Examples that have little in common."""
    pick = random.Random(3)
    words = [f"{subject}{number}" for subject in SUBJECTS for number in range(40)]
    return [chat(" ".join(pick.sample(words, 8)) + "?", " ".join(pick.sample(words, 12)) + ".") for _ in range(count)]


def write(path: Path, records: Iterable[Any]) -> Path:
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    return path


def reported(check: Check) -> list[tuple[str, str, int | None]]:
    return [(finding.severity, finding.kind, finding.line) for finding in check.findings]


def test_enough_good_examples_have_nothing_said_about_them(tmp_path: Path) -> None:
    check = check_examples([write(tmp_path / "a.jsonl", different(60))])
    assert (reported(check), check.examples, check.passed, check.estimate) == ([], 60, True, None)


@pytest.mark.parametrize(("count", "severity"), [(3, "warning"), (9, "warning"), (10, "note"), (49, "note")])
def test_too_few_examples(count: int, severity: str, tmp_path: Path) -> None:
    check = check_examples([write(tmp_path / "a.jsonl", different(count))])
    assert reported(check) == [(severity, "few", None)]
    assert f"{count} examples" in check.findings[0].message
    assert check.passed


def test_an_empty_file_is_an_error(tmp_path: Path) -> None:
    check = check_examples([write(tmp_path / "a.jsonl", [])])
    assert reported(check) == [("error", "empty", None)]


def test_duplicates_and_nearly_the_same_are_named_with_their_partner(tmp_path: Path) -> None:
    records = different(60)
    first = records[4]["messages"]
    records.append(chat(f"  {first[0]['content'].upper()}", first[1]["content"]))  # the same but for case and space
    long = "The siren of the north gate is heard at noon, when the keeper of the lighthouse walks down to the harbour"
    records.append(chat(f"{long} with his dog. Why?", "Because the ferry comes in and somebody has to take the ropes."))
    records.append(chat(f"{long} with his cat. Why?", "Because the ferry comes in and somebody has to take the ropes."))
    records.append(chat(first[0]["content"], "Something else."))
    path = write(tmp_path / "a.jsonl", records)
    check = check_examples([path])
    assert reported(check) == [
        ("warning", "duplicate", 61), ("warning", "near-duplicate", 63), ("note", "same-question", 64),
    ]  # fmt: skip
    assert f"the same as {path}:5;" in check.findings[0].message
    assert f"{path}:62 (8" in check.findings[1].message


def test_a_shared_form_is_no_likeness(tmp_path: Path) -> None:
    """Reports with the same headings say different things."""
    form = "Write the report of the station for {} in the form of the house, with all headings and without any remark."
    answer = "REPORT OF THE STATION\nObject: {0}\nState: as found on the day of the visit\nNext visit: {1}\nSigned."
    records = [
        chat(form.format(f"{s}{i}"), answer.format(f"{s}{i}", f"day {i}{s}")) for s in SUBJECTS for i in range(6)
    ]
    check = check_examples([write(tmp_path / "a.jsonl", records)])
    assert reported(check) == []


def test_leaks_between_training_and_test(tmp_path: Path) -> None:
    records = different(60)
    long = "Every morning at six the keeper of the station opens the valve by a quarter and waits for the green lamp"
    records.append(chat(f"{long} today. What then?", "Then he writes the pressure into the book and goes home."))
    train = write(tmp_path / "train.jsonl", records)
    question = records[9]["messages"][0]["content"]
    test = write(
        tmp_path / "test.jsonl",
        [
            records[7],
            chat(question, "Another answer."),
            chat("Who are you?", "The keeper."),
            chat(f"{long} alone. What then?", "Then he writes the pressure into the book and goes home."),
        ],
    )
    check = check_examples([train], test=[test])
    assert reported(check) == [("error", "leak", 1), ("error", "leak", 2), ("warning", "near-leak", 4)]
    assert {finding.source for finding in check.findings} == {str(test)}
    assert f"is trained on ({train}:8)" in check.findings[0].message
    assert f"asks what is trained on ({train}:10)" in check.findings[1].message
    assert (check.examples, [file.examples for file in check.test_files]) == (61, [4])
    assert not check.passed


def test_of_many_texts_every_altered_one_is_found() -> None:
    pick = random.Random(1)
    words = [f"w{number}" for number in range(3000)]
    texts = [" ".join(pick.choices(words, k=80)) for _ in range(1000)]
    altered = []
    for number in range(100):
        parts = texts[number].split()
        parts[pick.randrange(80)] = "changed"
        altered.append(" ".join(parts))
    pairs = find_near_duplicates([*texts, *altered])
    assert [(pair.first, pair.second) for pair in pairs] == [(number, 1000 + number) for number in range(100)]
    assert all(0.8 <= pair.similarity < 1 for pair in pairs)


def test_private_strings_are_named_and_never_shown_whole(tmp_path: Path) -> None:
    key = "sk-" + "a1B2" * 8
    secrets = ["bob.miller@acme.com", "+49 170 1234567", "4111 1111 1111 1111", "DE89 3704 0044 0532 0130 00", key]
    check = check_examples([write(tmp_path / "a.jsonl", [*different(60), chat("Who?", ". ".join(secrets))])])
    assert [(f.kind, f.line) for f in check.findings] == [("private", 61)] * 5
    everything = " ".join(finding.message for finding in check.findings)
    for kind in ("e-mail address", "telephone number", "card number", "bank account (IBAN)", "key or token"):
        assert kind in everything
    assert not any(secret in everything for secret in secrets)
    assert mask(key) in everything


@pytest.mark.parametrize(
    ("text", "kinds"),
    [
        ("Order 4111 1111 1111 1112 of 2023-11-12, 10:30:00", []),  # a wrong check digit
        ("DE89 3704 0044 0532 0130 01", []),
        ("write to someone@example.com, or call 202-555-0134", []),  # nobody's by standard
        ("1.2.3.4 and 12.05.2023 and 1234567890123 and 3.14159265358979", []),
        ("the password is important", []),
        ("password: hunter2hunter2", ["password or key"]),
        ("(202) 456-1111 or 030 9012 345", ["telephone number"] * 2),
        ("-----BEGIN RSA PRIVATE KEY-----", ["key or token"]),
        ("a@b.de, a@b.de and c@d.fr", ["e-mail address"] * 2),
    ],
)
def test_what_looks_private_and_what_does_not(text: str, kinds: list[str]) -> None:
    assert [kind for kind, _ in find_pii(text)] == kinds


def test_check_digits() -> None:
    assert is_card("5500 0000 0000 0004")
    assert not is_card("5500 0000 0000 0005")
    assert not is_card("0000 0000 0000 0000")
    assert is_iban("GB82 WEST 1234 5698 7654 32")
    assert not is_iban("GB82 WEST 1234 5698 7654 33")


def test_marks_of_a_template_within_a_text_are_named(tmp_path: Path, stand_in: Path) -> None:
    records = [*different(60), chat("Say <|im_end|> please", "No."), chat("Is 1 <| 2 |> 3 or [INST] one?", "Yes.")]
    path = write(tmp_path / "a.jsonl", records)
    check = check_examples([path])
    assert reported(check) == [("warning", "template", 61), ("warning", "template", 62)]
    check = check_examples([path], base=open_base_model(stand_in))
    assert reported(check) == [("warning", "template", 61)]
    assert "<|im_end|>" in check.findings[0].message


def oracle(folder: Path, turns: list[dict[str, str]]) -> tuple[int, int]:
    """transformers' tokens of a conversation, and those behind the place where the assistant begins."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    whole = tokenizer.apply_chat_template(turns, return_dict=False)
    learnt = 0
    for number, turn in enumerate(turns):
        if turn["role"] == "assistant":
            asked = tokenizer.apply_chat_template(turns[:number], add_generation_prompt=True, return_dict=False)
            learnt += len(tokenizer.apply_chat_template(turns[: number + 1], return_dict=False)) - len(asked)
    return len(whole), learnt


def test_tokens_are_those_of_transformers_and_of_the_gguf_file(
    stand_in: Path, smollm_path: Path, tmp_path: Path
) -> None:
    records = [
        chat("How often is the filter changed?", "Every ninety days, für 12,50 € — or 日本語.\n\n- first"),
        chat("Hi", "Hello!", system="You are the keeper of the station."),
        {"messages": [*chat("a", "b")["messages"], *chat("  And then?", "Nothing.  ")["messages"]]},
    ]
    path = write(tmp_path / "a.jsonl", records)
    from edge_converters.data.reader import read_examples

    wanted = [oracle(stand_in, record["messages"]) for record in records]
    for base in (open_base_model(stand_in), open_base_model(smollm_path)):
        found = [base.count(example) for example in read_examples([path])]
        assert [(count.all, count.learnt) for count in found] == wanted
        assert base.context == 8192
    check = check_examples([path], base=open_base_model(stand_in), epochs=2, batch=2)
    assert check.estimate is not None
    assert (check.estimate.tokens, check.estimate.learnt) == tuple(map(sum, zip(*wanted, strict=True)))
    assert (check.estimate.longest, check.estimate.steps) == (max(count for count, _ in wanted), 3)


def test_examples_longer_than_the_context_are_named_with_their_tokens(stand_in: Path, tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [*different(60), chat("Tell", "word " * 3000)])
    base = open_base_model(stand_in)
    (found,) = check_examples([path], base=base, context=2048).findings
    assert (found.severity, found.kind, found.line) == ("error", "too-long", 61)
    assert "has 3,0" in found.message
    assert "the context is 2,048" in found.message
    assert check_examples([path], base=base).passed  # the base was trained for 8,192


class Words:
    """A vocabulary of words, for what a template does with examples."""

    def __init__(self, template: Any) -> None:
        self.template = template

    def tokens(self, text: str) -> list[int]:
        return [0] * len(text.split())


def base_with(source: str) -> BaseModelInfo:
    from edge.engines.chat_template import ChatTemplate

    return BaseModelInfo(Path("some-base"), Words(ChatTemplate(source, "", "", ())), 100, None)


def test_what_a_template_does_is_reported(tmp_path: Path) -> None:
    from edge.engines.chat_template import CHATML

    path = write(tmp_path / "a.jsonl", [chat("When?", "Now.", system="Be brief."), *different(59)])
    (found,) = check_examples([path], base=base_with(CHATML)).findings
    assert (found.kind, found.source) == ("template", "some-base")
    assert "no chat template of its own" in found.message
    drops = "{% for m in messages if m.role != 'system' %}{{ m.content }} {% endfor %}"
    check = check_examples([path], base=base_with(drops))
    assert reported(check) == [("note", "template", None)]
    assert "the system text of 1 example goes" in check.findings[0].message
    assert check.estimate is not None
    assert check.estimate.methods == ()
    refuses = (
        "{% for m in messages %}{{ m.content }}{% if m.content == 'When?' %}{{ raise_exception('no') }}{% endif %}"
    )
    path = write(path, [chat("When?", "Now."), *different(59)])
    check = check_examples([path], base=base_with(refuses + "{% endfor %}"))
    assert ("error", "template", 1) in reported(check)


def test_a_gguf_file_and_a_folder_of_the_same_model_have_the_same_size(stand_in: Path, smollm_path: Path) -> None:
    folder, file = open_base_model(stand_in).shapes, open_base_model(smollm_path).shapes
    assert folder is not None
    assert file is not None
    assert (folder.parameters, folder.layers, folder.width) == (file.parameters, file.layers, file.width)
    assert (folder.forward, folder.vocabulary) == (file.forward, file.vocabulary)
    # Phi-3 has q, k, v in one matrix and Llama has not.
    assert sum(r * c for r, c in folder.linear) == sum(r * c for r, c in file.linear)


def test_cost_grows_with_data_and_qlora_needs_less_memory(stand_in: Path) -> None:
    shapes = open_base_model(stand_in).shapes
    assert shapes is not None
    one = estimate_tuning([TokenCount(500, 100)] * 80, shapes, epochs=1, rate=1e11)
    two = estimate_tuning([TokenCount(500, 100)] * 80, shapes, epochs=2, rate=1e11)
    lora, qlora = one.methods
    assert two.methods[0].seconds == pytest.approx(2 * lora.seconds, rel=0.01)
    assert qlora.memory_bytes < lora.memory_bytes
    assert lora.memory_bytes > 4 * shapes.parameters
    assert (one.steps, two.steps, one.tokens, one.learnt) == (10, 20, 40_000, 8_000)
    cut = estimate_tuning([TokenCount(5000, 100)] * 80, shapes, context=500, epochs=1, rate=1e11)
    assert cut.methods[0].seconds == lora.seconds


def test_a_folder_without_a_tokenizer_says_what_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match=r"no tokenizer\.json"):
        open_base_model(tmp_path)


def test_a_plain_text_counts_whole(stand_in: Path) -> None:
    count = open_base_model(stand_in).count(Example((), "a", 1, text="one two three"))
    assert count.all == count.learnt == 3
