"""vLLM against the engine `hf`: the same answers from the same artifacts, and refusals."""

from __future__ import annotations

import copy
import json
import shutil

import pytest

from qharness.engines.base import GenerationRequest, LikelihoodRequest
from qharness.errors import MissingTransform, UnknownName, UsageError
from qharness.transforms.contract import hadamard_entry

pytestmark = pytest.mark.vllm
NOISE = 1e-4
"""Most difference of two log-likelihoods computed in float32."""
TIE = 1e-3
"""Logits nearer than this are a tie."""
STOPS = (".", "\n\n")


def silent(done, total):
    pass


@pytest.fixture(scope="module")
def tokens(prompts, engines):
    tokenizer = engines("hf", "demo").tokenizer
    return [tuple(tokenizer(text)["input_ids"][:64]) for text in prompts]


@pytest.fixture(scope="module")
def likelihood_requests(tokens):
    """Single tokens after a shared context, longer continuations that share a beginning, a context of one token."""
    asked = []
    for row in tokens[:6]:
        asked += [LikelihoodRequest(row[:-8], (token,)) for token in (row[-8], 5, 300)]
        asked += [LikelihoodRequest(row[:-8], row[-8:]), LikelihoodRequest(row[:-8], row[-8:-3])]
    return [*asked, LikelihoodRequest(tokens[0][:1], tokens[0][1:4])]


@pytest.fixture(scope="module")
def whole(artifacts, engines, likelihood_requests):
    """Likelihoods of the unchanged SpinQuant artifact."""
    return engines("hf", artifacts("spinquant")).loglikelihood(likelihood_requests, silent)


def assert_same_likelihoods(found, expected):
    assert max(abs(a.logprob - b.logprob) for a, b in zip(found, expected, strict=True)) <= NOISE
    assert [a.is_greedy for a in found] == [b.is_greedy for b in expected]


def gap(engine, request, one, other):
    """Return by how much the logits prefer one answer where the two part."""
    place = next(i for i, (a, b) in enumerate(zip(one.tokens, other.tokens, strict=False)) if a != b)
    path = LikelihoodRequest(request.prompt, one.tokens[: place + 1])
    logits = engine.path_logits(path)[place]
    return abs(float(logits[one.tokens[place]] - logits[other.tokens[place]]))


@pytest.mark.parametrize(("method", "count"), [("spinquant", 50), ("quip_sharp", 20)])
def test_artifact_answers_as_in_hf(method, count, artifacts, engines, tokens, likelihood_requests):
    folder = artifacts(method)
    hf, vllm = engines("hf", folder), engines("vllm", folder)
    assert vllm.identity["transforms"] == hf.identity["transforms"] != []
    for score in ("loglikelihood", "decode_loglikelihood"):
        expected = getattr(hf, score)(likelihood_requests, silent)
        assert_same_likelihoods(getattr(vllm, score)(likelihood_requests, silent), expected)
    asked = [GenerationRequest(row, STOPS, 12) for row in tokens[:count]]
    expected, found = hf.generate(asked, silent), vllm.generate(asked, silent)
    different = [i for i, (a, b) in enumerate(zip(found, expected, strict=True)) if a != b]
    assert len(different) <= 0.02 * len(asked)
    assert all(gap(hf, asked[i], expected[i], found[i]) < TIE for i in different)
    assert {answer.finish for answer in found} > {"stop"}


def test_plain_model_answers_as_in_hf(engines, tokens, likelihood_requests):
    hf, vllm = engines("hf", "demo"), engines("vllm", "demo")
    expected = hf.loglikelihood(likelihood_requests, silent)
    assert_same_likelihoods(vllm.loglikelihood(likelihood_requests, silent), expected)
    asked = [GenerationRequest(row, STOPS, 24) for row in tokens[:20]]
    assert vllm.generate(asked, silent) == hf.generate(asked, silent)
    assert vllm.identity["digest"] == hf.identity["digest"]


def test_long_context_loses_its_beginning(engines, tokens):
    row = [token for part in tokens for token in part]
    asked = [LikelihoodRequest(tuple(row[:2100]), tuple(row[2100:2103])), LikelihoodRequest(tuple(row[:2048]), (7,))]
    hf, vllm = engines("hf", "demo"), engines("vllm", "demo")
    assert_same_likelihoods(vllm.loglikelihood(asked, silent), hf.loglikelihood(asked, silent))


def test_samples_depend_on_the_seed(engines, tokens):
    vllm = engines("vllm", "demo")
    asked = [GenerationRequest(tokens[0], (), 24, 1.0, seed) for seed in (1, 1, 2, 3)]
    texts = [answer.tokens for answer in vllm.generate(asked, silent)]
    assert texts[0] == texts[1] and len(set(texts)) == 3


