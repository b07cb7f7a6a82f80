"""The public layout: a checkpoint packed here word by word is read as the dense model that it describes."""

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
from qharness_kernels.e8p import e8_codebook, e8p_codebook
from qharness_kernels.hadamard import hadamard_matrix, hadamard_transform
from qharness_kernels.hadamard.public import ORDERS, public_factor, public_matrix
from qharness_quip_sharp import claims
from qharness_quip_sharp.loading import load_public
from qharness_quip_sharp.public import public_indices, public_weight

CODEBOOK = {2: 7, 3: 18, 4: 17}
RESIDUAL = {3: 2.04, 4: 3.45}
CONFIG = dict(
    vocab_size=96, hidden_size=64, intermediate_size=192, num_hidden_layers=1, num_attention_heads=4,
    num_key_value_heads=2, max_position_embeddings=64,
)  # fmt: skip


def _signed(number):
    return number - (1 << 64) if number >= 1 << 63 else number


def pack_e8p(codes):
    """Pack code words of shape (m, n / 8), one int64 at a time."""
    rows, words = codes.shape
    flat = []
    for top in range(0, rows, 16):
        for left in range(0, words, 8):
            for pair in range(8):
                for square in range(4):
                    number = 0
                    for place in range(4):
                        code = int(codes[top + 2 * pair + place % 2, left + 2 * square + place // 2])
                        number |= (code >> 8) << (8 * place)
                        for bit in range(8):
                            number |= ((code >> bit) & 1) << (32 + 4 * bit + place)
                    flat.append(_signed(number))
    return torch.tensor(flat).view(rows, words // 4)


def pack_e8(codes):
    rows, words = codes.shape
    numbers = [
        [_signed(sum(int(codes[row, left + i]) << (8 * i) for i in range(8))) for left in range(0, words, 8)]
        for row in range(rows)
    ]
    return torch.tensor(numbers)


def dense(n):
    order, rest = public_factor(n)
    left = public_matrix(order) if order > 1 else torch.ones(1, 1)
    return torch.kron(left.double(), hadamard_matrix(rest).double()) / n**0.5


def make_linear(rows, columns, bits, seed, members=0):
    """Return the stored tensors of a random linear, and its weight computed with dense matrices in float64."""
    generator = torch.Generator().manual_seed(seed)
    first = torch.randint(0, 1 << 16, (rows, columns // 8), generator=generator)
    packed, points = pack_e8p(first), e8p_codebook()[first].flatten(1).double()
    if bits > 2:
        size = 1 << 16 if bits == 4 else 256
        second = torch.randint(0, size, first.shape, generator=generator)
        packed = torch.cat([packed, (pack_e8p if bits == 4 else pack_e8)(second)], 1)
        points += (e8p_codebook() if bits == 4 else e8_codebook())[second].flatten(1).double() / RESIDUAL[bits]
    left = (torch.randint(0, 2, (columns,), generator=generator) * 2 - 1).half()
    right = (0.02 * torch.randn(rows, generator=generator)).half()
    stored = {"Qidxs": packed, "SU": left, "SV": right, "codebook_id": torch.tensor(CODEBOOK[bits])}
    stored["Wscale"] = torch.tensor(1.5)
    weight = 1.5 * right.double()[:, None] * (dense(rows) @ points @ dense(columns).T) * left.double()
    if members:
        stored["fuse_scales"] = torch.rand(members, generator=generator) + 0.5
    return stored, weight


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_planes_are_unpacked_to_the_bit(bits):
    stored, weight = make_linear(96, 128, bits, bits)
    found = public_indices(stored["Qidxs"], bits)
    assert found.shape == (96, 16, 1 if bits == 2 else 2)
    if bits == 2:
        assert torch.equal(pack_e8p(found[..., 0].long() & 0xFFFF), stored["Qidxs"])
    torch.testing.assert_close(public_weight(stored, "x").double(), weight, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("order", ORDERS)
def test_factors_are_the_hadamard_matrices_of_the_public_format(order):
    matrix = public_matrix(order).long()
    unit = torch.eye(order, dtype=torch.int64)
    assert torch.equal(matrix @ matrix.T, order * unit)
    # Known of Sloane's files: which are symmetric and which are skew, and how the borders of the skew ones are signed.
    assert torch.equal(matrix, matrix.T) == (order in (28, 36))
    is_skew = order in (12, 20, 60, 108, 140)
    assert torch.equal(matrix + matrix.T, 2 * unit) == is_skew
    if is_skew:
        assert (matrix[:, 0] == 1).all() and (matrix[0, 1:] == -1).all()
    x = torch.randn(2, order * 8, generator=torch.Generator().manual_seed(0)).double()
    torch.testing.assert_close(hadamard_transform(x, inverse=True, family="public"), x @ dense(order * 8).T)


@pytest.fixture
def checkpoint(tmp_path):
    def build(bits=2, **changes):
        config = LlamaConfig(**CONFIG)
        torch.manual_seed(0)
        expected = LlamaForCausalLM(config).eval()
        stored = {}
        layer = expected.model.layers[0]
        groups = {
            "self_attn.qkv_proj": [layer.self_attn.q_proj, layer.self_attn.k_proj, layer.self_attn.v_proj],
            "self_attn.o_proj": [layer.self_attn.o_proj],
            "mlp.upgate_proj": [layer.mlp.up_proj, layer.mlp.gate_proj],
            "mlp.down_proj": [layer.mlp.down_proj],
        }
        for seed, (name, members) in enumerate(groups.items()):
            rows = [member.out_features for member in members]
            members_count = len(members) if len(members) > 1 else 0
            own, weight = make_linear(sum(rows), members[0].in_features, bits, seed, members_count)
            scales = own.get("fuse_scales", torch.ones(1)).double()
            for member, part, scale in zip(members, weight.split(rows), scales, strict=True):
                member.weight.data = (part * scale).float()
            stored |= {f"model.layers.0.{name}.{key}": tensor for key, tensor in own.items()}
        kept = {k: v.half() for k, v in expected.state_dict().items() if "_proj" not in k}
        expected.load_state_dict({k: v.float() for k, v in kept.items()}, strict=False)
        save_file(stored | kept, tmp_path / "model.safetensors")
        params = {
            "codebook": {2: "E8P12", 3: "E8P12RVQ3B", 4: "E8P12RVQ4B"}[bits], "codebook_version": 1, "codesz": 8,
            "lora_rank": 0, "rescale_WH": False, "resid_scale_override": -1, "packsz": 4, "idx_dtype": "torch.int64",
        }  # fmt: skip
        raw = config.to_dict() | {"quip_params": params | changes}
        (tmp_path / "config.json").write_text(json.dumps(raw))
        source = Path(qharness_demo.__file__).parent / "model"
        for name in ("tokenizer.json", "tokenizer_config.json"):
            shutil.copy(source / name, tmp_path / name)
        return tmp_path, expected

    return build


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_a_checkpoint_is_loaded_as_the_dense_model(checkpoint, bits):
    folder, expected = checkpoint(bits)
    assert claims(str(folder)) and not claims(str(folder.parent))
    loaded = load_public(LoadRequest(str(folder), Host()))
    ids = torch.arange(20)[None]
    with torch.no_grad():
        torch.testing.assert_close(loaded.model(ids).logits, expected(ids).logits, rtol=1e-3, atol=1e-4)
    assert "public QuIP#" in loaded.notice and len(loaded.digest) == 64


def test_what_cannot_be_read_is_refused(checkpoint):
    with pytest.raises(CorruptArtifact, match="version 0"):
        load_public(LoadRequest(str(checkpoint(codebook_version=0)[0]), Host()))
    with pytest.raises(UnsupportedArchitecture, match="rescale_WH"):
        load_public(LoadRequest(str(checkpoint(rescale_WH=True)[0]), Host()))
    with pytest.raises(UsageError, match="folded in"):
        load_public(LoadRequest(str(checkpoint()[0]), Host(), ablate=("rht",)))
    stored, _ = make_linear(32, 64, 2, 0)
    with pytest.raises(CorruptArtifact, match="codebook 5"):
        public_weight(stored | {"codebook_id": torch.tensor(5)}, "x")
    with pytest.raises(CorruptArtifact, match="shape"):
        public_weight(stored | {"SV": torch.ones(48)}, "x")
    with pytest.raises(CorruptArtifact, match="SU"):
        public_weight({key: value for key, value in stored.items() if key != "SU"}, "x")
