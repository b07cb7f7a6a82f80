"""SpinQuant end to end on a small trained model: what learning does, against RTN, killed and resumed."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from qharness import builtin
from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus, pack_corpus
from qharness.calibration.store import collect_hessians
from qharness.host import Host
from qharness.models.architecture import architecture_of, head_dim_of
from qharness.models.loaded import LoadedModel
from qharness.quantization.base import ModelContext
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness.rotation.folding import untie_head
from qharness.rotation.matrices import orthogonality_error
from qharness.rotation.merging import random_rotations
from qharness.rotation.online import r4_block
from qharness_spinquant.cayley import cayley_step, polar
from qharness_spinquant.learning import learn, schedule
from qharness_spinquant.network import RotatedNetwork
from qharness_spinquant.options import Options

FAST = dict(iterations=6, sample_length=32, clip_steps=24)


def _sentences(count, length, seed):
    """A language to learn: each next letter is a fixed permutation of one of the two letters before it, or noise."""
    generator = torch.Generator().manual_seed(99)
    tables = torch.stack([torch.randperm(64, generator=generator) for _ in range(2)])
    generator.manual_seed(seed)
    tokens = torch.randint(0, 64, (count, length), generator=generator)
    for i in range(2, length):
        nearer = torch.rand(count, generator=generator) < 0.85
        follow = torch.where(nearer, tables[0][tokens[:, i - 1]], tables[1][tokens[:, i - 2]])
        tokens[:, i] = torch.where(torch.rand(count, generator=generator) < 0.95, follow, tokens[:, i])
    return tokens


@pytest.fixture(scope="module")
def trained():
    torch.manual_seed(0)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=192,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
        tie_word_embeddings=True,
    )
    model = MistralForCausalLM(config)
    optimizer = torch.optim.AdamW(model.parameters(), lr=4e-3, weight_decay=0.0)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 1e-2, total_steps=250)
    for step in range(250):
        batch = _sentences(32, 33, step)
        loss = model(input_ids=batch, labels=batch).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    with torch.no_grad():
        # Norms with outliers, as large models have them, without changing the function.
        for layer in model.model.layers:
            factor = torch.ones(64)
            factor[::16] = 8.0
            for norm, linears in (
                (layer.input_layernorm, (layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj)),
                (layer.post_attention_layernorm, (layer.mlp.gate_proj, layer.mlp.up_proj)),
            ):
                norm.weight /= factor
                for linear in linears:
                    linear.weight *= factor
    return model.eval()


@pytest.fixture(scope="module")
def host():
    import qharness_rtn
    import qharness_spinquant

    installed = {status.name for status in Host().status}
    wanted = {"builtin": builtin, "rtn": qharness_rtn, "spinquant": qharness_spinquant}
    return Host(extra={name: plugin for name, plugin in wanted.items() if name not in installed})


@pytest.fixture(scope="module")
def corpus():
    return Corpus(_sentences(64, 64, 10_001), "sentences")


def _start(sizes, seed):
    return random_rotations(sizes, torch.Generator().manual_seed(seed))


def _r4(options, model):
    return 0 if options.no_had else r4_block(model.config.intermediate_size, options.r4_block)


def _loss(model):
    tokens = _sentences(64, 64, 20_002)
    with torch.no_grad():
        return float(model(input_ids=tokens, labels=tokens).loss)


def _loaded(trained):
    model = copy.deepcopy(trained)
    return LoadedModel(model, None, "trained", model_digest(model), torch.float32)


def _quantize(trained, host, corpus, folder, name="spinquant", *, out="out", progress=None, stored=None, **options):
    loaded = _loaded(trained)
    record = host.get(QuantizerRecord, name)
    info = quantize_model(
        loaded,
        record,
        record.options(**options),
        host=host,
        calibration=corpus,
        hessians=stored,
        seed=0,
        device="cpu",
        work=folder / "work",
        out=folder / out,
        store_dtype=torch.float32,
        progress=progress or (lambda *_: None),
    )
    return info, loaded.model


def test_spinquant_beats_rtn(trained, host, corpus, tmp_path):
    original = _loss(trained)
    losses = {"rtn": _loss(_quantize(trained, host, corpus, tmp_path, "rtn", out="rtn", clip=True)[1])}
    for out, options in {"r4": {}, "no_had": {"no_had": True}}.items():
        info, model = _quantize(trained, host, corpus, tmp_path, out=out, **FAST, **options)
        losses[out] = _loss(model)
        manifest = json.loads((info.path / "manifest.json").read_text())
        assert manifest["notes"]["in_the_loop"] == "weights" and manifest["notes"]["untied_head"]
        assert max(manifest["notes"]["orthogonality"].values()) < 1e-6
        assert all(layer["proxy_loss"] < 0.2 for layer in manifest["layers"].values())
        config = json.loads((info.path / "config.json").read_text())
        transforms = config["quantization_config"]["transforms"]
        assert [entry["id"] for entry in transforms] == ([] if options else ["r4", "r3", "r3"])
        assert config["tie_word_embeddings"] is False
    damage = {name: loss - original for name, loss in losses.items()}
    assert damage["r4"] < 0.5 * damage["rtn"] and damage["no_had"] < 0.5 * damage["rtn"], damage


def test_stored_hessians_serve_the_rotated_model(trained, host, corpus, tmp_path):
    store = collect_hessians(_loaded(trained), corpus, tmp_path / "hessians")
    original = _loss(trained)
    rtn = _loss(_quantize(trained, host, corpus, tmp_path, "rtn", out="rtn", clip=True)[1])
    digests = {}
    for out, options in {"stored": {"stored": store}, "walked": {}, "behind": {"hessians": "sequential"}}.items():
        info, model = _quantize(trained, host, corpus, tmp_path, out=out, **options, **FAST)
        assert _loss(model) - original < 0.5 * (rtn - original), out
        digests[out] = info.digest
    assert digests["behind"] not in (digests["stored"], digests["walked"])


@pytest.mark.parametrize("killed_at", ["learning", "block"])
def test_killed_and_resumed_gives_the_same_digest(trained, host, corpus, tmp_path, killed_at):
    whole, _ = _quantize(trained, host, corpus, tmp_path, out="whole", **FAST)

    def kill(done, total, label):
        if killed_at in label and done == (6 if killed_at == "learning" else 1):
            raise KeyboardInterrupt

    # Checkpoints of the learning are written every five steps, so a kill at the sixth resumes at the fifth.
    with pytest.raises(KeyboardInterrupt):
        _quantize(trained, host, corpus, tmp_path, out="resumed", progress=kill, **FAST)
    seen = []
    resumed, _ = _quantize(
        trained, host, corpus, tmp_path, out="resumed", progress=lambda d, t, label: seen.append(label), **FAST
    )
    assert resumed.digest == whole.digest
    assert sum("learning" in label for label in seen) <= 1


def test_the_loss_depends_on_the_rotations_only_through_quantization(trained):
    model = copy.deepcopy(trained)
    names = architecture_of(model.config)
    untie_head(model, names)
    tokens = _sentences(8, 32, 7)
    for options in (Options(), Options(proxy="activations", activation_bits=4), Options(no_had=True)):
        network = RotatedNetwork(model, names, options, _r4(options, model), "cpu")
        first, second = (_start((64, 16, 2), seed)[0] for seed in (0, 1))
        plain, quantized = [], []
        for rotations in (first, second):
            r1, r2 = rotations.r1.float(), rotations.r2.float()
            plain.append(float(network.loss(tokens, r1, r2, quantized=False)))
            quantized.append(float(network.loss(tokens, r1, r2)))
        with torch.no_grad():
            logits = trained(tokens).logits[:, :-1].flatten(0, 1)
        expected = float(torch.nn.functional.cross_entropy(logits, tokens[:, 1:].flatten()))
        assert plain == pytest.approx([expected, expected], rel=1e-4)
        assert abs(quantized[0] - quantized[1]) > 1e-4


def test_saving_memory_changes_no_gradient(trained, monkeypatch):
    model = copy.deepcopy(trained)
    names = architecture_of(model.config)
    untie_head(model, names)
    tokens, begin = _sentences(4, 32, 7), _start((64, 16, 2), 0)[0]
    found = []
    for saves, dtype in ((False, torch.float32), (True, torch.float32), (True, torch.bfloat16)):
        monkeypatch.setattr(RotatedNetwork, "precision", staticmethod(lambda _, pair=(saves, dtype): pair))
        network = RotatedNetwork(model, names, Options(), _r4(Options(), model), "cpu")
        r1, r2 = begin.r1.float().requires_grad_(), begin.r2.float().requires_grad_()
        network.loss(tokens, r1, r2).backward()
        found.append((r1.grad, r2.grad))
    for plain, saving in zip(found[0], found[1], strict=True):
        assert torch.allclose(plain, saving, atol=1e-6)
    for plain, coarse in zip(found[0], found[2], strict=True):
        assert torch.nn.functional.cosine_similarity(plain.flatten(), coarse.flatten(), 0) > 0.5


def test_learning_lowers_the_loss_of_a_model_that_two_bits_hurt(tmp_path):
    demo = pytest.importorskip("qharness_demo")
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from qharness_demo.corpus import calibration_text

    model = AutoModelForCausalLM.from_pretrained(demo.MODEL_DIR, dtype=torch.float32).eval()
    tokenizer = AutoTokenizer.from_pretrained(demo.MODEL_DIR)
    names, config = architecture_of(model.config), model.config
    tokens = pack_corpus(calibration_text(0, 10_000), tokenizer, source="demo", samples=20, length=64, seed=0).tokens
    untie_head(model, names)
    options = Options(iterations=8, samples=32)
    context = ModelContext(names, tokens, 0, "cpu", tmp_path, lambda *_: None)
    begin, _ = _start((config.hidden_size, head_dim_of(config), config.num_hidden_layers), 0)
    plan = schedule(options, context)
    found, notes = learn(
        RotatedNetwork(model, names, options, _r4(options, model), "cpu"), begin, plan, options, context
    )
    assert notes["loss_learned"] < notes["loss_at_start"] - 0.1
    assert notes["kept"] == "learned" and not torch.equal(found.r1, begin.r1)
    assert max(orthogonality_error(found.r1), orthogonality_error(found.r2)) < 1e-6


def test_cayley_steps_stay_orthogonal_and_descend():
    generator = torch.Generator().manual_seed(0)
    rotation = polar(torch.randn(3, 12, 12, generator=generator)).float()
    target = polar(rotation.double() + 0.3 * torch.randn(3, 12, 12, generator=generator)).float()
    losses = []
    for _ in range(60):
        losses.append(float((rotation - target).square().sum()))
        rotation = cayley_step(rotation, 2 * (rotation - target), 0.3)
        assert orthogonality_error(rotation) < 1e-4
    assert losses[-1] < 0.05 * losses[0] and losses[1] < losses[0]
    assert orthogonality_error(polar(rotation)) < 1e-12
