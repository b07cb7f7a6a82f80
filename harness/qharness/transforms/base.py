"""Runtime transforms: online operations around linears and in attention."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor
    from torch.utils.hooks import RemovableHandle
    from transformers import PreTrainedModel

    from qharness.transforms.contract import TransformEntry


class RuntimeTransform(Protocol):
    """One contract entry bound to its tensors."""

    entry: TransformEntry

    def apply(self, x: Tensor) -> Tensor:
        """Apply the map to the last dimension of x; used by the sites and by the fingerprint."""

    def attach(self, model: PreTrainedModel) -> AttachedTransform:
        """Attach to every module that the entry's pattern names.

        Raises:
            MissingTransform: No module matches, sizes disagree, or the fingerprint differs.
        """


@dataclass
class AttachedTransform:
    """An attached transform: where it is, and how to take it off."""

    entry: TransformEntry
    modules: list[str]
    handles: list[RemovableHandle]

    def detach(self) -> None:
        """Remove it from the model."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
