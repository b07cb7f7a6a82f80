"""The host: guarded loading of plugins and the registry of what they offer."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar

import pluggy

from qharness import API_VERSION, hookspecs, records
from qharness.errors import PluginError, UnknownName, normalize_name

GROUP = "qharness"
IN_PROCESS = "(in process)"
HOOK_OF: dict[type, str] = {
    records.QuantizerRecord: "qharness_quantizers",
    records.LoaderRecord: "qharness_loaders",
    records.RuntimeTransformRecord: "qharness_runtime_transforms",
    records.EvaluatorRecord: "qharness_evaluators",
    records.Suite: "qharness_suites",
    records.DataSource: "qharness_data_sources",
    records.TextSource: "qharness_text_sources",
    records.EngineRecord: "qharness_engines",
    records.ExecutorRecord: "qharness_executors",
    records.ReportSection: "qharness_report_sections",
    records.ReportWriter: "qharness_report_writers",
    records.ExporterRecord: "qharness_exporters",
    records.DoctorCheck: "qharness_doctor",
}
NOUNS: dict[type, str] = {
    records.QuantizerRecord: "plugin",
    records.LoaderRecord: "loader",
    records.RuntimeTransformRecord: "transform",
    records.EvaluatorRecord: "evaluator",
    records.Suite: "suite",
    records.DataSource: "data source",
    records.TextSource: "text source",
    records.EngineRecord: "engine",
    records.ExecutorRecord: "executor",
    records.ReportSection: "report section",
    records.ReportWriter: "report format",
    records.ExporterRecord: "export format",
    records.DoctorCheck: "check",
}
R = TypeVar("R")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class PluginStatus:
    """One installed plugin: name, distribution, version, `loaded`, `disabled` or `failed`, and why it failed."""

    name: str
    distribution: str
    version: str
    state: str
    error: str = ""


@dataclass(frozen=True)
class Offer:
    """A record and the plugin that offers it."""

    record: Any
    plugin: str


class Host:
    """Loads plugins one by one, each guarded, and collects their records.

    Args:
        blocked: Names of plugins that are not loaded (`-p no:NAME`).
        extra: Plugin objects registered beside the installed ones, by name (tests, notebooks).

    Raises:
        UnknownName: A blocked name is no installed plugin.
    """

    def __init__(self, blocked: Iterable[str] = (), extra: dict[str, Any] | None = None) -> None:
        self.manager = pluggy.PluginManager(GROUP)
        self.manager.add_hookspecs(hookspecs)
        self.blocked = {normalize_name(name) for name in blocked}
        self.status: list[PluginStatus] = []
        found = sorted(entry_points(group=GROUP), key=lambda entry: (entry.name != "builtin", entry.name))
        known = [entry.name for entry in found] + list(extra or {})
        for name in blocked:
            if normalize_name(name) not in {normalize_name(k) for k in known}:
                raise UnknownName("plugin", name, known)
        self._offers: dict[type, dict[str, Offer]] = {}
        for entry in found:
            self._load(entry)
        for name, plugin in (extra or {}).items():
            if not self._is_refused(name, IN_PROCESS, ""):
                self._register(name, plugin, IN_PROCESS, "")

    def _load(self, entry: EntryPoint) -> None:
        dist = entry.dist.name if entry.dist else "unknown"
        version = entry.dist.version if entry.dist else ""
        if self._is_refused(entry.name, dist, version):
            return
        try:
            plugin = entry.load()
        except (Exception, SystemExit) as error:
            reason = f"{type(error).__name__}: {error}"
            self.status.append(PluginStatus(entry.name, dist, version, "failed", reason))
            return
        self._register(entry.name, plugin, dist, version)

    def _is_refused(self, name: str, dist: str, version: str) -> bool:
        """Record why a plugin is not even imported: it is disabled, or another one has its name."""
        key = normalize_name(name)
        if key in self.blocked:
            self.status.append(PluginStatus(name, dist, version, "disabled"))
            return True
        for other in self.status:
            if normalize_name(other.name) == key:
                reason = f"distribution '{other.distribution}' has a plugin of this name too; uninstall one of them"
                self.status.append(PluginStatus(name, dist, version, "failed", reason))
                return True
        return False

    def _register(self, name: str, plugin: ModuleType | Any, dist: str, version: str) -> None:
        wanted = getattr(plugin, "QHARNESS_API", API_VERSION)
        if wanted != API_VERSION:
            reason = (
                f"it is written for plugin API {wanted}, this qharness has {API_VERSION}; install a matching version"
            )
            self.status.append(PluginStatus(name, dist, version, "failed", reason))
            return
        try:
            self.manager.register(plugin, name=name)
            self.manager.check_pending()
        except Exception as error:
            if self.manager.get_plugin(name) is plugin:
                self.manager.unregister(name=name)
            reason = " ".join(str(error).split())
            self.status.append(PluginStatus(name, dist, version, "failed", reason))
            return
        self.status.append(PluginStatus(name, dist, version, "loaded"))

    def offers(self, kind: type[R]) -> dict[str, Offer]:
        """Return all records of a kind by name, each with the plugin that offers it.

        A plugin whose hook fails offers nothing of that kind and is `failed` from then on.

        Raises:
            PluginError: Two plugins offer one name.
        """
        if kind not in self._offers:
            self._offers[kind] = self._collect(kind)
        return self._offers[kind]

    def _collect(self, kind: type[R]) -> dict[str, Offer]:
        hook = HOOK_OF[kind]
        found: dict[str, Offer] = {}
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            owner = implementation.plugin_name
            try:
                offered = list(implementation.function())
            except Exception as error:
                self._mark_failed(owner, f"{hook}: {type(error).__name__}: {error}")
                continue
            wrong = next((record for record in offered if not isinstance(record, kind)), None)
            if wrong is not None:
                self._mark_failed(owner, f"{hook} returned a {type(wrong).__name__}; it takes {kind.__name__}")
                continue
            for record in offered:
                key = normalize_name(record.name)
                if key in found:
                    noun = NOUNS[kind]
                    raise PluginError(
                        f"Plugins '{found[key].plugin}' and '{owner}' both offer the {noun} '{key}'; "
                        f"disable one with `-p no:{owner}`."
                    )
                found[key] = Offer(record, owner)
        return found

    def _mark_failed(self, name: str, reason: str) -> None:
        log.warning("Plugin '%s' failed in %s", name, reason)
        self.status = [
            replace(status, state="failed", error=reason)
            if status.name == name and status.state == "loaded"
            else status
            for status in self.status
        ]

    def records(self, kind: type[R]) -> list[R]:
        """Return all records of a kind, sorted by name."""
        return [offer.record for _, offer in sorted(self.offers(kind).items())]

    def get(self, kind: type[R], name: str) -> R:
        """Return the record of that kind and name; case, `-` and `_` do not matter.

        Raises:
            UnknownName: There is none; near matches are suggested.
            PluginError: An installed plugin of that name failed to load.
        """
        offers = self.offers(kind)
        key = normalize_name(name)
        if key in offers:
            record: R = offers[key].record
            return record
        for status in self.status:
            if normalize_name(status.name) == key and status.state == "failed":
                raise PluginError(f"Plugin '{status.name}' ({status.distribution}) cannot be loaded: {status.error}")
            if normalize_name(status.name) == key and status.state == "disabled":
                raise PluginError(f"Plugin '{status.name}' is disabled; drop `-p no:{status.name}` to use it.")
        raise UnknownName(NOUNS[kind], name, offers, self._failures())

    def _failures(self) -> str:
        failed = [f"'{status.name}' ({status.error})" for status in self.status if status.state == "failed"]
        return f"Not loaded: {', '.join(failed)}." if failed else ""

    def notify(self, hook: str, **arguments: Any) -> None:
        """Call observers one by one; an exception in one is logged and stops nothing."""
        for implementation in getattr(self.manager.hook, hook).get_hookimpls():
            values: Sequence[Any] = [arguments[name] for name in implementation.argnames]
            try:
                implementation.function(*values)
            except Exception as error:
                log.warning("Observer '%s' failed in %s: %s", implementation.plugin_name, hook, error)


@cache
def default_host() -> Host:
    """Return the process-wide host with every installed plugin; made at the first call."""
    return Host()
