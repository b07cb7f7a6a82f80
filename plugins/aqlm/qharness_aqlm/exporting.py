"""`qharness export --format aqlm`: a folder that transformers and the `aqlm` package load."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from qharness.artifacts.conversion import write_converted
from qharness.errors import UsageError
from qharness_aqlm.linear import AdditiveLinear
from qharness_aqlm.public import GROUP, common_scheme, to_public
from qharness_aqlm.scheme import Scheme

if TYPE_CHECKING:
    from torch import Tensor

    from qharness.jobs.export import ExportRequest
    from qharness.quantization.linear import QuantizedLinear


def write(request: ExportRequest) -> None:
    """Write an artifact of `aqlm` in the public format.

    Raises:
        UsageError: A linear's inputs are no multiple of eight, or its codes are too wide for the format.
    """
    specs = request.artifact.modules
    for name, spec in specs.items():
        if spec["in_features"] % GROUP:
            raise UsageError(f"'{name}' has {spec['in_features']} inputs; the AQLM format groups them by {GROUP}.")
    target = common_scheme(Scheme(spec["codebooks"], spec["bits"], spec["group"]) for spec in specs.values())

    def convert(name: str, linear: QuantizedLinear) -> Mapping[str, Tensor]:
        assert isinstance(linear, AdditiveLinear)
        codes, codebooks = to_public(linear.unpacked(), linear.get_buffer("codebooks"), target)
        tensors = {"codes": codes, "codebooks": codebooks, "scales": linear.get_buffer("scales").view(-1, 1, 1, 1)}
        return tensors if linear.bias is None else tensors | {"bias": linear.bias.half()}

    kept = ["lm_head", "lm_head.weight"]
    write_converted(
        request.artifact,
        request.out,
        request.host,
        convert,
        quantization_config={
            "quant_method": "aqlm",
            "in_group_size": GROUP,
            "out_group_size": 1,
            "num_codebooks": target.codebooks,
            "nbits_per_codebook": target.bits,
            # transformers before 5 reads the first name and weights, later ones may read the second, and modules.
            "linear_weights_not_to_quantize": kept,
            "modules_to_not_convert": kept,
        },
        dtype="float16",
    )
