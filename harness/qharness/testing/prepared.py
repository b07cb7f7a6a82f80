"""Is a model that a method prepared still the same model? For tests of `Quantizer.prepare`."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from qharness.calibration.moments import SecondMoment
from qharness.models.architecture import architecture_of
from qharness.quantization.base import Prepared


@torch.no_grad()
def make_uneven(model: nn.Module) -> None:
    """Give a fresh model gains, biases and weights of the sizes that trained ones have, in place.

    In a fresh model every gain is one and every bias zero, so that forgetting to fold or to rotate one changes nothing.
    """
    for name, parameter in model.named_parameters():
        if "norm" in name:
            parameter.uniform_(0.3, 2.0)
        elif name.endswith("bias"):
            parameter.normal_(0, 0.3)
        else:
            parameter.mul_(4)


@torch.no_grad()
def mean_kl(original: Any, changed: Any, tokens: Tensor) -> float:
    """Return the mean divergence of `changed` from `original` per token, in nats, computed in float64.

    Args:
        original: A causal language model.
        changed: Another with the same vocabulary.
        tokens: Shape (sequences, length), int64.
    """
    p = original(tokens).logits.double().log_softmax(-1)
    q = changed(tokens).logits.double().log_softmax(-1)
    return float((p.exp() * (p - q)).sum(-1).mean())


def assert_maps_hessians(prepared: Prepared, original: Any, changed: Any, tokens: Tensor) -> None:
    """Assert that the Hessians of `original`, mapped as `prepared` says, are those of `changed` for every linear."""
    mapped = prepared.hessian_map
    assert mapped is not None, "the prepared model has no Hessian map"
    names = [
        f"model.layers.{index}.{name}"
        for index in range(original.config.num_hidden_layers)
        for stage in architecture_of(original.config).stages()
        for name in stage
    ]
    before, after = (_moments(model, names, tokens) for model in (original, changed))
    for name in names:
        largest = float(after[name].diagonal().max())
        assert torch.allclose(mapped(name, before[name]), after[name], rtol=1e-3, atol=1e-4 * largest), name


@torch.no_grad()
def _moments(model: nn.Module, names: list[str], tokens: Tensor) -> dict[str, Tensor]:
    found = {name: SecondMoment() for name in names}
    handles = [
        model.get_submodule(name).register_forward_pre_hook(lambda _, args, name=name: found[name].add(args[0]))
        for name in names
    ]
    model(tokens)
    for handle in handles:
        handle.remove()
    return {name: moment.mean() for name, moment in found.items()}
