"""How much the loss rises when a linear layer is quantized coarsely."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture


class _Seen:
    """Sums of squares of a linear's inputs and of its output's gradients."""

    def __init__(self) -> None:
        self.inputs: Tensor | float = 0.0
        self.gradients: Tensor | float = 0.0
        self.tokens = 0

    def see(self, _: nn.Module, arguments: tuple[Tensor, ...], output: Tensor) -> None:
        flat = arguments[0].detach().flatten(0, -2).double()
        self.inputs = self.inputs + flat.square().sum(0)
        self.tokens += len(flat)
        output.register_hook(self._see_gradient)

    def _see_gradient(self, gradient: Tensor) -> None:
        self.gradients = self.gradients + gradient.flatten(0, -2).double().square().sum(0)

    def sensitivity(self, weight: Tensor) -> float:
        rows = (weight.double().square() @ torch.as_tensor(self.inputs)) / self.tokens
        return float((rows * torch.as_tensor(self.gradients) / self.tokens).sum())


def sensitivities(
    model: PreTrainedModel,
    architecture: Architecture,
    names: list[str],
    tokens: Tensor,
    device: str,
    progress: Callable[[int, int, str], None],
) -> dict[str, float]:
    """Return by module name how much the loss rises per unit of relative squared error of the weight, up to a factor.

    With E[g_r^2] of the gradient of a token's loss at output r and E[x_j^2] of input j, the diagonal of the Fisher
    information of weight (r, j) is taken as their product (Kronecker factors, Martens and Grosse, arXiv 1503.05671), so
    errors in proportion to the weights cost sum E[g_r^2] E[x_j^2] W_rj^2.

    Args:
        model: The model; in full on `device` meanwhile, unchanged afterwards.
        architecture: Where its embedding is.
        names: Linears.
        tokens: Calibration tokens, shape (samples, length).
        device: Device of the work.
        progress: Called with (done, total, label).
    """
    home, seen = next(model.parameters()).device, {name: _Seen() for name in names}
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    embedding = architecture.module(model, architecture.embedding)
    handles = [model.get_submodule(name).register_forward_hook(seen[name].see) for name in names]
    handles.append(embedding.register_forward_hook(_require_gradient))
    try:
        model.to(torch.device(device))
        for parameter in trained:
            parameter.requires_grad_(False)
        for index, row in enumerate(tokens):
            ids = row[None].to(device)
            with torch.enable_grad():
                logits = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
                # A sum: the gradient at a token's output does not depend on how many tokens there are.
                nn.functional.cross_entropy(logits, ids[0, 1:], reduction="sum").backward()
            progress(index + 1, len(tokens), "aqlm: sensitivities")
        return {name: seen[name].sensitivity(model.get_submodule(name).weight.detach()) for name in names}
    finally:
        for handle in handles:
            handle.remove()
        for parameter in trained:
            parameter.requires_grad_(True)
        model.to(home)


def _require_gradient(module: nn.Module, arguments: Any, output: Tensor) -> Tensor:
    return output.requires_grad_()
