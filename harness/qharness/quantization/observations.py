"""What a quantizer is shown of the inputs of a layer, and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Literal, NamedTuple, Protocol

from qharness.calibration.moments import RawInputs, SecondMoment
from qharness.calibration.walk import BlockInputs, forward_block

if TYPE_CHECKING:
    from torch import Tensor, nn

    from qharness.calibration.store import HessianStore
    from qharness.quantization.base import HessianMap

RAW_TOKENS = 32768


class Seen(NamedTuple):
    """Hessian and raw inputs of one stage, each None where the method does not ask for it."""

    hessian: Tensor | None
    inputs: Tensor | None


class Observations(Protocol):
    """A source of what quantizers are shown; told of every block in order."""

    def begin(self, block: nn.Module, is_done: bool) -> None:
        """A block on the device, not yet quantized (or about to be restored, if `is_done`)."""

    def stage(self, block: nn.Module, prefix: str, stage: Sequence[str]) -> Seen:
        """Return what is known of the input shared by the linears of a stage; earlier stages are quantized."""

    def end(self, block: nn.Module) -> None:
        """The block, now quantized."""


class NoObservations:
    """For methods that need no data."""

    def begin(self, block: nn.Module, is_done: bool) -> None:
        """Do nothing."""

    def stage(self, block: nn.Module, prefix: str, stage: Sequence[str]) -> Seen:
        """Return nothing."""
        return Seen(None, None)

    def end(self, block: nn.Module) -> None:
        """Do nothing."""


class StoredHessians(NoObservations):
    """Hessians of the original model, mapped to the prepared one; no forward pass is needed.

    Args:
        store: Hessians of the original model.
        mapping: The quantizer's map, if its preparation changed any input.
    """

    def __init__(self, store: HessianStore, mapping: HessianMap | None) -> None:
        self.store, self.mapping = store, mapping

    def stage(self, block: nn.Module, prefix: str, stage: Sequence[str]) -> Seen:
        """Return the mapped Hessian."""
        name = f"{prefix}.{stage[0]}"
        hessian = self.store.get(name)
        return Seen(hessian if self.mapping is None else self.mapping(name, hessian), None)


class WalkedInputs:
    """Inputs seen by running the prepared model, block by block.

    Args:
        inputs: Inputs of the first block.
        stages: Linears of a block grouped by shared input.
        needs: What to collect.
        behind: Whether a block is run behind the original or the quantized blocks and stages before it.
        device: Device of the work.
    """

    def __init__(
        self,
        inputs: BlockInputs,
        stages: Sequence[Sequence[str]],
        *,
        needs: Literal["hessian", "inputs"],
        behind: Literal["original", "quantized"],
        device: str,
    ) -> None:
        self.inputs, self.stages, self.needs, self.behind, self.device = inputs, stages, needs, behind, device
        self._found: dict[str, Seen] = {}

    def begin(self, block: nn.Module, is_done: bool) -> None:
        """Behind the original model, see the whole block before any of it changes."""
        if self.behind == "original":
            watch = _Watch([] if is_done else self.stages, self.inputs.tokens, self.needs)
            self.inputs = forward_block(block, self.inputs, self.device, watch.callbacks())
            self._found = watch.seen()

    def stage(self, block: nn.Module, prefix: str, stage: Sequence[str]) -> Seen:
        """Return what reaches the stage."""
        if self.behind == "original":
            return self._found[stage[0]]
        watch = _Watch([stage], self.inputs.tokens, self.needs)
        forward_block(block, self.inputs, self.device, watch.callbacks(), last=stage[0])
        return watch.seen()[stage[0]]

    def end(self, block: nn.Module) -> None:
        """Behind the quantized model, run the block as it has become."""
        if self.behind == "quantized":
            self.inputs = forward_block(block, self.inputs, self.device)


class _Watch:
    """Moments, and raw inputs if they are needed, of the first linear of each stage."""

    def __init__(self, stages: Sequence[Sequence[str]], tokens: int, needs: Literal["hessian", "inputs"]) -> None:
        self.moments = {stage[0]: SecondMoment() for stage in stages}
        self.raw = {stage[0]: RawInputs(tokens, RAW_TOKENS) for stage in stages} if needs == "inputs" else {}

    def callbacks(self) -> dict[str, Callable[[Tensor], None]]:
        """Return a callback for each watched linear."""

        def add(name: str, x: Tensor) -> None:
            self.moments[name].add(x)
            if self.raw:
                self.raw[name].add(x)

        return {name: partial(add, name) for name in self.moments}

    def seen(self) -> dict[str, Seen]:
        """Return what was collected, by linear."""
        return {
            name: Seen(moment.mean(), self.raw[name].all() if self.raw else None)
            for name, moment in self.moments.items()
        }
