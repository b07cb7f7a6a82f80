"""Incoherence processing: a randomized Hadamard on both sides of every linear, undone online."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from qharness.distillation.slots import Slot, parameter_slot, tensor_slot
from qharness.distillation.training import Schedule
from qharness.quantization.base import Prepared
from qharness.quantization.seeding import seed_of
from qharness.rotation.matrices import is_known
from qharness.transforms.contract import TransformEntry, hadamard_entry
from qharness_kernels.hadamard import hadamard_transform

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
    from qharness.quantization.base import BlockContext, HessianMap
    from qharness.quantization.incoherence_options import IncoherenceOptions

TRANSFORM = "rht"


class Rht(NamedTuple):
    """x -> H diag(signs) x: signs of shape (n,), and the block of H (None is one block)."""

    signs: Tensor
    block: int | None

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        signs = self.signs.to(x.device)
        result: Tensor = hadamard_transform(x, block=self.block, signs=signs)
        return result


def hadamard_block(size: int, wanted: int = 0) -> int | None:
    """Return the block of a Hadamard transform of `size` numbers; None is one block of all.

    Args:
        size: Size of the dimension.
        wanted: Block that is asked for, for example 128; used where it divides the size. 0 asks for one block.

    Returns:
        The wanted block, or the largest divisor of the size of which a Hadamard matrix can be made.
    """
    if wanted and size % wanted == 0 and is_known(wanted):
        return wanted if wanted < size else None
    largest = next(n for n in range(size, 0, -1) if size % n == 0 and is_known(n))
    return largest if largest < size else None


def random_signs(size: int, seed: int, name: str) -> Tensor:
    """Return a sign vector, shape (size,), int8, drawn from the seed and the name."""
    generator = torch.Generator().manual_seed(seed_of(seed, name))
    return (torch.randint(0, 2, (size,), generator=generator) * 2 - 1).to(torch.int8)


def process_weight(weight: Tensor, inner: Rht, outer: Rht) -> Tensor:
    """Return A_out W A_in^T, the weight between the transformed input and the transformed output.

    Args:
        weight: Shape (m, n).
        inner: Map of the input, of size n.
        outer: Map of the output, of size m; the model applies its transpose to what the weight returns.

    Source: Tseng et al., QuIP#, arXiv 2402.04396, section 3.
    """
    return outer.apply(inner.apply(weight).T).T


def process_hessian(hessian: Tensor, inner: Rht) -> Tensor:
    """Return A H A^T, the second moment of the transformed input, symmetric to the bit; shape (n, n)."""
    found = inner.apply(inner.apply(hessian).T)
    return (found + found.T) / 2


@torch.no_grad()
def process_model(
    model: PreTrainedModel, architecture: Architecture, seed: int, *, block: int = 0, device: str = "cpu"
) -> Prepared:
    """Put a randomized Hadamard on both sides of every linear of the decoder blocks.

    The weights (and biases) are processed in place; the `rht` transforms that are returned undo it online, so that the
    model's function is unchanged. Linears that share an input share its signs, and with them one Hessian.

    Args:
        model: The model; changed in place.
        architecture: Where its linears are.
        seed: Seed of the signs.
        block: Block of the Hadamards, for example 128; 0 is one block wherever a Hadamard matrix of the size exists,
            and else the largest block that divides it.
        device: Device of the work; one matrix is on it at a time.
    """
    tensors: dict[str, Tensor] = {}
    entries: list[TransformEntry] = []
    blocks = list(architecture.module(model, architecture.blocks).children())
    for stage in architecture.stages():
        inputs = _signs_name(architecture, stage[0], "input")
        for name in stage:
            outputs = _signs_name(architecture, name, "output")
            linears = [cast("nn.Linear", parent.get_submodule(name)) for parent in blocks]
            rows, columns = linears[0].weight.shape
            inner_block, outer_block = hadamard_block(columns, block), hadamard_block(rows, block)
            for index, linear in enumerate(linears):
                own = [names.replace("*", str(index)) for names in (inputs, outputs)]
                tensors.setdefault(own[0], random_signs(columns, seed, own[0]))
                tensors[own[1]] = random_signs(rows, seed, own[1])
                inner, outer = Rht(tensors[own[0]], inner_block), Rht(tensors[own[1]], outer_block)
                weight = process_weight(linear.weight.to(device).float(), inner, outer)
                linear.weight.data = weight.to(linear.weight)
                if linear.bias is not None:
                    linear.bias.data = outer.apply(linear.bias.to(device).float()).to(linear.bias)
            modules = f"{architecture.blocks}.*.{name}"
            for site, size, signs, used in (
                ("linear_input", columns, inputs, inner_block),
                ("linear_output", rows, outputs, outer_block),
            ):
                entries.append(
                    hadamard_entry(
                        id=TRANSFORM,
                        modules=modules,
                        site=site,  # type: ignore[arg-type]
                        size=size,
                        block=used,
                        signs=signs,
                        sign_vector=tensors,
                        transposed=site == "linear_output",
                    )
                )
    mapping = _hessian_map(architecture, tensors, block, device)
    return Prepared(transforms=entries, hessian_map=mapping, tensors=tensors)


def schedules(options: IncoherenceOptions) -> tuple[Schedule | None, Schedule | None]:
    """Return the schedules of fine-tuning within blocks and end to end, each None where it has no epochs."""
    within, whole = (
        Schedule(epochs, options.batch, options.accumulate) if epochs else None
        for epochs in (options.epochs, options.whole_epochs)
    )
    return within, whole


def tunable(block: nn.Module, context: BlockContext, *, weights: float, signs: float) -> list[Slot]:
    """Return what incoherence processing leaves free within a block of which some linears are quantized.

    Those are the weights that are not quantized yet, and the sign vectors of the quantized linears, which become real
    numbers (float16). The norms' weights multiply the same inputs as the sign vectors behind them and add nothing.

    Args:
        block: The block.
        context: What is quantized.
        weights: Learning rate of the weights.
        signs: Learning rate of the sign vectors.

    Source: Tseng et al., QuIP#, arXiv 2402.04396, section 5.
    """
    names = context.architecture
    slots = [parameter_slot(block.get_submodule(name), "weight", weights, name) for name in context.remaining]
    index = context.prefix.rpartition(".")[2]
    first = {name: stage[0] for stage in names.stages() for name in stage}
    vectors = {_signs_name(names, first[name], "input"): None for name in context.quantized}
    vectors |= {_signs_name(names, name, "output"): None for name in context.quantized}
    return slots + [tensor_slot(context.tensors, name.replace("*", index), signs, torch.float16) for name in vectors]


def tunable_whole(
    model: PreTrainedModel,
    architecture: Architecture,
    tensors: MutableMapping[str, Tensor],
    *,
    weights: float,
    signs: float,
) -> list[Slot]:
    """Return what incoherence processing leaves free end to end: all sign vectors, and the head where it is not tied.

    Args:
        model: The quantized model.
        architecture: Where its head is.
        tensors: Tensors of the runtime transforms.
        weights: Learning rate of the head.
        signs: Learning rate of the sign vectors.

    Source: Tseng et al., QuIP#, arXiv 2402.04396, section 5; the norms that it trains too multiply the same inputs as
    the sign vectors behind them.
    """
    slots = [tensor_slot(tensors, name, signs, torch.float16) for name in sorted(tensors)]
    if not model.config.tie_word_embeddings:
        slots.append(parameter_slot(architecture.module(model, architecture.head), "weight", weights, "head"))
    return slots


def _signs_name(architecture: Architecture, linear: str, side: str) -> str:
    return f"{architecture.blocks}.*.{linear}.{side}_signs"


def _hessian_map(architecture: Architecture, tensors: Mapping[str, Tensor], block: int, device: str) -> HessianMap:
    first = {name: stage[0] for stage in architecture.stages() for name in stage}
    # Bound now: training replaces the vectors of the mapping block by block, after their Hessians were used.
    signs = dict(tensors)

    def process(name: str, hessian: Tensor) -> Tensor:
        index, _, linear = name.removeprefix(f"{architecture.blocks}.").partition(".")
        own = _signs_name(architecture, first[linear], "input").replace("*", index)
        return process_hessian(hessian.to(device).float(), Rht(signs[own], hadamard_block(len(hessian), block)))

    return process
