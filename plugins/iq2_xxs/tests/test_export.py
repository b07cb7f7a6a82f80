"""GGUF files: what is written is read back to the bit, by qharness and by the `gguf` package."""

from __future__ import annotations

import gguf
import numpy as np
import pytest
import torch

from qharness.errors import UsageError
from qharness.models.gguf.loading import is_tokenizer_of, tokenizer_of
from qharness.models.gguf.reading import open_gguf
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness_iq2_xxs.export import write_gguf
from qharness_iq2_xxs.linear import BlockLinear

TEXT = "Ala ma kota, a kot ma 12 lat. Zażółć gęślą jaźń <|im_end|>"


def test_file_holds_equal_values(quantized, host, tmp_path):
    path = write_gguf(quantized, tmp_path)
    again = load_model(LoadRequest(str(path), host))
    tokens = torch.randint(4, 2048, (2, 40), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        assert torch.equal(again.model(tokens).logits, quantized.model(tokens).logits)
    linears = {name: m for name, m in quantized.model.named_modules() if isinstance(m, BlockLinear)}
    assert len(linears) == 12
    for name, linear in linears.items():
        assert torch.equal(again.model.get_submodule(name).weight, linear.dequantize())
    assert "IQ2_XXS" in again.notice and "Q2_K" in again.notice
    down = next(t for t in gguf.GGUFReader(path).tensors if t.name == "blk.1.ffn_down.weight")
    assert down.tensor_type == gguf.GGMLQuantizationType.Q2_K
    values = gguf.quants.dequantize(down.data, down.tensor_type)
    np.testing.assert_array_equal(values, linears["model.layers.1.mlp.down_proj"].dequantize().numpy())


def test_small_files_quantize_embedding_and_head_too(quantized, host, tmp_path):
    path = write_gguf(quantized, tmp_path, is_small=True)
    kinds = {tensor.name: tensor.tensor_type.name for tensor in gguf.GGUFReader(path).tensors}
    assert (kinds["token_embd.weight"], kinds["output.weight"]) == ("Q2_K", "Q5_K")
    again = load_model(LoadRequest(str(path), host)).model
    for name, bound in (("lm_head", 0.003), ("model.embed_tokens", 0.1)):
        wanted = quantized.model.get_submodule(name).weight
        error = (again.get_submodule(name).weight.detach() - wanted).square().mean() / wanted.square().mean()
        assert 0 < float(error) < bound


def test_tokenizer_travels_beside_the_file_and_inside_it(quantized, host, tmp_path):
    path = write_gguf(quantized, tmp_path)
    wanted = quantized.tokenizer(TEXT)["input_ids"]
    assert load_model(LoadRequest(str(path), host)).tokenizer(TEXT)["input_ids"] == wanted
    reader = gguf.GGUFReader(path)
    tokens = reader.fields["tokenizer.ggml.tokens"].contents()
    vocabulary = quantized.tokenizer.convert_ids_to_tokens(range(2048))
    assert tokens == [token.replace(" ", "\u2581") for token in vocabulary]
    kinds = reader.fields["tokenizer.ggml.token_type"].contents()
    assert kinds[tokens.index("<|im_end|>")] == gguf.TokenType.CONTROL
    assert kinds[tokens.index("<0x41>")] == gguf.TokenType.BYTE
    scores = reader.fields["tokenizer.ggml.scores"].contents()
    longer, shorter = (scores[tokens.index(piece)] for piece in ("\u2581ma", "ma"))
    assert longer > -1e5 and shorter > -1e5


def test_a_tokenizer_file_of_another_model_is_not_believed(quantized, host, tmp_path):
    file = open_gguf(write_gguf(quantized, tmp_path))
    assert is_tokenizer_of(tmp_path / "tokenizer.json", file)
    beside = tmp_path / "tokenizer.json"
    beside.write_text(beside.read_text().replace('"<|im_end|>"', '"<|other|>"'))
    assert not is_tokenizer_of(beside, file)
    beside.unlink()
    assert not is_tokenizer_of(beside, file)
    assert tokenizer_of(file).get_vocab()["<|im_end|>"] == 3


def test_models_with_runtime_transforms_are_refused(quantized, tmp_path):
    ablated = type(quantized)(**{**vars(quantized), "ablated": ("r4",)})
    with pytest.raises(UsageError, match="r4"):
        write_gguf(ablated, tmp_path)
    assert not list(tmp_path.iterdir())
