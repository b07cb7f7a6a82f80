"""The comparison as plain data: what `compare` returns and what reports and the command line read.

Fractions are 0..1, `normalized` and averages are percent, intervals are 95 %. `None` means not measured.
"""

from __future__ import annotations

from typing import Any, TypedDict


class Configuration(TypedDict):
    """One evaluated configuration; `id` is the key of every mapping below."""

    id: str
    label: str
    plugin: str
    ablation: list[str]
    engine: str
    kv_bits: int
    kv_prefill: str
    variant: str
    dtype: str
    kernels: str
    seed: int
    calibration: str
    model: str
    artifact_digest: str
    run_id: str
    template: str
    is_baseline: bool
    baseline_id: str | None


class TaskCell(TypedDict):
    """One configuration on one task.

    `delta`, its interval `low`/`high`, `p`, `p_holm`, `mde` and `flips` compare with the baseline on the
    `n_paired` documents whose prompts are equal. `test` names the test. `flips` is the share of documents that
    changed between right and wrong, `changed` of those whose answer changed at all. `no_evidence` marks a
    score at or below the best constant predictor. `answer_token` is the median index of the generated token at
    which the scored answers begin. `failed` is the reason why nothing was measured.
    """

    value: float | None
    stderr: float | None
    normalized: float | None
    invalid_rate: float | None
    answer_token: float | None
    n: int
    n_paired: int
    delta: float | None
    low: float | None
    high: float | None
    p: float | None
    p_holm: float | None
    test: str
    mde: float | None
    flips: float | None
    changed: float | None
    no_evidence: bool
    failed: str | None


class TaskRow(TypedDict):
    """One task under one metric, few-shot count, filter, template and data source, and its cells by configuration.

    `is_main` is false for further rows of a task under another protocol; averages and Holm's families skip them.
    """

    task: str
    short: str
    kind: str
    evaluator: str
    metric: str
    filter: str
    dataset: str
    sibling: str | None
    is_official: bool
    is_main: bool
    baseline: float | None
    constant: float | None
    num_fewshot: int
    data: str
    template: str
    cells: dict[str, TaskCell]


class Averages(TypedDict):
    """Leaderboard averages in percent; a missing task counts as 0 and is counted."""

    mc: float | None
    gen: float | None
    all: float | None
    missing_mc: int
    missing_gen: int


class RetentionRow(TypedDict):
    """Retention of one data set: share of the baseline's advantage over the best constant answer that is left.

    `constant_*` and `baseline_*` are the accuracies that it is computed from; `n` the paired documents.
    `included` tells whether the baseline beats the constant with confidence.
    """

    dataset: str
    mc: float | None
    mc_low: float | None
    mc_high: float | None
    gen: float | None
    gen_low: float | None
    gen_high: float | None
    included: bool
    n: int
    unpaired: int
    mc_value: float | None
    gen_value: float | None
    mc_baseline: float | None
    gen_baseline: float | None
    mc_constant: float | None
    gen_constant: float | None


class Summary(TypedDict):
    """What the verdict rests on, pooled over the included data sets."""

    r_mc: float | None
    r_mc_low: float | None
    r_mc_high: float | None
    r_gen: float | None
    r_gen_low: float | None
    r_gen_high: float | None
    index: float | None
    index_low: float | None
    index_high: float | None
    decode_agreement: float | None
    ll_gap: float | None
    seq_rep_4: float | None
    degenerate_rate: float | None
    kl: float | None


class VerdictRow(TypedDict):
    """One verdict; `evidence["reason"]` is the sentence for people."""

    config: str
    plugin: str
    ablation: list[str]
    engine: str
    kv_bits: int
    kv_prefill: str
    variant: str
    seed: int
    calibration: str
    verdict: str
    evidence: dict[str, Any]


class RuleRow(TypedDict):
    """One row of the table of verdict rules, in the order in which they are tested."""

    name: str
    condition: str
    thresholds: dict[str, float]


class SeedsRow(TypedDict):
    """Several quantizations that differ only in their seed, pooled; figures are estimate, low, high."""

    configs: list[str]
    plugin: str
    seeds: list[int]
    r_mc: list[float] | None
    r_gen: list[float] | None
    index: list[float] | None
    verdict: str
    reason: str


class MatrixRow(TypedDict):
    """One row of an ablation matrix; rows may share a configuration."""

    row: str
    purpose: str
    config: str


class FreeExample(TypedDict):
    """One freely generated text."""

    id: str
    register: str
    prompt: str
    text: str


class FreeText(TypedDict):
    """Free generation of one configuration: mean metrics and a few texts."""

    metrics: dict[str, float]
    examples: list[FreeExample]


class Response(TypedDict):
    """One answer to one document."""

    text: str
    prediction: str
    value: float | None


class Generation(TypedDict):
    """One document of a generative task with the answers of all configurations."""

    task: str
    doc_id: int
    gold: str
    responses: dict[str, Response]


class Failure(TypedDict):
    """What could not be measured, and why."""

    config: str
    evaluator: str
    task: str
    reason: str


class KernelRow(TypedDict):
    """What served alike modules of a configuration.

    Attributes:
        config: The configuration.
        modules: Name of the modules, `*` for the layer.
        part: `weight`, or the id of the runtime transform at them.
        op: Operation of the kernels, empty where there is none.
        kernel: `reference`, `triton` or `cuda`.
        count: Number of modules.
        reason: Why it is the reference although kernels were welcome, or empty.
    """

    config: str
    modules: str
    part: str
    op: str
    kernel: str
    count: int
    reason: str


class Comparison(TypedDict):
    """Everything that a report shows.

    `tasks` holds one row for each task under its leaderboard metric (companions follow, `is_official` false);
    `other_metrics` the same tasks under further metrics. `families` names, for each configuration, the tests that
    Holm's correction covers. `warnings` are sentences about what was not compared and why.
    """

    run: dict[str, Any]
    runs: list[dict[str, Any]]
    notice: str
    configurations: list[Configuration]
    tasks: list[TaskRow]
    other_metrics: list[TaskRow]
    averages: dict[str, Averages]
    retention: dict[str, list[RetentionRow]]
    summary: dict[str, Summary]
    verdicts: list[VerdictRow]
    seeds: list[SeedsRow]
    matrix: list[MatrixRow]
    rules: list[RuleRow]
    free: dict[str, FreeText]
    generations: list[Generation]
    artifacts: list[dict[str, Any]]
    kernels: list[KernelRow]
    failures: list[Failure]
    families: dict[str, str]
    warnings: list[str]
