"""The transformers engine: prefix trees in prefill, slots in decoding, the head only where it is needed."""

from __future__ import annotations

import gc
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import torch

from qharness.engines.attention import use_grouped_attention
from qharness.engines.base import EngineRequest, Generation, GenerationRequest, Likelihood, LikelihoodRequest
from qharness.engines.batching import plan_batches
from qharness.engines.decode_likelihood import TAIL, decode_likelihood, tail_of
from qharness.engines.following import follow, path_logits
from qharness.engines.forward import Forward
from qharness.engines.generation import generate_batch
from qharness.engines.identity import identity_of
from qharness.engines.likelihood import prefill_likelihood, remembered_likelihood
from qharness.engines.planned import Batch, Planned, PlannedEngine, RequestPath, Work
from qharness.engines.prefill import BatchPrefill, RememberingPrefill
from qharness.engines.prefixes import PrefixTree, build_trees
from qharness.engines.stopping import StopRule
from qharness.engines.work import decode_work, generation_work, prefill_work
from qharness.errors import UsageError
from qharness.evaluation.cache import RequestCache, request_key
from qharness.kv.rounding import kv_rounding
from qharness.models.architecture import architecture_of
from qharness.quantization.linear import QuantizedLinear

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

    from qharness.models.loaded import LoadedModel

DEFAULT_LENGTH = 2048
UNSET_LENGTH = 10**20
"""Tokenizers that know no length report a number above it."""


@dataclass(frozen=True)
class Budgets:
    """Batch sizes.

    Attributes:
        prefill: Most tokens of one prefill pass.
        slots: Most tokens of a decoding batch, prompt and continuation together.
        rows: Most rows of a decoding batch.
        remembered: Bytes of keys and values of prompts that are remembered; 0 for prefill in batches.
    """

    prefill: int
    slots: int
    rows: int
    remembered: int = 0


CPU_BUDGETS = Budgets(prefill=4096, slots=24576, rows=64, remembered=1 << 30)
GPU_BUDGETS = Budgets(prefill=16384, slots=65536, rows=256)


class HfEngine(PlannedEngine):
    """Executes a loaded model with transformers.

    Args:
        loaded: The model.
        request: What the engine was asked for.
        budgets: Batch sizes; chosen by the device when None.

    Raises:
        UnsupportedArchitecture: The model's architecture is not in the table.
    """

    name = "hf"

    def __init__(self, loaded: LoadedModel, request: EngineRequest, budgets: Budgets | None = None) -> None:
        use_grouped_attention(loaded.model)
        self._forward = Forward(loaded.model, kv_rounding(request.kv_bits, request.kv_prefill))
        self._budgets = budgets or (CPU_BUDGETS if loaded.model.device.type == "cpu" else GPU_BUDGETS)
        self._prefill: RememberingPrefill | BatchPrefill = (
            RememberingPrefill(self._forward, self._budgets.remembered)
            if self._budgets.remembered
            else BatchPrefill(self._forward, self._budgets.prefill)
        )
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.max_length = max_length_of(loaded.model.config, loaded.tokenizer)
        self.notice = loaded.notice
        self.identity: Mapping[str, Any] = {**identity_of(loaded, request), "engine": self.name}
        self._rule = StopRule(loaded.tokenizer, eos_ids(loaded))
        self._cache = RequestCache(request.cache, self.identity) if request.cache else None
        keep_weights(loaded, True)
        self.forwarded = self._forward.forwarded
        self._remembers = isinstance(self._prefill, RememberingPrefill)
        self.state_bytes = state_bytes_of(loaded.model.config, loaded.model.dtype.itemsize)
        self.remembered = self._budgets.remembered // self.state_bytes
        self.linear_weights = linear_weights_of(loaded.model)
        tensors = (*loaded.model.parameters(), *loaded.model.buffers())
        self.weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    def plan(self, path: RequestPath, requests: Sequence[Any]) -> Planned[Any]:
        """Return the batches of a list of requests; prompts lose tokens on the left until they fit the model."""
        if path == "generate":
            return self._plan_generation(requests)
        return self._plan_prefill(requests) if path == "loglikelihood" else self._plan_decode(requests)

    def _plan_prefill(self, requests: Sequence[LikelihoodRequest]) -> Planned[Likelihood]:
        window = self._forward.window
        trees = build_trees(requests, self.max_length, share=window is None or self.max_length <= window)
        lengths = [len(tree.tokens) for tree in trees]
        plan = plan_batches(lengths, self._budgets.prefill, [(tree.is_bare, tree.is_chain) for tree in trees])
        keys = [request_key("prefill", *request) for request in requests]
        work = partial(prefill_work, remembers=self._remembers)
        return self._planned(trees, plan, self._prefill_likelihood, work, keys)

    def _plan_decode(self, requests: Sequence[LikelihoodRequest]) -> Planned[Likelihood]:
        trees = build_trees(requests, self.max_length)
        lengths = [len(tree.tokens) for tree in trees]
        plan = plan_batches(lengths, self._budgets.slots, [tail_of(tree) for tree in trees], self._budgets.rows)
        keys = [request_key(f"decode-{TAIL}", *request) for request in requests]
        work = partial(decode_work, remembers=self._remembers, budget=self._budgets.prefill)
        return self._planned(trees, plan, partial(decode_likelihood, self._forward, self._prefill), work, keys)

    def _plan_generation(self, requests: Sequence[GenerationRequest]) -> Planned[Generation]:
        fitted = [self._fit(request) for request in requests]
        lengths = [len(request.prompt) + request.max_new_tokens for request in fitted]
        limits = [request.max_new_tokens for request in fitted]
        plan = plan_batches(lengths, self._budgets.slots, limits, self._budgets.rows)
        work = partial(generation_work, remembers=self._remembers, budget=self._budgets.prefill)
        return Planned(
            [
                Batch(members, partial(self._generate, members, fitted), work([fitted[index] for index in members]))
                for members in plan
            ],
            [request_key("generate", *request) for request in fitted],
            lambda text, tokens, finish: Generation(text, tuple(tokens), finish),
            self._cache,
        )

    def path_logits(self, request: LikelihoodRequest) -> torch.Tensor:
        """Return the logits that predict each token of the continuation, by one prefill pass."""
        return path_logits(self._forward, request)

    def follow(self, requests: Sequence[LikelihoodRequest]) -> Iterator[torch.Tensor]:
        """Feed the continuations token by token behind their prefilled contexts and yield the logits."""
        return follow(self._forward, self._prefill, requests)

    def close(self) -> None:
        """Free the model."""
        keep_weights_of(self._forward.model, False)
        del self._forward, self._prefill
        gc.collect()

    def _prefill_likelihood(self, trees: Sequence[PrefixTree]) -> dict[int, Likelihood]:
        if isinstance(self._prefill, RememberingPrefill) and trees[0].is_bare:
            return remembered_likelihood(self._forward, self._prefill, trees)
        return prefill_likelihood(self._forward, trees)

    def _planned(
        self,
        trees: list[PrefixTree],
        plan: list[list[int]],
        compute: Callable[[Sequence[PrefixTree]], dict[int, Likelihood]],
        work: Callable[[Sequence[PrefixTree]], Work],
        keys: list[str],
    ) -> Planned[Likelihood]:
        groups = [[trees[place] for place in places] for places in plan]
        batches = [
            Batch(
                [i for tree in group for i in tree.members],
                partial(torch.inference_mode()(compute), group),
                work(group),
            )
            for group in groups
        ]
        return Planned(batches, keys, Likelihood, self._cache)

    @torch.inference_mode()
    def _generate(self, members: Sequence[int], requests: Sequence[GenerationRequest]) -> dict[int, Generation]:
        chosen = [requests[index] for index in members]
        answers = generate_batch(self._forward, self._prefill, self._rule, chosen)
        return dict(zip(members, answers, strict=True))

    def _fit(self, request: GenerationRequest) -> GenerationRequest:
        room = self.max_length - request.max_new_tokens
        if room < 1 or not request.prompt:
            raise UsageError(
                f"A generation request needs a prompt and fewer than {self.max_length} new tokens, the model's maximum "
                f"length; it has {len(request.prompt)} and {request.max_new_tokens}."
            )
        return request._replace(prompt=request.prompt[-room:])


