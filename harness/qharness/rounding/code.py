"""What the rounding loop asks of a code."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol, runtime_checkable

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


@runtime_checkable
class MetricCode(Code, Protocol):
    """A code that chooses a tile's code words in the metric in which the loop's error counts.

    Plain L2 ignores that the columns of a tile are correlated, and that what one tile loses the next ones can partly
    mend. Both are in the metric.
    """

    def begin_tile(self, metric: Tensor) -> None:
        """Take the metric of the next `encode`.

        Args:
            metric: M of the cost e M e^T of a row's error e, shape (tile.columns, tile.columns), positive definite: the
                inverse of the tile's block of the inverse Hessian, the Hessian that is left when later columns make
                up for the error as well as they can.
        """
