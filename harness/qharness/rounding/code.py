"""What the rounding loop asks of a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from torch import Tensor


class Tile(NamedTuple):
    """Weights that a code encodes together: 1 x 1 for a grid, 1 x 8 for a lattice, 16 x 16 for a trellis."""

    rows: int
    columns: int


class Code(Protocol):
    """A code that rounds weights: a grid, a lattice, a trellis, a codebook.

    The loop calls `begin_group` at the first column of every group, with the weights as error feedback left
    them, and `encode` for every tile of columns of that group, in the order of the walk.

    Attributes:
        tile: Rows and columns encoded together; the loop hands over all rows at once.
        group: Columns that share what `begin_group` fits; a multiple of `tile.columns`, or 0 for all columns.
        bits: Bits per weight of the indices alone.
    """

    tile: Tile
    group: int
    bits: float

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Fit scales to the updated weights of a group.

        Args:
            index: Number of the group in the matrix, whatever the order of the walk.
            weights: Shape (rows, group), float32.
            importance: Diagonal of the Hessian at these columns, shape (group,).
        """

    def encode(self, weights: Tensor) -> Tensor:
        """Return the indices of the nearest code words of weights of shape (rows, tile.columns).

        All calls must return the same shape; its first dimension is rows, or rows of tiles.
        """

    def decode(self, indices: Tensor) -> Tensor:
        """Return the weights of one `encode`, shape (rows, tile.columns), float32."""
