"""The tokenizer of a model as settings of a GGUF file.

llama.cpp has its own tokenizers; a file names one of them and gives it the vocabulary. Byte-level BPE becomes `gpt2`,
BPE with byte fallback becomes `llama`, whose merges are scores. Rules on where texts are cut before BPE cannot be
written down there: `gpt2` knows some by name, `llama` has none.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from qharness.errors import UsageError

if TYPE_CHECKING:
    from gguf import GGUFWriter
    from transformers import PreTrainedTokenizerBase

SPACE, WRITTEN_SPACE = " ", "\u2581"
UNMERGED = -1e6
"""Score of tokens that no merge makes, below those of all others."""
_BYTE = re.compile(r"<0x[0-9A-F]{2}>")
PRE_TOKENIZERS = (("{1,3}", "llama-bpe"), ("Digits", "smollm"), ("\\\\p{N}", "qwen2"))
"""What tells the rules of byte-level tokenizers apart, and their names in llama.cpp."""


def add_tokenizer(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase, size: int) -> None:
    """Write a tokenizer's settings.

    Args:
        writer: Writer of the file.
        tokenizer: A fast tokenizer.
        size: Vocabulary size of the model; missing tokens are filled up.

    Raises:
        UsageError: It is no BPE tokenizer.
    """
    data = json.loads(tokenizer.backend_tokenizer.to_str())
    model = data["model"]
    if model.get("type") != "BPE":
        raise UsageError(
            f"The tokenizer's model is '{model.get('type')}'; GGUF files are written for BPE, byte-level or not."
        )
    pairs = [tuple(merge.split(SPACE)) if isinstance(merge, str) else tuple(merge) for merge in model["merges"]]
    has_bytes = bool(model.get("byte_fallback"))
    tokens = _tokens(data, size)
    writer.add_tokenizer_model("llama" if has_bytes else "gpt2")
    writer.add_tokenizer_pre("default" if has_bytes else _rules(data))
    if has_bytes:
        ranks: dict[str, float] = {}
        for place, pair in enumerate(pairs, 1):
            ranks.setdefault("".join(pair), -float(place))
        writer.add_token_list([token.replace(SPACE, WRITTEN_SPACE) for token in tokens])
        writer.add_token_scores([ranks.get(token, UNMERGED) for token in tokens])
        writer.add_add_space_prefix("Prepend" in json.dumps(data["normalizer"]))
    else:
        writer.add_token_list(tokens)
        writer.add_token_merges([SPACE.join(pair) for pair in pairs])
    writer.add_token_types(_types(data, tokens))
    _add_special(writer, tokenizer)


def _tokens(data: dict[str, Any], size: int) -> list[str]:
    """Return all tokens by id."""
    found = {index: token for token, index in data["model"]["vocab"].items()}
    found |= {token["id"]: token["content"] for token in data["added_tokens"]}
    return [found.get(index, f"<unused_{index}>") for index in range(size)]


def _types(data: dict[str, Any], tokens: list[str]) -> list[int]:
    from gguf import TokenType

    special = {token["id"]: token["special"] for token in data["added_tokens"]}
    used = set(data["model"]["vocab"].values()) | set(special)
    has_bytes = bool(data["model"].get("byte_fallback"))

    def kind(index: int, token: str) -> TokenType:
        if index not in used:
            return TokenType.UNUSED
        if index in special:
            return TokenType.CONTROL if special[index] else TokenType.USER_DEFINED
        return TokenType.BYTE if has_bytes and _BYTE.fullmatch(token) else TokenType.NORMAL

    return [int(kind(index, token)) for index, token in enumerate(tokens)]


def _rules(data: dict[str, Any]) -> str:
    """Return llama.cpp's name of a byte-level tokenizer's rules; `gpt-2` where none of the others is recognised."""
    rules = json.dumps(data["pre_tokenizer"])
    return next((name for sign, name in PRE_TOKENIZERS if sign in rules), "gpt-2")


def _add_special(writer: GGUFWriter, tokenizer: PreTrainedTokenizerBase) -> None:
    ids = {
        "bos": tokenizer.bos_token_id,
        "eos": tokenizer.eos_token_id,
        "unk": tokenizer.unk_token_id,
        "pad": tokenizer.pad_token_id,
    }
    for name, index in ids.items():
        if index is not None:
            getattr(writer, f"add_{name}_token_id")(index)
    sample = tokenizer("a")["input_ids"]
    writer.add_add_bos_token(bool(sample) and sample[0] == ids["bos"])
    writer.add_add_eos_token(len(sample) > 1 and sample[-1] == ids["eos"])
    if isinstance(tokenizer.chat_template, str):
        writer.add_chat_template(tokenizer.chat_template)
