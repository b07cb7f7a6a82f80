"""Hessians: right, stored once, resumed, and bound to their model."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.calibration.moments import RawInputs
from qharness.calibration.store import HessianStore, collect_hessians, default_folder
from qharness.errors import CorruptArtifact, DigestMismatch, MissingData
from qharness.models.loaded import LoadedModel


@pytest.fixture
def loaded():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=64, hidden_size=32, intermediate_size=48, num_hidden_layers=3, num_attention_heads=4
    )
    model = LlamaForCausalLM(config).eval()
    return LoadedModel(model, None, "little", model_digest(model), torch.float32)


@pytest.fixture
def corpus():
    return Corpus(torch.randint(0, 64, (200, 48), generator=torch.Generator().manual_seed(0)), "random")


def test_every_linear_has_the_moment_of_its_input(loaded, corpus, tmp_path):
    store = collect_hessians(loaded, corpus, tmp_path)
    names = [
        name for name, module in loaded.model.model.named_modules(prefix="model") if hasattr(module, "in_features")
    ]
    total = dict.fromkeys(names, 0)

    def add(name):
        def hook(_, args):
            x = args[0].flatten(0, -2).double()
            total[name] = total[name] + x.T @ x

        return hook

    for name in names:
        loaded.model.get_submodule(name).register_forward_pre_hook(add(name))
    with torch.no_grad():
        loaded.model(corpus.tokens)
    for name in names:
        found = store.get(name)
        assert found.dtype == torch.float32 and torch.equal(found, found.T)
        assert torch.allclose(found.double(), total[name] / corpus.tokens.numel(), rtol=1e-5, atol=1e-8), name


def test_stopped_collection_goes_on_and_gives_the_same(loaded, corpus, tmp_path):
    whole = collect_hessians(loaded, corpus, tmp_path / "whole")

    def stop(done, total, label):
        if done == 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        collect_hessians(loaded, corpus, tmp_path / "parts", progress=stop)
    with pytest.raises(MissingData, match="qharness hessians"):
        HessianStore.open(tmp_path / "parts", loaded.digest)
    times = {path.name: path.stat().st_mtime_ns for path in (tmp_path / "parts").glob("block-*")}
    parts = collect_hessians(loaded, corpus, tmp_path / "parts")
    assert len(times) == 2
    assert all((tmp_path / "parts" / name).stat().st_mtime_ns == time for name, time in times.items())
    assert parts.digest == whole.digest
    for name in ("model.layers.0.mlp.up_proj", "model.layers.2.mlp.down_proj"):
        assert torch.equal(parts.get(name), whole.get(name))


def test_other_models_and_corpora_are_refused(loaded, corpus, tmp_path):
    collect_hessians(loaded, corpus, tmp_path)
    with pytest.raises(DigestMismatch, match=r"of 'little' .* not of 'instruct' .digest ffff"):
        HessianStore.open(tmp_path, "f" * 64, "instruct")
    with pytest.raises(DigestMismatch, match="another corpus"):
        collect_hessians(loaded, Corpus(corpus.tokens[:4], "less"), tmp_path)
    first, second = default_folder(tmp_path, loaded.digest, "a" * 64), default_folder(tmp_path, "b" * 64, "a" * 64)
    assert first != second and first.parent == tmp_path


def test_unknown_linears_and_broken_files(loaded, corpus, tmp_path):
    store = collect_hessians(loaded, corpus, tmp_path)
    for name in ("model.layers.3.mlp.up_proj", "lm_head", "model.layers.0.mlp"):
        with pytest.raises(MissingData, match="know no linear"):
            store.get(name)
    path = tmp_path / "block-001.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CorruptArtifact, match="block-001"):
        HessianStore.open(tmp_path, loaded.digest).get("model.layers.1.mlp.up_proj")
    (tmp_path / "hessians.json").write_text("{")
    with pytest.raises(CorruptArtifact, match=r"hessians.json"):
        HessianStore.open(tmp_path, loaded.digest)


def test_raw_inputs_are_spread_over_all_tokens():
    raw = RawInputs(total=100, limit=10)
    for batch in torch.arange(100).view(4, 5, 5, 1):
        raw.add(batch)
    assert raw.all().flatten().tolist() == list(range(0, 100, 10))
