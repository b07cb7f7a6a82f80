"""The loader of GPTQ checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.artifacts.public import load_public
from qharness.artifacts.tensorfiles import read_headers
from qharness.errors import CorruptArtifact
from qharness_gptq.checkpoint import read_config
from qharness_gptq.packing import Format, from_checkpoint

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.models.loaded import LoadedModel, LoadRequest
    from qharness.quantization.grid_linear import GridLinear

WORDS = "qweight"


def load_checkpoint(request: LoadRequest) -> LoadedModel:
    """Load a GPTQ checkpoint as a transformers model whose quantized linears stay packed.

    Raises:
        CorruptArtifact: A file is truncated, or tensors are missing or of wrong sizes.
        UnsupportedArchitecture: The checkpoint is of a variant that cannot be read.
        UsageError: Transforms are to be ablated; GPTQ checkpoints have none.
    """
    folder = Path(request.reference).expanduser()
    config = read_config(folder)
    form: Format = "gptq_v2" if config.form == "gptq_v2" else "gptq"
    if not any(name.endswith(f".{WORDS}") for name in read_headers(folder)):
        raise CorruptArtifact(f"{folder} says it is a GPTQ checkpoint but holds no '{WORDS}'; download it again.")

    def quantized(_: str, tensors: Mapping[str, Tensor], linear: nn.Linear) -> GridLinear | None:
        return from_checkpoint(tensors, config.bits, config.group_size, form) if WORDS in tensors else None

    return load_public(request, quantized)
