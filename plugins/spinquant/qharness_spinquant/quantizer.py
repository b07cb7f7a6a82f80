"""SpinQuant: fold, learn rotations, merge them, then GPTQ each linear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from qharness.models.architecture import head_dim_of
from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.quantization.gptq import GptqStep
from qharness.quantization.grid_linear import GridLinear
from qharness.rotation.folding import untie_head
from qharness.rotation.matrices import is_known, orthogonality_error
from qharness.rotation.merging import random_rotations, rotate_model
from qharness.rotation.online import Online, r4_block
from qharness.rounding.grid import GridSpec
from qharness_spinquant.learning import learn, schedule
from qharness_spinquant.network import RotatedNetwork

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness_spinquant.options import Options


class SpinQuant:
    """SpinQuant with GPTQ weights.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.step = GptqStep(
            GridSpec(options.bits, options.grid, steps=options.clip_steps),
            options.group_size,
            "groups" if options.act_order else "off",
            options.damping,
            refit=options.refit,
        )

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Fold the norms, learn R1 and R2, merge them and R4's half into the weights."""
        names, config = context.architecture, model.config
        notes: dict[str, Any] = {"untied_head": untie_head(model, names)}
        if self.options.center_embeddings:
            table = names.module(model, names.embedding).weight
            table.data = table.data - table.data.mean(1, keepdim=True)
        head_dim = head_dim_of(config)
        online = self._online(config.intermediate_size, head_dim)
        sizes = (config.hidden_size, head_dim, config.num_hidden_layers)
        rotations, is_hadamard = random_rotations(sizes, torch.Generator().manual_seed(context.seed))
        if not all(is_hadamard.values()):
            notes["start"] = "random orthogonal where no Hadamard matrix is known: " + ", ".join(
                name for name, known in is_hadamard.items() if not known
            )
        if self.options.learn:
            network = RotatedNetwork(model, names, self.options, online.r4, context.device)
            plan = schedule(self.options, context)
            rotations, learned = learn(network, rotations, plan, self.options, context)
            notes |= {"in_the_loop": self.options.proxy, "iterations": plan.iterations, "batch": plan.batch}
            notes |= {"sample_length": plan.length} | learned
        notes["orthogonality"] = {
            "R1": orthogonality_error(rotations.r1),
            "R2": orthogonality_error(rotations.r2),
        }
        if not self.options.no_had and not online.r3:
            notes["r3"] = f"none: no Hadamard matrix of size {head_dim} is known"
        mapping = rotate_model(model, names, rotations, online, context.device)
        transforms = online.transforms(names, config.intermediate_size, head_dim)
        return Prepared(transforms=transforms, hessian_map=mapping, notes=notes)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Run GPTQ on one rotated linear."""
        return self.step.quantize(linear, context)

    def _online(self, intermediate: int, head_dim: int) -> Online:
        if self.options.no_had:
            return Online()
        return Online(r4=r4_block(intermediate, self.options.r4_block), r3=head_dim if is_known(head_dim) else 0)
