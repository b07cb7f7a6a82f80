"""The engine `llama_cpp`: a model run by llama.cpp, as it would be deployed.

Token ids come from the model's own tokenizer, so that requests are those of every other engine; what differs is the
arithmetic: llama.cpp quantizes activations to eight bits in front of every quantized weight.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness import __version__
from qharness.engines.base import EngineRequest, Generation, GenerationRequest, Likelihood, LikelihoodRequest
from qharness.engines.decode_likelihood import TAIL
from qharness.engines.generation import next_tokens
from qharness.engines.planned import Batch, Forwarded, Planned, PlannedEngine, RequestPath, Work
from qharness.engines.stopping import StopRule
from qharness.errors import QharnessError, UsageError
from qharness.evaluation.cache import RequestCache, request_key
from qharness.models.gguf.loading import tokenizer_of
from qharness.models.gguf.reading import GgufFile, open_gguf
from qharness.models.loaded import LoadRequest
from qharness_iq2_xxs.export import write_gguf

if TYPE_CHECKING:
    from llama_cpp import Llama
    from transformers import PreTrainedTokenizerBase

LONGEST = 4096
"""Most tokens of a context: logits of all of them are kept."""


class LlamaCppEngine(PlannedEngine):
    """Executes a GGUF file with llama.cpp, one request after the other; equal beginnings are evaluated once.

    Args:
        file: The open file.
        tokenizer: Its tokenizer.
        digest: Digest of the model.
        request: What the engine was asked for.
        temporary: Folder that is removed with the engine, if the file was written for it.
    """

    name = "llama_cpp"

    def __init__(
        self,
        file: GgufFile,
        tokenizer: PreTrainedTokenizerBase,
        digest: str,
        request: EngineRequest,
        temporary: tempfile.TemporaryDirectory[str] | None = None,
    ) -> None:
        trained = int(file.metadata["llama.context_length"])
        self.max_length = min(trained, LONGEST)
        self._model = _open(file.path, self.max_length, request.device)
        self._temporary = temporary
        self.tokenizer = tokenizer
        self.notice = f"Run by llama.cpp from blocks of {', '.join(file.types())}."
        self.identity: Mapping[str, Any] = {
            "digest": digest,
            "engine": self.name,
            "device": request.device.partition(":")[0],
            "dtype": "llama.cpp",
            "max_length": self.max_length,
            "versions": {"qharness": __version__, "llama-cpp-python": version("llama-cpp-python")},
        }
        ends = {tokenizer.eos_token_id, file.metadata.get("tokenizer.ggml.eos_token_id")}
        self._rule = StopRule(tokenizer, frozenset(end for end in ends if end is not None))
        self.forwarded = Forwarded()
        self._cache = RequestCache(request.cache, self.identity) if request.cache else None

    def plan(self, path: RequestPath, requests: Sequence[Any]) -> Planned[Any]:
        """Return the batches of a list of requests, one prompt each; long prompts lose tokens on the left."""
        if path == "generate":
            return self._plan_generation(requests)
        if path == "loglikelihood":
            return self._plan_likelihood(requests, "prefill", 0)
        return self._plan_likelihood(requests, f"decode-{TAIL}", TAIL)

    def close(self) -> None:
        """Free the model and remove what was written for it."""
        self._model.close()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _plan_generation(self, requests: Sequence[GenerationRequest]) -> Planned[Generation]:
        for request in requests:
            if not request.prompt or request.max_new_tokens >= self.max_length:
                raise UsageError(
                    f"A generation request needs a prompt and fewer than {self.max_length} new tokens, the longest "
                    f"context; it has {len(request.prompt)} and {request.max_new_tokens}."
                )
        return Planned(
            [
                Batch([index], partial(self._generate, index, request), self._generation_work(request))
                for index, request in enumerate(requests)
            ],
            [request_key("generate", *request) for request in requests],
            lambda text, tokens, finish: Generation(text, tuple(tokens), finish),
            self._cache,
        )

    def _plan_likelihood(self, requests: Sequence[LikelihoodRequest], path: str, tail: int) -> Planned[Likelihood]:
        by_context: dict[tuple[int, ...], list[int]] = {}
        for index, request in enumerate(requests):
            by_context.setdefault(request.context, []).append(index)
        groups = [{index: requests[index] for index in members} for members in by_context.values()]
        return Planned(
            [
                Batch(list(group), partial(self._score, group, tail), self._scoring_work(group, tail))
                for group in groups
            ],
            [request_key(path, *request) for request in requests],
            Likelihood,
            self._cache,
        )

    def _generation_work(self, request: GenerationRequest) -> Work:
        prompt = min(len(request.prompt), self.max_length - request.max_new_tokens)
        return Work(prompt, request.max_new_tokens - 1, prompt + request.max_new_tokens)

    def _scoring_work(self, requests: Mapping[int, LikelihoodRequest], tail: int) -> Work:
        prefill = decode = 0
        fed: list[int] = []
        for request in requests.values():
            inputs, kept, together = self._scoring(request, fed, tail)
            prefill += max(together - kept, 0)
            decode += len(inputs) - max(kept, together)
            fed = inputs
        return Work(prefill, decode, len(fed))

    def _scoring(self, request: LikelihoodRequest, fed: list[int], tail: int) -> tuple[list[int], int, int]:
        """Return what is fed for a request, how much of it is there already, and how much goes in one pass."""
        inputs = [*request.context, *request.continuation][-(self.max_length + 1) :][:-1]
        kept = _shared(fed, inputs) if fed else 0
        together = max(len(inputs) - len(request.continuation) + 1 - tail, 0) if tail else len(inputs)
        return inputs, kept, together

    def _score(self, requests: Mapping[int, LikelihoodRequest], tail: int) -> dict[int, Likelihood]:
        """Score continuations of one context, which is evaluated once unless it must be cut."""
        self._model.reset()
        fed: list[int] = []
        answers: dict[int, Likelihood] = {}
        for index, request in requests.items():
            inputs, kept, together = self._scoring(request, fed, tail)
            self._feed(inputs, kept, together)
            fed = inputs
            logits = self._logits(len(inputs) - len(request.continuation), len(inputs))
            logprobs = torch.log_softmax(logits, -1)
            wanted = torch.tensor(request.continuation)
            total = float(logprobs.gather(1, wanted[:, None]).sum())
            answers[index] = Likelihood(total, bool((logits.argmax(-1) == wanted).all()))
        return answers

    def _feed(self, tokens: list[int], kept: int, together: int) -> None:
        """Evaluate tokens[kept:], those before `together` in one go and the others one by one."""
        self._model.n_tokens = kept
        if kept < together:
            self._model.eval(tokens[kept:together])
        self.forwarded.prefill += max(together - kept, 0)
        self.forwarded.decode += len(tokens) - max(kept, together)
        for place in range(max(kept, together), len(tokens)):
            self._model.eval(tokens[place : place + 1])

    def _logits(self, start: int, stop: int) -> Tensor:
        """Return the logits behind the tokens at these places, shape (stop - start, vocabulary), float32."""
        return torch.from_numpy(self._model.scores[start:stop].copy())

    def _generate(self, index: int, request: GenerationRequest) -> dict[int, Generation]:
        prompt = list(request.prompt[-(self.max_length - request.max_new_tokens) :])
        source = torch.Generator().manual_seed(request.seed)
        self._model.reset()
        self._model.eval(prompt)
        self.forwarded.prefill += len(prompt)
        tokens: list[int] = []
        while True:
            last = self._model.n_tokens
            tokens += next_tokens(self._logits(last - 1, last), [request], [source])
            reason = self._rule.finish(request, tokens)
            if reason:
                return {index: Generation(self._rule.text(request, tokens), tuple(tokens), reason)}
            self._model.eval(tokens[-1:])
            self.forwarded.decode += 1


def _shared(old: Sequence[int], new: Sequence[int]) -> int:
    """Return the number of equal tokens at the beginning, less than all of `new`."""
    same = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
    return min(same, len(new) - 1)


def _open(path: Path, length: int, device: str) -> Llama:
    try:
        from llama_cpp import Llama
    except ImportError as error:
        raise UsageError(
            "The engine 'llama_cpp' needs the package llama-cpp-python, which is not installed or cannot be loaded; "
            "run `pip install 'qharness-iq2-xxs[llama-cpp]'` (it compiles llama.cpp)."
        ) from error
    layers = -1 if device.startswith("cuda") else 0
    try:
        return Llama(str(path), n_ctx=length, n_gpu_layers=layers, logits_all=True, verbose=False)
    except (ValueError, RuntimeError) as error:
        raise QharnessError(f"llama.cpp cannot load {path}: {error}; see its output with an own call.") from error


def create(request: EngineRequest) -> LlamaCppEngine:
    """Return an engine for a GGUF file, or for a model that is written as one first.

    Raises:
        UsageError: llama-cpp-python is absent, the request names something that llama.cpp cannot do, or the model
            needs runtime transforms.
    """
    if request.kv_bits != 16 or request.ablate or request.kernels != "auto":
        raise UsageError("The engine 'llama_cpp' takes no --kv-bits, --ablate or --kernels; drop them.")
    reference = Path(request.reference).expanduser()
    if reference.suffix.lower() == ".gguf":
        file = open_gguf(reference)
        return LlamaCppEngine(file, tokenizer_of(file), file.digest(), request)
    from qharness.models.loading import load_model

    loaded = load_model(LoadRequest(request.reference, request.host, dtype="auto"))
    temporary = tempfile.TemporaryDirectory(prefix="qharness-gguf-")
    try:
        file = open_gguf(write_gguf(loaded, Path(temporary.name)))
        return LlamaCppEngine(file, loaded.tokenizer, loaded.digest, request, temporary)
    except BaseException:
        temporary.cleanup()
        raise
