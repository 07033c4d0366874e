"""What llama.cpp decides by the text of a token or by a model's name, because GGUF has no key for it.

Read from llama_vocab::impl::load in src/llama-vocab.cpp of the llama.cpp in llama-cpp-python 0.3.36; a test holds the
texts against that source.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Set

ENDS = frozenset(
    {
        "<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
        "<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
        "<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<｜end▁of▁sentence｜>", "[e~[",
    }
)  # fmt: skip
"""Tokens at which llama.cpp ends a reply, whatever the file says of them; they become control tokens."""

_FILL_IN = frozenset(
    {
        "<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<｜fim▁begin｜>", "<PRE>", "▁<PRE>", "<|code_prefix|>",
        "<|prefix|>", "<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<｜fim▁hole｜>", "<SUF>", "▁<SUF>",
        "<|code_suffix|>", "<|suffix|>", "<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<｜fim▁end｜>", "<MID>",
        "▁<MID>", "<|code_middle|>", "<|middle|>", "<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
        "<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
    }
)  # fmt: skip
_CHANNELS = frozenset({"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"})
SPECIAL_BY_TEXT = ENDS | _FILL_IN | _CHANNELS
"""Tokens that llama.cpp finds in a text before it cuts the rest into words, even where they are ordinary ones."""

# Under such a name every special token swallows the white space behind it, but for three; all four must be there.
_STRIPPED, _KEPT = "</s>", frozenset({"<unk>", "<s>", "<|endoftext|>"})
_PHI3_NAME = re.compile(r"phi(-?)3", re.IGNORECASE)
_ALMOST_PHI3_NAME = re.compile(r"\bphi[\s_]*3", re.IGNORECASE)
_MODERN_BERT_NAME = re.compile("modern-bert", re.IGNORECASE)


def engine_safe_name(name: str, special: Collection[str], stripping: Set[str], tokens: Collection[str]) -> str:
    """`name` as a model may be called for llama.cpp to treat white space behind special tokens as the model does.

    `special` are the model's special and added tokens, `stripping` those of them that swallow the white space behind
    them, `tokens` the whole vocabulary. Phi-3's tokenizer needs "phi-3" in the name; with any other, such a name makes
    a file that llama.cpp splits wrongly or does not load.
    """
    name = _MODERN_BERT_NAME.sub(lambda found: found[0].replace("-", " "), name)
    by_rule = {*special, _STRIPPED} - _KEPT
    fits = all(text in tokens for text in (_STRIPPED, *_KEPT)) and len(by_rule ^ stripping) < len(stripping)
    if not fits:
        return _PHI3_NAME.sub(lambda found: f"{found[0][:3]} 3", name)
    if _PHI3_NAME.search(name):
        return name
    renamed = _ALMOST_PHI3_NAME.sub(lambda found: f"{found[0][:3]}-3", name)
    return renamed if renamed != name else f"{name} (Phi-3)"
