"""Tokenisers of published models, rebuilt as Hugging Face files from the vocabularies in llama.cpp's sources."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from upstream import read_gguf

_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|"
_REST = r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SPLITS = {"llama-bpe": _WORDS + r"\p{N}{1,3}" + _REST, "qwen2": _WORDS + r"\p{N}" + _REST}

CONTROL, USER_DEFINED, UNUSED = 3, 4, 5
TEMPLATE = "{% for message in messages %}<|{{ message['role'] }}|>\n{{ message['content'] }}<|end|>\n{% endfor %}"


def write_sentencepiece(gguf_file: Path, out: Path, *, stripping: Collection[int] = ()) -> None:
    """tokenizer.model with scores and kinds, and the added tokens where transformers 4 wrote them; those of `stripping`
    swallow the white space behind them.
    """
    from sentencepiece import sentencepiece_model_pb2

    fields = _fields(gguf_file)
    rows = list(zip(fields["tokens"], fields["scores"], fields["token_type"], strict=True))
    added = {token: text for token, (text, _, kind) in enumerate(rows) if kind in (CONTROL, USER_DEFINED)}
    model = sentencepiece_model_pb2.ModelProto()
    for token, (text, score, kind) in enumerate(rows):
        if token in added and token > 2:
            break
        # <unk>, <s> and </s> are what SentencePiece itself says of them.
        kind = (2, CONTROL, CONTROL)[token] if token < 3 else kind
        model.pieces.add(piece=text, score=0.0 if token < 3 else score, type=kind)
    model.trainer_spec.model_type = 2
    model.trainer_spec.byte_fallback = True
    (out / "tokenizer.model").write_bytes(model.SerializeToString())
    special = {
        token: {
            **_WHOLE,
            "content": text,
            "special": rows[token][2] == CONTROL,
            "rstrip": token in stripping,
            "normalized": False,
        }
        for token, text in added.items()
    }
    settings = {
        "added_tokens_decoder": {str(token): entry for token, entry in special.items()},
        "bos_token": "<s>",
        "eos_token": rows[fields["eos_token_id"]][0],
        "unk_token": "<unk>",
        "add_bos_token": True,
        "add_eos_token": False,
        "tokenizer_class": "LlamaTokenizer",
        "chat_template": TEMPLATE,
    }
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    later = {text: token for token, text in added.items() if token > 2}
    (out / "added_tokens.json").write_text(json.dumps(later), encoding="utf-8")


def write_byte_level(
    gguf_file: Path,
    out: Path,
    *,
    begin: str | None = None,
    special: Mapping[int, str] | None = None,
    words: Mapping[int, str] | None = None,
    normalizer: str | None = None,
) -> None:
    """tokenizer.json of a byte-level model; `begin` is a token that it puts in front. `special` tokens and added
    `words`, by id, replace those of the file, which has none of what a model's maker added later.
    """
    fields = _fields(gguf_file)
    kinds = fields["token_type"]
    tokens = {text: token for token, text in enumerate(fields["tokens"]) if kinds[token] != UNUSED}
    if special is None:
        special = {token: text for text, token in tokens.items() if kinds[token] == CONTROL}
        words = {token: text for text, token in tokens.items() if kinds[token] == USER_DEFINED}
    else:
        tokens = {text: token for text, token in tokens.items() if kinds[token] not in (CONTROL, USER_DEFINED)}
        tokens |= {text: token for token, text in {**special, **(words or {})}.items()}
    added = [
        {"id": token, "content": text, "special": token in special, "normalized": False, **_WHOLE}
        for token, text in sorted({**special, **(words or {})}.items())
    ]
    names = {entry["content"] for entry in added}
    split = {"type": "Split", "pattern": {"Regex": SPLITS[fields["pre"]]}, "behavior": "Isolated", "invert": False}
    content = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": normalizer} if normalizer else None,
        "pre_tokenizer": {"type": "Sequence", "pretokenizers": [split, {**_BYTES, "use_regex": False}]},
        "post_processor": _template(begin, tokens) if begin else _BYTES,
        "decoder": _BYTES,
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": fields["pre"] == "llama-bpe",
            "vocab": {text: token for text, token in tokens.items() if text not in names},
            "merges": fields["merges"],
        },
    }
    (out / "tokenizer.json").write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    eos = fields["tokens"][fields["eos_token_id"]]
    settings: dict[str, Any] = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": eos}
    if begin:
        settings["bos_token"] = begin
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    (out / "chat_template.jinja").write_text(TEMPLATE, encoding="utf-8")


def vectors(gguf_file: Path) -> list[tuple[str, list[int]]]:
    """llama.cpp's own test texts for a vocabulary, and their tokens."""
    texts = gguf_file.with_name(gguf_file.name + ".inp").read_text(encoding="utf-8").split("\n__ggml_vocab_test__\n")
    lines = gguf_file.with_name(gguf_file.name + ".out").read_text(encoding="utf-8").split("\n")
    return [(text, [int(token) for token in line.split()]) for text, line in zip(texts, lines, strict=False)]


