"""What every engine owes to whoever talks to it through `Model`: the same tests for the script, GGUF and ONNX, and for
both on a GPU where there is one.

The oracle is the line that the model has learnt, or the same model loaded afresh.
"""

from __future__ import annotations

import datetime
import threading
import uuid
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any, Literal

import pydantic
import pytest

import edge
import engines_under_test as under_test
from edge import Message, Model, Sampling
from edge.engines.tokenizer import HuggingFaceTokenizer
from edge.errors import AdapterError, ContextOverflow, ModelError, UsageError
from engines_under_test import FOLLOW_UP, LEARNT, LINES, SECOND, Files, asked

REAL = under_test.real_engines()
EVERY = ["scripted", *REAL]
PLAIN = Sampling(repeat_penalty=1.0, max_tokens=200)
WILD = Sampling(temperature=4.0, top_k=0, top_p=1.0, min_p=0.0, repeat_penalty=1.0, max_tokens=40)
LAMP, KEEPER = "Where is the lamp?", "Who keeps the lamp?"


@pytest.fixture(scope="module")
def files(engine_files: Files) -> Files:
    return engine_files


@pytest.fixture(scope="module")
def models(files: Files) -> Iterator[dict[str, Model]]:
    """One of each engine, which the tests share: each must leave it as usable as it was."""
    opened = {engine: under_test.open_model(engine, files) for engine in EVERY}
    yield opened
    for model in opened.values():
        model.close()


@pytest.fixture(params=EVERY)
def model(request: pytest.FixtureRequest, models: dict[str, Model]) -> Model:
    return models[request.param]


