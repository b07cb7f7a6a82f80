"""What an engine does: log-likelihoods and greedy or sampled continuations of token sequences."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

if TYPE_CHECKING:
    from pathlib import Path

    from transformers import PreTrainedTokenizerBase

    from qharness.host import Host

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class EngineRequest:
    """Which model to execute and how.

    Attributes:
        reference: Model reference or artifact folder.
        host: Registry for loaders, quantizers and transforms.
        dtype: Floating-point type of the activations.
        device: Device name.
        ablate: Runtime transforms deliberately left out.
        kv_bits: Width of the key-value cache.
        kv_prefill: Whether a prompt's own tokens read the rounded cache (`visible`) or exact states (`invisible`).
        kernels: `auto`, `reference` or `triton`.
        cache: Folder of the request cache, or None for no cache.
    """

    reference: str
    host: Host
    dtype: str = "float32"
    device: str = "cpu"
    ablate: tuple[str, ...] = ()
    kv_bits: int = 16
    kv_prefill: str = "invisible"
    kernels: str = "auto"
    cache: Path | None = None


class LikelihoodRequest(NamedTuple):
    """Score `continuation` after `context`; both are token ids."""

    context: tuple[int, ...]
    continuation: tuple[int, ...]


class Likelihood(NamedTuple):
    """Sum of natural-log probabilities of the continuation, and whether greedy decoding would write it."""

    logprob: float
    is_greedy: bool


class GenerationRequest(NamedTuple):
    """Continue `prompt` (token ids) until a stop string, end of text or `max_new_tokens`."""

    prompt: tuple[int, ...]
    until: tuple[str, ...]
    max_new_tokens: int
    temperature: float = 0.0
    seed: int = 0


class Generation(NamedTuple):
    """Text up to the first stop string, all sampled token ids, and why it ended (`stop`, `eos`, `length`)."""

    text: str
    tokens: tuple[int, ...]
    finish: str


class Engine(Protocol):
    """A model ready to answer requests. Results come in the order of the requests."""

    name: str
    tokenizer: PreTrainedTokenizerBase
    max_length: int
    identity: Mapping[str, Any]
    """Everything about model and engine that can change an answer; JSON-able, the base of the cache key."""
    notice: str
    kernels: Sequence[Mapping[str, Any]]
    """What serves the quantized linears and transforms, see `qharness.serving.model.summary`."""

    def loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations in prefill: one forward over context and continuation."""

    def decode_loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations with the last 16 context tokens and the continuation fed one by one through the cache."""

    def generate(self, requests: Sequence[GenerationRequest], progress: Progress) -> list[Generation]:
        """Generate continuations."""

    def close(self) -> None:
        """Free the model."""
