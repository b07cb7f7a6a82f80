"""Dense models from weights that a loader computed: public checkpoints of quantized models."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from qharness.artifacts.digest import files_digest
from qharness.errors import CorruptArtifact
from qharness.models.hub import load_tokenizer, quiet_loading
from qharness.models.loaded import LoadedModel

if TYPE_CHECKING:
    from transformers import PretrainedConfig

    from qharness.models.loaded import LoadRequest


def dense_model(
    request: LoadRequest, config: PretrainedConfig, state: Mapping[str, Tensor], dtype: torch.dtype, notice: str
) -> LoadedModel:
    """Build a model of plain linears from its weights.

    Args:
        request: What was asked for; its reference is the folder of the checkpoint.
        config: Configuration of the plain model.
        state: Weights by the names of transformers.
        dtype: Type of the model.
        notice: Sentence that says where the weights come from.

    Raises:
        CorruptArtifact: Weights are missing or have other sizes than the configuration asks for.
    """
    from transformers import AutoModelForCausalLM

    folder = Path(request.reference).expanduser()
    with quiet_loading(), torch.device("meta"):
        plain: Any = AutoModelForCausalLM.from_config(config, attn_implementation="sdpa")
    with quiet_loading():
        try:
            model, report = type(plain).from_pretrained(
                None, config=config, state_dict=dict(state), dtype=dtype, attn_implementation="sdpa",
                output_loading_info=True,
            )  # fmt: skip
        except RuntimeError as error:
            raise CorruptArtifact(f"{folder} holds tensors of unexpected sizes; download it again.") from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise CorruptArtifact(f"{folder} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    return LoadedModel(
        model=model.eval().to(torch.device(request.device)),
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=files_digest(folder),
        dtype=dtype,
        notice=notice,
    )
