"""The trellis as a code of the rounding loop."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness_kernels.trellis import Search, Trellis, decode_states, pack_states, tail_biting_walks, unpack_states
from qharness_kernels.trellis.reference import LENGTH, TileOrder, from_sequences
from qharness_qtip.tiles import TILE, to_sequences


class TrellisCode:
    """A trellis code of fixed scale for tiles of 16 x 16 weights.

    Args:
        trellis: The trellis.
        name: Name of the code.
        lut: Table of `hyb`.
        order: Order of a tile's weights.
        window: Weights of the search for a tile's ends.
        device: Device of the weights.

    Attributes:
        rms: Root mean square of the weights of all states.
    """

    tile = TILE
    group = 0

    def __init__(
        self, trellis: Trellis, name: str, lut: Tensor | None, order: TileOrder, window: int, device: str
    ) -> None:
        self.trellis, self.order, self.window = trellis, order, window
        self.bits = float(trellis.bits)
        states = torch.arange(trellis.states, device=device)
        self.values = decode_states(name, states, None if lut is None else lut.to(device)).float()
        self.rms = float(self.values.square().mean().sqrt())
        self._search = Search(trellis, self.values)

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Do nothing: the scale is fixed."""

    def encode(self, weights: Tensor) -> Tensor:
        """Return the payload of a column of tiles.

        Args:
            weights: Shape (rows, 16), in units of the code.

        Returns:
            Shape (rows / 16, 16 * bits), int16.
        """
        sequences = to_sequences(weights, self.order)[:, 0]
        return pack_states(tail_biting_walks(self._search, sequences, self.window), self.trellis)

    def decode(self, indices: Tensor) -> Tensor:
        """Return the weights of a column of tiles, shape (rows, 16), float32."""
        weights = self.values[unpack_states(indices, self.trellis)].reshape(-1, 1, LENGTH)
        return from_sequences(weights, self.order)
