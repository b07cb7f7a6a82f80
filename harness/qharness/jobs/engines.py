"""The engine of this process: loaded once for all jobs of a configuration."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qharness.engines.base import Engine, EngineRequest
from qharness.errors import QharnessError
from qharness.jobs.configurations import ArtifactSpec, Built, Configuration
from qharness.jobs.plan import BASELINE
from qharness.jobs.site import Site
from qharness.records import EngineRecord


class _Kept:
    """The engine that this process made last, and what for."""

    def __init__(self) -> None:
        self.identity: tuple[object, ...] = ()
        self.engine: Engine | None = None
        self.error: QharnessError | None = None
        self.beside: dict[object, Any] = {}

    def get(self, identity: tuple[object, ...], create: Callable[[], Engine]) -> Engine:
        """Return the engine of that identity, made if it is another one's; an error is raised again without a try."""
        if identity != self.identity:
            self.close()
            self.identity = identity
            try:
                self.engine = create()
            except QharnessError as error:
                self.error = error
        if self.engine is None:
            assert self.error is not None
            raise self.error
        return self.engine

    def close(self) -> None:
        """Free the model, if there is one."""
        if self.engine is not None:
            self.engine.close()
        self.identity, self.engine, self.error = (), None, None
        self.beside.clear()


_measured, _baseline = _Kept(), _Kept()


def engine_for(site: Site, configuration: Configuration) -> Engine:
    """Return the engine of a configuration; the one before it is closed.

    Raises:
        QharnessError: The model cannot be loaded; asked again, the same error without another try.
    """
    identity = (site.run.path, site.plan.device, configuration)
    return _measured.get(identity, lambda: _create(site, configuration))


def kept_beside_engine() -> dict[object, Any]:
    """Return what this process keeps as long as the engine of `engine_for`: it may refer to the model."""
    return _measured.beside


def baseline_for(site: Site) -> Engine:
    """Return the unquantized model with an exact cache; loaded once for all jobs of a run.

    Raises:
        QharnessError: It cannot be loaded.
    """
    original = Configuration(Built(ArtifactSpec(BASELINE), site.plan.model, ""))
    return _baseline.get((site.run.path, site.plan.device), lambda: _create(site, original))


def close_engines() -> None:
    """Free the models of this process."""
    _measured.close()
    _baseline.close()


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
