"""The host: one broken plugin never stops it, and every error names who and what to do."""

from __future__ import annotations

import logging
import sys
from types import SimpleNamespace

import pytest

from qharness import API_VERSION, hookimpl
from qharness.errors import PluginError, UnknownName, UsageError
from qharness.host import HOOK_OF, NOUNS, Host
from qharness.records import CheckResult, DataSource, DoctorCheck, Record, ReportSection


class Offering:
    """A plugin that offers checks of the given names."""

    def __init__(self, *names):
        self.names = names

    @hookimpl
    def qharness_doctor(self):
        return [DoctorCheck(name, lambda: CheckResult(True, "fine")) for name in self.names]


def state(host, name):
    return next(status for status in host.status if status.name == name)


@pytest.fixture
def no_installed(monkeypatch):
    monkeypatch.setattr("qharness.host.entry_points", lambda group: [])


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Make distributions of one plugin each and return their names through real metadata."""
    monkeypatch.syspath_prepend(str(tmp_path))

    def make(distribution, entry, module, source, version="1.2"):
        (tmp_path / f"{module}.py").write_text(source)
        info = tmp_path / f"{distribution.replace('-', '_')}-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[qharness]\n{entry} = {module}\n")

    yield make
    for path in tmp_path.glob("*.py"):
        sys.modules.pop(path.stem, None)


GOOD = """
from qharness import hookimpl
from qharness.records import CheckResult, DoctorCheck

@hookimpl
def qharness_doctor():
    yield DoctorCheck("{name}", lambda: CheckResult(True, "fine"))
