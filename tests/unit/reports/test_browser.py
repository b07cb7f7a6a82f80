"""The report in a real browser: no errors, no requests, sorting and filtering work."""

from __future__ import annotations

import html
import re
import shutil
import subprocess

import pytest

from qharness_reports import render
from qharness_reports.page import content_policy
from qharness_reports.templating import asset
from qharness_reports.testing import synthetic_comparison

pytestmark = pytest.mark.browser

PROBE = """
const table = document.getElementById("scores");
const heads = [...table.querySelectorAll("thead .sort")];
const column = heads.findIndex((head) => head.textContent.includes("spinquant"));
const scores = () => [...table.tBodies[0].rows].map((row) => row.cells[column].dataset.v);
heads[column].click();
const falling = scores();
heads[column].click();
const rising = scores();
const pairs = document.querySelector("table.pairs");
const baselines = pairs.querySelectorAll("thead tr:last-child .sort");
baselines[3].click();
const wide = (row) => [...row.cells].flatMap((cell) => Array(cell.colSpan).fill(cell));
const generation = [...pairs.tBodies[0].rows].map((row) => wide(row)[5].dataset.v ?? "");
const filter = document.querySelector("input.filter");
filter.value = "8TAGS gen";
filter.dispatchEvent(new Event("input"));
const left = [...table.tBodies[0].rows].filter((row) => !row.hidden).map((row) => row.cells[0].textContent);
const download = !document.getElementById("download").hidden;
document.title = JSON.stringify({ falling, rising, generation, left, download });
"""


@pytest.fixture(scope="module")
def chromium():
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if not found:
        pytest.fail(
            "Chromium is not installed: `apt-get install chromium`, or leave these tests out with -m 'not browser'."
        )
    return found


def browse(chromium, page, tmp_path):
    command = [
        chromium, "--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking",
        f"--user-data-dir={tmp_path / 'profile'}", "--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000",
        "--dump-dom", page.as_uri(),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def test_report_shows_without_errors(chromium, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(render(synthetic_comparison()), encoding="utf-8")
    dom, console = browse(chromium, page, tmp_path)
    assert console == []
    for said in (
        "Embedded data: not the leaderboard.",
        "Dissociated",
        "Multiple choice kept",
        "żółwiu, który chciał latać",
    ):
        assert said in dom


def test_a_foreign_script_does_not_run(chromium, tmp_path):
    page = tmp_path / "report.html"
    document = render(synthetic_comparison()).replace("</main>", "<script>document.title = 'owned'</script></main>")
    page.write_text(document, encoding="utf-8")
    dom, console = browse(chromium, page, tmp_path)
    assert "<title>owned" not in dom
    assert any("Content Security Policy" in line for line in console)


def test_sorting_and_filtering(chromium, tmp_path):
    import json

    script = asset("report.js")
    document = render(synthetic_comparison())
    document = document.replace(script, script + PROBE)
    document = document.replace(
        html.escape(content_policy(script)).replace("&#x27;", "&#39;"), content_policy(script + PROBE)
    )
    page = tmp_path / "report.html"
    page.write_text(document, encoding="utf-8")
    dom, console = browse(chromium, page, tmp_path)
    assert console == []
    seen = json.loads(html.unescape(re.search("<title>(.*?)</title>", dom)[1]))
    numbers = [float(v) for v in seen["falling"]]
    assert numbers == sorted(numbers, reverse=True)
    assert seen["rising"] == seen["falling"][::-1] or sorted(numbers) == [float(v) for v in seen["rising"]]
    known = [float(v) for v in seen["generation"] if v]
    assert known == sorted(known, reverse=True) and seen["generation"][-1] == ""
    assert set(seen["left"]) == {"8tags_g", "8tags_text"}
    assert seen["download"]
