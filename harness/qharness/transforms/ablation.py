"""What is deliberately left out of an artifact's runtime transforms: all of one, one side, some layers, some channels.

The text form is `ID[:SITE][@layers=A,B-C][@channels=P%]`:

- `r4`: the transform is left out everywhere;
- `r3:q_post_rope`: of a transform that acts at several sites, one is left out;
- `r4@layers=3,5-6`: it is left out in these blocks;
- `r4@channels=25%`: a quarter of its outputs, drawn once, are passed through as they came in.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from qharness.errors import UnknownName, UsageError, normalize_name
from qharness.transforms.contract import SITES, TransformEntry

if TYPE_CHECKING:
    from torch import Tensor

_DOSE = re.compile(r"(layers|channels)=(.+)")
_RANGE = re.compile(r"(\d+)(?:-(\d+))?")
_PERCENT = re.compile(r"(\d+(?:\.\d+)?)%")
_CHANNEL_SEED = 20250311


@dataclass(frozen=True)
class Ablation:
    """One deliberate omission.

    Attributes:
        id: Transform, normalized.
        site: The one site that is left out, or None for all.
        layers: Blocks in which it is left out, or None for all.
        channels: Share of the outputs that are left out, in percent; 100 is the whole transform.
    """

    id: str
    site: str | None = None
    layers: tuple[int, ...] | None = None
    channels: float = 100.0

    @classmethod
    def parse(cls, text: str) -> Ablation:
        """Read the text form.

        Raises:
            UsageError: It is not of that form.
        """
        target, *doses = text.strip().split("@")
        name, colon, site = target.partition(":")
        layers: tuple[int, ...] | None = None
        channels = 100.0
        for dose in doses:
            found = _DOSE.fullmatch(dose.strip().lower())
            if found is None:
                raise _unreadable(text)
            if found[1] == "layers":
                layers = _layers(found[2], text)
            else:
                channels = _percent(found[2], text)
        if not name or (colon and site not in SITES):
            raise _unreadable(text)
        return cls(normalize_name(name), site or None, layers, channels)

    def __str__(self) -> str:
        site = f":{self.site}" if self.site else ""
        layers = "" if self.layers is None else f"@layers={','.join(map(str, self.layers))}"
        channels = "" if self.channels == 100 else f"@channels={self.channels:g}%"
        return f"{self.id}{site}{layers}{channels}"

    @property
    def is_partial(self) -> bool:
        """Whether some layers or channels keep the transform."""
        return self.layers is not None or self.channels < 100

    def covers(self, entry: TransformEntry) -> bool:
        """Return whether it is about this entry."""
        return self.id == normalize_name(entry.id) and self.site in (None, entry.site)

    def missing(self, module: str) -> float:
        """Return the share of the outputs that is left out at a module, 0 to 1."""
        inside = self.layers is None or layer_of(module) in self.layers
        return self.channels / 100 if inside else 0.0


def layer_of(module: str) -> int | None:
    """Return the number of the block in a module's name: the first part that is a number."""
    return next((int(part) for part in module.split(".") if part.isdigit()), None)


def check_ablations(entries: Sequence[TransformEntry], ablate: Iterable[str]) -> list[Ablation]:
    """Read ablations and check that they are about transforms of this artifact.

    Raises:
        UnknownName: The artifact has no transform of that name, or none at that site.
        UsageError: A text is not understood.
    """
    found = [Ablation.parse(text) for text in ablate]
    for ablation in found:
        if not any(ablation.covers(entry) for entry in entries):
            known = [entry.id if ablation.site is None else f"{entry.id}:{entry.site}" for entry in entries]
            raise UnknownName("transform of this artifact named", str(ablation), dict.fromkeys(known))
    return found


def passing_channels(apply: Callable[[Tensor], Tensor], size: int, share: float) -> Callable[[Tensor], Tensor]:
    """Return a map that applies `apply` and then puts a share of the channels back to what they were.

    Args:
        apply: Map of the last dimension.
        size: Size of that dimension.
        share: Share of the channels, 0 to 1; they are drawn once, the smaller shares inside the larger ones.
    """
    import torch

    order = torch.randperm(size, generator=torch.Generator().manual_seed(_CHANNEL_SEED))
    passed = torch.zeros(size, dtype=torch.bool)
    passed[order[: round(share * size)]] = True

    def mixed(x: Tensor) -> Tensor:
        return torch.where(passed.to(x.device), x, apply(x))

    return mixed


def _layers(text: str, whole: str) -> tuple[int, ...]:
    found: set[int] = set()
    for part in text.split(","):
        match = _RANGE.fullmatch(part.strip())
        if match is None:
            raise _unreadable(whole)
        found.update(range(int(match[1]), int(match[2] or match[1]) + 1))
    return tuple(sorted(found))


def _percent(text: str, whole: str) -> float:
    match = _PERCENT.fullmatch(text.strip())
    if match is None or not 0 < float(match[1]) <= 100:
        raise _unreadable(whole)
    return float(match[1])


def _unreadable(text: str) -> UsageError:
    return UsageError(
        f"The ablation '{text}' is not understood; write a transform such as r4, one side of it (r3:q_post_rope), "
        "some layers (r4@layers=3,5-6) or a share of its channels (r4@channels=25%)."
    )
