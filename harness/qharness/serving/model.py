"""Put kernels under the quantized linears and runtime transforms of a loaded model, and say which."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from qharness.errors import UsageError
from qharness.quantization.linear import QuantizedLinear
from qharness.serving.base import REFERENCE, Servable, Use
from qharness_kernels.registry import KernelUnavailable, obstacle

if TYPE_CHECKING:
    import torch
    from torch import nn

    from qharness.models.loaded import LoadedModel
    from qharness.transforms.base import AttachedTransform


class ModuleUse(NamedTuple):
    """What serves a module of a model: its weight (`part` is `weight`) or one of its transforms (their id)."""

    module: str
    part: str
    use: Use


def check_switch(switch: str, device: str) -> None:
    """Refuse to ask for kernels by name where none can run.

    Raises:
        UsageError: `triton` was asked for and the device has no kernels.
    """
    if switch == "triton" and (reason := obstacle(device)):
        raise UsageError(f"--kernels triton cannot be had: {reason}; use --kernels auto or reference.")


def serve(loaded: LoadedModel, switch: str) -> list[ModuleUse]:
    """Choose and prepare the kernels of a model.

    Args:
        loaded: The model on its device.
        switch: `auto`, `reference` or `triton`.

    Returns:
        What serves each quantized linear and each runtime transform at each module.

    Raises:
        UsageError: `triton` was asked for and one of them has no kernel.
    """
    return serve_modules(loaded.model, loaded.transforms, loaded.model.device, loaded.dtype, switch)


def serve_modules(
    model: nn.Module, transforms: Sequence[AttachedTransform], device: torch.device, dtype: torch.dtype, switch: str
) -> list[ModuleUse]:
    """Choose and prepare the kernels of a tree of modules, see `serve`.

    Args:
        model: The tree, on its device.
        transforms: What is attached to it.
        device: That device.
        dtype: Type of the activations.
        switch: `auto`, `reference` or `triton`.

    Raises:
        UsageError: `triton` was asked for and one of them has no kernel.
    """
    uses = []
    for module, part, servable in _servables(model, transforms):
        try:
            if not isinstance(servable, Servable):
                if switch == "triton":
                    raise KernelUnavailable("it has no kernel; use --kernels auto or reference.")
                uses.append(ModuleUse(module, part, Use("", REFERENCE, "it has no kernel")))
                continue
            uses.append(ModuleUse(module, part, servable.use_kernels(switch, device, dtype)))
        except KernelUnavailable as error:
            raise UsageError(f"--kernels triton cannot serve {part} of '{module}': {error}") from error
    return uses


def _servables(model: nn.Module, transforms: Sequence[AttachedTransform]) -> Iterator[tuple[str, str, object]]:
    for name, module in model.named_modules():
        if isinstance(module, QuantizedLinear):
            yield name, "weight", module
    for attached in transforms:
        for name, apply in attached.maps.items():
            yield name, attached.entry.id, apply


def summary(uses: list[ModuleUse]) -> list[dict[str, Any]]:
    """Return what served how many modules as plain data.

    Returns:
        Rows with `modules` (a name with `*` for the layer), `part` (`weight` or the id of a transform), `op`, `kernel`,
        `count` and `reason`, in the order of the model.
    """
    counts = Counter((re.sub(r"\.\d+\.", ".*.", use.module), use.part, *use.use) for use in uses)
    fields = ("modules", "part", "op", "kernel", "reason")
    return [{**dict(zip(fields, key, strict=True)), "count": count} for key, count in counts.items()]
