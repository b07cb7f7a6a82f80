"""Schema of samples, results, verdicts and artifacts. `SCHEMA_VERSION` changes when a field changes its meaning."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Cell:
    """Identity shared by all rows of one evaluated configuration.

    Attributes:
        plugin: Name of the quantizer; `fp16` is the unquantized baseline.
        model: Model reference as given.
        artifact_digest: Digest of what was evaluated.
        seed: Seed of the quantization.
        ablation: Transforms left out on request.
        engine: Engine name.
        kernels: Which kernels served the quantized linears.
        dtype: Type of the activations.
        kv_bits: Width of the key-value cache.
        calibration: Name of the calibration corpus, or empty.
        kv_prefill: Whether a prompt's own tokens read the rounded cache (`visible`) or exact states (`invisible`);
            empty at 16 bits.
        variant: What tells the artifact from others of the same plugin (`rotated`, `no_had`), or empty.
    """

    plugin: str
    model: str
    artifact_digest: str
    seed: int = 0
    ablation: tuple[str, ...] = ()
    engine: str = "hf"
    kernels: str = "reference"
    dtype: str = "float32"
    kv_bits: int = 16
    calibration: str = ""
    kv_prefill: str = ""
    variant: str = ""


@dataclass(frozen=True)
class Sample:
    """One document under one metric.

    Attributes:
        evaluator: `mc`, `gen`, `decode_ll`, `free`, ...
        task: lm-eval task name, or the prompt set.
        kind: `mc` or `gen`.
        doc_id: Index of the document.
        doc_hash: SHA-256 of the document.
        prompt_hash: SHA-256 of the prompt as sent.
        cluster: Key that groups dependent documents; the doc_id where none exists.
        filter: lm-eval filter.
        metric: Metric.
        value: Score of the document; None where the metric has no per-document value (F1).
        gold: Gold answer as text.
        prediction: Choice or filtered answer as text.
        invalid: Whether no answer could be read from the response.
        choice_logprobs: Log-likelihood of each choice (mc).
        response: Generated text (gen).
        answer_token: Index of the generated token at which the scored answer was found, -1 if unknown.
        tokens: Number of generated or scored tokens.
        latency: Seconds, 0 if not measured per document.
    """

    evaluator: str
    task: str
    kind: str
    doc_id: int
    doc_hash: str
    prompt_hash: str
    cluster: str
    filter: str
    metric: str
    value: float | None
    gold: str
    prediction: str
    invalid: bool = False
    choice_logprobs: tuple[float, ...] = ()
    response: str = ""
    answer_token: int = -1
    tokens: int = 0
    latency: float = 0.0


@dataclass(frozen=True)
class Result:
    """One aggregated score. `value` and `baseline` are fractions; `normalized` is in percent.

    Attributes:
        evaluator: Evaluator that measured it.
        suite: Suite the task belongs to.
        task: lm-eval task name.
        kind: `mc` or `gen`.
        metric: Metric.
        filter: lm-eval filter.
        num_fewshot: Shots in the prompt.
        n: Number of documents.
        value: Score.
        stderr: Standard error, None if the metric has none.
        baseline: Official baseline, set only with the leaderboard's own metric.
        normalized: Leaderboard normalisation, likewise.
        invalid_rate: Share of unreadable answers, None for mc.
        constant: Score of the best constant predictor of this metric on these documents, if known.
        data: `hub`, `embedded` or a folder.
        answer_token: Median index of the generated token at which the scored answers begin, over those that stand in
            their responses; None for mc.
    """

    evaluator: str
    suite: str
    task: str
    kind: str
    metric: str
    filter: str
    num_fewshot: int
    n: int
    value: float
    stderr: float | None = None
    baseline: float | None = None
    normalized: float | None = None
    invalid_rate: float | None = None
    constant: float | None = None
    data: str = ""
    answer_token: float | None = None


@dataclass(frozen=True)
class Verdict:
    """Verdict on one configuration, with every rule's evidence as plain data."""

    plugin: str
    ablation: tuple[str, ...]
    engine: str
    kv_bits: int
    verdict: str
    evidence: dict[str, Any] = field(default_factory=dict)
    config: str = ""
    kv_prefill: str = ""
    variant: str = ""
    seed: int = 0
    calibration: str = ""
