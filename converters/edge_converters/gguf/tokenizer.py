"""The tokeniser of a Hugging Face directory as llama.cpp wants it: tokens with scores and kinds, merges, special ids
and the chat template.

Keys: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md. Which flags and ids are written follows llama.cpp's
own converter, so that a model behaves the same whoever converted it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edge.errors import ConversionError
from edge_converters.gguf.pretokenizers import pretokenizer
from edge_converters.gguf.sentencepiece import Kind, read_pieces, scores_of_merges
from edge_converters.gguf.token_rules import ENDS, SPECIAL_BY_TEXT, engine_safe_name
from edge_converters.weights.checkpoint import read_json

if TYPE_CHECKING:
    import gguf
    from tokenizers import Tokenizer

_ADDED_SCORE = -1000.0
_PADDING_SCORE = -10000.0
_BYTE = re.compile("<0x[0-9A-Fa-f]{2}>")
# Tokens that some models forgot to mark as special.
_LOOKS_SPECIAL = re.compile(r"<\|.*\|>|<｜.*｜>|<unused.*>|<pad>|<mask>|<2mass>|\[@BOS@\]", re.DOTALL)
# What byte-level BPE writes for a space.
_SPACE = "\u0120"
# The kinds that llama.cpp looks for before it cuts a text into words.
_FOUND_FIRST = (Kind.CONTROL, Kind.USER_DEFINED, Kind.UNKNOWN)
_SPECIAL = ("bos", "eos", "unk", "sep", "pad", "mask")


@dataclass(slots=True)
class Vocabulary:
    """`model` is llama.cpp's name of the algorithm; scores are for SentencePiece, merges for byte-level BPE.

    `stripping` are the tokens that swallow the white space behind them.
    """

    model: str
    pre: str
    tokens: list[str]
    kinds: list[Kind]
    scores: list[float] = field(default_factory=list)
    merges: list[str] = field(default_factory=list)
    stripping: set[int] = field(default_factory=set)

    def engine_safe_name(self, name: str) -> str:
        """`name` as a model with this vocabulary may be called, by which llama.cpp decides who swallows white space."""
        special = [
            text
            for text, kind in zip(self.tokens, self.kinds, strict=True)
            if kind in _FOUND_FIRST or text in SPECIAL_BY_TEXT
        ]
        return engine_safe_name(name, special, {self.tokens[token] for token in self.stripping}, set(self.tokens))


def add_tokenizer(writer: gguf.GGUFWriter, files: TokenizerFiles, vocabulary: Vocabulary, ends: Sequence[int]) -> None:
    """Write everything about a tokeniser; `ends` are the ids at which the model ends its replies."""
    writer.add_tokenizer_model(vocabulary.model)
    writer.add_tokenizer_pre(vocabulary.pre)
    writer.add_token_list([token.encode("utf-8") for token in vocabulary.tokens])
    if vocabulary.scores:
        writer.add_token_scores(vocabulary.scores)
    writer.add_token_types([int(kind) for kind in vocabulary.kinds])
    if vocabulary.merges:
        writer.add_token_merges(vocabulary.merges)
    _add_special(writer, files, vocabulary, ends)
    template = _chat_template(files)
    if template:
        writer.add_chat_template(template)
    prefix = files.settings.get("add_prefix_space")
    if writer.arch == "llama" and isinstance(prefix, bool):
        writer.add_add_space_prefix(prefix)


class TokenizerFiles:
    """The files of a tokeniser, with the model's `config`; one that is absent is empty. `settings` is
    tokenizer_config.json.
    """

    def __init__(self, directory: Path, config: Mapping[str, Any]) -> None:
        self.directory = directory
        self.sentencepiece = directory / "tokenizer.model"
        self.json_path = directory / "tokenizer.json"
        self.json = self._read("tokenizer.json")
        self.settings = self._read("tokenizer_config.json")
        self.config = config
        self.added = self._read("added_tokens.json")

    def _read(self, name: str) -> dict[str, Any]:
        path = self.directory / name
        return read_json(path) if path.is_file() else {}

    def added_tokens(self) -> Iterator[Added]:
        """Of two with one id the later counts."""
        for text, token in self.added.items():
            yield Added(token, text)
        decoder = self.settings.get("added_tokens_decoder", {})
        listed = [{"id": token, **entry} for token, entry in decoder.items()]
        for entry in [*listed, *self.json.get("added_tokens", [])]:
            yield Added(int(entry["id"]), entry["content"], bool(entry.get("special")), bool(entry.get("rstrip")))


@dataclass(frozen=True, slots=True)
class Added:
    """A token that is found in a text as a whole; `strips`: with the white space behind it."""

    token: int
    text: str
    special: bool = False
    strips: bool = False


def read_vocabulary(files: TokenizerFiles, vocab_size: int, architecture: str) -> Vocabulary:
    """The vocabulary of `files`, padded to `vocab_size` tokens, for llama.cpp's `architecture`.

    Raises ConversionError when there is none, or one that llama.cpp does not know.
    """
    model = files.json.get("model", {})
    byte_level = model.get("type") == "BPE" and not model.get("byte_fallback")
    # Llama 3 publishes a tokenizer.model that is no SentencePiece model, beside a byte-level tokenizer.json.
    if files.sentencepiece.is_file() and not byte_level:
        pieces = read_pieces(files.sentencepiece)
    elif byte_level:
        return _byte_level(files, vocab_size)
    elif model.get("type") == "BPE":
        pieces = _pieces_of_json(model)
    elif model:
        raise ConversionError(
            f"{files.json_path} is a {model.get('type')} tokeniser; only byte-pair encoding can be converted: "
            "put the model's tokenizer.model beside it if it has one"
        )
    else:
        raise ConversionError(
            f"{files.directory} has no tokeniser; put the tokenizer.json or tokenizer.model of the model there"
        )
    vocabulary = _sentencepiece(files, pieces, vocab_size)
    _add_tokens(vocabulary, files, looks=architecture != "phi3")
    return vocabulary


def _sentencepiece(files: TokenizerFiles, pieces: list[tuple[str, float, Kind]], vocab_size: int) -> Vocabulary:
    pieces = pieces[:vocab_size]
    padding = range(len(pieces), vocab_size)
    # llama.cpp's converter counts pieces that somebody defined as normal ones.
    kinds: list[Kind] = [Kind.NORMAL if kind is Kind.USER_DEFINED else kind for _, _, kind in pieces]
    return Vocabulary(
        model="llama",
        pre="default",
        tokens=[text for text, _, _ in pieces] + [f"[PAD{token}]" for token in padding],
        kinds=kinds + [Kind.UNUSED] * len(padding),
        scores=[score for _, score, _ in pieces] + [_PADDING_SCORE] * len(padding),
    )


def _add_tokens(vocabulary: Vocabulary, files: TokenizerFiles, *, looks: bool) -> None:
    for added in files.added_tokens():
        token, text = added.token, added.text
        if token >= len(vocabulary.tokens):
            continue
        control = added.special or (looks and _LOOKS_SPECIAL.fullmatch(text) is not None)
        vocabulary.kinds[token] = Kind.CONTROL if control else Kind.USER_DEFINED
        vocabulary.tokens[token] = text.replace("\u2581", " ") if looks and not control else text
        vocabulary.scores[token] = _ADDED_SCORE
        (vocabulary.stripping.add if added.strips else vocabulary.stripping.discard)(token)


def _pieces_of_json(model: Mapping[str, Any]) -> list[tuple[str, float, Kind]]:
    """The pieces of a SentencePiece model of which only tokenizer.json is left, as transformers 5 saves it."""
    vocab: dict[str, int] = model["vocab"]
    scores = scores_of_merges(vocab, model["merges"])
    pieces = [(f"[PAD{token}]", _PADDING_SCORE, Kind.UNUSED) for token in range(len(scores))]
    for text, token in vocab.items():
        kind = Kind.BYTE if _BYTE.fullmatch(text) else Kind.NORMAL
        pieces[token] = (text, scores[token], Kind.UNKNOWN if text == model.get("unk_token") else kind)
    return pieces


def load_tokenizer(files: TokenizerFiles) -> Tokenizer:
    """Raises ConversionError for a tokenizer.json that cannot be read."""
    from tokenizers import Tokenizer

    try:
        return Tokenizer.from_file(str(files.json_path))
    except Exception as error:  # the library raises nothing more exact
        raise ConversionError(f"{files.json_path} cannot be read ({error}); fetch it again") from error


def _byte_level(files: TokenizerFiles, vocab_size: int) -> Vocabulary:
    tokenizer = load_tokenizer(files)
    merges = _merges(files)
    if not merges:
        raise ConversionError(f"{files.json_path} has no merges, without which llama.cpp reads none; fetch it again")
    vocab = tokenizer.get_vocab(with_added_tokens=True)
    if max(vocab.values()) >= vocab_size:
        raise ConversionError(
            f"{files.json_path} has the token {max(vocab.values())} and the model only {vocab_size}; the tokeniser is "
            "of another model, or the model was not resized for it"
        )
    tokens = [f"[PAD{token}]" for token in range(vocab_size)]
    kinds = [Kind.UNUSED] * vocab_size
    stripping: set[int] = set()
    for text, token in vocab.items():
        tokens[token], kinds[token] = text, Kind.NORMAL
    for token, added in tokenizer.get_added_tokens_decoder().items():
        text = added.content if added.normalized else _round_trip(tokenizer, added.content)
        control = added.special or _LOOKS_SPECIAL.fullmatch(text) is not None
        kinds[token] = Kind.CONTROL if control else Kind.USER_DEFINED
        tokens[token] = text if control else text.replace("\u2581", " ")
        if added.rstrip:
            stripping.add(token)
    hide_unreachable(tokenizer, tokens, kinds)
    pre = pretokenizer(files.json_path, tokenizer, files.json)
    return Vocabulary("gpt2", pre, tokens, kinds, merges=merges, stripping=stripping)


def hide_unreachable(tokenizer: Tokenizer, tokens: list[str], kinds: Sequence[Kind]) -> None:
    """Write ordinary tokens that no text yields, and that llama.cpp would take for special ones by their text, with a
    space behind: Qwen has an ordinary `</s>` and cuts that text into three, llama.cpp would end a reply at it.
    """
    known = set(tokens)
    for token, text in enumerate(tokens):
        if kinds[token] is not Kind.NORMAL or text not in SPECIAL_BY_TEXT:
            continue
        contexts = (text, f" {text} ", f"a{text}a", f"{text}{text}\n")
        if any(token in tokenizer.encode(context, add_special_tokens=False).ids for context in contexts):
            continue
        hidden = text + _SPACE
        while hidden in known:
            hidden += _SPACE
        tokens[token] = hidden


def _round_trip(tokenizer: Tokenizer, text: str) -> str:
    """llama.cpp looks for added tokens in the text as it comes: they are written as the tokeniser gives them back."""
    ids = tokenizer.encode(text, add_special_tokens=False).ids
    return str(tokenizer.decode(ids, skip_special_tokens=False))


def _merges(files: TokenizerFiles) -> list[str]:
    """Pairs with one space between; a space within a part is written as byte-level BPE writes it."""
    merges = files.json["model"]["merges"]
    return [
        merge if isinstance(merge, str) else " ".join(part.replace(" ", _SPACE) for part in merge) for merge in merges
    ]


def _add_special(writer: gguf.GGUFWriter, files: TokenizerFiles, vocabulary: Vocabulary, ends: Sequence[int]) -> None:
    names = {kind: _text(files.settings.get(f"{kind}_token")) for kind in _SPECIAL}
    flags = _flags(files, names)
    ids = {entry["content"]: entry["id"] for entry in reversed(files.json.get("added_tokens", []))}
    written: dict[str, int] = {}
    for kind in (*_SPECIAL, "eot"):
        token = ids.get(names.get(kind) or "")
        if token is None:
            token = files.config.get(f"{kind}_token_id")
        if isinstance(token, int) and 0 <= token < len(vocabulary.tokens):
            written[kind] = token
    written |= missing_ends(vocabulary, ends, written)
    for kind, token in written.items():
        getattr(writer, f"add_{kind}_token_id")(token)
    for kind in ("bos", "eos"):
        stated = files.settings.get(f"add_{kind}_token")
        flag = flags.get(kind, stated)
        if kind == "bos" and writer.arch == "llama" and len(vocabulary.tokens) == 49152:
            # Granite and SmolLM: their tokenisers add none, whatever their files say.
            flag = False
        if isinstance(flag, bool):
            getattr(writer, f"add_add_{kind}_token")(flag)


def missing_ends(vocabulary: Vocabulary, ends: Sequence[int], written: dict[str, int]) -> dict[str, int]:
    """Those of `ends` that `written`, ids by kind, lacks, under the keys that are free.

    llama.cpp knows an end by a key or by its text, and nobody needs the end of a message ("eom") or of a turn ("eot")
    to be more than that.
    """
    added: dict[str, int] = {}
    if "eos" not in written and ends[:1] and ends[0] < len(vocabulary.tokens):
        # Without one llama.cpp takes an ordinary token for it: 11 in byte-level vocabularies.
        added["eos"] = ends[0]
    named = {token for kind, token in (written | added).items() if kind in ("eos", "eot")}
    left = [
        token
        for token in ends
        if token < len(vocabulary.tokens) and token not in named and vocabulary.tokens[token] not in ENDS
    ]
    free = [kind for kind in ("eom", "eot") if kind not in written]
    return added | dict(zip(free, left, strict=False))


def _flags(files: TokenizerFiles, names: dict[str, str | None]) -> dict[str, bool]:
    """Whether the tokeniser puts its first and last token around a text. Completes `names` by what it puts there."""
    flags: dict[str, bool] = {}
    outer = files.json.get("post_processor") or {}
    for processor in outer.get("processors", [outer]):
        if processor.get("type") == "ByteLevel":
            flags = {"bos": False, "eos": False, **flags}
        single = processor.get("single", []) if processor.get("type") == "TemplateProcessing" else []
        if len(single) < 2:
            continue
        first, last = (entry.get("SpecialToken", {}).get("id") for entry in (single[0], single[-1]))
        if first:
            names["bos"] = names["bos"] or first
            flags["bos"] = first == names["bos"]
        if last:
            if names["eos"] and last != names["eos"]:
                names["eot"] = names["eos"]
            names["eos"] = last
            flags["eos"] = True
    return flags


def _text(token: Any) -> str | None:
    """A special token stands as text or as an object with `content`."""
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None


def _chat_template(files: TokenizerFiles) -> str | list[dict[str, str]] | None:
    """One template, or several with names; llama.cpp's keys for both are the writer's business."""
    template = files.settings.get("chat_template")
    alone = files.directory / "chat_template.jinja"
    if template is None and alone.is_file():
        template = alone.read_text(encoding="utf-8")
        more = sorted((files.directory / "additional_chat_templates").glob("*.jinja"))
        if more:
            named = [{"name": path.stem, "template": path.read_text(encoding="utf-8")} for path in more]
            template = [{"name": "default", "template": template}, *named]
    if template is None and (files.directory / "chat_template.json").is_file():
        template = read_json(files.directory / "chat_template.json").get("chat_template")
    return template if isinstance(template, (str, list)) else None
