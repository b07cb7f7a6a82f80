"""Configurations of a run: which artifact is evaluated, with which transforms left out and which cache."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Literal

from qharness.jobs.plan import BASELINE, RunPlan
from qharness.results.schema import Cell
from qharness.transforms.ablation import Ablation

if TYPE_CHECKING:
    from qharness.transforms.contract import TransformEntry


@dataclass(frozen=True)
class ArtifactSpec:
    """A model that a run needs, built once and shared between its configurations.

    Attributes:
        plugin: Quantizer, or `fp16`.
        seed: Seed of the quantization.
        variant: What tells it from other artifacts of the same plugin, or empty.
        settings: Options of the quantizer on top of the plan's, as (name, text).
        weights: `quantized`, or `original` for a model that is prepared (rotated) and not quantized.
        calibration: Name of a calibration of the plan, or empty for its only one.
    """

    plugin: str
    seed: int = 0
    variant: str = ""
    settings: tuple[tuple[str, str], ...] = ()
    weights: Literal["quantized", "original"] = "quantized"
    calibration: str = ""

    def plan(self, plan: RunPlan) -> RunPlan:
        """Return the plan with this artifact's seed, options and calibration text."""
        own = {**plan.settings.get(self.plugin, {}), **dict(self.settings)}
        texts = plan.calibrations.get(self.calibration, plan.texts)
        settings = {**plan.settings, self.plugin: own}
        return replace(plan, seed=self.seed, settings=settings, texts=tuple(texts))


@dataclass(frozen=True)
class Built:
    """A model that is ready to be evaluated.

    Attributes:
        spec: What it is.
        reference: Path or model reference that the engine loads.
        digest: Digest of the artifact or model.
        transforms: Its transform contract.
        calibration: Name of the calibration corpus, or empty.
    """

    spec: ArtifactSpec
    reference: str
    digest: str
    transforms: tuple[TransformEntry, ...] = field(default=(), compare=False)
    calibration: str = ""

    @property
    def plugin(self) -> str:
        """Quantizer, or `fp16`."""
        return self.spec.plugin

    def has(self, ablation: str) -> bool:
        """Return whether the artifact has the transform that an ablation is about."""
        found = Ablation.parse(ablation)
        return any(found.covers(entry) for entry in self.transforms)


@dataclass(frozen=True)
class Configuration:
    """One column of the comparison.

    Attributes:
        built: The model.
        ablation: Transforms, or parts of them, that are left out.
        kv_bits: Width of the key-value cache.
        kv_prefill: `visible` or `invisible`; empty at 16 bits.
        limit: Documents per task, where fewer are taken than the plan says; None for the plan's.
    """

    built: Built
    ablation: tuple[str, ...] = ()
    kv_bits: int = 16
    kv_prefill: str = ""
    limit: int | None = None

    def cell(self, plan: RunPlan) -> Cell:
        """Return the identity that all its rows share."""
        return Cell(
            plugin=self.built.plugin,
            model=plan.model,
            artifact_digest=self.built.digest,
            seed=self.built.spec.seed,
            ablation=self.ablation,
            engine=plan.engine,
            kernels=plan.kernels,
            dtype=plan.dtype,
            kv_bits=self.kv_bits,
            calibration=self.built.calibration,
            kv_prefill=self.kv_prefill,
            variant=self.built.spec.variant,
        )


def artifact_specs(plan: RunPlan) -> list[ArtifactSpec]:
    """Return the baseline and every artifact that the plan's plugins, seeds and calibrations ask for."""
    calibrations = list(plan.calibrations) or [""]
    return [
        ArtifactSpec(BASELINE, plan.seed),
        *(
            ArtifactSpec(plugin, plan.seed + offset, calibration=calibration)
            for plugin in plan.plugins
            for calibration in calibrations
            for offset in range(plan.seeds)
        ),
    ]


def configurations(plan: RunPlan, built: Iterable[Built]) -> list[Configuration]:
    """Return the baseline, every quantized model, and for each a row per ablation that applies to it.

    With a quantized cache the baseline stands twice: with an exact cache, which the others are compared with, and
    with the quantized one.
    """
    bits, prefill = plan.kv_bits, plan.kv_prefill if plan.kv_bits < 16 else ""
    found = []
    for model in built:
        if model.plugin == BASELINE and bits < 16:
            found.append(Configuration(model))
        found.append(Configuration(model, (), bits, prefill))
        found += [Configuration(model, (name,), bits, prefill) for name in plan.ablate if model.has(name)]
    return found
