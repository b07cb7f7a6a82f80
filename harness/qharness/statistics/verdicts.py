"""Verdicts: what happened to a model, by rules in one table that every output prints.

The rules are tested in the order of `RULES`; the first that holds is the verdict. Bounds are those of
95 % intervals. "Healthy" needs proof; the absence of a significant difference is not one.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from qharness.statistics.evidence import Evidence
from qharness.statistics.intervals import Interval

GONE = 0.3
"""Upper bound of a retention below which an ability is gone."""
KEPT = 0.5
"""Lower bound of the retention in multiple choice above which it is kept."""
HEALTHY = 0.9
"""Lower bound of both retentions from which a model is healthy."""
DISSOCIATED = 0.2
"""Lower bound of the dissociation index above which choosing and writing have come apart."""
DOCUMENTS = 60
"""Fewest documents for any verdict. If none of n documents changed, up to 3/n may (rule of three), which at a usual
advantage of one half is 6/n of the retention, and no bootstrap shows it: at 60 documents that is 0.1."""
AGREEMENT = 0.9
"""Upper bound of the share of equal choices in prefill and decode path below which the cache path is at fault."""
GAP = 0.1
"""Mean difference of log-likelihoods between the two paths, nats per token, above which they differ in earnest.
Reordered sums give about 1e-5 in float32 and up to about 0.03 in bfloat16."""


@dataclass(frozen=True)
class Rule:
    """One verdict.

    Attributes:
        name: The verdict.
        condition: When it holds, in words.
        thresholds: The numbers in the condition.
        reason: Returns one sentence with the figures if it holds, else None.
    """

    name: str
    condition: str
    thresholds: Mapping[str, float]
    reason: Callable[[Evidence], str | None]


@dataclass(frozen=True)
class Judgement:
    """A verdict, one sentence why, and the evidence as plain data."""

    verdict: str
    reason: str
    evidence: dict[str, Any]


def judge(evidence: Evidence) -> Judgement:
    """Return the first verdict whose rule holds."""
    reasons = [rule.reason(evidence) for rule in RULES]
    rule, reason = next((rule, reason) for rule, reason in zip(RULES, reasons, strict=True) if reason is not None)
    tested = {rule.name: reason is not None for rule, reason in zip(RULES, reasons, strict=True)}
    return Judgement(rule.name, reason, {"reason": reason, "rules_that_hold": tested, **evidence.plain()})


def rule_table() -> list[dict[str, Any]]:
    """Return the rules as plain data, in the order in which they are tested."""
    return [{"name": r.name, "condition": r.condition, "thresholds": dict(r.thresholds)} for r in RULES]


def _inconclusive(e: Evidence) -> str | None:
    if e.r_mc is None:
        measured = any(row.documents for row in e.sets)
        if measured:
            return (
                f"On none of {len(e.sets)} data sets does the unquantized model beat the best constant answer with "
                "confidence, so nothing can be seen to be lost; use a better model or more documents."
            )
        return "Multiple choice was not measured on any data set that also has written answers."
    if e.documents < DOCUMENTS:
        return f"The data sets that can tell have {e.documents} documents; it takes at least {DOCUMENTS}."
    if any(reason(e) for reason in (_cache_path_fault, _collapsed, _dissociated, _healthy)):
        return None
    if e.r_gen is None:
        return "No written answers were measured, so generation cannot be judged."
    for name, r in (("multiple choice", e.r_mc), ("generation", e.r_gen)):
        if r.low < GONE and r.high >= HEALTHY:
            needed = _needed(e.documents, r.width, HEALTHY - GONE)
            return f"The retention in {name} is {_show(r)}, anything from gone to healthy; {_remedy(e, needed)}."
    if e.r_mc.high < 1 or e.r_gen.high < 1:
        return None
    needed = max(_needed_to_decide(e.documents, r) for r in (e.r_mc, e.r_gen))
    return (
        f"Neither damage nor health is shown: retention {_show(e.r_mc)} in multiple choice and {_show(e.r_gen)} in "
        f"generation; {_remedy(e, needed)}."
    )


def _cache_path_fault(e: Evidence) -> str | None:
    if e.decode is None or e.r_mc is None or e.r_mc.low <= KEPT:
        return None
    if e.decode.share.high < AGREEMENT and e.decode.gap > GAP:
        return (
            f"Multiple choice in prefill is kept (retention {_show(e.r_mc)}), but through the decode cache only "
            f"{_percent(e.decode.share)} of the choices are the same and log-likelihoods differ by "
            f"{e.decode.gap:.2f} nats per token."
        )
    return None


def _collapsed(e: Evidence) -> str | None:
    if e.r_mc is None or e.r_mc.high >= GONE:
        return None
    if e.r_gen is not None and e.r_gen.high < GONE:
        return (
            f"Both abilities are gone: retention {_show(e.r_mc)} in multiple choice and {_show(e.r_gen)} in generation."
        )
    if e.is_degenerate and e.free is not None:
        return (
            f"Multiple choice is gone (retention {_show(e.r_mc)}) and free generation is degenerate "
            f"({_percent(e.free.rate)} of the texts)."
        )
    return None


def _dissociated(e: Evidence) -> str | None:
    if e.r_mc is None or e.r_mc.low <= KEPT:
        return None
    if e.index is not None and e.r_gen is not None and e.index.low > DISSOCIATED:
        return (
            f"Multiple choice is kept (retention {_show(e.r_mc)}) while generation is lost ({_show(e.r_gen)}): "
            f"index {_show(e.index)}."
        )
    if e.is_degenerate and e.free is not None and e.free_baseline is not None:
        return (
            f"Multiple choice is kept (retention {_show(e.r_mc)}) while free generation is degenerate in "
            f"{_percent(e.free.rate)} of the texts, against {_percent(e.free_baseline.rate)} of the baseline's."
        )
    return None


def _healthy(e: Evidence) -> str | None:
    if e.r_mc is None or e.r_gen is None or e.is_degenerate or min(e.r_mc.low, e.r_gen.low) < HEALTHY:
        return None
    return f"Retention is {_show(e.r_mc)} in multiple choice and {_show(e.r_gen)} in generation."


def _uniform_damage(e: Evidence) -> str:
    if e.r_mc is None or e.r_gen is None:
        return "No other rule holds."
    if e.index is None:
        remark = ""
    elif e.index.low > DISSOCIATED:
        remark = f", index {_show(e.index)}; generation suffers more, but multiple choice is not kept either"
    elif e.index.high > DISSOCIATED:
        remark = f", index {_show(e.index)}; a dissociation above {DISSOCIATED} is neither shown nor excluded"
    else:
        remark = f", index {_show(e.index)}"
    return (
        f"Damaged, but neither collapsed nor dissociated: retention {_show(e.r_mc)} in multiple choice and "
        f"{_show(e.r_gen)} in generation{remark}."
    )


RULES: tuple[Rule, ...] = (
    Rule(
        "inconclusive",
        "the baseline is at chance on every data set, or the others have fewer than `documents` documents; or no fault "
        "below and no health is shown, and multiple choice or generation was not measured, or a retention may be "
        "anything from gone to healthy (lower bound below `gone`, upper bound at least `healthy`), or no damage is "
        "shown (both upper bounds at least 1)",
        {"documents": DOCUMENTS, "gone": GONE, "healthy": HEALTHY},
        _inconclusive,
    ),
    Rule(
        "cache_path_fault",
        "multiple choice in prefill is kept (lower bound of its retention above `kept`), but the same log-likelihoods "
        "through the decode cache are not: upper bound of the share of equal choices below `agreement` and mean "
        "difference above `gap` nats per token",
        {"kept": KEPT, "agreement": AGREEMENT, "gap": GAP},
        _cache_path_fault,
    ),
    Rule(
        "collapsed",
        "upper bounds of both retentions below `gone`; or that of multiple choice, and free generation is degenerate "
        "(the 95 % interval of its rate lies above the baseline's)",
        {"gone": GONE},
        _collapsed,
    ),
    Rule(
        "dissociated",
        "multiple choice is kept (lower bound of its retention above `kept`), and either the lower bound of the "
        "dissociation index is above `index` or free generation is degenerate against the baseline's own rate",
        {"kept": KEPT, "index": DISSOCIATED},
        _dissociated,
    ),
    Rule("healthy", "lower bounds of both retentions at least `healthy`", {"healthy": HEALTHY}, _healthy),
    Rule("uniform_damage", "none of the above", {}, _uniform_damage),
)


def _remedy(e: Evidence, needed: int) -> str:
    """Return what would narrow the intervals; with few quantizations it is their variance that is unknown."""
    if e.quantizations > 1:
        return f"it takes more quantizations than {e.quantizations}, or more documents than {e.documents}"
    return f"it takes about {needed} documents in place of {e.documents}"


def _needed(documents: int, width: float, target: float) -> int:
    return math.ceil(documents * (width / target) ** 2)


def _needed_to_decide(documents: int, r: Interval) -> int:
    """Documents at which the interval, shrinking with the root of n, would exclude 1 or stay above `HEALTHY`."""
    if r.low >= HEALTHY or r.high < 1:
        return documents
    options = []
    if r.estimate > HEALTHY:
        options.append((r.estimate - r.low) / (r.estimate - HEALTHY))
    if r.estimate < 1:
        options.append((r.high - r.estimate) / (1 - r.estimate))
    return math.ceil(documents * min(options) ** 2)


def _show(interval: Interval) -> str:
    return f"{interval.estimate:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _percent(interval: Interval) -> str:
    return f"{100 * interval.estimate:.0f} % [{100 * interval.low:.0f}, {100 * interval.high:.0f}]"
