"""Controls T0 to T5: what must hold on the embedded model before any of its results is read.

Rotated, unquantized models are made by SpinQuant's own `prepare`, with random instead of learned rotations.
"""

from __future__ import annotations

import copy
import subprocess
import sys

import pytest
import torch

from qharness.engines.base import EngineRequest
from qharness.engines.forward import Forward
from qharness.evaluation.base import EvaluationContext
from qharness.host import Host
from qharness.kv.rounding import KvRounding
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.base import ModelContext
from qharness.records import EngineRecord, EvaluatorRecord, Suite
from qharness.testing.prepared import mean_kl
from qharness.transforms.attach import attach_transforms
from qharness_demo import DATA_DIR
from qharness_spinquant.options import Options
from qharness_spinquant.quantizer import SpinQuant

LIMIT = 20
TASKS = ("polish_8tags_multiple_choice", "polish_klej_ner_multiple_choice", "polish_psc_multiple_choice")


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.fixture(scope="module")
def original(host):
    return load_model(LoadRequest("demo", host))


@pytest.fixture(scope="module")
def tokens(original):
    from qharness_demo.corpus import running_text

    text = "\n".join(running_text(7, 40))
    ids = original.tokenizer(text, add_special_tokens=False)["input_ids"]
    return torch.tensor(ids[: 4 * 256]).view(4, 256)


def rotate(model, tmp_path, **options):
    """Return a rotated copy and what its runtime transforms are."""
    changed = copy.deepcopy(model)
    context = ModelContext(
        architecture_of(model.config), torch.empty(0, 0, dtype=torch.int64), 0, "cpu", tmp_path, lambda *_: None
    )
    return changed, SpinQuant(Options(learn=False, **options)).prepare(changed, context)


def test_t0_rotated_unquantized_equals_the_original(original, tokens, host, tmp_path):
    changed, prepared = rotate(original.model, tmp_path)
    attach_transforms(changed, prepared.transforms, prepared.tensors, host)
    assert mean_kl(original.model, changed, tokens) < 1e-6


def test_t0_stored_in_bfloat16(original, tokens, host, tmp_path):
    changed, prepared = rotate(original.model, tmp_path)
    changed.to(torch.bfloat16).to(torch.float32)
    attach_transforms(changed, prepared.transforms, prepared.tensors, host)
    assert mean_kl(original.model, changed, tokens) < 1e-3


def test_t0_in_bfloat16_is_within_three_times_the_noise(original, tokens, host, tmp_path):
    half = copy.deepcopy(original.model).to(torch.bfloat16)
    noise = mean_kl(original.model, half, tokens)
    changed, prepared = rotate(original.model, tmp_path)
    changed.to(torch.bfloat16)
    attach_transforms(changed, prepared.transforms, prepared.tensors, host)
    assert mean_kl(original.model, changed, tokens) <= 3 * noise


def test_t1_r3_changes_nothing_without_cache_quantization(original, tokens, host, tmp_path):
    changed, prepared = rotate(original.model, tmp_path)
    attach_transforms(changed, prepared.transforms, prepared.tensors, host)
    rotated = copy.deepcopy(changed)
    forced = [entry for entry in prepared.transforms if entry.id == "r3"]
    outcome = attach_transforms(rotated, forced, prepared.tensors, host, kv_bits=4)
    assert outcome.attached
    assert mean_kl(changed, rotated, tokens) < 1e-6
    prompt = tokens[:1, :32]
    greedy = {"max_new_tokens": 24, "do_sample": False, "use_cache": True, "pad_token_id": 1}
    assert torch.equal(changed.generate(prompt, **greedy), rotated.generate(prompt, **greedy))


def test_r3_saves_keys_with_outliers_from_a_quantized_cache(original, tokens, host, tmp_path, with_outlier_keys):
    """In an exact cache the outliers change nothing; in four bits they cost the other channels, which R3 prevents."""
    outliers = with_outlier_keys(original.model, 16.0)
    assert mean_kl(original.model, outliers, tokens[:2]) < 1e-6
    changed, prepared = rotate(outliers, tmp_path)
    without = copy.deepcopy(changed)
    attach_transforms(changed, prepared.transforms, prepared.tensors, host, kv_bits=4)
    attach_transforms(without, prepared.transforms, prepared.tensors, host, ablate=("r3",), kv_bits=4)
    with torch.no_grad():
        expected = original.model(tokens[:2]).logits.flatten(0, 1).log_softmax(-1)
        lost = {}
        for name, model in (("r3", changed), ("without", without)):
            forward = Forward(model, KvRounding(4, "visible"))
            found = forward.logits(forward.hidden(tokens[:2]).flatten(0, 1)).log_softmax(-1)
            lost[name] = float((expected.exp() * (expected - found)).sum(-1).mean())
    assert lost["r3"] < lost["without"] / 4, lost