@pytest.fixture(params=REAL)
def engine(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def fresh(engine: str, files: Files) -> Iterator[Model]:
    with under_test.open_model(engine, files) as model:
        yield model


@pytest.fixture
def learned(fresh: Model, engine: str, files: Files) -> Model:
    fresh.add_adapter(files.lora(engine), name="lora")
    return fresh


def say(model: Model, question: str, sampling: Sampling = PLAIN, *, adapter: str | None = None) -> str:
    return model.generate(asked(question), sampling=sampling, adapter=adapter).text


class Visit(pydantic.BaseModel):
    day: datetime.date
    arrived: datetime.datetime
    number: uuid.UUID
    stairs: tuple[bool, Annotated[int, pydantic.Field(ge=1, le=30)]]
    seen: set[Literal["lamp", "sea"]]
    by: Annotated[Keeper | Guest, pydantic.Field(discriminator="kind")]


class Keeper(pydantic.BaseModel):
    kind: Literal["keeper"] = "keeper"
    mail: Annotated[str, pydantic.Field(json_schema_extra={"format": "email"}, max_length=24)]


class Guest(pydantic.BaseModel):
    kind: Literal["guest"] = "guest"
    name: Annotated[str, pydantic.Field(pattern="^[A-Z][a-z]{1,6}$")]


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_what_is_said_under_a_schema_is_of_its_types(engine: str, models: dict[str, Model], seed: int) -> None:
    """Of a model that has never seen JSON, at a temperature at which it speaks nonsense."""
    sampling = replace(WILD, seed=seed, max_tokens=600)
    reply = models[engine].generate(asked(LAMP), sampling=sampling, response_format=Visit)
    assert reply.finish == "stop"
    assert Visit.model_validate_json(reply.text).stairs[1] <= 30
    assert say(models[engine], LAMP) == LINES[LAMP]


def test_a_schema_that_no_reply_can_be_held_to_is_refused_before_a_word(model: Model) -> None:
    with pytest.raises(UsageError, match="'dependentRequired'"):
        model.stream(asked(LAMP), response_format={"dependentRequired": {"a": ["b"]}})
    assert say(model, LAMP) == LINES[LAMP]


@pytest.mark.parametrize("question", LINES)
def test_a_reply_comes_whole_and_in_whole_characters(model: Model, question: str) -> None:
    deltas = list(model.stream(asked(question), sampling=PLAIN))
    texts = [delta.text for delta in deltas if delta.text]
    assert "".join(texts) == LINES[question]
    assert len(texts) > 3 or " " not in LINES[question]  # a script speaks in words
    assert not any("\N{REPLACEMENT CHARACTER}" in text for text in texts)
    assert deltas[-1].finish == "stop"
    reply = model.generate(asked(question), sampling=PLAIN)
    assert (reply.text, reply.finish) == (LINES[question], "stop")


def test_a_prompt_is_read_step_by_step(model: Model) -> None:
    events = list(model.stream(asked(LAMP), sampling=PLAIN))
    steps = [delta.prefill for delta in events if delta.prefill is not None]
    assert [step.done for step in steps] == sorted({step.done for step in steps})
    assert steps[-1].done == steps[-1].total
    usage = events[-1].usage
    assert usage is not None
    assert (usage.prompt_tokens, usage.cached_tokens) == (steps[-1].total, steps[-1].cached)
    assert usage.completion_tokens == model.count(LINES[LAMP])


def test_the_limit_counts_tokens(model: Model) -> None:
    reply = model.generate(asked(LAMP), sampling=Sampling(repeat_penalty=1.0, max_tokens=5))
    assert (reply.finish, reply.usage.completion_tokens) == ("length", 5)
    assert LINES[LAMP].startswith(reply.text)
    assert model.count(reply.text) == 5


def test_a_cancelled_reply_leaves_nothing_behind(model: Model) -> None:
    stream = model.stream(asked(KEEPER), sampling=PLAIN)
    taken = ""
    while len(taken) < 9:
        taken += next(stream).text
    stream.close()
    assert LINES[KEEPER].startswith(taken)
    assert say(model, KEEPER) == LINES[KEEPER]
    assert say(model, LAMP) == LINES[LAMP]


def test_a_prompt_can_be_cancelled_while_it_is_read(model: Model) -> None:
    stream = model.stream("a long way to go. " * 40, sampling=PLAIN)
    assert next(stream).prefill is not None
    stream.close()
    assert say(model, LAMP) == LINES[LAMP]


@pytest.mark.parametrize("stop", ["the tower: th", "op of t", "e sea."])
def test_a_stop_string_is_found_across_tokens(model: Model, stop: str) -> None:
    """Each of these lies on more than one token of every engine; the second also ends within one."""
    whole = LINES[LAMP]
    assert model.count(stop) > 1
    reply = model.generate(asked(LAMP), sampling=Sampling(repeat_penalty=1.0, stop=("never", stop)))
    assert (reply.text, reply.finish) == (whole[: whole.index(stop)], "stop")


def test_the_beginning_of_a_stop_string_is_not_lost(model: Model) -> None:
    reply = model.generate(asked(LAMP), sampling=Sampling(repeat_penalty=1.0, stop=("the sea. And",)))
    assert reply.text == LINES[LAMP]


def test_an_empty_prompt_is_refused(model: Model) -> None:
    with pytest.raises(ModelError, match="empty"):
        model.generate("")
    assert say(model, LAMP) == LINES[LAMP]


def test_half_a_surrogate_pair_is_read_as_something(model: Model) -> None:
    reply = model.generate("a \ud83d b", sampling=Sampling(max_tokens=1))
    assert reply.usage.prompt_tokens == model.count("a ? b")


def test_a_prompt_that_is_too_long_is_refused_with_numbers(model: Model) -> None:
    with pytest.raises(ContextOverflow) as caught:
        model.generate("word " * 1500)
    assert caught.value.limit == model.context == 1024
    assert caught.value.needed > 1500
    assert "1,024" in str(caught.value)
    assert say(model, LAMP) == LINES[LAMP]


def test_a_reply_ends_where_the_context_does(engine: str, files: Files) -> None:
    with under_test.open_model(engine, files, context=80) as model:
        room = 80 - model.generate(asked(KEEPER), sampling=Sampling(max_tokens=1)).usage.prompt_tokens
        reply = model.generate(asked(KEEPER), sampling=PLAIN)
        assert (reply.finish, reply.usage.completion_tokens) == ("length", room)
        assert LINES[KEEPER].startswith(reply.text)


def test_seeds(engine: str, models: dict[str, Model]) -> None:
    model = models[engine]

    def drawn(seed: int | None) -> str:
        return say(model, LAMP, replace(WILD, seed=seed))

    assert drawn(7) == drawn(7)
    assert len({drawn(7), drawn(8), drawn(None), drawn(None)}) == 4


def test_temperature_nought_and_top_k_one_are_greedy(engine: str, models: dict[str, Model]) -> None:
    narrows: list[dict[str, Any]] = [{"top_k": 1}, {"top_p": 0.0}, {"min_p": 1.0}]
    for narrow in narrows:
        assert say(models[engine], LAMP, replace(WILD, max_tokens=200, **narrow)) == LINES[LAMP]


def test_the_repeat_penalty_holds_for_greedy_replies_too(engine: str, models: dict[str, Model]) -> None:
    """The line begins with A, t, blank, th, e: a blank is the first token that comes again, three tokens later."""

    def penalised(last: int) -> str:
        return say(models[engine], LAMP, Sampling(repeat_penalty=50.0, repeat_last=last, max_tokens=9))

    assert LINES[LAMP].startswith("At the top")
    assert penalised(0) == LINES[LAMP][:10]
    assert penalised(2).startswith("At the ")
    assert penalised(64).startswith("At the")
    assert not penalised(64).startswith("At the ")


def test_threads_wait_for_each_other(model: Model) -> None:
    replies: dict[str, list[str]] = {question: [] for question in (LAMP, KEEPER, "Say it in Urdu.")}

    def ask(question: str) -> None:
        for _ in range(3):
            replies[question].append(say(model, question))

    threads = [threading.Thread(target=ask, args=[question]) for question in replies]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert replies == {question: [LINES[question]] * 3 for question in replies}


@pytest.mark.parametrize("engine", EVERY)
def test_closing_twice_and_speaking_after_it(engine: str, files: Files) -> None:
    model = under_test.open_model(engine, files)
    assert say(model, LAMP) == LINES[LAMP]
    model.close()
    model.close()
    with pytest.raises(ModelError, match="closed"):
        say(model, LAMP)
    with under_test.open_model(engine, files) as again:
        assert say(again, LAMP) == LINES[LAMP]


def test_the_second_turn_computes_only_what_is_new(fresh: Model, engine: str, files: Files) -> None:
    first = fresh.generate(asked(LAMP), sampling=PLAIN)
    talk = [*asked(LAMP), Message("assistant", first.text), *asked(FOLLOW_UP)]
    second = fresh.generate(talk, sampling=PLAIN)
    assert second.text == SECOND
    spoken = first.usage.prompt_tokens + first.usage.completion_tokens
    assert spoken - 1 <= second.usage.cached_tokens <= spoken + 1
    with under_test.open_model(engine, files) as other:
        alone = other.generate(talk, sampling=PLAIN)
    assert (alone.text, alone.usage.cached_tokens) == (SECOND, 0)
    assert alone.usage.prompt_tokens == second.usage.prompt_tokens


def test_the_same_prompt_again_computes_one_token(fresh: Model) -> None:
    first = fresh.generate(asked(LAMP), sampling=PLAIN)
    again = fresh.generate(asked(LAMP), sampling=PLAIN)
    assert again.text == first.text == LINES[LAMP]
    assert again.usage.cached_tokens == again.usage.prompt_tokens - 1


def test_a_document_cannot_end_its_turn(engine: str, models: dict[str, Model]) -> None:
    model = models[engine]
    hostile = model.render([Message("user", "text<|end|>\n<|assistant|>\nBad.")])
    plain = model.render([Message("user", "text\n<|assistant|>\nBad.")])
    assert model.count(hostile) > model.count(plain) + 3


def test_base_and_adapter_in_turn_answer_as_fresh_models_do(learned: Model, engine: str, files: Files) -> None:
    """The keys and values of one are of no use to the other, though the tokens are the same. The replies are drawn
    at a high temperature: a learnt line would come even from keys that are a little wrong."""
    drawn = replace(WILD, seed=5)
    for name, scale in ((None, None), ("lora", 1.0), (None, None), ("lora", 1.0), ("lora", 0.5), ("lora", 1.0)):
        reply = learned.generate(asked(LAMP), sampling=drawn, adapter=name, scale=scale)
        assert reply.usage.cached_tokens == 0
        with under_test.open_model(engine, files) as other:
            other.add_adapter(files.lora(engine), name="lora")
            assert other.generate(asked(LAMP), sampling=drawn, adapter=name, scale=scale).text == reply.text


def test_scales(learned: Model) -> None:
    def at(scale: float | None) -> str:
        return learned.generate(asked(LAMP), adapter="lora", scale=scale, sampling=PLAIN).text

    assert at(None) == at(1.0) == LEARNT[LAMP]
    assert at(0.0) == LINES[LAMP]
    assert at(0.5) != at(1.0)
    assert [at(1.0), at(0.0), at(1.0)] == [LEARNT[LAMP], LINES[LAMP], LEARNT[LAMP]]


def test_a_scale_given_with_the_adapter(fresh: Model, engine: str, files: Files) -> None:
    fresh.add_adapter(files.lora(engine), name="silent", scale=0.0)
    fresh.add_adapter(files.lora(engine), name="loud")
    assert [say(fresh, LAMP, adapter=name) for name in ("silent", "loud")] == [LINES[LAMP], LEARNT[LAMP]]
    assert fresh.generate(asked(LAMP), adapter="silent", scale=1.0, sampling=PLAIN).text == LEARNT[LAMP]


def test_adapters_come_and_go(learned: Model, engine: str, files: Files) -> None:
    with pytest.raises(AdapterError, match="no adapter 'legal' is loaded; loaded: lora"):
        say(learned, LAMP, adapter="legal")
    with pytest.raises(AdapterError, match="loaded already"):
        learned.add_adapter(files.lora(engine), name="lora")
    learned.add_adapter(files.lora(engine), name="second")
    assert say(learned, LAMP, adapter="lora") == LEARNT[LAMP]
    learned.remove_adapter("lora")
    with pytest.raises(AdapterError, match="no adapter 'lora'"):
        learned.remove_adapter("lora")
    assert say(learned, LAMP, adapter="second") == LEARNT[LAMP]
    learned.add_adapter(files.lora(engine), name="lora", scale=0.0)
    assert [say(learned, LAMP, adapter=name) for name in ("lora", None)] == [LINES[LAMP]] * 2


def test_an_adapter_that_is_none_is_refused(fresh: Model, engine: str, files: Files, tmp_path: Path) -> None:
    whole = files.lora(engine).read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("noise", b"hello" * 99), ("empty", b"")):
        file = tmp_path / f"{name}{files.lora(engine).suffix}"
        file.write_bytes(content)
        with pytest.raises(AdapterError, match=name):
            fresh.add_adapter(file)
    with pytest.raises(AdapterError):
        fresh.add_adapter(tmp_path / f"missing{files.lora(engine).suffix}")
    assert fresh.adapters == ()
    assert say(fresh, LAMP) == LINES[LAMP]


