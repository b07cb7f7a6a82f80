"""The tokenizer: character-level BPE with byte fallback, trained on the generator's own text."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

VOCABULARY = 2048
SPECIAL = ("<s>", "</s>", "<|im_start|>", "<|im_end|>")
BOS, EOS = 0, 1
POLISH = "aąbcćdeęfghijklłmnńoópqrsśtuvwxyzźżAĄBCĆDEĘFGHIJKLŁMNŃOÓPQRSŚTUVWXYZŹŻ"
# Pieces: a word or a digit or a mark with at most one leading space; a line break and a lone space stand alone.
PIECE = r" ?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]|\s"
_PIECE = re.compile(r" ?[^\W\d_]+| ?\d| ?[^\s\w]| ?_|\s")
CHAT_TEMPLATE = (
    "{% for message in messages %}"
    "{{ '<|im_start|>' + message['role'] + '\n' + message['content'] + '<|im_end|>' + '\n' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)  # fmt: skip


def train(texts: Iterable[str]) -> Any:
    """Train and return a `tokenizers.Tokenizer` with VOCABULARY entries."""
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, models, pre_tokenizers, trainers

    def split() -> Any:
        return pre_tokenizers.Split(Regex(PIECE), "isolated")

    raw = Tokenizer(models.BPE())
    raw.pre_tokenizer = split()
    room = VOCABULARY - len(SPECIAL) - 256
    raw.train_from_iterator(
        texts,
        trainers.BpeTrainer(vocab_size=room, initial_alphabet=sorted(set(POLISH + "0123456789")), show_progress=False),
    )
    learned = json.loads(raw.to_str())["model"]
    pieces = [p for p, _ in sorted(learned["vocab"].items(), key=lambda item: item[1])]
    names = [*SPECIAL, *(f"<0x{b:02X}>" for b in range(256)), *pieces]
    merges = [tuple(m) if isinstance(m, list) else tuple(m.split(" ")) for m in learned["merges"]]
    model = models.BPE({name: i for i, name in enumerate(names)}, merges, byte_fallback=True)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = split()
    tokenizer.decoder = decoders.Sequence([decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(s, special=True, normalized=False) for s in SPECIAL])
    return tokenizer


def save(tokenizer: Any, folder: Path) -> None:
    """Write the tokenizer as a Hugging Face fast tokenizer."""
    from transformers import PreTrainedTokenizerFast

    fast = PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="</s>",
        clean_up_tokenization_spaces=False, model_max_length=2048, padding_side="left",
    )  # fmt: skip
    fast.chat_template = CHAT_TEMPLATE
    fast.save_pretrained(str(folder))


class Encoder:
    """Encodes text piece by piece with a cache: the same ids as the tokenizer, much faster on generated text."""

    def __init__(self, folder: Path) -> None:
        from tokenizers import Tokenizer

        self._tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self._cache: dict[str, list[int]] = {}
        self._special = {s: i for i, s in enumerate(SPECIAL)}
        self._split = re.compile("(" + "|".join(re.escape(s) for s in SPECIAL) + ")")

    def _pieces(self, text: str) -> Iterator[list[int]]:
        cache = self._cache
        for piece in _PIECE.findall(text):
            ids = cache.get(piece)
            if ids is None:
                ids = cache[piece] = self._tokenizer.encode(piece, add_special_tokens=False).ids
            yield ids

    def __call__(self, text: str) -> list[int]:
        """The ids of the text."""
        if "<|im_" not in text:
            return [i for ids in self._pieces(text) for i in ids]
        out: list[int] = []
        for part in self._split.split(text):
            if part in self._special:
                out.append(self._special[part])
            else:
                out += (i for ids in self._pieces(part) for i in ids)
        return out
