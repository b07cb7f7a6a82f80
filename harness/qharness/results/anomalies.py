"""Signs that a score is not what it seems: things that once put wrong numbers into a published table."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from qharness.records import TaskSpec
from qharness.results.measured import Identity, Measured

FAR = 0.15
"""Difference of accuracy and length-normalised accuracy from which one of them is doubtful."""
INSTRUCT = ("instruct", "chat", "-it")


def anomalies(configurations: Sequence[Measured], tasks: Sequence[TaskSpec]) -> list[str]:
    """Return a sentence for each anomaly; tasks of one kind of anomaly share a sentence.

    Args:
        configurations: Everything that was measured.
        tasks: Tasks of the suites.
    """
    return [
        *_accuracies_apart(configurations),
        *_siblings_scored_differently(configurations, tasks),
        *_shots_apart(configurations, tasks),
        *_base_for_instruct(configurations),
        *_missing(configurations, tasks),
    ]


def _accuracies_apart(configurations: Sequence[Measured]) -> Iterable[str]:
    for measured in configurations:
        found = []
        for identity, score in measured.scores.items():
            twin = measured.scores.get(identity._replace(metric="acc_norm"))
            if identity.evaluator == "mc" and identity.metric == "acc" and twin is not None:
                gap = twin.result.value - score.result.value
                if abs(gap) > FAR:
                    found.append(f"{identity.task} ({100 * gap:+.0f} points)")
        if found:
            yield (
                f"{measured.id}: accuracy and length-normalised accuracy are far apart on {', '.join(found)}; the "
                "choices differ in length, or answers follow length and not content."
            )


def _siblings_scored_differently(configurations: Sequence[Measured], tasks: Sequence[TaskSpec]) -> Iterable[str]:
    by_name = {spec.name: spec for spec in tasks}
    measured = {identity.task for m in configurations for identity in m.scores}
    found = []
    for spec in tasks:
        sibling = by_name.get(spec.sibling or "")
        if spec.kind != "mc" or sibling is None or not {spec.name, sibling.name} <= measured or not spec.is_official:
            continue
        metrics = {"exact_match": "acc"}
        one, other = (metrics.get(s.metric, s.metric) for s in (spec, sibling))
        if one != other:
            found.append(f"{spec.dataset} ({spec.metric} and {sibling.metric})")
        elif spec.baseline != sibling.baseline and sibling.is_official:
            found.append(f"{spec.dataset} (baselines {spec.baseline} and {sibling.baseline})")
    if found:
        yield (
            "Multiple choice and generation are scored by different metrics or baselines on "
            f"{', '.join(found)}; their difference is no loss or gain."
        )


def _shots_apart(configurations: Sequence[Measured], tasks: Sequence[TaskSpec]) -> Iterable[str]:
    siblings = [(spec, spec.sibling) for spec in tasks if spec.kind == "mc" and spec.sibling]
    for measured in configurations:
        found = []
        for spec, sibling in siblings:
            mine, theirs = _shots(measured.scores, spec.name), _shots(measured.scores, sibling)
            if mine and theirs and not mine & theirs:
                found.append(f"{spec.dataset} ({_listed(mine)} and {_listed(theirs)})")
        if found:
            named = ", ".join(found)
            yield f"{measured.id}: multiple choice and generation have different numbers of examples on {named}."


def _shots(identities: Iterable[Identity], task: str | None) -> set[int]:
    return {i.num_fewshot for i in identities if i.task == task and i.evaluator in ("mc", "gen")}


def _listed(numbers: set[int]) -> str:
    return "/".join(map(str, sorted(numbers)))


def _base_for_instruct(configurations: Sequence[Measured]) -> Iterable[str]:
    models = sorted({m.cell.model for m in configurations})
    tuned = [model for model in models if any(mark in model.lower() for mark in INSTRUCT)]
    plain = [model for model in models if model not in tuned]
    if tuned and plain:
        yield (
            f"Scores of an instruction-tuned model ({', '.join(tuned)}) stand beside those of another "
            f"({', '.join(plain)}), perhaps its base model; a difference between them is not one of quantization."
        )


def _missing(configurations: Sequence[Measured], tasks: Sequence[TaskSpec]) -> Iterable[str]:
    expected = {spec.name: spec.short for spec in tasks if spec.is_official}
    present = {m.id: {i.task for i in m.scores if i.evaluator in ("mc", "gen")} for m in configurations}
    anywhere = set().union(*present.values()) if present else set()
    for config, names in present.items():
        lost = [short for name, short in expected.items() if name in anywhere and name not in names]
        if names and lost:
            named = ", ".join(lost)
            yield f"{config}: {len(lost)} tasks that others have are missing and count as 0 in averages: {named}."
