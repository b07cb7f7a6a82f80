"""ButterflyQuant (arXiv 2509.09679), re-implemented: learned butterfly rotations of every linear's input, two bits."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import QuantizerRecord, RuntimeTransformRecord
from qharness_butterfly.options import E8pOptions, Options

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear
    from qharness.transforms.base import RuntimeTransform
    from qharness.transforms.contract import TransformEntry


def _create(options: Options) -> Quantizer:
    from qharness_butterfly.quantizer import ButterflyQuant

    return ButterflyQuant(options)


def _linear() -> type[QuantizedLinear]:
    from qharness.quantization.grid_linear import GridLinear

    return GridLinear


def _create_e8p(options: E8pOptions) -> Quantizer:
    from qharness_butterfly.e8p import ButterflyE8p

    return ButterflyE8p(options)


def _linear_e8p() -> type[QuantizedLinear]:
    from qharness_quip_sharp.linear import LatticeLinear

    return LatticeLinear


def _transform(entry: TransformEntry, tensors: Mapping[str, Tensor]) -> RuntimeTransform:
    from qharness_butterfly.transform import ButterflyTransform

    return ButterflyTransform(entry, tensors)


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `butterfly` and `butterfly_e8p`."""
    yield QuantizerRecord(
        name="butterfly",
        summary="Learned butterfly rotations and uniform levels (a re-implementation of ButterflyQuant)",
        paper="ButterflyQuant, arXiv 2509.09679",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: options.bits,
    )
    yield QuantizerRecord(
        name="butterfly_e8p",
        summary="Learned butterfly rotations and the E8P code book of QuIP#",
        paper="ButterflyQuant, arXiv 2509.09679; QuIP#, arXiv 2402.04396",
        options=E8pOptions,
        create=_create_e8p,
        linear=_linear_e8p,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: 2.0,
    )


@hookimpl
def qharness_runtime_transforms() -> Iterable[RuntimeTransformRecord]:
    """Offer the butterfly of a linear's input."""
    yield RuntimeTransformRecord("butterfly", "Butterfly of a linear layer's input", ("linear_input",), _transform)
