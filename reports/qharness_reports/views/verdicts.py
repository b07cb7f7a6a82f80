"""Verdict cards and the sentence that opens the report."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from qharness_reports.formats import decimal, interval, is_missing, percent, plain, size
from qharness_reports.views.configurations import Configuration, compared
from qharness_reports.views.storage import artifact_of


@dataclass(frozen=True)
class Meaning:
    """How a verdict is shown: heading, tone (a class of the style sheet) and one plain sentence."""

    title: str
    tone: str
    sentence: str


MEANINGS = {
    "healthy": Meaning("Healthy", "good", "It still ranks answers and still writes them."),
    "dissociated": Meaning("Dissociated", "split", "It still ranks answers but no longer writes them."),
    "collapsed": Meaning("Collapsed", "bad", "Both abilities are gone."),
    "cache_path_fault": Meaning("Cache-path fault", "fault", "The prefill is right, the decode cache is not."),
    "uniform_damage": Meaning("Uniform damage", "worn", "Both abilities lost ground together."),
    "inconclusive": Meaning("Inconclusive", "open", "The evidence does not decide."),
}  # fmt: skip


@dataclass(frozen=True)
class Gauge:
    """A retention as a bar: position and interval in percent of the bar's width (100 = baseline)."""

    name: str
    kind: str
    text: str
    bounds: str
    at: float
    low: float
    high: float


@dataclass(frozen=True)
class Card:
    """Everything the first screen says about one configuration."""

    config: Configuration
    title: str
    tone: str
    meaning: str
    reason: str
    evidence: str
    gauges: tuple[Gauge, ...]
    stored_bpw: str
    model_bpw: str
    size: str
    details: tuple[tuple[str, str], ...]


def meaning_of(verdict: str) -> Meaning:
    """Return how a verdict is shown; verdicts this version does not know keep their own name."""
    return MEANINGS.get(verdict) or Meaning(verdict.replace("_", " ").capitalize() or "No verdict", "open", "")


def cards(comparison: Mapping[str, Any]) -> list[Card]:
    """Return one card for each configuration but the baseline."""
    verdicts = {row["config"]: row for row in comparison.get("verdicts", ())}
    made = []
    for config in compared(comparison):
        row = verdicts.get(config.id, {})
        summary = comparison.get("summary", {}).get(config.id) or {}
        meaning = meaning_of(row.get("verdict", ""))
        artifact = artifact_of(comparison, config)
        made.append(
            Card(
                config=config,
                title=meaning.title,
                tone=meaning.tone,
                meaning=meaning.sentence,
                reason=str(row.get("evidence", {}).get("reason", "")),
                evidence=evidence_sentence(summary, _baseline_degenerate(comparison)),
                gauges=tuple(_gauge(summary, kind) for kind in ("mc", "gen")),
                stored_bpw=decimal(artifact.get("stored_bpw"), 2),
                model_bpw=decimal(artifact.get("model_bpw"), 2),
                size=size(artifact.get("size_bytes")),
                details=_details(row.get("evidence", {})),
            )
        )
    return made


def _details(evidence: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    """Return the evidence but its sentence, which is shown above, and the data sets, which have their own figure."""
    shown = {key: value for key, value in evidence.items() if key not in ("reason", "sets") and value is not None}
    rules = shown.get("rules_that_hold")
    if isinstance(rules, Mapping):
        shown["rules_that_hold"] = [name.replace("_", " ") for name, holds in rules.items() if holds]
    return tuple((key.replace("_", " "), plain(value)) for key, value in shown.items())


def _gauge(summary: Mapping[str, Any], kind: str) -> Gauge:
    value, low, high = (summary.get(f"r_{kind}{suffix}") for suffix in ("", "_low", "_high"))
    at = 0.0 if is_missing(value) else min(100.0, max(0.0, value * 100))  # type: ignore[operator]
    known = not is_missing(low) and not is_missing(high)
    return Gauge(
        name="Multiple choice" if kind == "mc" else "Generation",
        kind=kind,
        text=percent(value),
        bounds=interval(low, high),
        at=round(at, 1),
        low=round(min(100.0, max(0.0, low * 100)), 1) if known else at,  # type: ignore[operator]
        high=round(min(100.0, max(0.0, high * 100)), 1) if known else at,  # type: ignore[operator]
    )


def _baseline_degenerate(comparison: Mapping[str, Any]) -> float | None:
    for row in comparison["configurations"]:
        if row["is_baseline"]:
            metrics = (comparison.get("free", {}).get(row["id"]) or {}).get("metrics") or {}
            rate: float | None = metrics.get("degenerate")
            return rate
    return None


def evidence_sentence(summary: Mapping[str, Any], baseline_degenerate: float | None) -> str:
    """Return the numbers behind a verdict as one sentence; numbers that are missing are left out."""
    parts = []
    if not is_missing(summary.get("index")):
        bounds = interval(summary.get("index_low"), summary.get("index_high"), scale=1, digits=2)
        parts.append(f"dissociation index {decimal(summary['index'], 2)} {bounds}".rstrip())
    if not is_missing(summary.get("degenerate_rate")):
        before = "" if is_missing(baseline_degenerate) else f" (baseline {percent(baseline_degenerate)})"
        parts.append(f"{percent(summary['degenerate_rate'])} of free texts degenerate{before}")
    if not is_missing(summary.get("decode_agreement")):
        parts.append(f"decode path agrees with the prefill on {percent(summary['decode_agreement'], 1)} of choices")
    sentence = "; ".join(parts)
    return f"{sentence[:1].upper()}{sentence[1:]}." if parts else "No evidence was measured."


def headline(comparison: Mapping[str, Any]) -> str:
    """Return the result of the whole run in one sentence."""
    shown: Sequence[Card] = cards(comparison)
    if not shown:
        return "Only the unquantized baseline was measured."
    if len(shown) == 1:
        return _single(shown[0])
    counts = Counter(card.title.lower() for card in shown)
    listed = ", ".join(f"{number} {name}" for name, number in counts.most_common())
    return f"{len(shown)} quantized configurations: {listed}."


def _single(card: Card) -> str:
    mc, gen = card.gauges
    bits = "" if card.stored_bpw == "–" else f" at {card.stored_bpw} stored bits per weight"
    kept = f"keeps {mc.text} of multiple choice and {gen.text} of generation"
    return f"{card.config.label}{bits} {kept}: {card.title.lower()}."
