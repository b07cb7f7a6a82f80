"""The engine of this process: loaded once for all jobs of a configuration."""

from __future__ import annotations

from typing import NamedTuple

from qharness.engines.base import Engine, EngineRequest
from qharness.errors import QharnessError
from qharness.jobs.configurations import ArtifactSpec, Built, Configuration
from qharness.jobs.plan import BASELINE
from qharness.jobs.site import Site
from qharness.records import EngineRecord


class _Kept(NamedTuple):
    identity: tuple[object, ...]
    engine: Engine | None
    error: QharnessError | None


_kept: _Kept | None = None
_baseline: _Kept | None = None


def engine_for(site: Site, configuration: Configuration) -> Engine:
    """Return the engine of a configuration; the one before it is closed.

    Raises:
        QharnessError: The model cannot be loaded; asked again, the same error without another try.
    """
    global _kept
    identity = (site.run.path, site.plan.device, configuration)
    if _kept is None or _kept.identity != identity:
        close_engine()
        try:
            _kept = _Kept(identity, _create(site, configuration), None)
        except QharnessError as error:
            _kept = _Kept(identity, None, error)
    if _kept.engine is None:
        assert _kept.error is not None
        raise _kept.error
    return _kept.engine


def close_engine() -> None:
    """Free the model of this process, if there is one."""
    global _kept
    if _kept is not None and _kept.engine is not None:
        _kept.engine.close()
    _kept = None


def baseline_for(site: Site) -> Engine:
    """Return the unquantized model with an exact cache; loaded once for all jobs of a run.

    Raises:
        QharnessError: It cannot be loaded.
    """
    global _baseline
    identity = (site.run.path, site.plan.device)
    if _baseline is None or _baseline.identity != identity:
        close_baseline()
        original = Built(ArtifactSpec(BASELINE), site.plan.model, "")
        _baseline = _Kept(identity, _create(site, Configuration(original)), None)
    assert _baseline.engine is not None
    return _baseline.engine


def close_baseline() -> None:
    """Free the unquantized model of this process, if there is one."""
    global _baseline
    if _baseline is not None and _baseline.engine is not None:
        _baseline.engine.close()
    _baseline = None


def _create(site: Site, configuration: Configuration) -> Engine:
    plan = site.plan
    request = EngineRequest(
        reference=configuration.built.reference,
        host=site.host,
        dtype=plan.dtype,
        device=plan.device,
        ablate=configuration.ablation,
        kv_bits=configuration.kv_bits,
        kv_prefill=configuration.kv_prefill or plan.kv_prefill,
        kernels=plan.kernels,
        cache=site.store / "requests",
    )
    return site.host.get(EngineRecord, plan.engine).create(request)
