"""Published QTIP checkpoints: where every byte lies, and a checkpoint that loads as the dense model it stands for."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM

import qharness_demo
from qharness.errors import CorruptArtifact, UnsupportedArchitecture, UsageError
from qharness.host import Host
from qharness.models.loaded import LoadRequest
from qharness_kernels.hadamard import hadamard_dense
from qharness_kernels.trellis import Trellis, gaussian_table
from qharness_qtip import claims
from qharness_qtip.linear import TrellisLinear
from qharness_qtip.loading import load_public, public_weight
from qharness_qtip.public import from_public, to_public

PARAMS = {
    "codebook": "bitshift", "codebook_version": 0, "L": 16, "K": 2, "V": 2, "tlut_bits": 9,
    "decode_mode": "quantlut_sym", "td_x": 16, "td_y": 16, "split_for_tp": False, "skip_list": None,
}  # fmt: skip


def _payload(rows, columns, bits, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(-(2**15), 2**15, (rows, columns, 16 * bits), generator=generator).to(torch.int16)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_every_byte_lies_where_the_kernels_read_it(bits):
    rows, columns = 4, 6
    payload = _payload(rows, columns, bits)
    public = to_public(payload, moved=True)
    assert public.shape == (rows * columns, 16 * bits)
    found = [byte for word in public.flatten().tolist() for byte in (word % 2**16).to_bytes(2, "little")]
    for row in range(rows):
        for column in range(columns):
            stream = [b for word in payload[row, column].tolist() for b in (word % 2**16).to_bytes(2, "big")]
            square = row // 2 * (columns // 2) + column // 2
            for lane in range(32):
                place = ((square * 32 + lane) * 4 + column % 2 * 2 + row % 2) * bits
                assert found[place : place + bits][::-1] == stream[lane * bits : (lane + 1) * bits]
    assert torch.equal(from_public(public, rows, columns, moved=True), payload)
    assert torch.equal(from_public(to_public(payload, moved=False), rows, columns, moved=False), payload)


def test_the_kernel_layout_needs_squares_of_tiles():
    with pytest.raises(UsageError, match="whole 32s"):
        to_public(_payload(3, 2, 2), moved=True)


def _linear(rows, columns, mode, seed):
    """Return a linear's tensors and its dense weight."""
    generator = torch.Generator().manual_seed(seed)
    moved = mode == "quantlut_sym"
    payload = _payload(rows // 16, columns // 16, 2, seed)
    table = gaussian_table() if moved else None
    left, right = torch.randn(columns, generator=generator), torch.randn(rows, generator=generator) * 0.02
    code, vector, order = ("hyb", 2, "fragment") if moved else (mode, 1, "rows")
    points = TrellisLinear(payload, torch.ones(1), Trellis(16, 2, vector), code, table, order, None).dequantize()
    # H_m X H_n^T through the dense matrices.
    outer, inner = (hadamard_dense(size, family="public").T.float() for size in (rows, columns))
    weight = right[:, None] * (outer @ points @ inner.T) * left
    own = {"trellis": to_public(payload, moved=moved), "SU": left, "SV": right, "rcp": torch.tensor(0)}
    return own | ({"tlut": table} if moved else {}), weight


@pytest.fixture
def checkpoint(tmp_path):
    def build(mode="quantlut_sym", **changes):
        config = LlamaConfig(
            vocab_size=64, hidden_size=96, intermediate_size=224, num_hidden_layers=1, num_attention_heads=3,
            num_key_value_heads=1, max_position_embeddings=64, tie_word_embeddings=False,
        )  # fmt: skip
        torch.manual_seed(0)
        expected = LlamaForCausalLM(config).eval()
        stored = {}
        linears = {name: m for name, m in expected.named_modules() if name.endswith("_proj") and "up_proj" not in name}
        for seed, (name, linear) in enumerate(linears.items()):
            own, weight = _linear(linear.out_features, linear.in_features, mode, seed)
            linear.weight.data = weight
            stored |= {f"{name}.{key}": tensor for key, tensor in own.items()}
        plain = {k: v for k, v in expected.state_dict().items() if k.removesuffix(".weight") not in linears}
        save_file(stored | plain, tmp_path / "model.safetensors")
        params = PARAMS | {"decode_mode": mode, "V": 2 if mode == "quantlut_sym" else 1, "skip_list": ["0_up"]}
        (tmp_path / "config.json").write_text(json.dumps(config.to_dict() | {"quip_params": params | changes}))
        source = Path(qharness_demo.__file__).parent / "model"
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / name, tmp_path / name)
        return tmp_path, expected

    return build


@pytest.mark.parametrize("mode", ["quantlut_sym", "3inst"])
def test_a_checkpoint_is_loaded_as_the_dense_model(checkpoint, mode):
    folder, expected = checkpoint(mode)
    assert claims(str(folder)) and not claims(str(folder.parent))
    loaded = load_public(LoadRequest(str(folder), Host()))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, expected(ids).logits, rtol=1e-3, atol=1e-4)
    assert "QTIP" in loaded.notice and len(loaded.digest) == 64


def test_what_cannot_be_read_is_refused(checkpoint):
    with pytest.raises(UnsupportedArchitecture, match="2mad"):
        load_public(LoadRequest(str(checkpoint(decode_mode="2mad")[0]), Host()))
    with pytest.raises(UsageError, match="folded in"):
        load_public(LoadRequest(str(checkpoint()[0]), Host(), ablate=("rht",)))
    stored, _ = _linear(32, 64, "quantlut_sym", 0)
    with pytest.raises(UnsupportedArchitecture, match="tensor parallelism"):
        public_weight(stored | {"rcp": torch.tensor(1)}, PARAMS, "x")
    with pytest.raises(CorruptArtifact, match="shape"):
        public_weight(stored | {"SV": torch.ones(48)}, PARAMS, "x")
    with pytest.raises(CorruptArtifact, match="tlut"):
        public_weight({key: value for key, value in stored.items() if key != "tlut"}, PARAMS, "x")
