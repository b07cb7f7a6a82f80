"""How far a model is from the unquantized one along the text that the latter writes.

The unquantized model continues each opening greedily. Its own distributions come from one prefill pass over that text;
the model under test is fed the same text token by token through its key-value cache, as it would be when it writes, so
that faults of the cache show. Until the first divergent token the model's own greedy text is the same text.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from qharness.engines.base import LikelihoodRequest
from qharness.engines.following import FollowingEngine
from qharness.errors import UsageError
from qharness.evaluation.base import Evaluation, EvaluationContext
from qharness.evaluation.openings import openings, row, scores, write_texts

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.engines.base import Engine

TASK = "divergence"
POSITIONS = ((1, 1), (2, 8), (9, 32), (33, 128), (129, 1024))
"""First and last position, counted from 1, of the groups that `kl_at` is averaged over."""
LOGITS = 1 << 28
"""Most logits of the unquantized model that are held at once."""


class Step(NamedTuple):
    """One position: divergence of the model from the baseline in nats, and whether both prefer the same token."""

    kl: float
    is_same: bool


def run_divergence(context: EvaluationContext) -> Evaluation:
    """Measure Kullback-Leibler divergence and divergent tokens along the baseline's greedy texts.

    Metrics (arXiv 2311.01544 for the divergent tokens): mean, median and 99th percentile of the divergence in nats a
    token, its mean by position, the share of positions with the same most likely token, the first divergent token
    (counted from 0; only over texts that diverge), the share of divergent tokens, and the share of the text before the
    first one.

    Raises:
        UsageError: There is no baseline, or an engine does not show its distributions.
    """
    baseline = baseline_of(context)
    engine = following(context.engine)
    chosen = openings(context)
    texts = write_texts(baseline, chosen, context, f"{TASK}: baseline")
    reference = following(baseline)
    requests = [LikelihoodRequest(o.tokens, text.tokens) for o, text in zip(chosen, texts, strict=True)]
    measured: dict[int, list[Step]] = {}
    for batch in _batches(requests, len(context.engine.tokenizer)):
        expected = [reference.path_logits(requests[i]).log_softmax(-1) for i in batch]
        measured |= dict(zip(batch, _steps(engine, [requests[i] for i in batch], expected), strict=True))
        context.progress(len(measured), len(requests), TASK)
    samples = [
        row(opening, TASK, TASK, name, value, text)
        for place, (opening, text) in enumerate(zip(chosen, texts, strict=True))
        for name, value in summary(measured[place]).items()
    ]
    results = scores(samples, context)
    context.task_done(TASK, samples, results)
    return Evaluation(samples, results)


def baseline_of(context: EvaluationContext) -> Engine:
    """Return the unquantized model of a context.

    Raises:
        UsageError: It has none.
    """
    if context.baseline is None:
        raise UsageError("This evaluator compares with the unquantized model, and there is none here.")
    return context.baseline()


def following(engine: object) -> FollowingEngine:
    """Return the engine as one that shows its distributions.

    Raises:
        UsageError: It does not.
    """
    if not isinstance(engine, FollowingEngine):
        name = getattr(engine, "name", type(engine).__name__)
        raise UsageError(f"The engine '{name}' does not show its distributions; measure this with --engine hf.")
    return engine


def summary(steps: Sequence[Step]) -> dict[str, float | None]:
    """Return the metrics of one text from its positions."""
    kl = np.array([step.kl for step in steps])
    divergent = [place for place, step in enumerate(steps) if not step.is_same]
    first = divergent[0] if divergent else len(steps)
    found: dict[str, float | None] = {
        "kl_mean": float(kl.mean()),
        "kl_median": float(np.median(kl)),
        "kl_p99": float(np.quantile(kl, 0.99)),
        "same_top1": 1 - len(divergent) / len(steps),
        "divergent_share": len(divergent) / len(steps),
        "first_divergent": float(first) if divergent else None,
        "agreement": first / len(steps),
    }
    for low, high in POSITIONS:
        here = kl[low - 1 : high]
        found[f"kl_at_{low}" if low == high else f"kl_at_{low}_{high}"] = float(here.mean()) if len(here) else None
    return found


def _batches(requests: Sequence[LikelihoodRequest], vocabulary: int) -> Iterator[list[int]]:
    """Cut the texts into batches whose baseline logits fit, the longest contexts first."""
    order = sorted(range(len(requests)), key=lambda i: (-len(requests[i].context), i))
    batch: list[int] = []
    size = 0
    for i in order:
        own = len(requests[i].continuation) * vocabulary
        if batch and size + own > LOGITS:
            yield batch
            batch, size = [], 0
        batch.append(i)
        size += own
    if batch:
        yield batch


def _steps(
    engine: FollowingEngine, requests: Sequence[LikelihoodRequest], expected: Sequence[Tensor]
) -> list[list[Step]]:
    import torch

    found: list[list[Step]] = [[] for _ in requests]
    for place, logits in enumerate(engine.follow(requests)):
        alive = [i for i, request in enumerate(requests) if place < len(request.continuation)]
        p = torch.stack([expected[i][place] for i in alive])
        q = logits[alive].log_softmax(-1).to(p.device)
        divergence = (p.exp() * (p - q)).sum(-1).clamp_min(0).tolist()
        same = (p.argmax(-1) == q.argmax(-1)).tolist()
        for i, kl, is_same in zip(alive, divergence, same, strict=True):
            found[i].append(Step(kl, is_same))
    return found
