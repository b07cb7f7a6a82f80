"""The entry point `demo`: the embedded model, its data, and its calibration text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.errors import normalize_name
from qharness.records import DataSource, LoaderRecord, TextSource
from qharness_demo import DATA_DIR, MODEL_DIR
from qharness_demo.corpus import calibration_text

if TYPE_CHECKING:
    from qharness.models.loaded import LoadedModel, LoadRequest

DOCUMENTS = 1_000_000
NOTICE = "embedded data: not the leaderboard"


def _load(request: LoadRequest) -> LoadedModel:
    from dataclasses import replace

    from qharness.models.hub import load_hf

    loaded = load_hf(replace(request, reference=str(MODEL_DIR)))
    loaded.reference = request.reference
    return loaded


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the embedded model under the name `demo`."""
    yield LoaderRecord(
        "demo", "The embedded Polish micro-world model", lambda ref: normalize_name(ref) == "demo", _load, priority=20
    )


@hookimpl
def qharness_data_sources() -> Iterable[DataSource]:
    """Offer the embedded data under the name `embedded`."""
    yield DataSource(
        "embedded", "Micro-world data in the official formats; the default of the demo model", DATA_DIR, NOTICE
    )


@hookimpl
def qharness_text_sources() -> Iterable[TextSource]:
    """Offer the generator's text for calibration."""
    yield TextSource("demo", "Text of the micro-world, generated", lambda seed: calibration_text(seed, DOCUMENTS))
