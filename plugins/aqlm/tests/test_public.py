"""The public format: every scheme is rewritten without loss, and a small model survives export and reading."""

from __future__ import annotations

import copy
import json

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

import qharness_aqlm
from qharness import builtin
from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.errors import CorruptArtifact, UsageError
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness_aqlm.public import common_scheme, from_public, to_public
from qharness_aqlm.scheme import DISTORTION, Scheme, parse_scheme
from qharness_kernels.codebook import decode_additive

TOKENS = torch.randint(4, 96, (8, 48), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("scheme", [*DISTORTION, Scheme(3, 5), Scheme(1, 10)], ids=lambda scheme: scheme.name)
def test_every_scheme_is_rewritten_exactly(scheme):
    generator = torch.Generator().manual_seed(0)
    codes = torch.randint(0, 2**scheme.bits, (12, 40 // scheme.group, scheme.codebooks), generator=generator)
    # Quarters: sums of them are exact in float16, so the merged codebooks are too.
    books = torch.randint(-8, 8, (scheme.codebooks, 2**scheme.bits, scheme.group), generator=generator) / 4
    scales = torch.rand(12, generator=generator).half()
    public_codes, public_books = to_public(codes, books, common_scheme([scheme]))
    assert (
        public_codes.dtype == (torch.int8 if scheme.bits <= 8 else torch.int16) and public_books.dtype == torch.float16
    )
    again = from_public(public_codes, public_books, scales.view(-1, 1, 1, 1))
    assert torch.equal(decode_additive(*again), decode_additive(codes, books, scales))


def test_two_bit_schemes_share_the_format_with_fast_kernels():
    assert common_scheme(map(parse_scheme, ("2x8", "1x8g4", "2x4g4", "1x4g2"))) == Scheme(2, 8)
    assert common_scheme(map(parse_scheme, ("1x16", "2x8", "1x8g4"))) == Scheme(1, 16)
    assert common_scheme(map(parse_scheme, ("2x8", "3x8"))) == Scheme(3, 8)


def test_checkpoints_that_group_outputs_are_refused():
    with pytest.raises(UsageError, match="out_group_size"):
        from_public(torch.zeros(4, 2, 1, dtype=torch.int8), torch.zeros(1, 256, 2, 8), torch.ones(4, 1, 1, 1))


@pytest.fixture(scope="module")
def host():
    installed = {status.name for status in Host().status}
    wanted = {"builtin": builtin, "aqlm": qharness_aqlm}
    return Host(extra={name: plugin for name, plugin in wanted.items() if name not in installed})


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=96, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=True, attention_bias=True,
    )  # fmt: skip
    model = LlamaForCausalLM(config).eval()
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(0, 0.1)
            elif "norm" not in name:
                parameter.mul_(4)
    raw = Tokenizer(models.WordLevel({"<unk>": 0} | {f"w{i}": i for i in range(1, 96)}, unk_token="<unk>"))
    raw.pre_tokenizer = pre_tokenizers.Whitespace()
    return LoadedModel(
        model, PreTrainedTokenizerFast(tokenizer_object=raw, unk_token="<unk>"), "small", model_digest(model),
        torch.float32,
    )  # fmt: skip


def _quantize(small, host, folder, seed=0, **options):
    own = LoadedModel(copy.deepcopy(small.model), small.tokenizer, small.reference, small.digest, small.dtype)
    record = host.get(QuantizerRecord, "aqlm")
    return quantize_model(
        own, record, record.options(**options), host=host, calibration=Corpus(TOKENS, "random"), hessians=None,
        seed=seed, device="cpu", work=folder / "work", out=folder / "artifact",
    )  # fmt: skip


def _logits(reference, host):
    with torch.no_grad():
        return load_model(LoadRequest(str(reference), host)).model(input_ids=TOKENS[:2]).logits


def test_identical_reruns_give_identical_artifacts(small, host, tmp_path):
    digests = []
    for name in ("first", "second"):
        torch.rand(5)
        info = _quantize(small, host, tmp_path / name, epochs=1, budget=2.5)
        digests.append(info.digest)
    assert digests[0] == digests[1]
    assert info.stored_bpw <= 2.5


def test_the_manifest_has_the_table_of_bits(small, host, tmp_path):
    info = _quantize(small, host, tmp_path, rounds=1)
    manifest = json.loads((info.path / "manifest.json").read_text())
    table = {row["kind"]: row for row in manifest["notes"]["bits"]}
    kinds = ["k_proj", "v_proj", "q_proj", "o_proj", "gate_proj", "up_proj", "down_proj", "all"]
    assert list(table) == kinds
    assert table["all"]["stored_bpw"] == pytest.approx(info.stored_bpw)
    assert table["all"]["nominal_bits"] == manifest["nominal_bits"] == 2
    assert all(row["stored_bpw"] > row["nominal_bits"] for row in table.values())


def test_export_and_loader_keep_the_model(small, host, tmp_path):
    _quantize(small, host, tmp_path, rounds=2)
    public = export_artifact("aqlm", tmp_path / "artifact", tmp_path / "public", host)
    ours, read = _logits(tmp_path / "artifact", host), _logits(public, host)
    assert (ours - read).abs().max() < 2**-8 * ours.std()
    (public / "model.safetensors").write_bytes((public / "model.safetensors").read_bytes()[:-100])
    with pytest.raises(CorruptArtifact, match="truncated"):
        _logits(public, host)


def test_fine_tuning_brings_the_blocks_nearer(small, host, tmp_path):
    errors = []
    for epochs in (0, 4):
        info = _quantize(small, host, tmp_path / str(epochs), rounds=2, epochs=epochs, rate=3e-4, batch=1)
        with torch.no_grad():
            original = small.model(input_ids=TOKENS).logits.log_softmax(-1)
            found = load_model(LoadRequest(str(info.path), host)).model(input_ids=TOKENS).logits.log_softmax(-1)
        errors.append(float((original.exp() * (original - found)).sum(-1).mean()))
    layers = json.loads((info.path / "manifest.json").read_text())["layers"]
    gains = [v["tuning_before"] - v["tuning_after"] for v in layers.values() if v.get("tuning_before", 0.0) > 0]
    # What is not better on the sequences held out is not kept.
    assert min(gains) >= 0 and max(gains) > 0
    assert errors[1] < errors[0]