_WHOLE = {"single_word": False, "lstrip": False, "rstrip": False}
_BYTES: dict[str, Any] = {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False, "use_regex": True}


def _template(begin: str, tokens: dict[str, int]) -> dict[str, Any]:
    first = {"SpecialToken": {"id": begin, "type_id": 0}}
    single = [first, {"Sequence": {"id": "A", "type_id": 0}}]
    pair = [*single, {"SpecialToken": {"id": begin, "type_id": 1}}, {"Sequence": {"id": "B", "type_id": 1}}]
    special = {begin: {"id": begin, "ids": [tokens[begin]], "tokens": [begin]}}
    template = {"type": "TemplateProcessing", "single": single, "pair": pair, "special_tokens": special}
    return {"type": "Sequence", "processors": [_BYTES, template]}


def _fields(gguf_file: Path) -> dict[str, Any]:
    return {key.removeprefix("tokenizer.ggml."): value for key, value in read_gguf(gguf_file)[0].items()}


def write_bytes(out: Path, *, pre: dict[str, Any] | None = None) -> Path:
    """tokenizer.json of the bytes, "th" and <|end|>; it cuts text as GPT-2 does where `pre` says nothing else."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    vocab = {text: token for token, text in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}
    tokenizer = Tokenizer(models.BPE({**vocab, "th": 256}, [("t", "h")]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(["<|end|>"])
    content = json.loads(tokenizer.to_str())
    content["pre_tokenizer"] = pre or content["pre_tokenizer"]
    (out / "tokenizer.json").write_text(json.dumps(content), encoding="utf-8")
    return out


def write_merges(sentencepiece: Path, out: Path) -> None:
    """tokenizer.json of a SentencePiece model, the merges in the order of the scores, as transformers 4 made it."""
    from sentencepiece import SentencePieceProcessor
    from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

    model = SentencePieceProcessor(model_file=str(sentencepiece))
    scores = {model.id_to_piece(token): model.get_score(token) for token in range(model.vocab_size())}
    vocab = {piece: token for token, piece in enumerate(scores)}
    found = []
    for piece, score in scores.items():
        parts = [(piece[:cut], piece[cut:]) for cut in range(1, len(piece))]
        known = [(left, right) for left, right in parts if left in vocab and right in vocab]
        found += [(score, pair) for pair in sorted(known, key=lambda pair: (vocab[pair[0]], vocab[pair[1]]))]
    found.sort(key=lambda entry: entry[0], reverse=True)
    merges = [pair for _, pair in found]
    tokenizer = Tokenizer(models.BPE(vocab, merges, unk_token="<unk>", fuse_unk=True, byte_fallback=True))
    tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    steps = [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    tokenizer.decoder = decoders.Sequence(steps)
    settings = json.loads((sentencepiece.parent / "tokenizer_config.json").read_text(encoding="utf-8"))
    for entry in settings["added_tokens_decoder"].values():
        flags = {name: entry[name] for name in ("special", "rstrip")}
        tokenizer.add_tokens([AddedToken(entry["content"], normalized=False, **flags)])
    tokenizer.save(str(out / "tokenizer.json"))
    (out / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
