from __future__ import annotations

import json

import pytest
import torch

from qharness.errors import CorruptArtifact, MissingModel, UnsupportedArchitecture, UsageError
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model


@pytest.fixture
def folder(make, tokenizer, tmp_path):
    model = make().to(torch.bfloat16)
    path = tmp_path / "tiny-mistral"
    model.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def test_folder_is_loaded_in_float32_with_sdpa_and_the_digest_of_its_files(folder, host, make, ids) -> None:
    loaded = load_model(LoadRequest(str(folder), host))
    assert loaded.dtype == torch.float32 and not loaded.model.training
    assert loaded.model.config._attn_implementation == "sdpa"
    assert loaded.tokenizer("w7")["input_ids"] == [7]
    expected = make()
    for parameter in expected.parameters():
        parameter.data = parameter.data.bfloat16().float()
    with torch.no_grad():
        assert torch.equal(loaded.model(ids).logits, expected(ids).logits)
    narrow = load_model(LoadRequest(str(folder), host, dtype="bfloat16"))
    assert narrow.dtype == torch.bfloat16
    assert load_model(LoadRequest(str(folder), host, dtype="auto")).dtype == torch.bfloat16
    assert narrow.digest == loaded.digest


def test_nothing_claims_the_reference(folder, host) -> None:
    with pytest.raises(MissingModel, match=r"did you mean .*tiny-mistral"):
        load_model(LoadRequest(str(folder.parent / "tiny-mistrall"), host))
    with pytest.raises(MissingModel, match=r"no config\.json"):
        load_model(LoadRequest(str(folder.parent), host))
    with pytest.raises(MissingModel, match="No loader reads the file"):
        load_model(LoadRequest(str(folder / "config.json"), host))


def test_unreachable_hub_is_one_sentence(host, monkeypatch) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(MissingModel, match="not on this machine and the hub cannot be reached"):
        load_model(LoadRequest("nobody/no-such-model", host))


def test_truncated_weights_are_found_before_use(folder, host) -> None:
    weights = folder / "model.safetensors"
    whole = weights.read_bytes()
    for size in (len(whole) - 10, 100, 4, 0):
        weights.write_bytes(whole[:size])
        with pytest.raises(CorruptArtifact, match=r"truncated|no valid safetensors"):
            load_model(LoadRequest(str(folder), host))
    weights.unlink()
    with pytest.raises(MissingModel, match="only safetensors"):
        load_model(LoadRequest(str(folder), host))


def test_missing_weight_is_named(folder, host) -> None:
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    del tensors["model.layers.1.mlp.up_proj.weight"]
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(CorruptArtifact, match="up_proj"):
        load_model(LoadRequest(str(folder), host))


def test_index_cannot_leave_its_folder(folder, host) -> None:
    index = {"metadata": {}, "weight_map": {"lm_head.weight": "../../model.safetensors"}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(CorruptArtifact, match="outside its folder"):
        load_model(LoadRequest(str(folder), host))


def change(folder, **values) -> None:
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **values}))


def test_unknown_architectures(folder, host) -> None:
    change(folder, model_type="never_heard_of")
    with pytest.raises(UnsupportedArchitecture, match="never_heard_of"):
        load_model(LoadRequest(str(folder), host))
    from transformers import GPT2Config

    with pytest.raises(UnsupportedArchitecture, match=r"gpt2.*llama, mistral"):
        architecture_of(GPT2Config())


def test_remote_code_is_never_run_unasked(folder, host, tmp_path) -> None:
    mark = tmp_path / "executed"
    (folder / "evil.py").write_text(f"open({str(mark)!r}, 'w').close()\nclass C: pass\n")
    change(folder, model_type="evil", auto_map={"AutoConfig": "evil.C", "AutoModelForCausalLM": "evil.C"})
    with pytest.raises((CorruptArtifact, UnsupportedArchitecture)):
        load_model(LoadRequest(str(folder), host))
    assert not mark.exists()


def test_plain_models_have_nothing_to_ablate(folder, host) -> None:
    with pytest.raises(UsageError, match="no artifact"):
        load_model(LoadRequest(str(folder), host, ablate=("r4",)))
    with pytest.raises(UsageError, match="float33"):
        load_model(LoadRequest(str(folder), host, dtype="float33"))


def test_missing_tokenizer_is_one_sentence(folder, host) -> None:
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"):
        (folder / name).unlink(missing_ok=True)
    with pytest.raises(MissingModel, match="no tokenizer"):
        load_model(LoadRequest(str(folder), host))
