"""QuIP# (Tseng et al., arXiv 2402.04396): randomized Hadamards around linears, and a lattice code of their weights."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import LoaderRecord, QuantizerRecord
from qharness_quip_sharp.options import Options

if TYPE_CHECKING:
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_quip_sharp.quantizer import QuipSharp

    return QuipSharp(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_quip_sharp.linear import LatticeLinear

    return LatticeLinear


def _claims(reference: str) -> bool:
    from qharness_quip_sharp.claims import claims

    return claims(reference)


def _load(request: LoadRequest) -> LoadedModel:
    from qharness_quip_sharp.loading import load_public

    return load_public(request)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the public checkpoints of QuIP#."""
    yield LoaderRecord("quip_sharp", "Public QuIP# checkpoints (quip_params), dense", _claims, _load, priority=10)


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `quip_sharp`."""
    yield QuantizerRecord(
        name="quip_sharp",
        summary="Randomized Hadamards, BlockLDLQ and the E8P lattice code",
        paper="Tseng et al., QuIP#, arXiv 2402.04396",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: float(options.bits),
    )