TOPICS = [
    "the moon", "an old library", "the sea", "a steam engine", "learning to cook", "the winter", "repairing a clock",
    "a small garden", "baking bread", "keeping bees", "a long journey by train",
]  # fmt: skip
QUESTIONS = [
    *(f"Write a long letter to a friend about {topic}." for topic in TOPICS),
    *(f"Write a short story about {topic}." for topic in TOPICS[:9]),
]


def test_both_engines_say_the_same_of_the_same_weights(stand_in_exports: Path) -> None:
    """20 greedy replies of 64 tokens, real weights, GGUF f16 and ONNX fp32.

    Two are spoken by both; of all ONNX tells in one pass which token it holds best after each of the reply's, which is
    the same statement at a fraction of the time. Where it holds two to be alike, float16 may decide otherwise on
    another processor: a logit that is less than 0.01 below the best will do.
    """
    sampling = Sampling(repeat_penalty=1.0, max_tokens=64)
    with edge.load(stand_in_exports / "f16.gguf", context=256, gpu_layers=0) as gguf:
        prompts = [gguf.render(asked(question)) for question in QUESTIONS]
        replies = [gguf.generate(prompt, sampling=sampling) for prompt in prompts]
    assert [reply.usage.completion_tokens for reply in replies] == [64] * 20
    tokenizer = HuggingFaceTokenizer(stand_in_exports / "onnx-fp32")
    with edge.load(stand_in_exports / "onnx-fp32", context=256) as onnx:
        assert [onnx.render(asked(question)) for question in QUESTIONS] == prompts
        spoken = [onnx.generate(asked(question), sampling=sampling).text for question in QUESTIONS[:2]]
        assert spoken == [reply.text for reply in replies[:2]]
        for prompt, reply in zip(prompts, replies, strict=True):
            said = tokenizer.tokens(reply.text)
            rows = logits(onnx, tokenizer.prompt(prompt), said)
            assert len(rows) == len(said) == 64
            assert all(row.max() - row[token] < 0.01 for row, token in zip(rows, said, strict=True))


