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
from qharness.engines.generation import Stream
from qharness.engines.graphs import GraphSteps
from qharness.engines.heads import Prompt, plan_heads
from qharness.engines.identity import identity_of, prefill_identity_of
from qharness.engines.likelihood import Answers, branch_likelihood, prefill_likelihood
from qharness.engines.planned import Batch, Planned, PlannedEngine, RequestPath, Work
from qharness.engines.prefill import BatchPrefill, RememberingPrefill
from qharness.engines.prefixes import PrefixTree, build_trees
from qharness.engines.stopping import StopRule
from qharness.engines.work import WorkCounter
from qharness.errors import UsageError
from qharness.evaluation.cache import RequestCache, request_key
from qharness.kv.rounding import kv_rounding
from qharness.models.architecture import architecture_of
from qharness.quantization.linear import QuantizedLinear
from qharness.serving.base import REFERENCE
from qharness.serving.model import check_switch, serve, summary

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
        rounds: How many prompts pass through a row of a generation batch.
    """

    prefill: int
    slots: int
    rows: int
    remembered: int = 0
    rounds: int = 1


CPU_BUDGETS = Budgets(prefill=4096, slots=24576, rows=32, remembered=1 << 30, rounds=2)
GPU_BUDGETS = Budgets(prefill=16384, slots=98304, rows=128, rounds=4)
HEADS = 1 << 30
"""Bytes of keys and values of shared heads that are kept where prompts are not."""
GPU_ROWS = 8
"""Prompts that must share a head where they are computed in batches."""


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
        self.kernels: Sequence[Mapping[str, Any]] = summary(serve(loaded, request.kernels))
        self._forward = Forward(loaded.model, kv_rounding(request.kv_bits, request.kv_prefill))
        self._budgets = budgets or (CPU_BUDGETS if loaded.model.device.type == "cpu" else GPU_BUDGETS)
        self._prefill: RememberingPrefill | BatchPrefill = (
            RememberingPrefill(self._forward, self._budgets.remembered)
            if self._budgets.remembered
            else BatchPrefill(self._forward, self._budgets.prefill, HEADS)
        )
        self._graphs = GraphSteps(self._forward) if self._forward.device.type == "cuda" else None
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.max_length = max_length_of(loaded.model.config, loaded.tokenizer)
        self.notice = loaded.notice
        identity = {**identity_of(loaded, request), "engine": self.name}
        served = {f"{row['part']} of {row['modules']}": row["kernel"] for row in self.kernels}
        if set(served.values()) - {REFERENCE}:
            identity["served"] = served
        self.identity: Mapping[str, Any] = identity
        self._rule = StopRule(loaded.tokenizer, eos_ids(loaded))
        self._cache: RequestCache | None = None
        self._prefill_cache: RequestCache | None = None
        if request.cache:
            in_prefill = {**prefill_identity_of(loaded, request), "engine": self.name}
            self._cache = RequestCache(request.cache, self.identity)
            is_shared = in_prefill == self.identity
            self._prefill_cache = self._cache if is_shared else RequestCache(request.cache, in_prefill)
        keep_weights(loaded, True)
        self.forwarded = self._forward.forwarded
        self.state_bytes = state_bytes_of(loaded.model.config, loaded.model.dtype.itemsize)
        self.remembered = (self._budgets.remembered or HEADS) // self.state_bytes
        self.linear_weights = linear_weights_of(loaded.model)
        tensors = (*loaded.model.parameters(), *loaded.model.buffers())
        self.weight_bytes = sum(tensor.numel() * tensor.element_size() for tensor in tensors)
        self._work = WorkCounter(bool(self._budgets.remembered), self._sees_all, self._budgets.prefill)

    def plan(self, path: RequestPath, requests: Sequence[Any]) -> Planned[Any]:
        """Return the batches of a list of requests; what contexts share is computed once."""
        if path == "generate":
            return self._plan_generation(requests)
        return self._plan_prefill(requests) if path == "loglikelihood" else self._plan_decode(requests)

    def _plan_prefill(self, requests: Sequence[LikelihoodRequest]) -> Planned[Likelihood]:
        trees = build_trees(requests, self.max_length, share=self._sees_all)
        prompts = self._prompts([tuple(tree.tokens[: tree.context]) for tree in trees])
        heads = [prompt.head for prompt in prompts]
        lengths = [
            len(tree.tokens) - (prompt.cuts[-1] if prompt.cuts else 0)
            for tree, prompt in zip(trees, prompts, strict=True)
        ]
        shapes = [(head, tree.is_bare, tree.is_chain) for head, tree in zip(heads, trees, strict=True)]
        plan = plan_batches(lengths, self._budgets.prefill, shapes)
        keys = [request_key("prefill", *request) for request in requests]
        work = self._work.prefill
        return self._planned(trees, prompts, plan, self._prefill_likelihood, work, keys, self._prefill_cache)

    def _plan_decode(self, requests: Sequence[LikelihoodRequest]) -> Planned[Likelihood]:
        trees = build_trees(requests, self.max_length)
        prompts = self._prompts([tuple(tree.tokens[: tree.context]) for tree in trees])
        lengths = [len(tree.tokens) for tree in trees]
        plan = plan_batches(lengths, self._budgets.slots, [tail_of(tree) for tree in trees], self._budgets.rows)
        keys = [request_key(f"decode-{TAIL}", *request) for request in requests]
        compute = partial(decode_likelihood, self._forward, self._prefill)
        return self._planned(trees, prompts, plan, compute, self._work.decode, keys, self._cache)

    def _plan_generation(self, requests: Sequence[GenerationRequest]) -> Planned[Generation]:
        fitted = [self._fit(request) for request in requests]
        prompts = self._prompts([request.prompt for request in fitted])
        lengths = [len(request.prompt) + request.max_new_tokens for request in fitted]
        kinds = [(request.max_new_tokens, request.temperature > 0) for request in fitted]
        rounds = self._budgets.rounds
        plan = plan_batches(lengths, self._budgets.slots * rounds, kinds, self._budgets.rows * rounds)
        return Planned(
            [self._generation(members, fitted, prompts) for members in plan],
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
        del self._forward, self._prefill, self._graphs
        gc.collect()

    @property
    def _sees_all(self) -> bool:
        """Whether every token sees all before it, so that what contexts share can be computed once."""
        window = self._forward.window
        return window is None or self.max_length <= window

    def _prompts(self, contexts: Sequence[tuple[int, ...]]) -> list[Prompt]:
        if not self._sees_all:
            return [Prompt(context) for context in contexts]
        return plan_heads(contexts, 2 if self._budgets.remembered else GPU_ROWS)

    def _prefill_likelihood(self, trees: Sequence[PrefixTree], prompts: Sequence[Prompt]) -> Answers:
        if isinstance(self._prefill, RememberingPrefill) and self._sees_all:
            return branch_likelihood(self._forward, self._prefill, trees, prompts)
        return prefill_likelihood(self._forward, self._prefill, trees, prompts[0].head)

    def _planned(
        self,
        trees: Sequence[PrefixTree],
        prompts: Sequence[Prompt],
        plan: Sequence[Sequence[int]],
        compute: Callable[[Sequence[PrefixTree], Sequence[Prompt]], Answers],
        work: Callable[[Sequence[PrefixTree], Sequence[Prompt]], Work],
        keys: Sequence[str],
        cache: RequestCache | None,
    ) -> Planned[Likelihood]:
        waits = self._forward.device.type == "cpu"

        @torch.inference_mode()
        def start(places: Sequence[int]) -> Answers | Mapping[int, Likelihood]:
            answers = compute([trees[place] for place in places], [prompts[place] for place in places])
            return answers() if waits else answers

        batches = [
            Batch(
                [i for place in places for i in trees[place].members],
                partial(start, places),
                work([trees[place] for place in places], [prompts[place] for place in places]),
            )
            for places in plan
        ]
        return Planned(batches, keys, Likelihood, cache)

    def _generation(
        self, members: Sequence[int], requests: Sequence[GenerationRequest], prompts: Sequence[Prompt]
    ) -> Batch[Generation]:
        asked = [requests[index] for index in members]
        work = self._work.generation(asked, [prompts[index] for index in members], self._rows(asked))
        return Batch(members, partial(self._generate, members, requests, prompts), work)

    def _rows(self, requests: Sequence[GenerationRequest]) -> int:
        """Return how many rows requests that are generated together pass through."""
        longest = max(len(request.prompt) + request.max_new_tokens for request in requests)
        return max(1, min(self._budgets.rows, self._budgets.slots // longest))

    @torch.inference_mode()
    def _generate(
        self, members: Sequence[int], requests: Sequence[GenerationRequest], prompts: Sequence[Prompt]
    ) -> dict[int, Generation]:
        asked = [requests[index] for index in members]
        mine, rows = [prompts[index] for index in members], self._rows(asked)
        stream = Stream(self._forward, self._prefill, self._rule, asked, mine, rows, self._graphs)
        return dict(zip(members, stream.run(), strict=True))

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
    """Keep the dequantized weights of quantized linears between calls, where memory is plentiful."""
    if not keep or _has_room(loaded.model):
        keep_weights_of(loaded.model, keep)


def _has_room(model: PreTrainedModel) -> bool:
    """Return whether all dequantized weights, in float32, take less than a quarter of the device's free memory."""
    if model.device.type == "cpu":
        return True
    linears = [module for module in model.modules() if isinstance(module, QuantizedLinear)]
    needed = sum(4 * module.in_features * module.out_features for module in linears)
    return model.device.type == "cuda" and 4 * needed < torch.cuda.mem_get_info(model.device)[0]


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
    check_switch(request.kernels, request.device)
    from qharness.models.loaded import LoadRequest
    from qharness.models.loading import load_model

    loaded = load_model(
        LoadRequest(request.reference, request.host, request.dtype, request.device, request.ablate, request.kv_bits)
    )
    return HfEngine(loaded, request)
