"""Evidence for a verdict, gathered from the documents of a configuration and its baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from qharness.records import TaskSpec
from qharness.results.measured import Documents, Measured, Measurement
from qharness.results.pairing import pair_documents, pair_prompts
from qharness.results.shape import RetentionRow
from qharness.results.task_rows import Protocol
from qharness.statistics.dissociation import Dissociation, PairedSet, SetRetention, dissociation
from qharness.statistics.evidence import DecodeAgreement, Degeneration, Evidence
from qharness.statistics.retention import Side, side

DEGENERATE = "degenerate"
"""Metric of the evaluators `collapse` and `free` that is 1 for a degenerate text."""
JUDGES = ("collapse", "free")
"""Who judges free texts: the first that judged both models. `collapse` sees word salad, `free` only loops."""


@dataclass(frozen=True)
class Gathered:
    """The evidence, the retention rows of the report, and what could not be paired."""

    evidence: Evidence
    retention: list[RetentionRow]
    warnings: list[str]


@dataclass(frozen=True)
class _Set:
    spec: TaskSpec
    paired: PairedSet
    unpaired: int


@dataclass(frozen=True)
class _Pair:
    """Documents of baseline and candidate, in one order."""

    baseline: Documents
    candidate: Documents

    def side(self) -> Side:
        return side(self.baseline.value, self.candidate.value, [str(gold) for gold in self.baseline.gold])


def gather(measured: Measured, baseline: Measured, tasks: Sequence[TaskSpec], protocol: Protocol | None) -> Gathered:
    """Gather the evidence about one configuration.

    Args:
        measured: The configuration.
        baseline: The unquantized model.
        tasks: Tasks and companions of the suite; those with a text-answer variant give the retentions.
        protocol: Few-shot count, data and template that the evidence is taken from.
    """
    sets, warnings = [], []
    by_name = {spec.name: spec for spec in tasks}
    for spec in tasks:
        text = by_name.get(spec.paired or "")
        if spec.kind == "mc" and spec.paired:
            found = _paired_set(spec, text, measured, baseline, protocol)
            if found is None:
                continue
            if not found.paired.documents:
                warnings.append(f"{spec.dataset}: multiple choice and written answers have no document in common.")
            sets.append(found)
    filled = [s for s in sets if s.paired.documents]
    result = dissociation([s.paired for s in filled])
    free = _free(measured, baseline)
    evidence = Evidence(
        r_mc=result.r_mc,
        r_gen=result.r_gen,
        index=result.index,
        documents=result.documents,
        sets=result.sets,
        decode=decode_agreement(measured, tasks, protocol),
        free=free[0],
        free_baseline=free[1],
        scores={**_open_answers(measured, baseline, tasks, protocol), **_distances(measured)},
    )
    return Gathered(evidence, _rows(filled, result), warnings)


def decode_agreement(
    measured: Measured, tasks: Sequence[TaskSpec], protocol: Protocol | None
) -> DecodeAgreement | None:
    """Compare the choices and log-likelihoods of prefill and decode path on the same prompts."""
    documents = agreeing = tokens = 0
    gap = 0.0
    for spec in tasks:
        prefill = _score(measured, "mc", spec.name, "acc", protocol)
        decode = _score(measured, "decode_ll", spec.name, "acc", protocol)
        if prefill is None or decode is None:
            continue
        pairs = pair_prompts(prefill.documents, decode.documents)
        for i in range(len(pairs)):
            a, b = pairs.first.choice_logprobs[i], pairs.second.choice_logprobs[i]
            if not a or len(a) != len(b):
                continue
            documents += 1
            agreeing += int(np.argmax(a) == np.argmax(b))
            gap += float(np.abs(np.subtract(a, b)).sum())
            tokens += max(int(pairs.first.tokens[i]), len(a))
    return DecodeAgreement(documents, agreeing, gap / tokens) if documents else None


def _free(measured: Measured, baseline: Measured) -> tuple[Degeneration | None, Degeneration | None]:
    pairs = [(degeneration(measured, judge), degeneration(baseline, judge)) for judge in JUDGES]
    return next((pair for pair in pairs if None not in pair), (degeneration(measured), degeneration(baseline)))


def _distances(measured: Measured) -> dict[str, Any]:
    """Means of the divergence from the baseline along its texts, and perplexities with their protocol."""
    found = {score.identity.metric: score.result.value for score in measured.of("divergence")}
    texts = {
        f"{score.identity.task}, {score.identity.filter}": score.result.value
        for score in measured.of("perplexity")
        if score.identity.metric == "perplexity"
    }
    return {name: values for name, values in (("divergence", found), ("perplexity", texts)) if values}


def degeneration(measured: Measured, judge: str | None = None) -> Degeneration | None:
    """Count the degenerate texts of free generation, as one judge saw them or the first that did."""
    texts = degenerate = 0
    judges = (judge,) if judge else tuple(name for name in JUDGES if measured.of(name))[:1]
    for score in (score for name in judges for score in measured.of(name)):
        if score.identity.metric == DEGENERATE:
            texts += len(score.documents)
            degenerate += int(np.nansum(score.documents.value))
    return Degeneration(texts, degenerate) if texts else None


def _paired_set(
    spec: TaskSpec, text: TaskSpec | None, measured: Measured, baseline: Measured, protocol: Protocol | None
) -> _Set | None:
    mc = _common(measured, baseline, "mc", spec.name, "acc", "none", protocol)
    gen = _common(measured, baseline, "gen", text.name, text.metric, text.filter, protocol) if text else None
    if mc is None and gen is None:
        return None
    unpaired = 0
    if mc and gen:
        pairs = pair_documents(mc.baseline, gen.baseline)
        unpaired = pairs.unpaired
        # Baseline and candidate are already in one order, so the index of one is that of the other.
        others = pair_documents(mc.candidate, gen.candidate)
        mc, gen = _Pair(pairs.first, others.first), _Pair(pairs.second, others.second)
    either = mc or gen
    if either is None or not len(either.baseline):
        return _Set(spec, PairedSet(spec.dataset, None, None), unpaired)
    clusters = tuple(str(key) for key in either.baseline.cluster) if spec.cluster else None
    paired = PairedSet(spec.dataset, mc.side() if mc else None, gen.side() if gen else None, clusters)
    return _Set(spec, paired, unpaired)


def _common(
    measured: Measured,
    baseline: Measured,
    evaluator: str,
    task: str,
    metric: str,
    filter: str,
    protocol: Protocol | None,
) -> _Pair | None:
    mine, theirs = (_score(m, evaluator, task, metric, protocol, filter) for m in (measured, baseline))
    if mine is None or theirs is None:
        return None
    pairs = pair_prompts(theirs.documents, mine.documents)
    return _Pair(pairs.first, pairs.second)


def _score(
    measured: Measured, evaluator: str, task: str, metric: str, protocol: Protocol | None, filter: str = "none"
) -> Measurement | None:
    for score in measured.of(evaluator, task):
        identity = score.identity
        if (identity.metric, identity.filter) == (metric, filter) and (protocol is None or protocol.holds(identity)):
            return score
    return None


def _open_answers(
    measured: Measured, baseline: Measured, tasks: Sequence[TaskSpec], protocol: Protocol | None
) -> dict[str, Any]:
    """Scores of the open questions: generative tasks without a sibling."""
    scores = {}
    for spec in tasks:
        if spec.kind != "gen" or spec.sibling or not spec.is_official:
            continue
        mine, theirs = (_score(m, "gen", spec.name, spec.metric, protocol, spec.filter) for m in (measured, baseline))
        if mine and theirs:
            constant = theirs.result.constant
            scores[spec.short] = {
                "value": mine.result.value,
                "baseline": theirs.result.value,
                "no_evidence": constant is not None and mine.result.value <= constant,
            }
    return scores


def _rows(sets: Sequence[_Set], result: Dissociation) -> list[RetentionRow]:
    return [_row(one, retained) for one, retained in zip(sets, result.sets, strict=True)]


def _row(one: _Set, retained: SetRetention) -> RetentionRow:
    mc, gen = one.paired.mc, one.paired.gen
    return {
        "dataset": retained.name,
        "mc": retained.mc.estimate if retained.mc else None,
        "mc_low": retained.mc.low if retained.mc else None,
        "mc_high": retained.mc.high if retained.mc else None,
        "gen": retained.gen.estimate if retained.gen else None,
        "gen_low": retained.gen.low if retained.gen else None,
        "gen_high": retained.gen.high if retained.gen else None,
        "included": retained.is_included,
        "n": retained.documents,
        "unpaired": one.unpaired,
        "mc_value": _mean(mc.candidate) if mc else None,
        "gen_value": _mean(gen.candidate) if gen else None,
        "mc_baseline": _mean(mc.baseline) if mc else None,
        "gen_baseline": _mean(gen.baseline) if gen else None,
        "mc_constant": _constant(mc) if mc else None,
        "gen_constant": _constant(gen) if gen else None,
    }


def _mean(values: Any) -> float:
    return float(np.mean(values))


def _constant(data: Side) -> float:
    return float(data.constants(data.columns().sum(axis=0, keepdims=True))[0])
