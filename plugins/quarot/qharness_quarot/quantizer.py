"""QuaRot: fold, rotate by Hadamards that nobody learned, then GPTQ each linear."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

from qharness.errors import UnsupportedArchitecture
from qharness.models.architecture import head_dim_of
from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.quantization.gptq import GptqStep
from qharness.quantization.grid_linear import GridLinear
from qharness.rotation.folding import untie_head
from qharness.rotation.matrices import is_known, random_hadamard, walsh
from qharness.rotation.merging import Rotations, rotate_model
from qharness.rotation.online import Online, r4_block
from qharness.rounding.grid import GridSpec
from qharness_kernels.hadamard import hadamard_dense

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PretrainedConfig, PreTrainedModel

    from qharness_quarot.options import Options


class QuaRot:
    """QuaRot with GPTQ weights.

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
            refit=options.refit,
        )

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Fold the norms and merge all rotations; name the online ones.

        Raises:
            UnsupportedArchitecture: No Hadamard matrix of the hidden size, head size or number of heads is known.
        """
        names, config = context.architecture, model.config
        online = self._online(config)
        rotations = Rotations(self._residual(config.hidden_size, context.seed), self._values(config))
        untied = untie_head(model, names)
        mapping = rotate_model(model, names, rotations, online, context.device)
        transforms = online.transforms(names, config.intermediate_size, head_dim_of(config))
        notes = {"untied_head": untied, "rotation": self.options.rotation, "r4_block": online.r4}
        return Prepared(transforms=transforms, hessian_map=mapping, notes=notes)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Run GPTQ on one rotated linear."""
        return self.step.quantize(linear, context)

    def _online(self, config: PretrainedConfig) -> Online:
        heads, size = config.num_attention_heads, head_dim_of(config)
        if self.options.across_heads and not is_known(heads):
            raise UnsupportedArchitecture(
                f"The model has {heads} attention heads and no Hadamard matrix of size {heads} exists or is known, so "
                "QuaRot's Hadamard across heads cannot be made; `--set quarot.across_heads=false` leaves it out."
            )
        return Online(
            r4=r4_block(config.intermediate_size, self.options.block) if self.options.r4 else 0,
            heads=heads if self.options.across_heads else 0,
            r3=size if is_known(size) else 0,
        )

    def _residual(self, size: int, seed: int) -> Tensor:
        block = self.options.block
        if not is_known(block or size):
            raise UnsupportedArchitecture(
                f"No Hadamard matrix of size {block or size} is known; `--set quarot.block=B` with a B that divides "
                f"{size}, for instance {_power_of_two_in(size)}, rotates in blocks."
            )
        if self.options.rotation == "walsh":
            return walsh(size, block)
        return random_hadamard(size, torch.Generator().manual_seed(seed), block)[0]

    def _values(self, config: PretrainedConfig) -> Tensor:
        size = head_dim_of(config)
        if not is_known(size):
            raise UnsupportedArchitecture(f"No Hadamard matrix of size {size}, the model's head size, is known.")
        return hadamard_dense(size).T.expand(config.num_hidden_layers, size, size)


def _power_of_two_in(size: int) -> int:
    return size & -size
