"""Small GGUF models, thousands of ways to break their headers, and children that load what comes out of it."""

from __future__ import annotations

import json
import os
import random
import select
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
BLOCKS = {
    0: (1, 4),
    1: (1, 2),
    2: (32, 18),
    8: (32, 34),
    12: (256, 144),
    24: (1, 1),
    26: (1, 4),
    28: (1, 8),
    30: (1, 2),
}
TEMPLATE = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"


def make_seed(out: Path, architecture: str) -> Path:
    """A random model of two layers: "phi3" with LongRoPE and a byte-level vocabulary, "llama" with a SentencePiece
    one, "qwen2" with biases.
    """
    import gguf
    import numpy as np

    generator = np.random.default_rng(0)
    width, forward, heads, shared, layers = 64, 96, 4, 2, 2
    writer = gguf.GGUFWriter(out, architecture)
    writer.add_name("tiny")
    writer.add_context_length(256)
    writer.add_embedding_length(width)
    writer.add_block_count(layers)
    writer.add_feed_forward_length(forward)
    writer.add_head_count(heads)
    writer.add_head_count_kv(shared)
    writer.add_layer_norm_rms_eps(1e-5)
    writer.add_rope_dimension_count(width // heads)
    writer.add_rope_freq_base(10000.0)
    writer.add_file_type(0)
    vocabulary = _add_vocabulary(writer, "llama" if architecture == "llama" else "gpt2")

    def add(name: str, *shape: int) -> None:
        values = generator.standard_normal(shape).astype(np.float32) * 0.1
        writer.add_tensor(name, values + 1 if name.endswith("norm.weight") else values)

    key = width // heads * shared
    add("token_embd.weight", vocabulary, width)
    add("output_norm.weight", width)
    if architecture == "phi3":
        writer.add_rope_scaling_type(gguf.RopeScalingType.LONGROPE)
        writer.add_rope_scaling_orig_ctx_len(128)
        add("rope_factors_long.weight", width // heads // 2)
        add("rope_factors_short.weight", width // heads // 2)
    for layer in range(layers):
        block = f"blk.{layer}"
        add(f"{block}.attn_norm.weight", width)
        add(f"{block}.ffn_norm.weight", width)
        add(f"{block}.attn_output.weight", width, width)
        add(f"{block}.ffn_down.weight", width, forward)
        if architecture == "phi3":
            add(f"{block}.attn_qkv.weight", width + 2 * key, width)
            add(f"{block}.ffn_up.weight", 2 * forward, width)
            continue
        for name, rows in (("attn_q", width), ("attn_k", key), ("attn_v", key)):
            add(f"{block}.{name}.weight", rows, width)
            if architecture == "qwen2":
                add(f"{block}.{name}.bias", rows)
        add(f"{block}.ffn_up.weight", forward, width)
        add(f"{block}.ffn_gate.weight", forward, width)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return out


def _add_vocabulary(writer: Any, model: str) -> int:
    specials = ["<unk>", "<|im_start|>", "<|im_end|>"]
    kinds = [2, 3, 3]
    if model == "llama":
        tokens = specials + [f"<0x{byte:02X}>" for byte in range(256)] + ["▁", "a", "b", "▁a", "ab"]
        kinds += [6] * 256 + [1] * 5
        writer.add_token_scores([float(-i) for i in range(len(tokens))])
    else:
        letters = [*range(33, 127), *range(161, 173), *range(174, 256)]
        letters += [256 + i for i in range(256 - len(letters))]
        tokens = specials + [chr(letter) for letter in letters] + ["ab", "th"]
        kinds += [1] * 258
        writer.add_token_merges(["a b", "t h"])
        writer.add_tokenizer_pre("default")
    writer.add_tokenizer_model(model)
    writer.add_token_list(tokens)
    writer.add_token_types(kinds)
    writer.add_bos_token_id(1)
    writer.add_eos_token_id(2)
    writer.add_add_bos_token(True)
    writer.add_chat_template(TEMPLATE)
    return len(tokens)


@dataclass
class Tensor:
    name: bytes
    shape: list[int]
    kind: int
    data: bytes


@dataclass
class Gguf:
    """A file that is taken apart, so that it can be put together again wrongly. A setting is (key, type, value); an
    array's value is (type, values).
    """

    settings: list[tuple[bytes, int, Any]]
    tensors: list[Tensor]
    fields: list[tuple[int, str]] = field(default_factory=list)
    """Positions of the numbers of the header in the file that was read, and their struct letters."""
    end: int = 0

    @classmethod
    def read(cls, data: bytes) -> Gguf:
        at = 4
        made = cls([], [])

        def number(letter: str) -> Any:
            nonlocal at
            made.fields.append((at, letter))
            at += struct.calcsize("<" + letter)
            return struct.unpack_from("<" + letter, data, at - struct.calcsize("<" + letter))[0]

        def text() -> bytes:
            nonlocal at
            length = number("Q")
            at += length
            return data[at - length : at]

        def value(kind: int) -> Any:
            if kind == 8:
                return text()
            if kind == 9:
                inner, count = number("I"), number("Q")
                return inner, [value(inner) for _ in range(count)]
            return number(SCALARS[kind])

        number("I")
        tensors, pairs = number("Q"), number("Q")
        for _ in range(pairs):
            key, kind = text(), number("I")
            made.settings.append((key, kind, value(kind)))
        raw = []
        for _ in range(tensors):
            name = text()
            shape = [number("Q") for _ in range(number("I"))]
            raw.append((name, shape, number("I"), number("Q")))
        made.end = at
        begin = -(-at // 32) * 32
        for name, shape, kind, offset in raw:
            made.tensors.append(Tensor(name, shape, kind, data[begin + offset :][: length_of(shape, kind)]))
        return made

    def write(self) -> bytes:
        """With offsets and padding as they should be, whatever else is wrong."""
        out = bytearray(b"GGUF" + struct.pack("<IQQ", 3, len(self.tensors), len(self.settings)))
        for key, kind, value in self.settings:
            out += _text(key) + struct.pack("<I", kind)
            out += _value(kind, value)
        at = 0
        for tensor in self.tensors:
            out += _text(tensor.name) + struct.pack("<I", len(tensor.shape))
            out += struct.pack(f"<{len(tensor.shape)}Q", *tensor.shape) + struct.pack("<IQ", tensor.kind, at)
            at += -(-len(tensor.data) // 32) * 32
        for tensor in self.tensors:
            out += bytes(-len(out) % 32) + tensor.data
        return bytes(out)


def length_of(shape: list[int], kind: int) -> int:
    size = 1
    for extent in shape:
        size *= extent
    elements, width = BLOCKS.get(kind, (1, 4))
    return size // elements * width


def _text(text: bytes) -> bytes:
    return struct.pack("<Q", len(text)) + text


def _value(kind: int, value: Any) -> bytes:
    if kind == 8:
        return _text(value)
    if kind == 9:
        return struct.pack("<IQ", value[0], len(value[1])) + b"".join(_value(value[0], item) for item in value[1])
    return struct.pack("<" + SCALARS[kind], value)


def mutants(seeds: list[Path], count: int, *, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """Numbered broken files, each made from its number alone: 1 in 6 by bytes, 2 by numbers, 3 by meaning."""
    whole = [path.read_bytes() for path in seeds]
    parsed = [Gguf.read(data) for data in whole]
    for number in range(start, start + count):
        chance = random.Random(number)
        chosen = number % len(seeds)
        how = chance.choice((_by_bytes, _by_numbers, _by_numbers, _by_meaning, _by_meaning, _by_meaning))
        yield number, how(chance, whole[chosen], parsed[chosen])


def _by_bytes(chance: random.Random, data: bytes, parsed: Gguf) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 2, 8))):
        at = chance.randrange(parsed.end)
        what = chance.randrange(5)
        if what == 0:
            out[at] ^= 1 << chance.randrange(8)
        elif what == 1:
            out[at] = chance.randrange(256)
        elif what == 2:
            del out[at : at + chance.randint(1, 64)]
        elif what == 3:
            out[at:at] = chance.randbytes(chance.randint(1, 64))
        else:
            del out[chance.randrange(len(out)) :]
            break
    return bytes(out)


def _by_numbers(chance: random.Random, data: bytes, parsed: Gguf) -> bytes:
    out = bytearray(data)
    for _ in range(chance.choice((1, 1, 1, 2, 3))):
        at, letter = chance.choice(parsed.fields)
        size = struct.calcsize("<" + letter)
        out[at : at + size] = _odd(chance, letter, struct.unpack_from("<" + letter, data, at)[0])
    return bytes(out)


def _odd(chance: random.Random, letter: str, value: Any) -> bytes:
    """Another number of that type, packed: a border, a neighbour or anything."""
    if letter in "fd":
        return struct.pack(
            "<" + letter, chance.choice((0.0, -1.0, 1e-30, 1e30, float("nan"), float("inf"), -value, 3.5))
        )
    bits = 8 * struct.calcsize("<" + letter)
    value = int(value)
    top = 1 << (bits - 1)
    borders = (0, 1, 2, 3, 7, 16, 64, 255, top, 2 * top - 1, top - 1)
    near = (value + 1, value - 1, value * 2, value // 2, value * 1000)
    odd = chance.choice((*borders, *near, chance.getrandbits(bits), 1 << chance.randrange(bits)))
    return (odd & ((1 << bits) - 1)).to_bytes(bits // 8, "little")


def _by_meaning(chance: random.Random, _data: bytes, parsed: Gguf) -> bytes:
    made = Gguf(list(parsed.settings), deepcopy(parsed.tensors))
    for _ in range(chance.choice((1, 1, 2, 3))):
        if chance.random() < 0.6:
            _change_setting(chance, made)
        else:
            _change_tensor(chance, made)
    return made.write()


def _change_setting(chance: random.Random, made: Gguf) -> None:
    at = chance.randrange(len(made.settings))
    key, kind, value = made.settings[at]
    what = chance.randrange(10)
    if what == 0:
        del made.settings[at]
    elif what == 1:
        made.settings.insert(chance.randrange(len(made.settings)), made.settings[at])
    elif what == 2:
        made.settings[at] = chance.choice(made.settings)[0], kind, value
    elif what == 3:
        _, kind, value = chance.choice(made.settings)
        made.settings[at] = key, kind, value
    elif what == 4:
        prefix = next((value for key, _, value in made.settings if key == b"general.architecture"), b"llama")
        name, number = chance.choice(_OTHER_KEYS)
        made.settings.append((prefix + name if name[0] == 46 and isinstance(prefix, bytes) else name, 4, number))
    elif kind == 8:
        made.settings[at] = key, kind, _odd_text(chance, value)
    elif kind == 9:
        made.settings[at] = key, kind, (value[0], _odd_values(chance, value[0], list(value[1])))
    else:
        made.settings[at] = key, kind, struct.unpack("<" + SCALARS[kind], _odd(chance, SCALARS[kind], value))[0]


_OTHER_KEYS = [
    (b".attention.key_length", 0), (b".attention.key_length", 8), (b".attention.key_length", 32),
    (b".attention.value_length", 8), (b".attention.value_length", 0), (b".attention.value_length", 33),
    (b".expert_count", 4), (b".expert_used_count", 2), (b".expert_group_count", 3), (b".nextn_predict_layers", 1),
    (b".attention.sliding_window", 5), (b".attention.sliding_window", 0), (b".pooling_type", 9), (b".vocab_size", 5),
    (b".rope.dimension_count", 3), (b".rope.dimension_count", 0), (b".rope.scaling.factor", 0), (b".leading_dense", 1),
    (b".attention.causal", 0), (b".embedding_length_out", 3), (b".attention.head_count_kv", 0), (b"split.count", 3),
    (b"general.alignment", 3), (b"general.alignment", 4096), (b"tokenizer.ggml.token_type_count", 1),
    (b"tokenizer.ggml.eot_token_id", 1 << 31), (b"tokenizer.ggml.padding_token_id", (1 << 32) - 1),
    (b"tokenizer.ggml.seperator_token_id", 9999), (b"general.file_type", 77),
]  # fmt: skip


def _odd_text(chance: random.Random, value: bytes) -> bytes:
    other = (
        b"",
        b"\xff\xfe",
        value * 50,
        b"llama",
        b"phi3",
        b"qwen2",
        b"gpt2",
        b"bert",
        b"mamba",
        b"gemma2",
        b"gemma3",
    )
    more = (b"t5", b"rwkv", b"none", b"linear", b"yarn", b"longrope", b"phi-3", b"llama-bpe", b"deepseek2", b"plamo2")
    return chance.choice((*other, *more, value[:-1], value + b"\0", chance.randbytes(8)))


def _odd_values(chance: random.Random, kind: int, values: list[Any]) -> list[Any]:
    what, at = chance.randrange(5), chance.randrange(len(values))
    if what == 0:
        del values[at:]
    elif what == 1:
        values.append(values[at])
    elif what == 2:
        del values[at]
    elif kind == 8:
        values[at] = _odd_text(chance, values[at])
    else:
        values[at] = struct.unpack("<" + SCALARS[kind], _odd(chance, SCALARS[kind], values[at]))[0]
    return values


def _change_tensor(chance: random.Random, made: Gguf) -> None:
    tensor = chance.choice(made.tensors)
    what = chance.randrange(8)
    if what == 0:
        made.tensors.remove(tensor)
    elif what == 1:
        made.tensors.append(deepcopy(tensor))
        made.tensors[-1].name += chance.choice((b"", b"2", b".bias"))
    elif what == 2:
        tensor.name = chance.choice((*_OTHER_TENSORS, chance.choice(made.tensors).name, b"", b"blk.9.x", b"n" * 64))
    elif what == 3:
        tensor.kind = chance.choice(tuple(BLOCKS))
    elif what == 4:
        tensor.shape = chance.choice((tensor.shape[::-1], [*tensor.shape, 1], [*tensor.shape, 2], tensor.shape[:1], []))
    elif what == 5:
        at = chance.randrange(max(len(tensor.shape), 1))
        tensor.shape[at:] = [chance.choice((0, 1, 2, 31, 32, 33, 4096, 1 << 32, 1 << 63)), *tensor.shape[at + 1 :]]
    elif what == 6:
        made.tensors.reverse()
    else:
        made.tensors[chance.randrange(len(made.tensors))].data = b""
    size = length_of(tensor.shape, tensor.kind)
    if what in (3, 4, 5) and size < 1 << 20:  # then its place in the file is right at least
        tensor.data = (tensor.data * (size // max(len(tensor.data), 1) + 1))[:size]


_OTHER_TENSORS = [
    b"rope_freqs.weight", b"output.weight", b"blk.0.attn_q.bias", b"blk.0.attn_qkv.bias", b"blk.1.ffn_gate_inp.weight",
    b"blk.0.attn_q_norm.weight", b"blk.0.attn_output.bias", b"rope_factors_long.weight", b"output.bias",
    b"blk.0.attn_q.scale", b"token_types.weight", b"position_embd.weight", b"blk.0.ffn_up.bias",
]  # fmt: skip


@dataclass
class Count:
    """What became of the files: `refused` before llama.cpp saw them, `declined` by llama.cpp with an error, `ran`.

    `ours` are exceptions that are no EdgeError, `crashed` children that died, `hung` those that were ended; each with
    the numbers of the files.
    """

    refused: int = 0
    declined: int = 0
    ran: int = 0
    ours: dict[int, str] = field(default_factory=dict)
    crashed: dict[int, str] = field(default_factory=dict)
    hung: list[int] = field(default_factory=list)


class Children:
    """One child at a time, which loads file after file and is replaced when it dies."""

    def __init__(self, folder: Path, *, limit: float = 30.0) -> None:
        self._folder, self._limit = folder, limit
        self._child: subprocess.Popen[str] | None = None
        self._errors = folder / "stderr.txt"
        self.count = Count()

    def load(self, number: int, data: bytes) -> None:
        file = self._folder / "mutant.gguf"
        file.write_bytes(data)
        child = self._child = self._child or self._start()
        assert child.stdin is not None
        assert child.stdout is not None
        try:
            child.stdin.write(f"{file}\n")
            child.stdin.flush()
        except BrokenPipeError:
            pass
        ready, _, _ = select.select([child.stdout], [], [], self._limit)
        line = child.stdout.readline() if ready else ""
        if not ready:
            self.count.hung.append(number)
            self.close()
        elif not line:
            code = child.wait()
            said = self._errors.read_text(errors="replace").strip().splitlines()
            self.count.crashed[number] = f"{code}: {said[-1] if said else ''} | " + " ".join(said[:1])
            self.close()
        else:
            kind, text = json.loads(line)
            if kind == "ours":
                self.count.ours[number] = text
            else:
                setattr(self.count, kind, getattr(self.count, kind) + 1)

    def close(self) -> None:
        if self._child is not None:
            self._child.kill()
            self._child.communicate()
            self._child = None

    def _start(self) -> subprocess.Popen[str]:
        with self._errors.open("w") as errors:
            return subprocess.Popen(
                [sys.executable, __file__],
                env={**os.environ, "GGML_NO_BACKTRACE": "1"},
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
            )


def run(seeds: list[Path], folder: Path, count: int, *, start: int = 0, until: float = float("inf")) -> Count:
    """Load `count` mutants in children; stops early at the time `until`."""
    children = Children(folder)
    try:
        for number, data in mutants(seeds, count, start=start):
            children.load(number, data)
            if time.monotonic() > until:
                break
    finally:
        children.close()
    return children.count


def _serve() -> None:
    """What a child does: `edge.load` with a reply of three tokens, and what `edge models show` reads."""
    import resource
    import traceback

    from edge.engines import gguf, gguf_check
    from edge.errors import EdgeError
    from edge_tui.commands import model_facts

    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what native code prints is no answer
    resource.setrlimit(resource.RLIMIT_AS, (12 << 30, 12 << 30))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    gguf.bindings()
    for line in sys.stdin:
        path = Path(line.strip())
        outcome = "ran", ""
        try:
            try:
                gguf_check.check_gguf(path)
            except EdgeError as error:
                outcome = "refused", str(error)
            for act in (model_facts.facts, _speak):
                try:
                    act(path)
                except EdgeError as error:
                    outcome = (outcome[0] if outcome[0] == "refused" else "declined"), str(error)
        except Exception:  # whatever it is, it is what the test looks for
            outcome = "ours", traceback.format_exc()
        print(json.dumps(outcome), file=answers, flush=True)


def _speak(path: Path) -> None:
    import edge
    from edge.types import Message, Sampling

    with edge.load(path, threads=1) as model:
        # A sampler that sorts, and one that does not.
        model.generate([Message("user", "ab th é\n")], sampling=Sampling(temperature=1.0, seed=1, max_tokens=3))
        model.generate("ab", sampling=Sampling(max_tokens=3))


if __name__ == "__main__":
    _serve()
