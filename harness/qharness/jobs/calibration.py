"""Calibration of a run: which text, how much of it, and stored Hessians if they are given."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.errors import UsageError
from qharness.jobs.plan import DEFAULT_MODEL, RunPlan

if TYPE_CHECKING:
    from qharness.calibration.corpus import Corpus
    from qharness.calibration.store import HessianStore
    from qharness.host import Host
    from qharness.models.loaded import LoadedModel


@dataclass(frozen=True)
class Size:
    """Calibration sequences and tokens of each."""

    samples: int
    length: int


EMBEDDED_SIZE = Size(32, 512)
"""Enough for the embedded model's 256- and 768-wide inputs, in seconds on two cores."""
USUAL_SIZE = Size(128, 2048)
"""GPTQ's own protocol (arXiv 2210.17323, section 4)."""


def size_of(plan: RunPlan, limit: int) -> Size:
    """Return how much text a plan calibrates with; sequences are never longer than `limit` tokens."""
    usual = EMBEDDED_SIZE if plan.model == DEFAULT_MODEL else USUAL_SIZE
    length = plan.calibration_length or usual.length
    return Size(plan.calibration_samples or usual.samples, min(length, limit))


def text_sources(plan: RunPlan) -> tuple[str, ...]:
    """Return the text sources of a plan: those it names, else the model's own."""
    return plan.texts or ((DEFAULT_MODEL,) if plan.model == DEFAULT_MODEL else ())


def calibration_name(plan: RunPlan) -> str:
    """Return the name under which rows show the calibration text."""
    return "+".join(text_sources(plan))


def corpus_for(plan: RunPlan, loaded: LoadedModel, host: Host) -> Corpus:
    """Return the calibration tokens of a plan; several sources give equal shares of the samples.

    Raises:
        UsageError: No text source is named and the model has none of its own, or there are more than samples.
        MissingData: A source cannot be read or is too short.
    """
    from qharness.calibration.corpus import mix_corpora, pack_corpus, shares
    from qharness.calibration.sources import texts_of

    sources = text_sources(plan)
    if not sources:
        raise UsageError(
            f"Calibration of '{plan.model}' needs text: name a source with --text file:PATH or --text hub:ID."
        )
    size = size_of(plan, int(getattr(loaded.model.config, "max_position_embeddings", USUAL_SIZE.length)))
    if size.samples < len(sources):
        raise UsageError(f"{len(sources)} texts need at least as many calibration samples, not {size.samples}.")
    parts = [
        pack_corpus(
            texts_of(source, host, plan.seed)(),
            loaded.tokenizer,
            source=source,
            samples=samples,
            length=size.length,
            seed=plan.seed,
        )
        for source, samples in zip(sources, shares(size.samples, len(sources)), strict=True)
    ]
    return mix_corpora(parts, source=calibration_name(plan), seed=plan.seed)


def hessians_for(plan: RunPlan, loaded: LoadedModel) -> HessianStore | None:
    """Open the Hessians that the plan names.

    Raises:
        DigestMismatch: They are of another model.
    """
    from qharness.calibration.store import HessianStore

    if plan.hessians is None:
        return None
    return HessianStore.open(Path(plan.hessians), loaded.digest, plan.model)
