"""Configurations of a run: which artifact is evaluated, with which transforms left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from qharness.jobs.plan import BASELINE, RunPlan
from qharness.results.schema import Cell


@dataclass(frozen=True)
class Built:
    """A model that is ready to be evaluated.

    Attributes:
        plugin: Quantizer, or `fp16`.
        reference: Path or model reference that the engine loads.
        digest: Digest of the artifact or model.
        transforms: Names of the runtime transforms that the artifact lists.
        calibration: Name of the calibration corpus, or empty.
    """

    plugin: str
    reference: str
    digest: str
    transforms: tuple[str, ...] = ()
    calibration: str = ""


@dataclass(frozen=True)
class Configuration:
    """One column of the comparison."""

    built: Built
    ablation: tuple[str, ...] = ()

    def cell(self, plan: RunPlan) -> Cell:
        """Return the identity that all its rows share."""
        return Cell(
            plugin=self.built.plugin,
            model=plan.model,
            artifact_digest=self.built.digest,
            seed=plan.seed,
            ablation=self.ablation,
            engine=plan.engine,
            kernels=plan.kernels,
            dtype=plan.dtype,
            kv_bits=plan.kv_bits,
            calibration=self.built.calibration,
        )


def configurations(plan: RunPlan, built: Mapping[str, Built]) -> list[Configuration]:
    """Return the baseline, every quantized model, and for each a row per ablation that applies to it."""
    order: Sequence[str] = (BASELINE, *plan.plugins)
    found = []
    for plugin in order:
        if plugin not in built:
            continue
        found.append(Configuration(built[plugin]))
        for name in plan.ablate:
            if name in built[plugin].transforms:
                found.append(Configuration(built[plugin], (name,)))
    return found
