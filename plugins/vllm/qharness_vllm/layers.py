"""The artifact's parts inside vLLM's layers."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn
from vllm.model_executor.layers.linear import LinearMethodBase

from qharness.errors import CorruptArtifact, UsageError

if TYPE_CHECKING:
    from qharness_vllm.skeleton import AttentionPoint


class PartedLinear(LinearMethodBase):
    """Serves one layer of vLLM, fused or not, by linears whose outputs stand side by side.

    Args:
        name: Name of the layer, for errors.
        parts: Linears with their transforms, in the order of the outputs.
        loaded: Called when the model is complete.
    """

    def __init__(self, name: str, parts: Sequence[nn.Module], loaded: Callable[[], None]) -> None:
        self._name, self._parts, self._loaded = name, parts, loaded

    def create_weights(
        self,
        layer: nn.Module,
        input_size_per_partition: int,
        output_partition_sizes: list[int],
        input_size: int,
        output_size: int,
        params_dtype: torch.dtype,
        **extra_weight_attrs: Any,
    ) -> None:
        """Hand the linears to the layer.

        Raises:
            UsageError: The layer is split over several GPUs.
            CorruptArtifact: The linears have other sizes than the layer.
        """
        if input_size_per_partition != input_size or sum(output_partition_sizes) != output_size:
            raise UsageError("Artifacts run on one GPU in vLLM: set tensor_parallel_size to 1.")
        found = [(cast("nn.Linear", part).out_features, cast("nn.Linear", part).in_features) for part in self._parts]
        wanted = [(rows, input_size) for rows in output_partition_sizes]
        if found != wanted:
            raise CorruptArtifact(f"The linears of '{self._name}' have the sizes {found}, the model needs {wanted}.")
        layer.parts = nn.ModuleList(self._parts).to(torch.get_default_device())

    def process_weights_after_loading(self, layer: nn.Module) -> None:
        """Say that the model is complete."""
        self._loaded()

    def apply(self, layer: nn.Module, x: Tensor, bias: Tensor | None = None) -> Tensor:
        """Return the outputs of all parts; their biases are their own, `bias` was never loaded."""
        outputs = [part(x) for part in cast("nn.ModuleList", layer.parts)]
        return outputs[0] if len(outputs) == 1 else torch.cat(outputs, dim=-1)


def transform_attention(layer: nn.Module, point: AttentionPoint) -> None:
    """Let queries and keys pass a point on their way into a layer of vLLM that attends."""

    def transform(_: nn.Module, args: tuple[Any, ...]) -> tuple[Any, ...]:
        query, key, *others = args
        return (*point(query, key), *others)

    layer.register_forward_pre_hook(transform)
