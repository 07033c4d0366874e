"""Thousands of ways to break the header of a GGUF file."""

from __future__ import annotations

import random
import struct
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
