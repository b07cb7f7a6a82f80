"""The quantizers: learn a butterfly for every input, rotate the weights, then a code book."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from qharness.calibration.walk import first_inputs, on_device
from qharness.errors import MissingData
from qharness.quantization.base import LinearContext, ModelContext, Prepared
from qharness.quantization.grid_linear import GridLinear
from qharness.quantization.observations import Seen, WalkedInputs
from qharness.quantization.seeding import seed_of
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec, fitting_group, round_to_nearest, storable
from qharness.rounding.refit import refit_scales, unbiased_rows
from qharness.rounding.straight_through import quantize_weights
from qharness_butterfly.butterfly import Butterfly, rotate_hessian, start
from qharness_butterfly.learning import Learned, Quantize, Task, learn
from qharness_butterfly.transform import angles_name, butterfly_entries, skew_name

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
    from qharness.quantization.base import HessianMap
    from qharness_butterfly.options import Learning, Options

GPU_STEPS, CPU_STEPS = 500, 24


class Rotation:
    """Learns the butterflies of a model and rotates its weights; shared by the code books.

    Args:
        options: How to learn.
        quantizer_for: Returns the differentiable rounding of weights with that many columns.
    """

    def __init__(self, options: Learning, quantizer_for: Callable[[int], Quantize]) -> None:
        self.options, self.quantizer_for = options, quantizer_for

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Learn a butterfly for every input of every block and rotate the weights behind it.

        Raises:
            MissingData: There is no calibration text: Hessians alone do not tell how inputs are distributed.
        """
        if not context.calibration.numel():
            raise MissingData("Butterflies are learned on inputs; give calibration text with `--text SOURCE`.")
        names, stages = context.architecture, context.architecture.stages()
        blocks = list(names.module(model, names.blocks).children())
        walk = WalkedInputs(
            first_inputs(model, names, context.calibration[: self.options.samples]),
            stages,
            needs="inputs",
            behind="original",
            device=context.device,
        )
        tensors: dict[str, Tensor] = {}
        losses: dict[str, tuple[float, float]] = {}
        for index, block in enumerate(blocks):
            with on_device(block, context.device):
                walk.begin(block, False)
                for stage in stages:
                    prefix = f"{names.blocks}.{index}.{stage[0]}"
                    learned = self._learn(block, stage, prefix, walk.stage(block, prefix, stage), context)
                    losses[prefix] = (learned.before, learned.after)
                    tensors[angles_name(prefix)] = learned.butterfly.angles
                    if learned.butterfly.skew.numel():
                        tensors[skew_name(angles_name(prefix))] = learned.butterfly.skew
                    for name in stage:
                        _rotate(block.get_submodule(name), learned.butterfly)
            context.progress(index + 1, len(blocks), f"butterflies of block {index}")
        entries = [
            entry
            for stage in stages
            for entry in butterfly_entries(
                [f"{names.blocks}.*.{name}" for name in stage],
                f"{names.blocks}.*.{stage[0]}",
                blocks[0].get_submodule(stage[0]).in_features,
                tensors,
            )
        ]
        notes: dict[str, Any] = {
            "steps": self._steps(context.device),
            "output_error_before": _mean([before for before, _ in losses.values()]),
            "output_error_after": _mean([after for _, after in losses.values()]),
        }
        mapping = _hessian_map(names, tensors, context.device)
        return Prepared(transforms=entries, hessian_map=mapping, tensors=tensors, notes=notes)

    def _steps(self, device: str) -> int:
        wanted = self.options.steps or (CPU_STEPS if device == "cpu" else GPU_STEPS)
        return max(wanted, 0)

    def _learn(self, block: nn.Module, stage: Sequence[str], prefix: str, seen: Seen, context: ModelContext) -> Learned:
        assert seen.hessian is not None and seen.inputs is not None
        weight = torch.cat([block.get_submodule(name).weight.detach().float() for name in stage])
        columns = weight.shape[1]
        return learn(
            Task(weight, seen.hessian.to(context.device), seen.inputs, self.quantizer_for(columns)),
            start(columns, self.options.start),
            steps=self._steps(context.device),
            rate=self.options.rate,
            uniformity=self.options.uniformity,
            rows=self.options.rows,
            tokens=self.options.tokens,
            generator=torch.Generator().manual_seed(seed_of(context.seed, prefix)),
        )


class ButterflyQuant:
    """Learned butterflies and uniform levels.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.grid = GridSpec(options.bits, options.grid, steps=options.clip_steps)
        self.rotation = Rotation(options, self._rounding)

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Learn the butterflies and rotate the weights."""
        return self.rotation.prepare(model, context)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> GridLinear:
        """Round one rotated linear."""
        weight, hessian = linear.weight.detach().to(context.device).float(), context.hessian
        assert hessian is not None
        group = fitting_group(linear.in_features, self.options.group_size)
        if not self.options.feedback:
            nearest = round_to_nearest(weight, self.grid, group)
            return GridLinear(nearest.codes, nearest.scales, self.grid, group, linear.bias)
        code, damping = GridCode(self.grid, group), self.options.damping
        rounded = round_with_feedback(weight, hessian, code, order="activation", damping=damping)
        scales = refit_scales(weight, hessian, rounded.indices, code.table(), self.grid, damping)
        layer = GridLinear(rounded.indices, scales, self.grid, group, linear.bias)
        if not self.options.unbiased:
            return layer
        factor = unbiased_rows(weight, hessian, layer.dequantize())
        scales = scales._replace(scale=storable(scales.scale * factor[:, None]))
        return GridLinear(rounded.indices, scales, self.grid, group, linear.bias)

    def _rounding(self, columns: int) -> Quantize:
        group = fitting_group(columns, self.options.group_size)
        return lambda weight: quantize_weights(weight, self.options.bits, group, self.options.grid)


@torch.no_grad()
def _rotate(linear: nn.Module, butterfly: Butterfly) -> None:
    weight = linear.get_parameter("weight")
    weight.data = butterfly.apply(weight.double()).to(weight)


def _hessian_map(names: Architecture, tensors: dict[str, Tensor], device: str) -> HessianMap:
    first = {name: stage[0] for stage in names.stages() for name in stage}

    def rotate(name: str, hessian: Tensor) -> Tensor:
        index, _, linear = name.removeprefix(f"{names.blocks}.").partition(".")
        angles = angles_name(f"{names.blocks}.{index}.{first[linear]}")
        butterfly = Butterfly(tensors[angles], tensors.get(skew_name(angles), torch.zeros(0)))
        return rotate_hessian(hessian.to(device), butterfly)

    return rotate


def _mean(values: Sequence[float]) -> float:
    return sum(values) / len(values)
