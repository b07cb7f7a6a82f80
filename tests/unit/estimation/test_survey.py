"""What a survey of a few documents says about all of them."""

from __future__ import annotations

import json

import pytest

from qharness.cli import main
from qharness.engines.base import GenerationRequest, LikelihoodRequest
from qharness.estimation.survey import varied
from qharness.host import Host
from qharness.jobs.configurations import ArtifactSpec, Built, Configuration
from qharness.jobs.engines import close_engines, engine_for
from qharness.jobs.estimate import EstimateJob, estimate
from qharness.jobs.evaluate import EvaluationJob, evaluate, steps
from qharness.jobs.plan import BASELINE, RunPlan
from qharness.jobs.progress import Reporter
from qharness.jobs.site import Site
from qharness.results.directory import RunDirectory

DOCUMENTS = 16
PLAN = (
    "--plugin rtn --suite polish22-paired --tasks 8tags --num-fewshot 0 --evaluators mc,gen --seeds 2 --survey 2 "
    "--price 3 --json"
)


def test_copies_differ_behind_the_shared_head_and_keep_their_length():
    request = LikelihoodRequest((1, 2, 3, 4, 5, 6), (9,))
    copies = {varied(request, copy, 2).context for copy in range(4)}
    assert len(copies) == 4
    assert all(context[:2] == (1, 2) and sorted(context) == [1, 2, 3, 4, 5, 6] for context in copies)
    assert varied(request, 0, 2) == request
    assert len(varied(GenerationRequest((7, 8), (), 3), 5, 2).prompt) == 2


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """An estimate from a quarter of the documents, and what answering all of them really took."""
    host = Host()
    plan = RunPlan(
        (), ("polish22-paired",), data="embedded", evaluators=("mc", "gen"), limit=DOCUMENTS, tasks=("8tags",),
        num_fewshot=(2,),
    )  # fmt: skip
    run = RunDirectory.create(tmp_path_factory.mktemp("survey"), plan.to_json())
    site = Site(plan, run, host, Reporter(1, quiet=True))
    configuration = Configuration(Built(ArtifactSpec(BASELINE), plan.model, ""))
    found = estimate(EstimateJob(site, configuration, DOCUMENTS // 4, writing=1))
    assert found.value is not None, found.reason
    assert not list(run.path.parent.rglob("part-*.parquet"))
    close_engines()
    keys = tuple(step.key for step in steps(plan, host))
    real = evaluate(EvaluationJob(site, configuration, keys)).value
    assert real is not None and not real.failures
    engine = engine_for(site, configuration)
    close_engines()
    return found.value, real.spent, engine


def test_the_counted_tokens_are_within_a_tenth_of_those_that_are_forwarded(measured):
    found, spent, _ = measured
    assert found.probe.sizes.keys() == spent.keys() and not found.unknown
    estimated = sum(size.prefill for size in found.probe.sizes.values())
    forwarded = sum(one.prefill for one in spent.values())
    assert estimated == pytest.approx(forwarded, rel=0.1)
    writing = [(size.decode * size.share, spent[key].decode) for key, size in found.probe.sizes.items() if size.decode]
    assert writing and all(guess == pytest.approx(real, rel=0.5) for guess, real in writing)


def test_documents_and_requests_are_those_of_the_whole_run(measured):
    found, _, _ = measured
    assert {size.documents for size in found.probe.sizes.values()} == {DOCUMENTS}
    requests = {key[0]: size.requests for key, size in found.probe.sizes.items()}
    assert requests == {"mc": 8 * DOCUMENTS, "gen": DOCUMENTS}


def test_the_model_tells_its_sizes(measured):
    found, _, engine = measured
    assert found.linear_weights == 7864320
    assert found.weight_bytes >= 4 * found.linear_weights
    assert found.state_bytes == engine.state_bytes > 0


def test_the_plan_of_a_run_is_arithmetic_over_its_steps(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as stop:
        main(["plan", *PLAN.split()])
    assert not stop.value.code
    found = json.loads(capsys.readouterr().out)
    assert [c["config"] for c in found["configurations"]] == ["fp16", "rtn", "rtn+seed1"]
    per_configuration = sum(step["seconds"] for step in found["steps"])
    assert found["seconds"] == pytest.approx(3 * per_configuration)
    assert found["price"] == pytest.approx(3 * found["seconds"] / 3600)
    assert all(a["seconds"] is None and a["size_bytes"] > 7864320 * 2 / 8 for a in found["artifacts"])
    assert found["disk_bytes"] > sum(a["size_bytes"] for a in found["artifacts"])
    assert any("rtn quantizes is unknown" in note for note in found["notes"])
    assert list(tmp_path.iterdir()) == []
