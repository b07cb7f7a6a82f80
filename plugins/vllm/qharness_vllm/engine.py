"""The vLLM engine."""

from __future__ import annotations

import gc
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from qharness import __version__
from qharness.engines.base import EngineRequest, Generation, GenerationRequest, Likelihood, LikelihoodRequest, Progress
from qharness.engines.batching import plan_batches
from qharness.engines.decode_likelihood import TAIL
from qharness.engines.hf import max_length_of
from qharness.engines.planned import Batch, run_planned
from qharness.engines.prefixes import PrefixTree, build_trees
from qharness.engines.stopping import StopRule
from qharness.errors import UsageError
from qharness.evaluation.cache import RequestCache, request_key
from qharness.serving.base import REFERENCE
from qharness.serving.model import check_switch
from qharness_vllm.starting import check_device, check_installed, prepare_environment, start

if TYPE_CHECKING:
    from transformers import PretrainedConfig, PreTrainedTokenizerBase
    from vllm import LLM
    from vllm.config import VllmConfig

    from qharness_vllm.serving import Served

ROWS = {"cpu": 256, "cuda": 2048}
"""Most requests of a batch, after which answers are stored; vLLM itself decides which of them go together."""
TOKENS = 1 << 22
"""Most tokens of a batch."""


class VllmEngine:
    """Executes a model in vLLM, in this process.

    Args:
        llm: vLLM with the model.
        served: The model.
        request: What the engine was asked for.
        config: Configuration of the model.
        eos: Ids that end a text.
        cache: vLLM's name of its key-value cache.
    """

    name = "vllm"

    def __init__(
        self,
        llm: LLM,
        served: Served,
        request: EngineRequest,
        config: PretrainedConfig,
        eos: frozenset[int],
        cache: str,
    ) -> None:
        from qharness_vllm.session import Session

        self._llm, self._served = llm, served
        self._session = Session(llm)
        self._rows = ROWS[request.device.partition(":")[0]]
        self.tokenizer: PreTrainedTokenizerBase = served.tokenizer
        self.max_length = max_length_of(config, served.tokenizer)
        self.notice = served.notice
        settings = llm.llm_engine.vllm_config
        self.kernels: Sequence[Mapping[str, Any]] = getattr(settings.quant_config, "kernels", None) or ()
        self.identity: Mapping[str, Any] = identity_of(settings, served, request, cache)
        by_name = {f"{row['part']} of {row['modules']}": row["kernel"] for row in self.kernels}
        if set(by_name.values()) - {REFERENCE}:
            self.identity = {**self.identity, "served": by_name}
        self._rule = StopRule(served.tokenizer, eos)
        self._cache = RequestCache(request.cache, self.identity) if request.cache else None

    def loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations in prefill."""
        from qharness_vllm.scoring import prefill_likelihood

        return self._score(requests, prefill_likelihood, "prefill", progress)

    def decode_loglikelihood(self, requests: Sequence[LikelihoodRequest], progress: Progress) -> list[Likelihood]:
        """Score continuations with the last 16 context tokens and the continuation fed one by one through the cache."""
        from qharness_vllm.scoring import decode_likelihood

        return self._score(requests, decode_likelihood, f"decode-{TAIL}", progress)

    def generate(self, requests: Sequence[GenerationRequest], progress: Progress) -> list[Generation]:
        """Generate continuations; prompts lose tokens on the left until prompt and continuation fit the model."""
        from qharness_vllm.generating import generate

        fitted = [fit(request, self.max_length) for request in requests]
        lengths = [len(request.prompt) + request.max_new_tokens for request in fitted]
        plan = plan_batches(lengths, TOKENS, most=self._rows)

        def compute(members: Sequence[int]) -> dict[int, Generation]:
            answers = generate(self._session, self._rule, [fitted[index] for index in members])
            return dict(zip(members, answers, strict=True))

        return run_planned(
            [Batch(members, partial(compute, members)) for members in plan],
            [request_key("generate", *request) for request in fitted],
            lambda text, tokens, finish: Generation(text, tuple(tokens), finish),
            self._cache,
            progress,
        )

    def close(self) -> None:
        """Free the model."""
        self._llm.llm_engine.engine_core.shutdown()
        del self._llm, self._session
        if self._served.temporary is not None:
            self._served.temporary.cleanup()
        gc.collect()

    def _score(
        self,
        requests: Sequence[LikelihoodRequest],
        compute: Callable[..., dict[int, Likelihood]],
        path: str,
        progress: Progress,
    ) -> list[Likelihood]:
        trees = build_trees(requests, self.max_length)
        lengths = [len(tree.tokens) for tree in trees]
        plan = plan_batches(lengths, TOKENS, [tree.is_bare for tree in trees], self._rows)
        groups: list[list[PrefixTree]] = [[trees[place] for place in places] for places in plan]
        batches = [
            Batch([i for tree in group for i in tree.members], partial(compute, self._session, group))
            for group in groups
        ]
        keys = [request_key(path, *request) for request in requests]
        return run_planned(batches, keys, Likelihood, self._cache, progress)


def fit(request: GenerationRequest, length: int) -> GenerationRequest:
    """Return a request whose prompt and continuation fit a model of that maximum length.

    Raises:
        UsageError: There is no prompt, or no room for one.
    """
    room = length - request.max_new_tokens
    if room < 1 or not request.prompt:
        raise UsageError(
            f"A generation request needs a prompt and fewer than {length} new tokens, the model's maximum "
            f"length; it has {len(request.prompt)} and {request.max_new_tokens}."
        )
    return request._replace(prompt=request.prompt[-room:])


def create(request: EngineRequest) -> VllmEngine:
    """Load the referenced model or artifact into vLLM.

    Raises:
        PluginError: vLLM is not installed.
        UsageError: The request names something that vLLM cannot do; a row must never be stamped with it.
        MissingTransform: A required transform cannot be attached.
        QharnessError: The reference cannot be loaded.
    """
    check_installed()
    check_switch(request.kernels, request.device)
    prepare_environment()
    from transformers import AutoConfig

    from qharness_vllm.cache import cache_for
    from qharness_vllm.quantization import SETTINGS, using_host
    from qharness_vllm.registration import register
    from qharness_vllm.serving import serve

    device = check_device(request.device)
    cache = cache_for(device, request.kv_bits, request.kv_prefill)
    register()
    served = serve(request)
    config = AutoConfig.from_pretrained(served.folder, local_files_only=True)
    with using_host(request.host):
        llm = start(
            served.folder,
            config,
            dtype=request.dtype,
            device=device,
            length=max_length_of(config, served.tokenizer),
            cache=cache,
            settings={SETTINGS: {"ablate": list(request.ablate), "kernels": request.kernels}},
        )
    return VllmEngine(llm, served, request, config, eos_of(served, config), cache)


def eos_of(served: Served, config: PretrainedConfig) -> frozenset[int]:
    """Return the ids that end a text, from the model's generation configuration as transformers' generate does."""
    from transformers import GenerationConfig

    if (served.folder / "generation_config.json").is_file():
        found = GenerationConfig.from_pretrained(served.folder, local_files_only=True).eos_token_id
    else:
        found = GenerationConfig.from_model_config(config).eos_token_id
    if found is None:
        return frozenset()
    return frozenset(found if isinstance(found, list) else [found])


def identity_of(settings: VllmConfig, served: Served, request: EngineRequest, cache: str) -> dict[str, Any]:
    """Return everything about model and engine that can change an answer, JSON-able."""
    from qharness_vllm.quantization import ArtifactConfig

    found = settings.quant_config
    skeleton = found.skeleton if isinstance(found, ArtifactConfig) else None
    outcome = skeleton.outcome if skeleton is not None else None
    packages = ("torch", "transformers")
    return {
        "engine": VllmEngine.name,
        "digest": served.digest,
        "ablation": sorted(outcome.ablated) if outcome else [],
        "transforms": sorted(attached.entry.id for attached in outcome.attached) if outcome else [],
        "dtype": str(settings.model_config.dtype).removeprefix("torch."),
        "device": request.device.partition(":")[0],
        "kernels": request.kernels,
        "kv_bits": request.kv_bits,
        "kv_cache": cache,
        "versions": {"qharness": __version__, "vllm": _vllm_version(), **{name: version(name) for name in packages}},
    }


def _vllm_version() -> str:
    import vllm

    return str(vllm.__version__)
