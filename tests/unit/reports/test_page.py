"""The document: offline, escaped, deterministic, small, written whole or not at all."""

from __future__ import annotations

import base64
import copy
import hashlib
import json
import math
import subprocess
import sys
import typing
from html.parser import HTMLParser

import pytest

from qharness.errors import PluginError, Unwritable
from qharness.records import ReportSection
from qharness.results import shape
from qharness_reports import render, write_report
from qharness_reports.page import script_safe_json
from qharness_reports.testing import NOTICE, synthetic_comparison

HOSTILE = "</script></style><script>alert('x')</script><img src=https://evil.example onerror=alert(1)>\"'&"


class Page(HTMLParser):
    """Elements, attributes and script contents of a document."""

    def __init__(self, document: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[str] = []
        self.text: list[str] = []
        self._inside = ""
        self.feed(document)

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append("")

    def handle_endtag(self, tag):
        self._inside = ""

    def handle_data(self, data):
        if self._inside == "script":
            self.scripts[-1] += data
        elif self._inside != "style":
            self.text.append(data)

    def ids(self) -> list[str]:
        return [attributes["id"] for tag, attributes in self.elements if tag == "section"]


@pytest.fixture(scope="module")
def comparison():
    return synthetic_comparison()


@pytest.fixture(scope="module")
def document(comparison):
    return render(comparison)


def test_synthetic_comparison_has_the_shape_of_the_real_one(comparison):
    def check(value, kind, where):
        origin = typing.get_origin(kind)
        if typing.is_typeddict(kind):
            hints = typing.get_type_hints(kind)
            assert set(value) == set(hints), where
            for key, hint in hints.items():
                check(value[key], hint, f"{where}.{key}")
        elif origin is list:
            for index, item in enumerate(value):
                check(item, typing.get_args(kind)[0], f"{where}[{index}]")
        elif origin is dict:
            for key, item in value.items():
                check(item, typing.get_args(kind)[1], f"{where}[{key!r}]")

    check(comparison, shape.Comparison, "comparison")


def test_nothing_can_be_fetched(document):
    page = Page(document)
    for tag, attributes in page.elements:
        assert tag not in {"link", "iframe", "object", "embed", "base", "form"}
        for name in ("src", "href", "action", "data", "xlink:href", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
    assert "@import" not in document and "url(" not in document


def test_policy_allows_only_the_one_script(document):
    page = Page(document)
    policy = next(a["content"] for t, a in page.elements if a.get("http-equiv") == "Content-Security-Policy")
    data, script = page.scripts
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert "default-src 'none'" in policy
    assert f"script-src 'sha256-{digest}'" in policy
    assert "unsafe-eval" not in policy
    assert json.loads(data)["notice"] == NOTICE


def test_equal_input_gives_equal_bytes(comparison, document):
    assert render(copy.deepcopy(comparison)) == document


def test_notice_stands_before_the_first_score(document):
    shown = document.index("Embedded data: not the leaderboard.")
    assert shown < document.index('class="card') < document.index("<table")


def test_every_string_is_escaped(comparison):
    keep = {"kind", "verdict", "is_baseline", "sibling", "task", "config", "id"}

    def poison(value, key=""):
        if isinstance(value, dict):
            return {k: poison(v, k) for k, v in value.items()}
        if isinstance(value, list):
            return [poison(item, key) for item in value]
        return HOSTILE if isinstance(value, str) and key not in keep else value

    page = Page(render(poison(comparison)))
    assert len(page.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.elements)
    assert not any(name.startswith("on") for _, attributes in page.elements for name in attributes)
    assert "".join(page.text).count("alert('x')") > 50


def test_poisoned_keys_and_verdicts_are_escaped(comparison):
    hostile = copy.deepcopy(comparison)
    hostile["run"][HOSTILE] = {HOSTILE: HOSTILE}
    hostile["verdicts"][0]["verdict"] = HOSTILE
    hostile["free"]["fp16"]["metrics"] = {HOSTILE: 1.0}
    page = Page(render(hostile))
    assert len(page.scripts) == 2
    assert not any(tag == "img" for tag, _ in page.elements)


def test_script_safe_json_survives_a_round_trip():
    data = {"a": ["</script><!--", "ąćęłńóśźż", 0.1], "b": math.nan, "c": math.inf, "d": (1, None)}
    text = script_safe_json(data)
    assert "<" not in text
    assert json.loads(text) == {"a": ["</script><!--", "ąćęłńóśźż", 0.1], "b": None, "c": None, "d": [1, None]}


def test_a_large_comparison_stays_within_the_budget(comparison):
    large = copy.deepcopy(comparison)
    for free in large["free"].values():
        example = free["examples"][0]
        free["examples"] = [
            example | {"id": str(i), "text": "Pewnego dnia żółw poszedł w świat. " * 60} for i in range(20)
        ]
    item = large["generations"][0]
    for response in item["responses"].values():
        response["text"] = "odpowiedź " * 50
    large["generations"] = [item | {"task": f"task{t}", "doc_id": d} for t in range(21) for d in range(60)]
    assert len(render(large).encode()) < 5_000_000


def test_missing_parts_are_dashes_not_errors(comparison):
    bare = copy.deepcopy(comparison)
    for row in bare["summary"].values():
        row.update(dict.fromkeys(row))
    for rows in bare["retention"].values():
        for row in rows:
            row.update({key: math.nan for key in row if key.startswith(("mc", "gen"))})
    for task in bare["tasks"]:
        for cell in task["cells"].values():
            cell.update(delta=math.nan, low=None, high=None, p=None, p_holm=math.nan, stderr=None, mde=None)
    bare["artifacts"] = [{"plugin": "spinquant", "path": "x"}]
    document = render(bare)
    assert ">nan<" not in document.lower() and "None" not in "".join(Page(document).text)


def test_a_run_of_the_baseline_alone_renders(comparison):
    alone = copy.deepcopy(comparison)
    alone["configurations"] = alone["configurations"][:1]
    for key in ("retention", "summary"):
        alone[key] = {}
    for key in ("verdicts", "artifacts", "failures", "generations", "warnings", "other_metrics"):
        alone[key] = []
    assert "Only the unquantized baseline was measured." in render(alone)


def test_an_empty_comparison_renders():
    assert Page(render({"run": {}, "configurations": [], "tasks": []})).ids() == ["verdicts", "method", "run"]


def test_third_party_sections_stand_in_their_order(comparison):
    late = ReportSection("flips", "Flips", lambda c: f"<p id='mine'>{len(c['tasks'])}</p>", order=200)
    early = ReportSection("intro", "Intro", lambda c: "<p>hi</p>", order=-1)
    silent = ReportSection("silent", "Silent", lambda c: "", order=5)
    ids = Page(render(comparison, [late, early, silent])).ids()
    assert ids[0] == "intro" and ids[-1] == "flips" and "silent" not in ids


def test_a_section_of_a_built_in_name_takes_its_place(comparison):
    document = render(comparison, [ReportSection("answers", "Mine", lambda c: "<p>replaced</p>", order=60)])
    assert Page(document).ids().count("answers") == 1
    assert "<p>replaced</p>" in document


def test_built_in_sections_come_through_the_hook(document):
    from qharness_reports import plugin

    offered = list(plugin.qharness_report_sections())
    assert {section.name for section in offered} >= set(Page(document).ids())


def test_a_failing_section_is_named_and_nothing_is_written(comparison, tmp_path):
    def broken(_):
        raise ValueError("no such column")

    target = tmp_path / "report.html"
    target.write_text("old")
    with pytest.raises(PluginError, match="'mine' failed: ValueError: no such column"):
        write_report(comparison, target, [ReportSection("mine", "Mine", broken)])
    assert target.read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_report_is_written_as_rendered(comparison, document, tmp_path):
    target = tmp_path / "deep" / "report.html"
    write_report(comparison, target)
    assert target.read_bytes() == document.encode()
    assert [path.name for path in target.parent.iterdir()] == ["report.html"]


def test_an_unwritable_place_is_a_clear_error(comparison, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(Unwritable, match="another place with -o"):
        write_report(comparison, tmp_path / "file" / "report.html")


def test_import_is_light():
    code = "import sys, qharness_reports, qharness_reports.plugin; print([m for m in ('torch', 'jinja2', 'pandas', 'plotly') if m in sys.modules])"  # noqa: E501
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
