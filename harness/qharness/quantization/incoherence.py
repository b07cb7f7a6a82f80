"""Incoherence processing: a randomized Hadamard on both sides of every linear, undone online."""

from __future__ import annotations

from collections.abc import Mapping, MutableMapping
from typing import TYPE_CHECKING, NamedTuple, cast

import torch
from torch import Tensor

from qharness.distillation.slots import Slot, parameter_slot, tensor_slot
from qharness.distillation.training import Schedule
from qharness.errors import UsageError
from qharness.quantization.base import Prepared
from qharness.quantization.seeding import seed_of
from qharness.rotation.matrices import is_known
from qharness.transforms.contract import TransformEntry, hadamard_entry
from qharness.transforms.hadamard import star_of
from qharness_kernels.hadamard import Family, family_factor, hadamard_transform

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness.artifacts.reader import Artifact
    from qharness.models.architecture import Architecture
    from qharness.quantization.base import BlockContext, HessianMap
    from qharness.quantization.incoherence_options import IncoherenceOptions

TRANSFORM = "rht"


class Rht(NamedTuple):
    """x -> H diag(signs) x: signs of shape (n,), the block of H (None is one block) and the family of its factor."""

    signs: Tensor
    block: int | None = None
    family: Family = "generated"

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x."""
        return self._transform(x, False)

    def transpose(self, x: Tensor) -> Tensor:
        """Apply the map's transpose, with signs of +-1 its inverse, to the last dimension of x."""
        return self._transform(x, True)

    def _transform(self, x: Tensor, inverse: bool) -> Tensor:
        signs = self.signs.to(x.device)
        result: Tensor = hadamard_transform(x, block=self.block, signs=signs, inverse=inverse, family=self.family)
        return result


class Hadamards(NamedTuple):
    """Which Hadamard maps a model is processed with: the block that is wanted (0 is none) and the family."""

    block: int = 0
    family: Family = "generated"

    def of(self, signs: Tensor) -> Rht:
        """Return the map of a sign vector.

        Raises:
            UsageError: The public family has no map of that size.
        """
        if self.family == "generated":
            return Rht(signs, hadamard_block(len(signs), self.block))
        try:
            family_factor(len(signs), self.family)
        except ValueError as error:
            raise UsageError(f"{error} Quantize with `hadamard=generated`.") from error
        return Rht(signs, None, self.family)


def hadamards(options: IncoherenceOptions) -> Hadamards:
    """Return the maps that options ask for."""
    return Hadamards(options.hadamard_block, options.hadamard)


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


def restore_weight(weight: Tensor, inner: Rht, outer: Rht) -> Tensor:
    """Return A_out^T W A_in, the weight of which `process_weight` returns W; also where training made signs real."""
    return outer.transpose(inner.transpose(weight).T).T


def process_hessian(hessian: Tensor, inner: Rht) -> Tensor:
    """Return A H A^T, the second moment of the transformed input, symmetric to the bit; shape (n, n)."""
    found = inner.apply(inner.apply(hessian).T)
    return (found + found.T) / 2


@torch.no_grad()
def process_model(
    model: PreTrainedModel,
    architecture: Architecture,
    seed: int,
    *,
    hadamards: Hadamards = Hadamards(),  # noqa: B008 - a tuple
    fused: bool = False,
    device: str = "cpu",
) -> Prepared:
    """Put a randomized Hadamard on both sides of every linear of the decoder blocks.

    The weights (and biases) are processed in place; the `rht` transforms that are returned undo it online, so that the
    model's function is unchanged. Linears that share an input share its signs, and with them one Hessian.

    Args:
        model: The model; changed in place.
        architecture: Where its linears are.
        seed: Seed of the signs.
        hadamards: The Hadamard maps. By default one block wherever a Hadamard matrix of the size exists, and else the
            largest block that divides it.
        fused: Leave the outputs of linears that share an input alone; the method puts one map across all of them.
        device: Device of the work; one matrix is on it at a time.
    """
    tensors: dict[str, Tensor] = {}
    entries: list[TransformEntry] = []
    blocks = list(architecture.module(model, architecture.blocks).children())
    for stage in architecture.stages():
        inputs = _signs_name(architecture, stage[0], "input")
        for name in stage:
            outputs = "" if fused and len(stage) > 1 else _signs_name(architecture, name, "output")
            sites = (("linear_input", inputs, False), ("linear_output", outputs, True))
            for index, parent in enumerate(blocks):
                linear = cast("nn.Linear", parent.get_submodule(name))
                rows, columns = linear.weight.shape
                _add_signs(tensors, inputs.replace("*", str(index)), columns, seed)
                weight = linear.weight.to(device).float()
                inner = hadamards.of(tensors[inputs.replace("*", str(index))])
                if outputs:
                    _add_signs(tensors, outputs.replace("*", str(index)), rows, seed)
                    outer = hadamards.of(tensors[outputs.replace("*", str(index))])
                    weight = process_weight(weight, inner, outer)
                    if linear.bias is not None:
                        linear.bias.data = outer.apply(linear.bias.to(device).float()).to(linear.bias)
                else:
                    weight = inner.apply(weight)
                linear.weight.data = weight.to(linear.weight)
            entries += [
                hadamard_entry(
                    id=TRANSFORM,
                    modules=f"{architecture.blocks}.*.{name}",
                    site=site,  # type: ignore[arg-type]
                    size=rows if is_output else columns,
                    block=(outer if is_output else inner).block,
                    signs=signs,
                    sign_vector=tensors,
                    transposed=is_output,
                    family=hadamards.family,
                )
                for site, signs, is_output in sites
                if signs
            ]
    mapping = _hessian_map(architecture, tensors, hadamards, device)
    return Prepared(transforms=entries, hessian_map=mapping, tensors=tensors)