def test_ablated_artifact_is_stamped_and_another_model(artifacts, engines, likelihood_requests, whole):
    folder = artifacts("spinquant")
    hf, vllm = (engines(name, folder, ablate=("r4",)) for name in ("hf", "vllm"))
    assert vllm.identity["ablation"] == ["r4"] and vllm.identity["transforms"] == []
    found = vllm.loglikelihood(likelihood_requests, silent)
    assert_same_likelihoods(found, hf.loglikelihood(likelihood_requests, silent))
    assert sum(abs(a.logprob - b.logprob) for a, b in zip(found, whole, strict=True)) > len(found)


def test_queries_and_keys_are_rotated(artifacts, engines, likelihood_requests, whole, tmp_path):
    def always(entries):
        return [{**entry, "needed_if": None} for entry in entries]

    folder = rewritten(artifacts("spinquant"), tmp_path / "artifact", always)
    both = engines("vllm", folder)
    assert both.identity["transforms"] == ["r3", "r3", "r4"]
    assert_same_likelihoods(both.loglikelihood(likelihood_requests, silent), whole)
    hf, vllm = (engines(name, folder, ablate=("r3:q_post_rope",)) for name in ("hf", "vllm"))
    found = vllm.loglikelihood(likelihood_requests, silent)
    assert_same_likelihoods(found, hf.loglikelihood(likelihood_requests, silent))
    assert max(abs(a.logprob - b.logprob) for a, b in zip(found, whole, strict=True)) > 1


def test_quantized_cache_attaches_r3(artifacts, engines, likelihood_requests, whole):
    coarse = engines("vllm", artifacts("spinquant"), kv_bits=8, kv_prefill="visible")
    assert coarse.identity["transforms"] == ["r3", "r3", "r4"]
    found = coarse.loglikelihood(likelihood_requests, silent)
    change = [abs(a.logprob - b.logprob) for a, b in zip(found, whole, strict=True)]
    assert 1e-3 < max(change) < 5


def test_transform_that_vllm_cannot_do_is_refused_by_name(artifacts, engines, tmp_path):
    def add(entries):
        entry = hadamard_entry(id="rotated_head", kind="r4", modules="lm_head", site="linear_input", size=256)
        return [*entries, entry.to_json()]

    folder = rewritten(artifacts("spinquant"), tmp_path / "artifact", add)
    assert "r4" in engines("hf", folder).identity["transforms"]
    with pytest.raises(MissingTransform, match=r"vLLM cannot run .* 'rotated_head' .*lm_head"):
        engines("vllm", folder)
    ablated = engines("vllm", folder, ablate=("rotated_head",))
    assert ablated.identity["ablation"] == ["rotated_head"]


def test_what_vllm_lacks_is_refused(artifacts, engines):
    folder = artifacts("spinquant")
    with pytest.raises(UsageError, match="--kv-prefill visible"):
        engines("vllm", folder, kv_bits=8)
    with pytest.raises(UsageError, match="no key-value cache of 2 bits"):
        engines("vllm", folder, kv_bits=2, kv_prefill="visible")
    with pytest.raises(UnknownName, match="r5"):
        engines("vllm", folder, ablate=("r5",))
    with pytest.raises(UsageError, match="drop `--ablate`"):
        engines("vllm", "demo", ablate=("r4",))


def test_evaluation_stamps_engine_and_ablation(artifacts, tmp_path):
    import pyarrow.parquet as pq

    from qharness.cli.group import cli

    chosen = ["--suite", "polish22-mc", "--limit", "1", "--evaluators", "mc", "--num-fewshot", "0"]
    runs = ["--data", "embedded", "--runs", str(tmp_path), "--engine", "vllm", "--ablate", "r4"]
    code = cli.main(args=["eval", str(artifacts("spinquant")), *chosen, *runs], standalone_mode=False)
    assert not code
    run = next(path.parent for path in tmp_path.glob("*/run.json"))
    rows = pq.read_table(run / "results.parquet").to_pylist()
    assert {row["engine"] for row in rows} == {"vllm"}
    assert {tuple(row["ablation"]) for row in rows} >= {("r4",), ()}


def rewritten(source, target, change):
    """Copy an artifact with other transform entries, and with the digest that belongs to them."""
    from qharness.artifacts.reader import artifact_digest

    shutil.copytree(source, target)
    config = json.loads((target / "config.json").read_text())
    section = config["quantization_config"]
    section["transforms"] = change(copy.deepcopy(section["transforms"]))
    (target / "config.json").write_text(json.dumps(config))
    manifest = json.loads((target / "manifest.json").read_text())
    manifest["digest"] = artifact_digest(manifest["tensors_digest"], section)
    manifest["files"]["config.json"] = (target / "config.json").stat().st_size
    (target / "manifest.json").write_text(json.dumps(manifest))
    return target
