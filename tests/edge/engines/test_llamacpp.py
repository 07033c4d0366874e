"""The llama.cpp engine on a real model. Oracles: llama-cpp-python's high-level class and the engine itself, fresh."""

from __future__ import annotations

import ctypes
import json
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from numpy.typing import NDArray

import edge
from edge import Message, Model, Sampling
from edge.errors import (
    AdapterError,
    ContextOverflow,
    FormatError,
    ModelError,
    ModelNotFound,
    ModelTooLarge,
    UsageError,
)

QUESTION = [Message("system", "Answer briefly."), Message("user", "Name three colours of the rainbow.")]
SHORT = Sampling(max_tokens=24)


def fresh(path: Path) -> Model:
    return edge.load(path, context=2048)


def test_greedy_text_equals_a_bare_decode_loop(smollm_path: Path) -> None:
    import llama_cpp

    with fresh(smollm_path) as ours:
        prompt = ours.render(QUESTION)
        reply = ours.generate(prompt, sampling=Sampling(max_tokens=32, repeat_penalty=1.0))
    params = llama_cpp.llama_model_default_params()
    params.use_extra_bufts = False  # with AMX compiled in they crash: see the engine
    model = llama_cpp.llama_model_load_from_file(str(smollm_path).encode(), params)
    options = llama_cpp.llama_context_default_params()
    ctx = llama_cpp.llama_init_from_model(model, options)
    vocab = llama_cpp.llama_model_get_vocab(model)
    raw = prompt.encode()
    tokens = (llama_cpp.llama_token * 256)()
    n = llama_cpp.llama_tokenize(vocab, raw, len(raw), tokens, 256, True, True)
    sampler = llama_cpp.llama_sampler_init_greedy()
    assert llama_cpp.llama_decode(ctx, llama_cpp.llama_batch_get_one(tokens, n - 1)) == 0
    text = b""
    buffer = (llama_cpp.llama_token * 1)(tokens[n - 1])
    batch = llama_cpp.llama_batch_get_one(buffer, 1)
    piece = ctypes.create_string_buffer(64)
    for _ in range(32):
        assert llama_cpp.llama_decode(ctx, batch) == 0
        token = llama_cpp.llama_sampler_sample(sampler, ctx, -1)
        if llama_cpp.llama_vocab_is_eog(vocab, token):
            break
        size = llama_cpp.llama_token_to_piece(vocab, token, piece, 64, 0, False)
        text += piece.raw[:size]
        buffer[0] = token
        batch = llama_cpp.llama_batch_get_one(buffer, 1)
    llama_cpp.llama_sampler_free(sampler)
    llama_cpp.llama_free(ctx)
    llama_cpp.llama_model_free(model)
    assert reply.text == text.decode()
    assert reply.usage.prompt_tokens == n


def logits(model: Model) -> NDArray[np.float64]:
    """Of the last computed token."""
    import llama_cpp

    engine: Any = model.engine
    size = llama_cpp.llama_vocab_n_tokens(engine._vocab)
    row = np.ctypeslib.as_array(llama_cpp.llama_get_logits_ith(engine._ctx, -1), (size,)).astype(np.float64)
    return row - np.log(np.exp(row).sum())


def divergence(p: NDArray[np.float64], q: NDArray[np.float64]) -> float:
    """KL(p || q) in nats."""
    return float((np.exp(p) * (p - q)).sum())


def test_a_kept_prefix_changes_the_cost_and_not_the_distribution(smollm_path: Path) -> None:
    """llama.cpp's attention rounds differently in batches of 64 and more, so equality is too much to ask."""
    one = Sampling(max_tokens=1)
    with fresh(smollm_path) as warm, fresh(smollm_path) as cold:
        first = warm.generate(QUESTION, sampling=SHORT)
        longer = [*QUESTION, Message("assistant", first.text), Message("user", "And one more? " * 20)]
        usage = warm.generate(longer, sampling=one).usage
        assert usage.cached_tokens > 0.9 * first.usage.prompt_tokens
        assert cold.generate(longer, sampling=one).usage.cached_tokens == 0
        assert divergence(logits(cold), logits(warm)) < 0.02
        # The control: a cache that holds something else than the engine believes.
        engine: Any = warm.engine
        warm.generate(" ".join(map(str, range(80))), sampling=one)
        engine._tokens = list(cold.engine._tokens)
        warm.generate(longer, sampling=one)
        assert divergence(logits(cold), logits(warm)) > 0.2