def _add_signs(tensors: MutableMapping[str, Tensor], name: str, size: int, seed: int) -> None:
    tensors.setdefault(name, random_signs(size, seed, name))


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
    own = [name.replace("*", index) for name in vectors]
    return slots + [tensor_slot(context.tensors, name, signs, torch.float16) for name in own if name in context.tensors]


def tunable_whole(
    model: PreTrainedModel,
    architecture: Architecture,
    tensors: MutableMapping[str, Tensor],
    *,
    weights: float,
    signs: float,
) -> list[Slot]:
    """Return what is free end to end: all sign vectors, the norms, and the head where it is not tied.

    Args:
        model: The quantized model.
        architecture: Where its norms and its head are.
        tensors: Tensors of the runtime transforms.
        weights: Learning rate of the norms and the head.
        signs: Learning rate of the sign vectors.

    Source: Tseng et al., QuIP#, arXiv 2402.04396, section 5.
    """
    slots = [tensor_slot(tensors, name, signs, torch.float16) for name in sorted(tensors)]
    # Behind the sign vectors: training puts tensors back in this order, and norms then change sign vectors.
    behind = {architecture.input_norm: architecture.q, architecture.post_norm: architecture.gate}
    for index in range(model.config.num_hidden_layers):
        for norm, linear in behind.items():
            signs_name = _signs_name(architecture, linear, "input").replace("*", str(index))
            name = f"{architecture.blocks}.{index}.{norm}"
            slots.append(norm_slot(architecture.module(model, name), tensors, signs_name, weights, name))
    final = architecture.module(model, architecture.final_norm)
    slots.append(parameter_slot(final, "weight", weights, architecture.final_norm, torch.float32))
    if not model.config.tie_word_embeddings:
        slots.append(parameter_slot(architecture.module(model, architecture.head), "weight", weights, "head"))
    return slots


def norm_slot(norm: nn.Module, tensors: MutableMapping[str, Tensor], signs: str, rate: float, label: str) -> Slot:
    """Return the slot of the weight of a norm with a sign vector behind it.

    Training moves a weight by less than bfloat16, in which models are stored and run, can show. The two vectors
    multiply the same numbers, so what rounding the trained weight w takes off, w / round(w), goes into the signs s.

    Args:
        norm: The norm.
        tensors: Tensors of the runtime transforms.
        signs: Name of the sign vector there; trained, if it is, before this slot gets its tensor back.
        rate: Learning rate.
        label: Name of the slot.
    """
    plain, before = parameter_slot(norm, "weight", rate, label), norm.get_parameter("weight").detach().clone()

    def write(tensor: Tensor) -> None:
        if tensor.requires_grad or torch.equal(tensor, before.to(tensor)):
            plain.write(tensor.to(before) if not tensor.requires_grad else tensor)
            return
        rounded = tensor.bfloat16().float()
        factor = torch.where(rounded == 0, 1.0, tensor.float() / rounded)
        own = tensors[signs]
        tensors[signs] = (own.float() * factor.to(own.device)).half()
        plain.write(rounded.to(before))

    return Slot(label, plain.read, write, rate, torch.float32)


def sign_vectors(artifact: Artifact) -> dict[str, tuple[Tensor, Tensor | None]]:
    """Return the sign vectors of each quantized linear's input and output, by full name; None of a fused output."""
    tensors = artifact.transform_tensors()
    found: dict[str, tuple[Tensor, Tensor | None]] = {}
    for name in artifact.modules:
        own: dict[str, Tensor] = {}
        for entry in artifact.transforms:
            star = star_of(entry.modules, name)
            if star is not None and entry.map.signs is not None:
                own[entry.site] = tensors[entry.map.signs.replace("*", star)]
        found[name] = own["linear_input"], own.get("linear_output")
    return found


def _signs_name(architecture: Architecture, linear: str, side: str) -> str:
    return f"{architecture.blocks}.*.{linear}.{side}_signs"


def _hessian_map(
    architecture: Architecture, tensors: Mapping[str, Tensor], hadamards: Hadamards, device: str
) -> HessianMap:
    first = {name: stage[0] for stage in architecture.stages() for name in stage}
    # Bound now: training replaces the vectors of the mapping block by block, after their Hessians were used.
    signs = dict(tensors)

    def process(name: str, hessian: Tensor) -> Tensor:
        index, _, linear = name.removeprefix(f"{architecture.blocks}.").partition(".")
        own = _signs_name(architecture, first[linear], "input").replace("*", index)
        return process_hessian(hessian.to(device).float(), hadamards.of(signs[own]))

    return process