def test_t2_a_missing_r4_destroys_multiple_choice_and_generation(original, tokens, host, tmp_path):
    changed, _ = rotate(original.model, tmp_path)
    folder = tmp_path / "r4-merged-but-absent"
    changed.save_pretrained(folder)
    original.tokenizer.save_pretrained(folder)
    with torch.no_grad():
        logits = changed(tokens).logits[:, :-1].log_softmax(-1)
        perplexity = float((-logits.gather(-1, tokens[:, 1:, None]).mean()).exp())
        healthy = original.model(tokens).logits[:, :-1].log_softmax(-1)
        before = float((-healthy.gather(-1, tokens[:, 1:, None]).mean()).exp())
    assert perplexity > 50 * before
    kept, lost = scores("demo", host), scores(str(folder), host)
    for name in TASKS:
        assert kept[name] > lost[name]
    chance = sum(lost[f"constant {name}"] for name in TASKS) / len(TASKS)
    assert sum(lost[name] for name in TASKS) / len(TASKS) < chance + 0.15
    texts = [name for name in lost if name.startswith("paired_")]
    assert len(texts) == len(TASKS)
    assert sum(kept[name] for name in texts) / len(texts) > 0.5
    assert sum(lost[name] for name in texts) / len(texts) < 0.2


def scores(reference, host):
    """Return accuracy of three tasks and exact match of their text-answer variants."""
    engine = host.get(EngineRecord, "hf").create(EngineRequest(reference, host))
    suite = host.get(Suite, "polish22-paired")
    chosen = [task for task in suite.tasks if task.name in TASKS or task.sibling in TASKS]
    found = {}
    for kind, metric in (("mc", "acc"), ("gen", "exact_match")):
        tasks = [task for task in chosen if task.kind == kind]
        context = EvaluationContext(engine, suite, tasks, str(DATA_DIR), "embedded", num_fewshot=5, limit=LIMIT)
        measured = host.get(EvaluatorRecord, kind).run(context)
        assert not measured.failures
        for row in measured.results:
            if row.metric == metric:
                found[row.task] = row.value
                found[f"constant {row.task}"] = row.constant
    engine.close()
    return found


def test_t3_never_merged_r4_equals_no_had(original, tokens, host, tmp_path):
    without, prepared = rotate(original.model, tmp_path, no_had=True)
    assert not prepared.transforms
    assert mean_kl(original.model, without, tokens) < 1e-6


def test_t4_decode_path_equals_prefill(host):
    engine = host.get(EngineRecord, "hf").create(EngineRequest("demo", host))
    suite = host.get(Suite, "polish22-mc")
    tasks = [task for task in suite.tasks if task.name in TASKS]
    context = EvaluationContext(engine, suite, tasks, str(DATA_DIR), "embedded", num_fewshot=2, limit=8)
    prefill = host.get(EvaluatorRecord, "mc").run(context).samples
    decode = host.get(EvaluatorRecord, "decode_ll").run(context).samples
    assert len(prefill) == len(decode) > 0
    for one, other in zip(prefill, decode, strict=True):
        assert (one.task, one.doc_id, one.prompt_hash) == (other.task, other.doc_id, other.prompt_hash)
        assert one.choice_logprobs == pytest.approx(other.choice_logprobs, abs=1e-4)


PROBE = """
import sys, torch
from qharness.host import Host
from qharness.kv.rounding import KvRounding
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
loaded = load_model(LoadRequest(sys.argv[1], Host()))
tokens = torch.arange(3, 67).view(1, 64)
with torch.no_grad():
    torch.save({"logits": loaded.model(tokens).logits, "digest": loaded.digest}, sys.argv[2])
"""


def test_t5_an_artifact_keeps_its_logits_in_a_fresh_process(spinquant_artifact, host, tmp_path):
    loaded = load_model(LoadRequest(str(spinquant_artifact), host))
    assert [item.entry.id for item in loaded.transforms] == ["r4"]
    tokens = torch.arange(3, 67).view(1, 64)
    with torch.no_grad():
        here = loaded.model(tokens).logits
    file = tmp_path / "there.pt"
    subprocess.run([sys.executable, "-c", PROBE, str(spinquant_artifact), str(file)], check=True)
    there = torch.load(file, weights_only=True)
    assert there["digest"] == loaded.digest
    assert torch.allclose(here, there["logits"], atol=1e-5, rtol=0)
