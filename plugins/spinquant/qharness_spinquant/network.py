"""The model as a function of its rotations: the loss that SpinQuant descends."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.utils.checkpoint import checkpoint

from qharness.calibration.walk import first_inputs, to_device
from qharness.models.architecture import head_dim_of
from qharness.rotation.blocks import merge_r4, rotate_block
from qharness.rotation.folding import folded_block, folded_head
from qharness.rounding.grid import fitting_group
from qharness.rounding.straight_through import quantize_weights
from qharness_kernels.hadamard import hadamard_transform
from qharness_spinquant.fakequant import quantize_activations

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
    from qharness_spinquant.options import Options


class RotatedNetwork:
    """Computes the loss of the rotated, fake-quantized model; the model's own weights stay as they are.

    The folded weights W are fixed, and each block's Q(R^T W R) is formed when the block runs. On a GPU it is formed
    again in the backward pass, so that one block's rotated weights are in memory at a time.

    Args:
        model: The model, its head untied.
        architecture: Where its parts are.
        options: Options of the method.
        r4_block: Block of R4's Hadamard, 0 for none.
        device: Device of the work.
    """

    def __init__(
        self, model: PreTrainedModel, architecture: Architecture, options: Options, r4_block: int, device: str
    ) -> None:
        self.model, self.architecture, self.options, self.r4_block = model, architecture, options, r4_block
        self.device = device
        self.saves_memory, self.dtype = self.precision(device)
        self.blocks = list(architecture.module(model, architecture.blocks).children())
        self.weights = [self._folded(block) for block in self.blocks]
        self.head = folded_head(model, architecture).to(device, self.dtype)
        self.head_dim = head_dim_of(model.config)
        self.epsilon = float(architecture.module(model, architecture.final_norm).variance_epsilon)

    @staticmethod
    def precision(device: str) -> tuple[bool, torch.dtype]:
        """Return whether blocks are run again in the backward pass, and the type of weights and activations."""
        on_gpu = torch.device(device).type == "cuda"
        return on_gpu, torch.bfloat16 if on_gpu else torch.float32

    def _folded(self, block: nn.Module) -> dict[str, Tensor]:
        weights = folded_block(block, self.architecture, torch.float32, self.device)
        if self.r4_block:
            weights = merge_r4(weights, self.architecture, self.r4_block)
        return {name: tensor.to(self.device, self.dtype) for name, tensor in weights.items()}

    def loss(self, tokens: Tensor, r1: Tensor, r2: Tensor, *, quantized: bool = True) -> Tensor:
        """Return the mean cross entropy of the next token.

        Args:
            tokens: Token ids, shape (samples, length).
            r1: Shape (hidden, hidden), float32, on the device.
            r2: Shape (blocks, head_dim, head_dim), float32, on the device.
            quantized: Whether weights (or activations) are quantized; if not, the loss does not depend on r1, r2.
        """
        inputs = first_inputs(self.model, self.architecture, tokens, tokens_per_batch=tokens.numel())
        keywords = to_device(inputs.keywords[0], self.device, self.dtype)
        hidden = inputs.hidden[0].to(self.device, self.dtype) @ r1.to(self.dtype)
        for index in range(len(self.blocks)):
            run = partial(self._run_block, index, keywords, quantized)
            if self.saves_memory:
                hidden = checkpoint(run, hidden, r1, r2[index], use_reentrant=False)
            else:
                hidden = run(hidden, r1, r2[index])
        scale = torch.rsqrt(hidden.float().square().mean(-1, keepdim=True) + self.epsilon)
        logits = ((hidden * scale.to(self.dtype)) @ r1.T.to(self.dtype)) @ self.head.T
        return nn.functional.cross_entropy(
            logits[:, :-1].flatten(0, 1).float(), tokens[:, 1:].flatten().to(self.device)
        )

    def _run_block(
        self, index: int, keywords: dict[str, Any], quantized: bool, hidden: Tensor, r1: Tensor, r2: Tensor
    ) -> Tensor:
        weights = rotate_block(self.weights[index], self.architecture, r1.to(self.dtype), r2.to(self.dtype))
        linears = [name for stage in self.architecture.stages() for name in stage]
        if quantized and self.options.proxy == "weights":
            for name in linears:
                weight = weights[f"{name}.weight"]
                group = fitting_group(weight.shape[1], self.options.group_size)
                weights[f"{name}.weight"] = quantize_weights(weight, self.options.bits, group, self.options.grid)
        block = self.blocks[index]
        handles = []
        for name in linears:
            change = self._input_change(name, quantized and self.options.proxy == "activations")
            if change is not None:
                handles.append(block.get_submodule(name).register_forward_pre_hook(change))
        try:
            output = functional_call(block, weights, (hidden,), keywords)
        finally:
            for handle in handles:
                handle.remove()
        return output[0] if isinstance(output, tuple) else output

    def _input_change(self, name: str, quantized: bool) -> Callable[[nn.Module, tuple[Tensor, ...]], Tensor] | None:
        rotates = name == self.architecture.down and self.r4_block > 0
        if not rotates and not quantized:
            return None

        def change(_: nn.Module, args: tuple[Tensor, ...]) -> Tensor:
            x = hadamard_transform(args[0], block=self.r4_block) if rotates else args[0]
            return quantize_activations(x, self.options.activation_bits) if quantized else x

        return change
