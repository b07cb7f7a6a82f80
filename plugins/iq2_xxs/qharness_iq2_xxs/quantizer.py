"""The quantizer: a type for every linear, its code in the rounding loop, its blocks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qharness.errors import UsageError
from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.refit import unbiased_rows
from qharness_iq2_xxs import packing
from qharness_iq2_xxs.affine import Q2_K, Q4_K, Q5_K, AffineCode
from qharness_iq2_xxs.lattice import LatticeCode
from qharness_iq2_xxs.linear import BlockLinear
from qharness_iq2_xxs.mix import TypeChoice, choose_types
from qharness_iq2_xxs.nonlinear import NonlinearCode
from qharness_iq2_xxs.polish import Blocks, polish
from qharness_iq2_xxs.superblock import BlockScales, as_stored

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness_iq2_xxs.options import Options


AFFINE = {
    "Q2_K": (Q2_K, packing.pack_q2_k),
    "Q4_K": (Q4_K, packing.pack_q4_k),
    "Q5_K": (Q5_K, packing.pack_q5_k),
}


class Iq2Xxs:
    """IQ2_XXS of llama.cpp.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        if options.passes < 0:
            raise UsageError(f"iq2_xxs.passes={options.passes}: say 0 or more.")
        self.options = options
        self.types = TypeChoice()

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Choose the types; the model stays as it is."""
        self.types = choose_types(self.options.mix, context.architecture, model.config)
        return Prepared(notes={"mix": self.options.mix})

    def quantize(self, linear: nn.Linear, context: LinearContext) -> BlockLinear:
        """Quantize one linear."""
        assert context.hessian is not None
        weight = linear.weight.detach().to(context.device).float()
        kind = self.types.kind(context.name, linear.in_features)
        blocks = encode(weight, context.hessian.float(), kind, self.options)
        return BlockLinear(blocks, kind, None if linear.bias is None else linear.bias.detach().clone())


def encode(weight: Tensor, hessian: Tensor, kind: str, options: Options) -> Tensor:
    """Return the blocks of a matrix, shape (rows, bytes of a row), uint8.

    Args:
        weight: Shape (rows, columns), float32.
        hessian: Mean of x x^T, shape (columns, columns), whose diagonal is llama.cpp's importance; the diagonal alone,
            shape (columns,), is enough without feedback and passes.
        kind: GGUF type.
        options: Options of the method.
    """
    known = hessian.diagonal() if hessian.dim() == 2 and not options.feedback else hessian
    damping = options.damping
    if kind == "IQ2_XXS":
        lattice = LatticeCode()
        rounded = round_with_feedback(weight, known, lattice, damping=damping)
        found = Blocks(rounded.indices, lattice.table())
        if options.passes:
            found = polish(weight, hessian, found, passes=options.passes, damping=damping)
        d, steps = found.scales
        factor = _row_factors(weight, hessian, found.decode(), options)
        return packing.pack_iq2_xxs(found.indices, BlockScales(as_stored(d * factor), steps))
    if kind == "IQ4_NL":
        nonlinear = NonlinearCode()
        rounded = round_with_feedback(weight, known, nonlinear, damping=damping)
        factor = _row_factors(weight, hessian, rounded.weight, options)
        return packing.pack_iq4_nl(rounded.indices, nonlinear.table() * factor)
    spec, pack = AFFINE[kind]
    affine = AffineCode(spec)
    rounded = round_with_feedback(weight, known, affine, damping=damping)
    factor = _row_factors(weight, hessian, rounded.weight, options)
    scales = affine.table()
    scales = scales._replace(d=as_stored(scales.d * factor), dmin=as_stored(scales.dmin * factor))
    return pack(rounded.indices, scales)


def _row_factors(weight: Tensor, hessian: Tensor, rounded: Tensor, options: Options) -> Tensor | float:
    """Return what the scales of each row are multiplied with, shape (rows, 1)."""
    return unbiased_rows(weight, hessian, rounded)[:, None] if options.unbiased else 1.0
