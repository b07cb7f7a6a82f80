"""Runtime transforms: online operations around linears and in attention."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
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
    """An attached transform.

    Attributes:
        entry: Its contract entry.
        modules: Names of the modules where it acts.
        handles: What takes it off.
        maps: Map of each module, by its name; one that is `qharness.serving.base.Servable` may be served by a kernel.
    """

    entry: TransformEntry
    modules: list[str]
    handles: list[RemovableHandle]
    maps: Mapping[str, Callable[[Tensor], Tensor]] = field(default_factory=dict)

    def detach(self) -> None:
        """Remove it from the model."""
        for handle in self.handles:
            handle.remove()
        self.handles.clear()
