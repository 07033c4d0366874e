"""The llama.cpp engine on a real model. Oracles: llama-cpp-python's high-level class and the engine itself, fresh."""

from __future__ import annotations

import ctypes
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

import edge
from edge import Message, Model, Sampling
from edge.errors import AdapterError, ContextOverflow, ModelError, ModelNotFound

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
    ctx = llama_cpp.llama_init_from_model(model, llama_cpp.llama_context_default_params())
    vocab = llama_cpp.llama_model_get_vocab(model)
    raw = prompt.encode()
    tokens = (llama_cpp.llama_token * 256)()
    n = llama_cpp.llama_tokenize(vocab, raw, len(raw), tokens, 256, True, True)
    sampler = llama_cpp.llama_sampler_init_greedy()
    batch = llama_cpp.llama_batch_get_one(tokens, n)
    text = b""
    buffer = (llama_cpp.llama_token * 1)()
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
