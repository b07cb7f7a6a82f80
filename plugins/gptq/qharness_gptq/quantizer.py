"""GPTQ, optionally on a rotated model."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qharness.models.architecture import head_dim_of
from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.quantization.gptq import GptqStep
from qharness.quantization.grid_linear import GridLinear
from qharness.rotation.folding import untie_head
from qharness.rotation.merging import random_rotations, rotate_model
from qharness.rotation.online import Online
from qharness.rounding.grid import GridSpec

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness_gptq.options import Options


class Gptq:
    """GPTQ.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.step = GptqStep(
            GridSpec(options.bits, options.grid, steps=options.clip_steps),
            options.group_size,
            options.act_order,
            options.damping,
            options.clip_weighted,
            options.refit,
        )

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Rotate the model if the options say so; nothing is left to do at run time."""
        if self.options.rotation == "none":
            return Prepared()
        names, config = context.architecture, model.config
        untied = untie_head(model, names)
        sizes = (config.hidden_size, head_dim_of(config), config.num_hidden_layers)
        rotations, is_hadamard = random_rotations(sizes, torch.Generator().manual_seed(context.seed))
        mapping = rotate_model(model, names, rotations, Online(), context.device)
        return Prepared(hessian_map=mapping, notes={"untied_head": untied, "hadamard": is_hadamard})

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Quantize one linear."""
        return self.step.quantize(linear, context)
