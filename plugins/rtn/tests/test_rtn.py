"""RTN: nearest levels, the promised size, and no torch on import."""

from __future__ import annotations

import subprocess
import sys

import pytest
import torch

import qharness_rtn
from qharness.quantization.base import LinearContext
from qharness_rtn.quantizer import RoundToNearest


def _context():
    return LinearContext("layer", None, None, torch.Generator(), "cpu")


@pytest.mark.parametrize("bits", [2, 3, 4, 8])
def test_every_weight_goes_to_the_nearest_level_of_its_group(bits):
    torch.manual_seed(0)
    linear = torch.nn.Linear(96, 24)
    before = linear.weight.clone()
    layer = RoundToNearest(qharness_rtn.Options(bits=bits, group_size=32)).quantize(linear, _context())
    assert torch.equal(linear.weight, before)
    codes, zeros = layer.codes_and_zeros()
    scale = layer.scales.float()[:, :, None]
    levels = (torch.arange(2**bits) - zeros) * scale
    distance = (linear.weight.unflatten(1, (3, 32))[..., None] - levels[:, :, None, :]).abs()
    chosen = distance.gather(-1, codes.long()[..., None])[..., 0]
    assert torch.allclose(chosen, distance.amin(-1), atol=1e-6)
    x = torch.randn(4, 96)
    assert torch.allclose(layer(x), torch.nn.functional.linear(x, layer.dequantize(), linear.bias))


def test_clipping_and_smaller_groups_help():
    torch.manual_seed(0)
    linear = torch.nn.Linear(256, 64)
    errors = {}
    for clip in (False, True):
        for group in (64, 128):
            options = qharness_rtn.Options(group_size=group, clip=clip)
            layer = RoundToNearest(options).quantize(linear, _context())
            errors[clip, group] = float((layer.dequantize() - linear.weight).square().mean())
    assert errors[True, 64] < errors[True, 128] and errors[False, 64] < errors[False, 128]
    assert errors[True, 64] < 0.95 * errors[False, 64]


def test_importing_the_plugin_imports_no_torch():
    code = "import sys, qharness_rtn; assert 'torch' not in sys.modules; list(qharness_rtn.qharness_quantizers())"
    subprocess.run([sys.executable, "-c", code], check=True)
