"""Attach an artifact's runtime transforms, or refuse to run it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

from qharness.errors import MissingTransform, PluginError, UnknownName, UsageError
from qharness.records import RuntimeTransformRecord
from qharness.transforms.ablation import Ablation, check_ablations, layer_of, passing_channels
from qharness.transforms.contract import TransformEntry, needed
from qharness.transforms.fingerprint import agrees, fingerprint

if TYPE_CHECKING:
    from torch import Tensor
    from transformers import PreTrainedModel

    from qharness.host import Host
    from qharness.transforms.base import AttachedTransform, RuntimeTransform


@dataclass(frozen=True)
class AttachOutcome:
    """What became of the entries of an artifact.

    Attributes:
        attached: Transforms that act now.
        ablated: What was left out on request, in the text form of `Ablation`.
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
        ablate: What to leave out deliberately: ids, or parts of a transform in the text form of `Ablation`.
        kv_bits: Width of the key-value cache; decides the `needed_if` conditions.

    Raises:
        MissingTransform: A required transform has no provider, no module matches, sizes disagree, or its fingerprint
            differs.
        UnknownName: A name in `ablate` is no transform of this artifact.
        UsageError: An ablation is not understood, or names layers that the transform does not act in.
    """
    without = check_ablations(entries, ablate)
    attached: list[AttachedTransform] = []
    ablated: dict[str, None] = {}
    idle: dict[str, None] = {}
    skipped: dict[str, str] = {}
    try:
        for entry in entries:
            omitted = [ablation for ablation in without if ablation.covers(entry)]
            ablated.update(dict.fromkeys(map(str, omitted)))
            if any(not ablation.is_partial for ablation in omitted):
                continue
            if not needed(entry, kv_bits):
                idle[entry.id] = None
            else:
                try:
                    attached += _attach(model, entry, tensors, host, omitted)
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
    model: PreTrainedModel,
    entry: TransformEntry,
    tensors: Mapping[str, Tensor],
    host: Host,
    omitted: Sequence[Ablation],
) -> Iterator[AttachedTransform]:
    try:
        record = host.get(RuntimeTransformRecord, entry.kind)
    except (UnknownName, PluginError) as error:
        raise MissingTransform(f"no installed plugin provides transforms of kind '{entry.kind}'") from error
    if entry.site not in record.sites:
        raise MissingTransform(f"transforms of kind '{entry.kind}' do not act at the site '{entry.site}'")
    transform = record.create(entry, tensors)
    if not agrees(fingerprint(transform.apply, entry.map.size), entry.fingerprint):
        raise MissingTransform("its map does not give the response that the artifact recorded (fingerprint)")
    if not omitted:
        yield transform.attach(model)
    else:
        yield from _attach_partly(model, entry, transform, omitted, lambda piece: record.create(piece, tensors))


def _attach_partly(
    model: PreTrainedModel,
    entry: TransformEntry,
    transform: RuntimeTransform,
    omitted: Sequence[Ablation],
    create: Callable[[TransformEntry], RuntimeTransform],
) -> Iterator[AttachedTransform]:
    """Attach an entry module by module, with less of it where it is partly left out."""
    from qharness.transforms.sites import attach_at_site

    names = [name for name, _ in model.named_modules() if fnmatchcase(name, entry.modules)]
    for ablation in omitted:
        present = {layer_of(name) for name in names}
        absent = [layer for layer in ablation.layers or () if layer not in present]
        if absent:
            raise UsageError(f"The ablation '{ablation}' names layer {absent[0]}, where '{entry.id}' does not act.")
    for name in names:
        piece = replace(entry, modules=name)
        share = max(ablation.missing(name) for ablation in omitted)
        if share == 0:
            yield create(piece).attach(model)
        elif share < 1:
            apply = passing_channels(transform.apply, entry.map.size, share)
            yield attach_at_site(model, piece, apply)


def _refusal(entry: TransformEntry, error: MissingTransform) -> MissingTransform:
    reason = str(error).rstrip(".")
    return MissingTransform(
        f"Required transform '{entry.id}' ({entry.site} of {entry.modules}) cannot be attached: {reason}; "
        f"`--ablate {entry.id}` runs the model without it, and marks every result."
    )
