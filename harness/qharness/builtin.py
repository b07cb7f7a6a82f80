"""The built-in plugin: what the host itself offers, through the same hooks as everyone else."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from qharness import hookimpl
from qharness.records import DoctorCheck, LoaderRecord, RuntimeTransformRecord

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.transforms.base import RuntimeTransform
    from qharness.transforms.contract import TransformEntry


def _claims_artifact(reference: str) -> bool:
    from qharness.artifacts.loading import claims

    return claims(reference)


def _load_artifact(request: LoadRequest) -> LoadedModel:
    from qharness.artifacts.loading import load_artifact

    return load_artifact(request)


def _claims_hf(reference: str) -> bool:
    from qharness.models.hub import claims

    return claims(reference)


def _load_hf(request: LoadRequest) -> LoadedModel:
    from qharness.models.hub import load_hf

    return load_hf(request)


def _hadamard(entry: TransformEntry, tensors: Mapping[str, Tensor]) -> RuntimeTransform:
    from qharness.transforms.hadamard import HadamardTransform

    return HadamardTransform(entry, tensors)


@hookimpl
def qharness_loaders() -> Iterable[LoaderRecord]:
    """Offer the loaders of artifacts and of transformers models."""
    yield LoaderRecord("artifact", "Artifacts of qharness", _claims_artifact, _load_artifact, priority=10)
    yield LoaderRecord("hf", "Folders and hub ids of transformers models", _claims_hf, _load_hf)


@hookimpl
def qharness_runtime_transforms() -> Iterable[RuntimeTransformRecord]:
    """Offer R3 and R4 of SpinQuant and QuaRot."""
    yield RuntimeTransformRecord(
        "r3", "Hadamard of queries and keys after RoPE", ("q_post_rope", "k_pre_cache"), _hadamard
    )
    yield RuntimeTransformRecord("r4", "Hadamard of a linear layer's input", ("linear_input",), _hadamard)


@hookimpl
def qharness_doctor() -> Iterable[DoctorCheck]:
    """Offer checks of the environment."""
    from qharness.doctor import checks

    return checks()
