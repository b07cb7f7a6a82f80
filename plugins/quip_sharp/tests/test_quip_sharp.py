"""QuIP#: distortion and size of its codes, what each step of the method gains, and the transform that it needs."""

from __future__ import annotations

import pytest
import torch

from qharness.artifacts.bits import account
from qharness.quantization.incoherence import Rht, process_hessian, process_weight, random_signs
from qharness.rounding.feedback import proxy_loss
from qharness_quip_sharp import Options
from qharness_quip_sharp.codes import BEST_SCALE, LatticeCode
from qharness_quip_sharp.linear import LatticeLinear
from qharness_quip_sharp.quantizer import QuipSharp


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


# At the scales of the public checkpoints; a uniform grid has 0.119, 0.0374 and 0.0115.
@pytest.mark.parametrize(("bits", "expected", "within"), [(2, 0.0914, 6e-4), (3, 0.0296, 3e-4), (4, 0.0097, 2e-4)])
def test_distortion_on_normal_weights(bits, expected, within):
    code, x = LatticeCode(bits), _normal(1 << 15, 8)
    scaled = x * BEST_SCALE[bits]
    error = (code.decode(code.encode(scaled)) / BEST_SCALE[bits] - x).square().mean()
    assert float(error) == pytest.approx(expected, abs=within)


@pytest.mark.parametrize("bits", [2, 3, 4])
def test_the_payload_has_exactly_the_bits_promised(bits):
    indices = torch.zeros(64, 32, 1 if bits == 2 else 2, dtype=torch.int16)
    layer = LatticeLinear(indices, torch.ones(64), bits, 256, None)
    assert layer.stored_bits()["payload"] == bits * 64 * 256


def test_a_decoder_layer_of_bielik_stores_little_more_than_two_bits():
    """Shapes of Bielik-11B-v2.3; sign vectors after fine-tuning (float16), the larger of the two cases."""
    shapes = {
        "q": (4096, 4096), "k": (1024, 4096), "v": (1024, 4096), "o": (4096, 4096),
        "gate": (14336, 4096), "up": (14336, 4096), "down": (4096, 14336),
    }  # fmt: skip
    layers, signs = {}, {}
    with torch.device("meta"):
        for name, (rows, columns) in shapes.items():
            tensors = {
                "codes": torch.empty(rows, columns // 8, dtype=torch.int16),
                "scales": torch.empty(rows, dtype=torch.float16),
            }
            spec = {"in_features": columns, "out_features": rows, "bits": 2, "scales": rows}
            layers[name] = LatticeLinear.from_tensors(tensors, spec)
            signs[f"{name}.output"] = torch.empty(rows, dtype=torch.float16)
        for name in ("q", "o", "gate", "down"):
            signs[f"{name}.input"] = torch.empty(shapes[name][1], dtype=torch.float16)
    whole = account(layers, signs, {})
    assert whole.quantized_weights == 218_103_808
    assert 2.0 < whole.stored_bpw <= 2.011
    assert whole.modules["k"]["payload"] == 2 * 1024 * 4096


def _problem(rows=64, columns=192, seed=0):
    """A weight with outliers, as incoherence processing is for, and a Hessian with a steep spectrum."""
    mixing = torch.logspace(0, -1.5, columns)[:, None] * _normal(columns, columns, seed=seed)
    x = _normal(4 * columns, columns, seed=seed + 1) @ mixing
    weight = _normal(rows, columns, seed=seed + 2)
    weight[:, ::31] *= 8
    return weight, x.T @ x / len(x)


def _loss(weight, hessian, **options):
    quantizer = QuipSharp(Options(**options))
    [(indices, scales)] = quantizer.round([weight], hessian)
    layer = LatticeLinear(indices, scales, quantizer.options.bits, weight.shape[1], None)
    return proxy_loss(weight, layer.dequantize(), hessian)


def test_every_step_lowers_the_proxy_loss():
    weight, hessian = _problem()
    inner, outer = Rht(random_signs(192, 0, "in"), None), Rht(random_signs(64, 0, "out"), None)
    plain = dict(scale=0.9, iterations=0, row_scales=False)
    raw = _loss(weight, hessian, **plain)
    weight, hessian = process_weight(weight, inner, outer), process_hessian(hessian, inner)
    processed = _loss(weight, hessian, **plain)
    searched = _loss(weight, hessian, iterations=0, row_scales=False)
    descended = _loss(weight, hessian, row_scales=False)
    refitted = _loss(weight, hessian)
    assert processed < 0.7 * raw
    assert searched < processed
    assert descended < 0.97 * searched
    assert refitted < descended


def test_more_bits_are_better():
    weight, hessian = _problem()
    losses = [_loss(weight, hessian, bits=bits, iterations=2) for bits in (2, 3, 4)]
    assert losses[1] < 0.6 * losses[0] and losses[2] < 0.6 * losses[1]


def test_wrong_bits_are_refused():
    with pytest.raises(ValueError, match="2, 3 or 4"):
        Options(bits=5)
