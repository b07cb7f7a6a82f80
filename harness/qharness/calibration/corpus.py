"""Calibration tokens: texts packed into samples of equal length."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from qharness.errors import MissingData

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedTokenizerBase

POOL = 4


@dataclass(frozen=True)
class Corpus:
    """Calibration tokens and where they come from.

    Attributes:
        tokens: Token ids, shape (samples, length), int64.
        source: The source as given, for manifests.
    """

    tokens: Tensor
    source: str

    @property
    def digest(self) -> str:
        """SHA-256 of the shape and the token ids."""
        raw = self.tokens.contiguous().numpy().astype("<i8").tobytes()
        return hashlib.sha256(f"{tuple(self.tokens.shape)}".encode() + raw).hexdigest()

    def describe(self) -> dict[str, Any]:
        """Return source, size and digest as plain data."""
        samples, length = self.tokens.shape
        return {"source": self.source, "samples": samples, "length": length, "digest": self.digest}


def pack_corpus(
    texts: Iterable[str], tokenizer: PreTrainedTokenizerBase, *, source: str, samples: int, length: int, seed: int
) -> Corpus:
    """Tokenize texts, join them and draw samples.

    Texts are read until four times the tokens needed are there (or the source ends), joined with the tokenizer's own
    special tokens, cut into pieces of `length`, and `samples` of the pieces are drawn. Where the tokenizer begins
    texts with a BOS token, every sample does, since models treat a first token of another kind badly.

    Args:
        texts: The texts, in a fixed order.
        tokenizer: The model's tokenizer.
        source: Name of the source.
        samples: Number of samples.
        length: Tokens per sample.
        seed: Seed of the draw.

    Raises:
        MissingData: The source is too short.
    """
    import torch

    wanted = samples * length
    pool: list[int] = []
    end = tokenizer.eos_token_id
    bos = tokenizer.bos_token_id
    for text in texts:
        ids: list[int] = tokenizer(text, verbose=False)["input_ids"]
        pool += ids if end is None or (ids and ids[-1] == end) else [*ids, end]
        if len(pool) >= POOL * wanted:
            break
    pieces = len(pool) // length
    if pieces < samples:
        raise MissingData(
            f"'{source}' has {len(pool):,} tokens, and {samples} samples of {length} need {wanted:,}; "
            "give more text or ask for fewer or shorter samples."
        )
    generator = torch.Generator().manual_seed(seed)
    chosen = torch.randperm(pieces, generator=generator)[:samples]
    tokens = torch.tensor(pool[: pieces * length]).view(pieces, length)[chosen]
    if bos is not None and tokenizer("a")["input_ids"][:1] == [bos]:
        tokens[:, 0] = bos
    return Corpus(tokens, source)


def mix_corpora(parts: Sequence[Corpus], *, source: str, seed: int) -> Corpus:
    """Join the samples of several sources in random order; one source is left as it is.

    Args:
        parts: Corpora with samples of one length.
        source: Name of the whole.
        seed: Seed of the order.
    """
    import torch

    if len(parts) == 1:
        return parts[0]
    tokens = torch.cat([part.tokens for part in parts])
    return Corpus(tokens[torch.randperm(len(tokens), generator=torch.Generator().manual_seed(seed))], source)


def shares(samples: int, sources: int) -> list[int]:
    """Return how many samples each source gives: equal shares, the first ones one more where it does not come out."""
    return [samples // sources + (place < samples % sources) for place in range(sources)]