def test_a_reply_that_was_cancelled_leaves_nothing_behind(smollm_path: Path) -> None:
    with fresh(smollm_path) as cancelled, fresh(smollm_path) as other:
        stream = cancelled.stream("Once upon a time", sampling=Sampling(max_tokens=64))
        for delta in stream:
            if delta.text:
                break
        stream.close()
        cancelled.generate(QUESTION, sampling=SHORT)
        other.generate(QUESTION, sampling=SHORT)
        assert divergence(logits(other), logits(cancelled)) < 0.02


def test_cancel_while_the_prompt_is_read(smollm: Model) -> None:
    prompt = "word " * 1500
    stream = smollm.stream(prompt)
    progress = next(stream).prefill
    assert progress is not None
    assert 0 < progress.done < progress.total
    stream.close()
    assert smollm.generate(prompt, sampling=SHORT).usage.cached_tokens >= progress.done


def test_a_seed_repeats_and_another_differs(smollm: Model) -> None:
    def hot(seed: int) -> str:
        return smollm.generate(QUESTION, sampling=Sampling(temperature=1.5, min_p=0.0, seed=seed, max_tokens=24)).text

    assert hot(1) == hot(1)
    assert hot(1) != hot(2)


def test_characters_of_several_tokens_come_out_whole(smollm: Model, monkeypatch: pytest.MonkeyPatch) -> None:
    import llama_cpp

    text = "雪だるま ⛄🏔️ آپ کیسے ہیں"
    raw = text.encode()
    tokens = (llama_cpp.llama_token * 200)()
    n = llama_cpp.llama_tokenize(smollm.engine._vocab, raw, len(raw), tokens, 200, False, True)
    assert n > len(text), "the text must take more tokens than characters"
    spoken = iter(tokens[:n])
    monkeypatch.setattr(llama_cpp, "llama_sampler_sample", lambda *_: next(spoken))
    pieces = [delta.text for delta in smollm.stream("x", sampling=Sampling(max_tokens=n))]
    assert "".join(pieces) == text
    assert not any("\ufffd" in piece for piece in pieces)


def test_a_prompt_that_cannot_fit_is_refused_with_the_numbers(smollm: Model) -> None:
    with pytest.raises(ContextOverflow, match="2,048") as caught:
        smollm.generate("word " * 3000)
    assert caught.value.limit == 2048
    assert caught.value.needed > 3000
    assert smollm.generate(QUESTION, sampling=SHORT).text


def test_a_context_that_fills_up_ends_the_reply(smollm_path: Path) -> None:
    with edge.load(smollm_path, context=64) as model:
        reply = model.generate("one two three four", sampling=Sampling(max_tokens=500, repeat_penalty=1.0))
    assert reply.finish == "length"
    assert reply.usage.prompt_tokens + reply.usage.completion_tokens <= 65


def test_an_empty_prompt_is_an_error(smollm: Model) -> None:
    with pytest.raises(ModelError, match="empty"):
        smollm.generate("")


def test_truncated_at_any_place(smollm_path: Path, tmp_path: Path) -> None:
    whole = smollm_path.read_bytes()
    for size in (4, 100, 100_000, 5_000_000, len(whole) - 100):
        broken = tmp_path / f"{size}.gguf"
        broken.write_bytes(whole[:size])
        with pytest.raises(ModelError, match=r"truncated or damaged .* again"):
            edge.load(broken)


def test_files_that_are_no_models(tmp_path: Path) -> None:
    other = tmp_path / "picture.gguf"
    other.write_bytes(b"\x89PNG....")
    with pytest.raises(ModelError, match="not a GGUF file"):
        edge.load(other)
    with pytest.raises(ModelNotFound):
        edge.load(tmp_path / "absent.gguf")


def test_an_architecture_that_llama_cpp_does_not_know(smollm_path: Path, tmp_path: Path) -> None:
    data = smollm_path.read_bytes().replace(
        b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00llama",
        b"general.architecture\x08\x00\x00\x00\x05\x00\x00\x00\x00\x00\x00\x00lamma",
        1,
    )
    foreign = tmp_path / "foreign.gguf"
    foreign.write_bytes(data)
    with pytest.raises(ModelError, match="'lamma'"):
        edge.load(foreign)


def test_a_context_beyond_the_training_is_refused(smollm_path: Path) -> None:
    with pytest.raises(ModelError, match="8,192"):
        edge.load(smollm_path, context=100_000)


