"""The transformers engine: prefix trees in prefill, slots in decoding, the head only where it is needed."""

from __future__ import annotations

import gc
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import torch

from qharness import __version__
from qharness.engines.attention import use_grouped_attention
from qharness.engines.base import EngineRequest, Generation, GenerationRequest, Likelihood, LikelihoodRequest, Progress
from qharness.engines.batching import plan_batches
from qharness.engines.decode_likelihood import TAIL, decode_likelihood, tail_of
from qharness.engines.forward import Forward
from qharness.engines.generation import generate_batch
from qharness.engines.likelihood import prefill_likelihood
from qharness.engines.planned import run_planned
from qharness.engines.prefixes import build_trees
from qharness.engines.stopping import StopRule
from qharness.errors import UsageError
from qharness.evaluation.cache import RequestCache, request_key
from qharness.quantization.linear import QuantizedLinear

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase

    from qharness.models.loaded import LoadedModel

DEFAULT_LENGTH = 2048
UNSET_LENGTH = 10**20
"""Tokenizers without a length report a number above it."""


@dataclass(frozen=True)
class Budgets:
    """Most tokens of one prefill pass, most slots of a decoding batch, and most of its rows."""

    prefill: int
    slots: int
    rows: int


CPU_BUDGETS = Budgets(prefill=4096, slots=24576, rows=64)
GPU_BUDGETS = Budgets(prefill=16384, slots=65536, rows=256)


class HfEngine:
    """Executes a loaded model with transformers.

    Args:
        loaded: The model.
        request: What the engine was asked for.
        budgets: Batch sizes; chosen by the device when None.
    """

    name = "hf"

    def __init__(self, loaded: LoadedModel, request: EngineRequest, budgets: Budgets | None = None) -> None:
        use_grouped_attention(loaded.model)
        self._forward = Forward(loaded.model)
        self._budgets = budgets or (CPU_BUDGETS if loaded.model.device.type == "cpu" else GPU_BUDGETS)
        self.tokenizer: PreTrainedTokenizerBase = loaded.tokenizer
        self.max_length = max_length_of(loaded.model.config, loaded.tokenizer)
        self.notice = loaded.notice
        self.identity: Mapping[str, Any] = identity_of(loaded, request)
        self._rule = StopRule(loaded.tokenizer, eos_ids(loaded))
        self._cache = RequestCache(request.cache, self.identity) if request.cache else None
        keep_weights(loaded)

    def loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations in prefill: one forward over context and continuations."""
        can_share = self._forward.window is None or self.max_length <= self._forward.window
        trees = build_trees(requests, self.max_length, share=can_share)
        plan = plan_batches(
            [len(tree.tokens) for tree in trees], self._budgets.prefill, [tree.is_chain for tree in trees]
        )
        members = [[index for place in places for index in trees[place].members] for places in plan]
        places_of = {batch[0]: places for batch, places in zip(members, plan, strict=True)}
        return run_planned(
            members,
            [request_key("prefill", *request) for request in requests],
            lambda batch: self._prefill([trees[place] for place in places_of[batch[0]]]),
            lambda fields: Likelihood(*fields),
            self._cache,
            progress,
        )
