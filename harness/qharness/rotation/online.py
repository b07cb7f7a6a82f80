"""The online Hadamards of a rotated model, and their entries in the transform contract."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from qharness.rotation.matrices import is_known
from qharness.transforms.across_heads import across_heads_entry
from qharness.transforms.contract import TransformEntry, hadamard_entry

if TYPE_CHECKING:
    from qharness.models.architecture import Architecture

FALLBACK_BLOCK = 128


@dataclass(frozen=True)
class Online:
    """Which Hadamards act at run time; their inverses are merged into the weights.

    Attributes:
        r4: Size of the blocks of the Hadamard before down_proj, its whole input for one block; 0 for none.
        heads: Number of query heads that the Hadamard before o_proj mixes; 0 for none.
        r3: Size of the Hadamard of every query and key head, needed with a quantized cache; 0 for none.
    """

    r4: int = 0
    heads: int = 0
    r3: int = 0

    def transforms(self, names: Architecture, intermediate: int, head_dim: int) -> list[TransformEntry]:
        """Return the contract entries.

        Args:
            names: Where the parts of the model are.
            intermediate: Input size of down_proj.
            head_dim: Size of an attention head.
        """
        entries = []
        if self.r4:
            block = None if self.r4 == intermediate else self.r4
            down = f"{names.blocks}.*.{names.down}"
            entries.append(hadamard_entry(id="r4", modules=down, site="linear_input", size=intermediate, block=block))
        if self.heads:
            entries.append(across_heads_entry(f"{names.blocks}.*.{names.o}", self.heads, head_dim))
        if self.r3:
            attention = f"{names.blocks}.*.{names.q.rpartition('.')[0]}"
            entries += [
                hadamard_entry(id="r3", modules=attention, site=site, size=self.r3, needed_if="kv_bits < 16")
                for site in ("q_post_rope", "k_pre_cache")
            ]
        return entries


def r4_block(size: int, wanted: int) -> int:
    """Return the block of R4: the wanted one, else the whole size if a Hadamard matrix of it exists, else 128."""
    return wanted or (size if is_known(size) else FALLBACK_BLOCK)
