"""One configuration against the baseline on one task."""

from __future__ import annotations

import math

import numpy as np

from qharness.records import TaskSpec
from qharness.results.measured import Documents, Measurement
from qharness.results.pairing import Paired, pair_prompts
from qharness.results.scorer import Scorer
from qharness.results.shape import TaskCell
from qharness.statistics.bootstrap import Floats, bootstrap_p, percentile_interval, resample
from qharness.statistics.flips import flips
from qharness.statistics.intervals import normal_quantile
from qharness.statistics.mcnemar import mcnemar
from qharness.statistics.permutation import sign_flip
from qharness.statistics.power import detectable_clustered, detectable_difference


def empty_cell(reason: str | None) -> TaskCell:
    """Return the cell of something that was not measured."""
    return {
        "value": None, "stderr": None, "normalized": None, "invalid_rate": None, "answer_token": None,
        "n": 0, "n_paired": 0, "delta": None, "low": None, "high": None, "p": None, "p_holm": None, "test": "",
        "mde": None, "flips": None, "changed": None, "no_evidence": False, "failed": reason,
    }  # fmt: skip


def score_cell(measurement: Measurement, constant: float | None) -> TaskCell:
    """Return the cell of a score without a comparison."""
    result = measurement.result
    cell = empty_cell(None)
    cell["value"], cell["stderr"], cell["normalized"] = result.value, result.stderr, result.normalized
    cell["invalid_rate"], cell["answer_token"], cell["n"] = result.invalid_rate, result.answer_token, result.n
    cell["no_evidence"] = constant is not None and result.value <= constant
    return cell


def compare_cell(
    measurement: Measurement, baseline: Measurement, spec: TaskSpec, scorer: Scorer | None, constant: float | None
) -> TaskCell:
    """Return the cell of a score with its difference to the baseline on the documents both have.

    Args:
        measurement: The configuration's score.
        baseline: The baseline's score, of the same identity.
        spec: The task; its `cluster` decides which test is right.
        scorer: How the score follows from documents, or None if unknown: then only flips are given.
        constant: Best constant predictor.
    """
    cell = score_cell(measurement, constant)
    pairs = pair_prompts(baseline.documents, measurement.documents)
    cell["n_paired"] = len(pairs)
    if not len(pairs):
        return cell
    before, after = right(pairs.first), right(pairs.second)
    if before is not None and after is not None:
        changes = flips(before, after, list(pairs.first.prediction), list(pairs.second.prediction))
        cell["flips"], cell["changed"] = changes.flips, changes.changed
    if scorer is not None:
        _test(cell, pairs, spec, scorer)
    return cell


def right(documents: Documents) -> Floats | None:
    """Return right or wrong for each document, by its 0/1 value or by label; None for graded values."""
    if np.isfinite(documents.value).all():
        return documents.value if np.isin(documents.value, (0.0, 1.0)).all() else None
    return (documents.gold == documents.prediction).astype(np.float64)


def _test(cell: TaskCell, pairs: Paired, spec: TaskSpec, scorer: Scorer) -> None:
    clusters = pairs.first.cluster.astype(str) if spec.cluster else None
    first, second = scorer.columns(pairs.first), scorer.columns(pairs.second)
    width = first.shape[1]
    sums = resample(np.concatenate([first, second], axis=1), clusters)

    def difference(s: Floats) -> Floats:
        return scorer.score(s[:, width:]) - scorer.score(s[:, :width])

    drawn = difference(sums.drawn)
    interval = percentile_interval(float(difference(sums.observed)[0]), drawn)
    cell["delta"], cell["low"], cell["high"] = interval.estimate, interval.low, interval.high
    if cell["stderr"] is None:
        cell["stderr"] = float(scorer.score(sums.drawn[:, width:]).std(ddof=1))
    before, after = pairs.first.value, pairs.second.value
    is_binary = scorer.name == "mean" and np.isin(before, (0.0, 1.0)).all() and np.isin(after, (0.0, 1.0)).all()
    if not is_binary:
        cell["test"], cell["p"] = "paired clustered bootstrap", bootstrap_p(drawn)
        deviation = float(drawn.std(ddof=1))
        if deviation > 0 and math.isfinite(deviation):
            cell["mde"] = min(1.0, (normal_quantile(0.975) + normal_quantile(0.8)) * deviation)
    elif clusters is None:
        outcome = mcnemar(before, after)
        cell["test"], cell["p"] = "exact McNemar", outcome.p
        cell["mde"] = detectable_difference(outcome.n, outcome.lost + outcome.gained)
    else:
        cell["test"], cell["p"] = "cluster sign-flip permutation", sign_flip(after - before, clusters).p
        cell["mde"] = detectable_clustered(after - before, clusters)
