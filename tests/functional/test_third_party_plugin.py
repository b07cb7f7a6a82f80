"""The tutorial's plugin, extracted from the documentation, as a distribution of its own."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

TUTORIAL = Path(__file__).parents[2] / "docs" / "writing-a-plugin.md"
BLOCK = re.compile(r'^```(\w+)(?: title="([^"]+)")?\n(.*?)^```$', re.MULTILINE | re.DOTALL)
CLI = "from qharness.cli import main; main()"


def blocks() -> list[tuple[str, str, str]]:
    """Return (language, title, source) of all code in the tutorial."""
    return [(m[1], m[2] or "", m[3]) for m in BLOCK.finditer(TUTORIAL.read_text(encoding="utf-8"))]


@pytest.fixture(scope="module")
def project(tmp_path_factory) -> Path:
    """The tutorial's files, written out."""
    folder = tmp_path_factory.mktemp("qharness-ternary")
    for _, title, source in blocks():
        if title:
            path = folder / title
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(source, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def environment(project, tmp_path_factory) -> dict[str, str]:
    """An environment in which the plugin is installed with pip beside qharness."""
    target = tmp_path_factory.mktemp("site")
    command = [
        sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-deps",
        "--no-build-isolation", "--target", str(target), str(project),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    search = [str(target), *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(search)}


def python(*arguments: str, cwd: Path, env: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *arguments], cwd=cwd, env=env, capture_output=True, text=True, check=False, timeout=600
    )


def test_the_tutorial_has_all_files_of_a_distribution(project):
    written = {str(path.relative_to(project)) for path in project.rglob("*") if path.is_file()}
    assert written == {
        "pyproject.toml", "qharness_ternary/__init__.py", "qharness_ternary/linear.py",
        "qharness_ternary/quantizer.py", "tests/test_ternary.py",
    }  # fmt: skip


def test_the_plugin_is_listed_with_its_distribution(environment, tmp_path):
    done = python("-c", CLI, "plugins", "--json", cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    mine = next(plugin for plugin in listed["plugins"] if plugin["name"] == "ternary")
    assert mine == {
        "name": "ternary",
        "distribution": "qharness-ternary",
        "version": "0.1.0",
        "state": "loaded",
        "error": "",
    }
    assert {"plugin": "ternary", "kind": "plugin", "name": "ternary"}.items() <= next(
        offer for offer in listed["offers"] if offer["name"] == "ternary"
    ).items()


def test_the_plugin_can_be_left_out(environment, tmp_path):
    done = python("-c", CLI, "plugins", "--json", "-p", "no:Ternary", cwd=tmp_path, env=environment)
    states = {plugin["name"]: plugin["state"] for plugin in json.loads(done.stdout)["plugins"]}
    assert states["ternary"] == "disabled"


def test_its_conformance_tests_pass(project, environment):
    done = python("-m", "pytest", "-q", "-p", "no:cacheprovider", "tests", cwd=project, env=environment)
    assert done.returncode == 0, done.stdout
    assert int(re.search(r"(\d+) passed", done.stdout)[1]) >= 40


@pytest.mark.slow
def test_it_runs_by_name(environment, tmp_path):
    done = python(
        "-c", CLI, "run", "--plugin", "Ternary", "--suite", "polish22-mc", "--limit", "2", "--evaluators", "mc",
        "--set", "ternary.group-size=32", cwd=tmp_path, env=environment,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    run = next((tmp_path / "runs").glob("2*"))
    shown = json.loads(python("-c", CLI, "show", str(run), "--json", cwd=tmp_path, env=environment).stdout)
    assert {row["plugin"] for row in shown["results"]} == {"fp16", "ternary"}
    artifact = next(row for row in shown["artifacts"] if row["plugin"] == "ternary")
    assert artifact["nominal_bits"] == 2.0
    assert artifact["stored_bpw"] == pytest.approx(2 + 16 / 32)
    assert {row["plugin"] for row in shown["verdicts"]} == {"ternary"}
    assert (run / "report.html").stat().st_size > 10_000


@pytest.mark.parametrize("source", [s for lang, title, s in blocks() if lang == "python" and not title])
def test_every_other_example_is_a_working_plugin(source):
    from types import SimpleNamespace

    from qharness.host import HOOK_OF, Host

    names: dict[str, object] = {}
    exec(compile(source, str(TUTORIAL), "exec"), names)
    hooks = {name: value for name, value in names.items() if name.startswith("qharness_")}
    host = Host(extra={"example": SimpleNamespace(**hooks)})
    assert next(status for status in host.status if status.name == "example").state == "loaded"
    for kind, hook in HOOK_OF.items():
        if hook in hooks:
            assert any(offer.plugin == "example" for offer in host.offers(kind).values())


def test_the_example_section_renders():
    from qharness_reports import render
    from qharness_reports.testing import synthetic_comparison

    names: dict[str, object] = {}
    source = next(s for _, _, s in blocks() if "many_flips" in s)
    exec(compile(source, str(TUTORIAL), "exec"), names)
    document = render(synthetic_comparison(), list(names["qharness_report_sections"]()))
    assert 'id="many_flips"' in document and "in spin-r4</li>" in document
