"""SpinQuant: fold, learn rotations, merge them, then GPTQ each linear."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from qharness.models.architecture import Architecture, head_dim_of
from qharness.quantization.base import HessianMap, LinearContext, ModelContext, Prepared
from qharness.quantization.gptq import GptqStep
from qharness.quantization.grid_linear import GridLinear
from qharness.rounding.grid import GridSpec
from qharness.transforms.contract import TransformEntry, hadamard_entry
from qharness_kernels.hadamard import hadamard_transform
from qharness_spinquant.folding import folded_block, folded_head, untie_head
from qharness_spinquant.learning import Rotations, learn, schedule, start
from qharness_spinquant.network import RotatedNetwork
from qharness_spinquant.rotation import (
    is_known,
    merge_r4,
    orthogonality_error,
    r4_block_for,
    rotate_block,
    rotate_hessian,
)

if TYPE_CHECKING:
    from torch import Tensor, nn
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
        r4_block = r4_block_for(config.intermediate_size, self.options.r4_block)
        sizes = (config.hidden_size, head_dim_of(config), config.num_hidden_layers)
        rotations, is_hadamard = start(sizes, context.seed)
        if not all(is_hadamard.values()):
            notes["start"] = "random orthogonal where no Hadamard matrix is known: " + ", ".join(
                name for name, known in is_hadamard.items() if not known
            )
        if self.options.learn:
            network = RotatedNetwork(model, names, self.options, r4_block, context.device)
            plan = schedule(self.options, context)
            rotations, learned = learn(network, rotations, plan, self.options, context)
            notes |= {"in_the_loop": self.options.proxy, "iterations": plan.iterations, "batch": plan.batch}
            notes |= {"sample_length": plan.length} | learned
        notes["orthogonality"] = {
            "R1": orthogonality_error(rotations.r1),
            "R2": orthogonality_error(rotations.r2),
        }
        if not self.options.no_had and not is_known(head_dim_of(config)):
            notes["r3"] = f"none: no Hadamard matrix of size {head_dim_of(config)} is known"
        gammas = _norm_weights(model, names)
        merged_block = None if self.options.no_had else (r4_block or config.intermediate_size)
        merge_rotations(model, names, rotations, merged_block, context.device)
        transforms = self._transforms(names, config.intermediate_size, head_dim_of(config), r4_block)
        mapping = self._hessian_map(names, rotations, gammas, r4_block, context.device)
        return Prepared(transforms=transforms, hessian_map=mapping, notes=notes)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Run GPTQ on one rotated linear."""
        return self.step.quantize(linear, context)

    def _transforms(
        self, names: Architecture, intermediate: int, head: int, r4_block: int | None
    ) -> list[TransformEntry]:
        if self.options.no_had:
            return []
        attention = f"{names.blocks}.*.{names.q.rpartition('.')[0]}"
        down = f"{names.blocks}.*.{names.down}"
        entries = [hadamard_entry(id="r4", modules=down, site="linear_input", size=intermediate, block=r4_block)]
        if is_known(head):
            entries += [
                hadamard_entry(id="r3", modules=attention, site=site, size=head, needed_if="kv_bits < 16")
                for site in ("q_post_rope", "k_pre_cache")
            ]
        return entries

    def _hessian_map(
        self, names: Architecture, rotations: Rotations, gammas: dict[str, Tensor], r4_block: int | None, device: str
    ) -> HessianMap:
        r1, r2 = rotations.r1.to(device), rotations.r2.to(device)

        def rotate(name: str, hessian: Tensor) -> Tensor:
            index, _, linear = name.removeprefix(f"{names.blocks}.").partition(".")
            h = hessian.to(device).double()
            if linear == names.o:
                h = rotate_hessian(h, r2[int(index)])
            elif linear != names.down:
                norm = names.post_norm if linear in (names.gate, names.up) else names.input_norm
                inverse = 1 / gammas[f"{names.blocks}.{index}.{norm}"].to(device)
                h = rotate_hessian(inverse[:, None] * h * inverse, r1)
            elif not self.options.no_had:
                h = hadamard_transform(hadamard_transform(h, block=r4_block).T, block=r4_block)
            return ((h + h.T) / 2).float()

        return rotate


def _norm_weights(model: PreTrainedModel, names: Architecture) -> dict[str, Tensor]:
    """Return the norms' weights before they are folded, float64, by full name."""
    return {
        f"{names.blocks}.{index}.{norm}": names.module(model, f"{names.blocks}.{index}.{norm}")
        .weight.detach()
        .double()
        .clone()
        for index in range(model.config.num_hidden_layers)
        for norm in (names.input_norm, names.post_norm)
    }


@torch.no_grad()
def merge_rotations(
    model: PreTrainedModel,
    names: Architecture,
    rotations: Rotations,
    r4_block: int | None,
    device: str = "cpu",
) -> None:
    """Fold the norms and merge R1, R2 and R4's half into the weights, in float64, rounded once to the model's type.

    Args:
        model: Changed in place; its head must be untied.
        names: Where its parts are.
        rotations: R1 and all R2, orthogonal.
        r4_block: Block of R4's Hadamard (the whole size for one block); None merges no R4.
        device: Device of the work; one block is on it at a time.
    """
    r1, r2 = rotations.r1.to(device), rotations.r2.to(device)
    head, embedding = names.module(model, names.head), names.module(model, names.embedding)
    head.weight.data = (folded_head(model, names).to(device) @ r1).to(head.weight)
    embedding.weight.data = (embedding.weight.double().to(device) @ r1).to(embedding.weight)
    names.module(model, names.final_norm).weight.data.fill_(1)
    for index, block in enumerate(names.module(model, names.blocks).children()):
        found = rotate_block(folded_block(block, names, torch.float64, device), names, r1, r2[index])
        if r4_block is not None:
            found = merge_r4(found, names, r4_block)
        for name, parameter in block.named_parameters():
            parameter.data = found[name].to(parameter)
