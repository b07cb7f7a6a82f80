"""The comparison: everything that a report shows, derived from the stored samples alone."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, cast

from qharness.records import Suite, TaskSpec
from qharness.results.anomalies import anomalies
from qharness.results.answers import answers
from qharness.results.directory import RunDirectory
from qharness.results.free_texts import free_text
from qharness.results.gathering import Gathered, decode_agreement, degeneration, gather
from qharness.results.identity import labels
from qharness.results.kernels import kernel_rows
from qharness.results.measured import Measured, baseline_of, collect
from qharness.results.schema import Verdict
from qharness.results.seeds import pooled_seeds
from qharness.results.shape import (
    Averages,
    Comparison,
    Configuration,
    MatrixRow,
    RetentionRow,
    RuleRow,
    Summary,
    TaskRow,
    VerdictRow,
)
from qharness.results.task_rows import Protocol, main_protocol, task_rows
from qharness.statistics.evidence import Evidence
from qharness.statistics.verdicts import judge, rule_table


def compare(runs: Sequence[RunDirectory], suite: Suite | Sequence[Suite]) -> Comparison:
    """Compare every configuration of the runs with its baseline.

    Scores stand in one row only if metric, filter, few-shot count, data and template agree; documents are paired
    only if their prompts are equal. Everything else is shown apart and named in `warnings`.

    Args:
        runs: One or more runs, finished or not.
        suite: The suite or suites whose tasks are compared.

    Returns:
        Plain data that JSON can hold, see `qharness.results.shape`.
    """
    suites = (suite,) if isinstance(suite, Suite) else tuple(suite)
    official, tasks = _tasks(suites)
    configurations = collect(runs)
    baselines = {m.id: baseline_of(m, configurations) for m in configurations}
    protocol = main_protocol(configurations, tasks)
    rows = task_rows(configurations, baselines, tasks, protocol)
    warnings = [*_no_clean_baseline(baselines), *rows.warnings, *anomalies(configurations, tasks)]
    evidence: dict[str, Evidence] = {}
    retention: dict[str, list[RetentionRow]] = {}
    summary: dict[str, Summary] = {}
    verdicts: list[VerdictRow] = []
    for measured in configurations:
        baseline = baselines[measured.id]
        is_reference = baseline is not None and measured.id == baseline.id
        if baseline is None or is_reference:
            gathered = Gathered(_alone(measured, tasks, protocol), [], [])
        else:
            gathered = gather(measured, baseline, tasks, protocol)
            evidence[measured.id] = gathered.evidence
        retention[measured.id] = gathered.retention
        summary[measured.id] = _summary(measured, gathered.evidence)
        warnings += [f"{measured.id}: {warning}" for warning in gathered.warnings]
        if not is_reference:
            verdicts.append(_verdict(measured, baseline, gathered.evidence))
    free = {m.id: text for m in configurations if (text := free_text(m)) is not None}
    comparison: Comparison = {
        "run": runs[0].info,
        "runs": [run.info for run in runs],
        "notice": " ".join(dict.fromkeys(run.notice for run in runs if run.notice)),
        "configurations": _configurations(configurations, baselines),
        "tasks": rows.tasks,
        "other_metrics": rows.other_metrics,
        "averages": {m.id: _averages(m.id, rows.tasks, official) for m in configurations},
        "retention": retention,
        "summary": summary,
        "verdicts": verdicts,
        "seeds": pooled_seeds(configurations, evidence),
        "matrix": cast("list[MatrixRow]", [row for run in runs for row in run.rows()]),
        "rules": cast("list[RuleRow]", rule_table()),
        "free": free,
        "generations": answers(configurations, tasks, protocol),
        "artifacts": [artifact for run in runs for artifact in run.artifacts()],
        "kernels": kernel_rows(configurations),
        "failures": [failure for m in configurations for failure in m.failures],
        "families": _families(configurations, rows.tasks, suites),
        "warnings": warnings,
    }
    return cast("Comparison", _finite(comparison))


def _no_clean_baseline(baselines: dict[str, Measured | None]) -> list[str]:
    tainted = sorted({b.id for b in baselines.values() if b is not None and not b.is_baseline})
    return [f"The only baseline is {name}, whose key-value cache is quantized too." for name in tainted]


def stored_verdicts(comparison: Comparison) -> list[Verdict]:
    """Return the verdicts of a comparison as rows that a run directory stores."""
    return [
        Verdict(
            plugin=v["plugin"],
            ablation=tuple(v["ablation"]),
            engine=v["engine"],
            kv_bits=v["kv_bits"],
            verdict=v["verdict"],
            evidence=v["evidence"],
            config=v["config"],
            kv_prefill=v["kv_prefill"],
            variant=v["variant"],
            seed=v["seed"],
            calibration=v["calibration"],
        )
        for v in comparison["verdicts"]
    ]


def _tasks(suites: Sequence[Suite]) -> tuple[list[TaskSpec], list[TaskSpec]]:
    own: dict[str, TaskSpec] = {}
    companions: dict[str, TaskSpec] = {}
    for suite in suites:
        own.update({spec.name: spec for spec in suite.tasks})
        companions.update({spec.name: spec for spec in suite.companions})
    extra = [spec for name, spec in companions.items() if name not in own]
    official = [spec for spec in own.values() if spec.is_official]
    return official, [*own.values(), *extra]


def _configurations(configurations: Sequence[Measured], baselines: dict[str, Measured | None]) -> list[Configuration]:
    names = labels({m.id: m.cell for m in configurations})
    rows: list[Configuration] = []
    for m in configurations:
        baseline = baselines[m.id]
        suffix = m.id.partition("@")[2]
        rows.append(
            {
                "id": m.id,
                "label": f"{names[m.id]} ({suffix})" if suffix else names[m.id],
                "plugin": m.cell.plugin,
                "ablation": list(m.cell.ablation),
                "engine": m.cell.engine,
                "kv_bits": m.cell.kv_bits,
                "kv_prefill": m.cell.kv_prefill,
                "variant": m.cell.variant,
                "dtype": m.cell.dtype,
                "kernels": m.cell.kernels,
                "seed": m.cell.seed,
                "calibration": m.cell.calibration,
                "model": m.cell.model,
                "artifact_digest": m.cell.artifact_digest,
                "run_id": m.run.run_id,
                "template": m.template,
                "is_baseline": baseline is not None and baseline.id == m.id,
                "baseline_id": baseline.id if baseline else None,
            }
        )
    return rows


def _averages(config: str, rows: Sequence[TaskRow], official: Sequence[TaskSpec]) -> Averages:
    """Leaderboard averages: the sum of normalised scores over all official tasks, missing ones counting 0."""
    scores: dict[str, float] = {}
    for row in rows:
        value = row["cells"][config]["normalized"]
        if row["is_main"] and row["is_official"] and value is not None:
            scores[row["task"]] = value

    def average(specs: Sequence[TaskSpec]) -> float | None:
        return sum(scores.get(spec.name, 0.0) for spec in specs) / len(specs) if specs else None

    mc, gen = ([spec for spec in official if spec.kind == kind] for kind in ("mc", "gen"))
    return {
        "mc": average(mc),
        "gen": average(gen),
        "all": average(official),
        "missing_mc": sum(spec.name not in scores for spec in mc),
        "missing_gen": sum(spec.name not in scores for spec in gen),
    }


def _alone(measured: Measured, tasks: Sequence[TaskSpec], protocol: Protocol | None) -> Evidence:
    return Evidence(decode=decode_agreement(measured, tasks, protocol), free=degeneration(measured))


def _summary(measured: Measured, e: Evidence) -> Summary:
    repetition = [m.result.value for m in measured.of("free") if m.identity.metric == "seq_rep_4"]
    distance = [m.result.value for m in measured.of("divergence") if m.identity.metric == "kl_mean"]
    return {
        "r_mc": e.r_mc.estimate if e.r_mc else None,
        "r_mc_low": e.r_mc.low if e.r_mc else None,
        "r_mc_high": e.r_mc.high if e.r_mc else None,
        "r_gen": e.r_gen.estimate if e.r_gen else None,
        "r_gen_low": e.r_gen.low if e.r_gen else None,
        "r_gen_high": e.r_gen.high if e.r_gen else None,
        "index": e.index.estimate if e.index else None,
        "index_low": e.index.low if e.index else None,
        "index_high": e.index.high if e.index else None,
        "decode_agreement": e.decode.share.estimate if e.decode else None,
        "ll_gap": e.decode.gap if e.decode else None,
        "seq_rep_4": repetition[0] if repetition else None,
        "degenerate_rate": e.free.rate.estimate if e.free else None,
        "kl": distance[0] if distance else None,
    }


def _verdict(measured: Measured, baseline: Measured | None, evidence: Evidence) -> VerdictRow:
    judgement = judge(evidence)
    plain = judgement.evidence
    whole = [failure["reason"] for failure in measured.failures if not failure["task"]]
    if not measured.scores and whole:
        plain = {**plain, "reason": f"Nothing was measured: {whole[0]}"}
    elif baseline is None:
        plain = {**plain, "reason": "There is no unquantized baseline to compare with."}
    return {
        "config": measured.id,
        "plugin": measured.cell.plugin,
        "ablation": list(measured.cell.ablation),
        "engine": measured.cell.engine,
        "kv_bits": measured.cell.kv_bits,
        "kv_prefill": measured.cell.kv_prefill,
        "variant": measured.cell.variant,
        "seed": measured.cell.seed,
        "calibration": measured.cell.calibration,
        "verdict": judgement.verdict,
        "evidence": plain,
    }


def _families(configurations: Sequence[Measured], rows: Sequence[TaskRow], suites: Sequence[Suite]) -> dict[str, str]:
    names = " and ".join(suite.name for suite in suites)
    families = {}
    for m in configurations:
        count = sum(row["cells"][m.id]["p_holm"] is not None for row in rows)
        if count:
            families[m.id] = f"{m.id}: {count} official tasks of {names}"
    return families


def _finite(value: Any) -> Any:
    """Replace NaN and infinities, which JSON does not have, by None."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