def test_an_adapter_that_is_none(smollm: Model, smollm_path: Path, tmp_path: Path) -> None:
    with pytest.raises(AdapterError, match="does not exist"):
        smollm.add_adapter(tmp_path / "absent.gguf")
    with pytest.raises(AdapterError, match="GGUF LoRA"):
        smollm.add_adapter(smollm_path)


def test_a_full_context_ends_a_reply(smollm_path: Path) -> None:
    with edge.load(smollm_path, context=256) as model:
        reply = model.generate("one two three four " * 8, sampling=Sampling(max_tokens=500, repeat_penalty=1.0))
    assert reply.finish == "length"
    assert reply.usage.prompt_tokens + reply.usage.completion_tokens == 256


def test_kv_types_are_smaller_and_still_speak(smollm_path: Path) -> None:
    import llama_cpp

    sizes: dict[str, float] = {}
    rows = {}
    for kv_type in ("f16", "q8_0", "q4_0"):
        with edge.load(smollm_path, context=512, kv_type=kv_type) as model:
            engine: Any = model.engine
            assert engine.kv_type == kv_type
            model.generate(QUESTION, sampling=Sampling(max_tokens=1))
            rows[kv_type] = logits(model)
            sizes[kv_type] = llama_cpp.llama_state_seq_get_size(engine._ctx, 0) / len(engine._tokens)
    assert 0 < divergence(rows["f16"], rows["q8_0"]) < 0.05
    assert divergence(rows["f16"], rows["q8_0"]) < divergence(rows["f16"], rows["q4_0"])
    assert sizes["q8_0"] / sizes["f16"] == pytest.approx(8.5 / 16, rel=0.02)
    assert sizes["q4_0"] / sizes["f16"] == pytest.approx(4.5 / 16, rel=0.02)


def test_settings_that_make_no_sense(smollm_path: Path) -> None:
    with pytest.raises(UsageError, match="q5_0"):
        edge.load(smollm_path, kv_type="q5_0")  # type: ignore[arg-type]  # what a caller without a checker may pass
    with pytest.raises(UsageError, match="gpu_layers is -3"):
        edge.load(smollm_path, gpu_layers=-3)


def test_a_machine_without_a_gpu_computes_on_its_processor(smollm_path: Path) -> None:
    for layers in (None, 0, 5, "all", "auto"):
        with edge.load(smollm_path, context=64, threads=1, gpu_layers=layers) as model:  # type: ignore[arg-type]  # mypy joins the literals to str
            assert model.engine.device == "CPU, 1 thread"


def test_a_model_that_cannot_fit_is_refused_unless_forced(smollm_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("edge.engines.memory_fit.available_memory", lambda: 50_000_000)
    with pytest.raises(ModelTooLarge, match="50 MB"):
        edge.load(smollm_path)
    edge.load(smollm_path, context=64, force=True).close()


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 20},
        "age": {"type": "integer", "minimum": 1, "maximum": 120},
        "tags": {"type": "array", "items": {"enum": ["kind", "tall", "old"]}, "minItems": 1, "maxItems": 3},
        "home": {"$ref": "#/$defs/place"},
        "id": {"anyOf": [{"type": "string", "pattern": "^[A-Z]{2}[0-9]{3}$"}, {"type": "null"}]},
    },
    "required": ["name", "age", "tags", "home", "id"],
    "additionalProperties": False,
    "$defs": {
        "place": {
            "type": "object",
            "properties": {"city": {"type": "string", "maxLength": 15}, "sunny": {"type": "boolean"}},
            "required": ["city"],
        }
    },
}


@pytest.mark.parametrize("seed", [None, 1, 2, 3])
def test_a_reply_keeps_to_its_schema(smollm: Model, seed: int | None) -> None:
    """Greedy, and at a temperature that speaks nonsense otherwise."""
    sampling = Sampling(max_tokens=300, seed=seed, temperature=0.0 if seed is None else 1.0)
    reply = smollm.generate([Message("user", "Describe a person as JSON.")], sampling=sampling, response_format=PERSON)
    assert reply.finish == "stop"
    jsonschema.validate(json.loads(reply.text), PERSON)


def test_a_reply_that_is_cut_says_so(smollm: Model) -> None:
    with pytest.raises(FormatError, match="max_tokens"):
        smollm.generate(QUESTION, sampling=Sampling(max_tokens=5), response_format=PERSON)


def test_a_schema_that_cannot_be_kept_to_is_refused(smollm: Model) -> None:
    with pytest.raises(UsageError, match="contains"):
        smollm.generate(QUESTION, response_format={"type": "array", "contains": {"const": 1}})
    assert smollm.generate(QUESTION, sampling=SHORT).text