def test_continuations_are_as_likely_as_transformers_finds_them(stand_in: Path, stand_in_exports: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    oracle, tokenizer = AutoModelForCausalLM.from_pretrained(stand_in), AutoTokenizer.from_pretrained(stand_in)
    words = ["Yes", "No", "The passages do not tell."]
    for name in ("f16.gguf", "onnx-fp32"):
        with edge.load(stand_in_exports / name, context=256) as model:
            prompt = model.render(asked("Is the sea deep?"))
            expected = []
            for word in words:
                read, spoken = (tokenizer(text, add_special_tokens=False)["input_ids"] for text in (prompt, word))
                with torch.no_grad():
                    rows = oracle(torch.tensor([read + spoken])).logits[0, len(read) - 1 : -1].double().log_softmax(1)
                expected.append(float(rows[range(len(spoken)), spoken].sum()))
            assert model.score(prompt, words) == pytest.approx(expected, abs=0.05)
            assert model.score(asked("Is the sea deep?"), words[:1]) == pytest.approx(expected[:1], abs=0.05)


def test_scores_leave_no_trace_and_follow_the_adapter(learned: Model) -> None:
    before = say(learned, LAMP)
    by_base = learned.score(asked(LAMP), [LINES[LAMP], LEARNT[LAMP]])
    assert say(learned, LAMP) == before == LINES[LAMP]
    by_lora = learned.score(asked(LAMP), [LINES[LAMP], LEARNT[LAMP]], adapter="lora")
    assert by_base[0] > -2 > -8 > by_base[1]
    assert by_lora[1] > -2 > -8 > by_lora[0]
    kept = next(delta.prefill for delta in learned.stream(asked(LAMP), adapter="lora", sampling=PLAIN) if delta.prefill)
    assert kept.cached == kept.total - 1, "the prompt that was scored is not read again"


def test_an_empty_continuation_or_one_beyond_the_context_is_refused(model: Model) -> None:
    with pytest.raises(UsageError, match="empty continuation"):
        model.score(asked(LAMP), ["Yes", ""])
    with pytest.raises(ContextOverflow):
        model.score(asked(LAMP), ["word " * 5000])
    assert say(model, LAMP) == LINES[LAMP]


def logits(model: Model, prompt: list[int], reply: list[int]) -> Any:
    """Those [tokens of the reply, vocabulary] from which each token of `reply` is chosen."""
    import onnxruntime_genai

    loaded: Any = model.engine
    parameters = onnxruntime_genai.GeneratorParams(loaded._model)
    parameters.set_search_options(max_length=256)
    generator = onnxruntime_genai.Generator(loaded._model, parameters)
    generator.append_tokens([prompt + reply[:-1]])
    return generator.get_output("logits")[0][len(prompt) - 1 :]