"""


def test_an_installed_plugin_is_found_with_its_distribution_and_version(install):
    install("zz-good", "zz_good", "zz_good_module", GOOD.format(name="zz_check"))
    host = Host()
    assert state(host, "zz_good") == state(host, "zz_good").__class__("zz_good", "zz-good", "1.2", "loaded")
    assert host.offers(DoctorCheck)["zz_check"].plugin == "zz_good"


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        ("import not_there_at_all", "ModuleNotFoundError: No module named 'not_there_at_all'"),
        ("raise RuntimeError('half built')", "RuntimeError: half built"),
        ("raise SystemExit(3)", "SystemExit: 3"),
        ("def broken(:", "SyntaxError"),
    ],
)
def test_a_plugin_that_fails_to_import_is_reported_and_the_others_work(install, source, reason):
    install("zz-broken", "zz_broken", "zz_broken_module", source)
    install("zz-good", "zz_good", "zz_good_module", GOOD.format(name="zz_check"))
    host = Host()
    assert state(host, "zz_broken").state == "failed" and reason in state(host, "zz_broken").error
    assert host.get(DoctorCheck, "zz_check")
    with pytest.raises(PluginError, match=r"Plugin 'zz_broken' .zz-broken. cannot be loaded"):
        host.get(DoctorCheck, "zz-broken")


def test_two_distributions_with_one_plugin_name_are_reported_with_both_names(install):
    install("zz-first", "zz_same", "zz_first_module", GOOD.format(name="zz_one"))
    install("zz-second", "zz_same", "zz_second_module", GOOD.format(name="zz_two"))
    host = Host()
    same = [status for status in host.status if status.name == "zz_same"]
    assert [status.state for status in same] == ["loaded", "failed"]
    assert {same[1].distribution} | {same[1].error.split("'")[1]} == {"zz-first", "zz-second"}
    assert len({"zz_one", "zz_two"} & set(host.offers(DoctorCheck))) == 1


def test_blocked_plugin_is_not_even_imported(install):
    install("zz-broken", "zz_broken", "zz_broken_module", "raise RuntimeError('imported')")
    host = Host(blocked=["ZZ-Broken"])
    assert state(host, "zz_broken").state == "disabled" and state(host, "zz_broken").error == ""
    with pytest.raises(PluginError, match=r"drop `-p no:zz_broken`"):
        host.get(DoctorCheck, "zz_broken")


def test_blocking_works_in_process_too(no_installed):
    host = Host(blocked=["mine"], extra={"mine": Offering("a"), "other": Offering("b")})
    assert set(host.offers(DoctorCheck)) == {"b"}


def test_blocking_what_is_not_installed_suggests_a_name(no_installed):
    with pytest.raises(UnknownName, match=r"no plugin 'spinqant'. Did you mean 'spinquant'"):
        Host(blocked=["spinqant"], extra={"spinquant": Offering()})


def test_plugin_of_another_api_version_is_refused(no_installed):
    plugin = Offering("a")
    plugin.QHARNESS_API = API_VERSION + 1
    host = Host(extra={"future": plugin})
    assert state(host, "future").state == "failed"
    assert f"plugin API {API_VERSION + 1}, this qharness has {API_VERSION}" in state(host, "future").error
    assert host.offers(DoctorCheck) == {}


def test_plugin_of_this_api_version_is_taken(no_installed):
    plugin = Offering("a")
    plugin.QHARNESS_API = API_VERSION
    assert state(Host(extra={"now": plugin}), "now").state == "loaded"


class Misspelled(Offering):
    @hookimpl
    def qharness_quantisers(self):
        return []


class WrongArguments(Offering):
    @hookimpl
    def qharness_run_started(self, run, colour):
        raise AssertionError("must never be called")


@pytest.mark.parametrize(
    ("plugin", "named"), [(Misspelled("a"), "qharness_quantisers"), (WrongArguments("a"), "colour")]
)
def test_unknown_hooks_and_arguments_fail_the_plugin_and_leave_nothing_behind(no_installed, plugin, named):
    host = Host(extra={"bad": plugin, "good": Offering("b")})
    assert state(host, "bad").state == "failed" and named in state(host, "bad").error
    assert state(host, "good").state == "loaded"
    assert set(host.offers(DoctorCheck)) == {"b"}
    assert not host.manager.has_plugin("bad")
    host.notify("qharness_run_started", run={})


def test_a_second_plugin_of_a_name_does_not_push_out_the_first(install):
    install("zz-good", "zz_good", "zz_good_module", GOOD.format(name="zz_check"))
    host = Host(extra={"zz-good": Offering("mine")})
    assert host.get(DoctorCheck, "zz_check")
    assert "mine" not in host.offers(DoctorCheck)
    assert "distribution 'zz-good'" in state(host, "zz-good").error


def test_one_object_under_two_names_fails_the_second_only(no_installed):
    plugin = Offering("a")
    host = Host(extra={"one": plugin, "two": plugin})
    assert [status.state for status in host.status] == ["loaded", "failed"]
    assert host.get(DoctorCheck, "a")


def test_two_records_of_one_name_name_both_plugins(no_installed):
    host = Host(extra={"left": Offering("same-name"), "right": Offering("Same_Name")})
    with pytest.raises(
        PluginError, match=r"'left' and 'right' both offer the check 'same_name'.*-p no:right|'right' and 'left'"
    ):
        host.offers(DoctorCheck)


def test_names_ignore_case_and_dashes(no_installed):
    host = Host(extra={"p": Offering("My-Check")})
    assert host.get(DoctorCheck, "my_check") is host.get(DoctorCheck, "MY-CHECK")


def test_unknown_names_suggest_a_near_one_and_are_usage_errors(no_installed):
    host = Host(extra={"p": Offering("spinquant", "quarot")})
    with pytest.raises(UsageError, match=r"There is no check 'spinqant'. Did you mean 'spinquant'"):
        host.get(DoctorCheck, "spinqant")
    with pytest.raises(UnknownName, match=r"Known: quarot, spinquant"):
        host.get(DoctorCheck, "zzzzzz")


class Failing:
    @hookimpl
    def qharness_doctor(self):
        yield DoctorCheck("never", lambda: CheckResult(True, ""))
        raise KeyError("oops")


class Confused:
    @hookimpl
    def qharness_doctor(self):
        return [ReportSection("x", "X", lambda comparison: "")]


@pytest.mark.parametrize(
    ("plugin", "said"), [(Failing(), "KeyError: 'oops'"), (Confused(), "a ReportSection; it takes DoctorCheck")]
)
def test_a_failing_hook_fails_its_plugin_only_and_is_told_when_asked_for(no_installed, plugin, said):
    host = Host(extra={"bad": plugin, "good": Offering("b")})
    assert set(host.offers(DoctorCheck)) == {"b"}
    assert state(host, "bad").state == "failed" and said in state(host, "bad").error
    with pytest.raises(PluginError, match=r"Plugin 'bad'"):
        host.get(DoctorCheck, "bad")
    with pytest.raises(UnknownName, match=r"Not loaded: 'bad'"):
        host.get(DoctorCheck, "never")


def test_observers_are_isolated_and_get_what_they_ask_for(no_installed, caplog):
    seen = []

    class First:
        @hookimpl
        def qharness_job_finished(self, job):
            seen.append(job["plugin"])

    class Broken:
        @hookimpl
        def qharness_job_finished(self, run, job):
            raise OSError("disk full")

    class Last:
        @hookimpl
        def qharness_job_finished(self, run):
            seen.append(run["run_id"])

    host = Host(extra={"first": First(), "broken": Broken(), "last": Last()})
    with caplog.at_level(logging.WARNING):
        host.notify("qharness_job_finished", run={"run_id": "r"}, job={"plugin": "rtn"})
    assert sorted(seen) == ["r", "rtn"]
    assert "Observer 'broken' failed in qharness_job_finished: disk full" in caplog.text


def test_every_record_type_has_a_hook_and_a_noun():
    from qharness import hookspecs

    kinds = set(Record.__args__)
    assert set(HOOK_OF) == set(NOUNS) == kinds
    assert all(callable(getattr(hookspecs, hook)) for hook in HOOK_OF.values())


def test_modules_and_objects_are_plugins_alike(no_installed, tmp_path):
    module = SimpleNamespace(qharness_data_sources=hookimpl(lambda: [DataSource("d", "D", tmp_path)]))
    assert Host(extra={"m": module}).get(DataSource, "D").folder == tmp_path
