"""On a GPU: the same nearest points, and a bfloat16 model quantized and fine-tuned block by block and end to end."""

from __future__ import annotations

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.hf import LoadingOptions, loading_options
from qharness.host import Host
from qharness.models.loaded import LoadedModel
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord
from qharness_kernels.e8p import e8p_decode, e8p_encode

pytestmark = pytest.mark.gpu


def test_the_nearest_point_is_the_same():
    x = torch.randn(1 << 14, 8, generator=torch.Generator().manual_seed(0))
    here, there = e8p_encode(x), e8p_encode(x.cuda()).cpu()
    distances = [(e8p_decode(codes) - x).square().sum(1) for codes in (here, there)]
    torch.testing.assert_close(distances[0], distances[1])
    assert (here == there).float().mean() > 0.9999


def test_a_bfloat16_model_is_quantized_and_tuned(tmp_path):
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=128, hidden_size=256, intermediate_size=768, num_hidden_layers=2, num_attention_heads=8,
        num_key_value_heads=2, max_position_embeddings=128,
    )  # fmt: skip
    model = LlamaForCausalLM(config).bfloat16().eval()
    tokens = torch.randint(0, 128, (16, 64), generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        original = model(tokens).logits.float()
    host = Host()
    record = host.get(QuantizerRecord, "quip_sharp")
    options = record.options(iterations=1, epochs=1, whole_epochs=1, batch=4, accumulate=1)
    loaded = LoadedModel(model, None, "random", model_digest(model), torch.bfloat16)
    info = quantize_model(
        loaded, record, options, host=host, calibration=Corpus(tokens, "random"), hessians=None, seed=0,
        device="cuda", work=tmp_path / "work", out=tmp_path / "out",
    )  # fmt: skip
    with loading_options(LoadingOptions(host)):
        artifact = LlamaForCausalLM.from_pretrained(info.path, dtype=torch.bfloat16, device_map="cuda")
    with torch.no_grad():
        found = artifact(tokens.cuda()).logits.float().cpu()
    assert torch.cosine_similarity(found.flatten(0, 1), original.flatten(0, 1)).mean() > 0.8
