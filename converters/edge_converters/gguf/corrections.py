"""What edge's own conversion writes by rule, put into a file that somebody else's converter made: a name under which
the engine treats white space as the model does, ordinary tokens that it must not take for special ones, and every end.
"""

from __future__ import annotations

from pathlib import Path

from edge.engines.llamacpp.gguf_header import read_gguf_header
from edge_converters.gguf.header_edit import Value, rewrite_metadata
from edge_converters.gguf.sentencepiece import Kind
from edge_converters.gguf.tokenizer import (
    TokenizerFiles,
    Vocabulary,
    hide_unreachable,
    load_tokenizer,
    missing_ends,
)
from edge_converters.lora.merge import Merged, end_tokens
from edge_converters.weights.checkpoint import Checkpoint

_TOKENS, _TYPES = "tokenizer.ggml.tokens", "tokenizer.ggml.token_type"


def apply_token_rules(path: Path, weights: Checkpoint | Merged) -> None:
    """Correct the GGUF file `path`, made of `weights`, where it differs from these rules; see token_rules.py."""
    changes = _corrections(path, weights)
    if changes:
        rewrite_metadata(path, changes)


def _corrections(path: Path, weights: Checkpoint | Merged) -> dict[str, Value]:
    header = read_gguf_header(path)
    tokens = [token.decode("utf-8", "replace") for token in header.strings(_TOKENS)]
    if not tokens:
        return {}
    directory = weights.tokenizer if isinstance(weights, Merged) else weights.directory
    files = TokenizerFiles(directory, weights.config)
    vocabulary = Vocabulary(
        model=str(header.settings.get("tokenizer.ggml.model")),
        pre="",
        tokens=list(tokens),
        kinds=[Kind(kind) for kind in header.numbers(_TYPES)] or [Kind.NORMAL] * len(tokens),
        stripping=_stripping(files, len(tokens)),
    )
    changes: dict[str, Value] = {}
    if vocabulary.model == "gpt2" and files.json_path.is_file():
        hide_unreachable(load_tokenizer(files), vocabulary.tokens, vocabulary.kinds)
        if vocabulary.tokens != tokens:
            changes[_TOKENS] = vocabulary.tokens
    name = str(header.settings.get("general.name", ""))
    safe = vocabulary.engine_safe_name(name or weights.directory.resolve().name)
    if safe != name:
        changes["general.name"] = safe
    keys = {kind: f"tokenizer.ggml.{kind}_token_id" for kind in ("eos", "eot", "eom")}
    written = {kind: int(header.settings[key]) for kind, key in keys.items() if key in header.settings}
    return changes | {
        keys[kind]: token for kind, token in missing_ends(vocabulary, end_tokens(weights), written).items()
    }


def _stripping(files: TokenizerFiles, count: int) -> set[int]:
    """The tokens that swallow the white space behind them; of two with one id the later counts."""
    strips = {added.token: added.strips for added in files.added_tokens() if added.token < count}
    return {token for token, stripped in strips.items() if stripped}
