"""QTIP (Tseng et al., arXiv 2406.11235): a trellis code for incoherent weights, rounded with block LDLQ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import LoaderRecord, QuantizerRecord
from qharness_qtip.options import Options

if TYPE_CHECKING:
    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.base import Quantizer
    from qharness.quantization.linear import QuantizedLinear


def _create(options: Options) -> Quantizer:
    from qharness_qtip.quantizer import Qtip

    return Qtip(options)


def _linear() -> type[QuantizedLinear]:
    from qharness_qtip.linear import TrellisLinear

    return TrellisLinear


def _claims(reference: str) -> bool:
    from qharness_qtip.claims import claims

    return claims(reference)


def _load(request: LoadRequest) -> LoadedModel:
    from qharness_qtip.loading import load_public

    return load_public(request)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the published checkpoints of QTIP."""
    yield LoaderRecord("qtip", "Published QTIP checkpoints (quip_params), dense", _claims, _load, priority=10)


@hookimpl
def qharness_quantizers() -> Iterable[QuantizerRecord]:
    """Offer `qtip`."""
    yield QuantizerRecord(
        name="qtip",
        summary="Randomized Hadamards and a tail-biting trellis code with LDLQ",
        paper="Tseng et al., QTIP, arXiv 2406.11235",
        options=Options,
        create=_create,
        linear=_linear,
        needs="hessian",
        order="independent",
        architectures=("llama", "mistral"),
        nominal_bits=lambda options: float(options.bits),
    )