def max_length_of(config: PretrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int:
    """Return the model's maximum length, looked up in the places and the order that lm-eval uses."""
    for name in ("n_positions", "max_position_embeddings", "n_ctx"):
        value = getattr(config, name, None)
        if value is not None:
            return int(value)
    length = tokenizer.model_max_length
    return int(length) if length is not None and length < UNSET_LENGTH else DEFAULT_LENGTH


def state_bytes_of(config: PretrainedConfig, itemsize: int) -> int:
    """Return the bytes of one token's keys and values in all layers."""
    head = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    return 2 * int(config.num_hidden_layers) * int(heads) * int(head) * itemsize


def linear_weights_of(model: PreTrainedModel) -> int:
    """Return the number of weights in the linears of all blocks."""
    architecture = architecture_of(model.config)
    linears: list[Any] = [
        architecture.module(model, name) for name in architecture.linears(int(model.config.num_hidden_layers))
    ]
    return sum(linear.in_features * linear.out_features for linear in linears)


def eos_ids(loaded: LoadedModel) -> frozenset[int]:
    """Return the ids that end a text, from the model's generation configuration as transformers' generate does."""
    ids = loaded.model.generation_config.eos_token_id
    if ids is None:
        return frozenset()
    return frozenset(ids if isinstance(ids, list) else [ids])


def keep_weights(loaded: LoadedModel, keep: bool) -> None:
    """Keep the dequantized weights of quantized linears between calls, on a CPU where memory is plentiful."""
    if loaded.model.device.type == "cpu":
        keep_weights_of(loaded.model, keep)


def keep_weights_of(model: torch.nn.Module, keep: bool) -> None:
    """Tell every quantized linear of a model whether to keep its dequantized weight."""
    for module in model.modules():
        if isinstance(module, QuantizedLinear):
            module.cache_weight(keep)


def create(request: EngineRequest) -> HfEngine:
    """Load the referenced model or artifact and return an engine for it.

    Raises:
        UsageError: The request names something that this engine cannot do; a row must never be stamped with it.
    """
    if request.kernels == "triton":
        raise UsageError("There are no Triton kernels for quantized linears yet; use --kernels reference.")
    from qharness.models.loaded import LoadRequest
    from qharness.models.loading import load_model

    loaded = load_model(
        LoadRequest(request.reference, request.host, request.dtype, request.device, request.ablate, request.kv_bits)
    )
    return HfEngine(loaded, request)
