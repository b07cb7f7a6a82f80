"""Attach an artifact's runtime transforms, or refuse to run it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from qharness.errors import MissingTransform, PluginError, UnknownName, normalize_name
from qharness.records import RuntimeTransformRecord
from qharness.transforms.contract import TransformEntry, needed
from qharness.transforms.fingerprint import agrees, fingerprint

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.host import Host
    from qharness.transforms.base import AttachedTransform


@dataclass(frozen=True)
class AttachOutcome:
    """What became of the entries of an artifact.

    Attributes:
        attached: Transforms that act now.
        ablated: Ids that were left out on request.
        not_needed: Ids whose condition does not hold.
        skipped: Ids that are not required and could not be attached, with the reason.
    """

    attached: list[AttachedTransform]
    ablated: tuple[str, ...]
    not_needed: tuple[str, ...]
    skipped: Mapping[str, str] = field(default_factory=dict)

    def detach(self) -> None:
        """Take all of them off the model."""
        for transform in self.attached:
            transform.detach()


def check_ablations(entries: Sequence[TransformEntry], ablate: Iterable[str]) -> set[str]:
    """Return the normalized names to leave out.

    Raises:
        UnknownName: The artifact has no transform of that name.
    """
    known = {normalize_name(entry.id): entry.id for entry in entries}
    for name in ablate:
        if normalize_name(name) not in known:
            raise UnknownName("transform of this artifact named", name, known.values())
    return {normalize_name(name) for name in ablate}


def attach_transforms(
    model: PreTrainedModel,
    entries: Sequence[TransformEntry],
    tensors: Mapping[str, Tensor],
    host: Host,
    ablate: Sequence[str] = (),
    kv_bits: int = 16,
) -> AttachOutcome:
    """Attach every entry that is needed and not ablated; on failure nothing stays attached.

    Args:
        model: The model, with the weights that the transforms belong to.
        entries: Contract of the artifact.
        tensors: Its transform tensors, by name.
        host: Registry of runtime transforms.
        ablate: Ids to leave out deliberately; case, `-` and `_` do not matter.
        kv_bits: Width of the key-value cache; decides the `needed_if` conditions.

    Raises:
        MissingTransform: A required transform has no provider, no module matches, sizes disagree, or its fingerprint
            differs.
        UnknownName: A name in `ablate` is no transform of this artifact.
    """
    without = check_ablations(entries, ablate)
    attached: list[AttachedTransform] = []
    ablated: dict[str, None] = {}
    idle: dict[str, None] = {}
    skipped: dict[str, str] = {}
    try:
        for entry in entries:
            if normalize_name(entry.id) in without:
                ablated[entry.id] = None
            elif not needed(entry, kv_bits):
                idle[entry.id] = None
            else:
                try:
                    attached.append(_attach(model, entry, tensors, host))
                except MissingTransform as error:
                    if entry.required:
                        raise _refusal(entry, error) from error
                    skipped[entry.id] = str(error)
    except BaseException:
        for transform in attached:
            transform.detach()
        raise
    return AttachOutcome(attached, tuple(ablated), tuple(idle), skipped)


def _attach(
    model: PreTrainedModel, entry: TransformEntry, tensors: Mapping[str, Tensor], host: Host
) -> AttachedTransform:
    try:
        record = host.get(RuntimeTransformRecord, entry.kind)
    except (UnknownName, PluginError) as error:
        raise MissingTransform(f"no installed plugin provides transforms of kind '{entry.kind}'") from error
    if entry.site not in record.sites:
        raise MissingTransform(f"transforms of kind '{entry.kind}' do not act at the site '{entry.site}'")
    transform = record.create(entry, tensors)
    if not agrees(fingerprint(transform.apply, entry.map.size), entry.fingerprint):
        raise MissingTransform("its map does not give the response that the artifact recorded (fingerprint)")
    return transform.attach(model)


def _refusal(entry: TransformEntry, error: MissingTransform) -> MissingTransform:
    reason = str(error).rstrip(".")
    return MissingTransform(
        f"Required transform '{entry.id}' ({entry.site} of {entry.modules}) cannot be attached: {reason}; "
        f"`--ablate {entry.id}` runs the model without it, and marks every result."
    )
