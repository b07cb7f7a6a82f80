"""One method calibrated with several texts, several numbers of examples, and the perplexity of a file, in one run."""

from __future__ import annotations

import json

import pytest

from .conftest import qharness

pytestmark = pytest.mark.slow

POLISH = "Wczesnym rankiem rybacy wypłynęli na jezioro, a mgła opadała powoli na brzeg i na puste pomosty.\n"
ENGLISH = "Early in the morning the fishermen set out on the lake while the fog settled on the empty piers.\n"


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    folder = tmp_path_factory.mktemp("calibrations")
    for name, text in (("pl", POLISH), ("en", ENGLISH)):
        (folder / f"{name}.txt").write_text("\n".join(f"{i}. {text}" for i in range(120)), encoding="utf-8")
    texts = ("pl=file:pl.txt", "en=file:en.txt", "mix=file:pl.txt", "mix=file:en.txt")
    done = qharness(
        *("run", "--plugin", "gptq", "--suite", "polish22-paired", "--tasks", "8tags", "--limit", "3", "--json"),
        *("--num-fewshot", "0,2", "--evaluators", "mc,gen", "--perplexity", "file:pl.txt"),
        *("--calibration-samples", "4", "--calibration-length", "128"),
        *(part for text in texts for part in ("--calibration", text)),
        cwd=folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_each_text_gives_an_artifact_and_a_verdict_of_its_own(shown):
    digests = {row["calibration"]: row["artifact_digest"] for row in shown["results"] if row["plugin"] == "gptq"}
    assert set(digests) == {"pl", "en", "mix"} and len(set(digests.values())) == 3
    assert {row["calibration"] for row in shown["verdicts"]} == {"pl", "en", "mix"}


def test_each_number_of_examples_has_rows_of_its_own(shown):
    rows = [row for row in shown["results"] if row["evaluator"] in ("mc", "gen")]
    keys = [(row["config"], row["task"], row["metric"], row["filter"], row["num_fewshot"]) for row in rows]
    assert len(keys) == len(set(keys))
    assert {key[:4] for key in keys if key[4] == 0} == {key[:4] for key in keys if key[4] == 2}


def test_perplexity_of_a_file_names_its_protocol_and_source(shown):
    rows = [row for row in shown["results"] if row["metric"] == "perplexity"]
    assert len(rows) == 4 and all(row["value"] > 1 for row in rows)
    assert all(row["filter"].startswith("windows of ") and row["data"] == "file:pl.txt" for row in rows)
