"""Uniform grids: b-bit codes with a scale and a zero per group."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
from torch import Tensor

from qharness.errors import UsageError
from qharness.rounding.code import Tile

Grid = Literal["asymmetric", "symmetric", "midrise"]
Zeros = Literal["packed", "float16"]
WIDTHS = (2, 3, 4, 8)


class Scales(NamedTuple):
    """Scale and zero of every row of a group, shape (rows,); a weight is scale * (code - zero)."""

    scale: Tensor
    zero: Tensor


@dataclass(frozen=True)
class GridSpec:
    """What a grid is.

    Attributes:
        bits: Bits per weight.
        grid: `asymmetric` has a zero per group; `symmetric` has it fixed at 2^(bits-1), so that 0 is a level;
            `midrise` at (2^bits-1)/2, so that the levels are +-s/2, +-3s/2, ...
        zeros: Storage of asymmetric zeros: `packed` integers of `bits` bits, or `float16`.
        steps: Candidates of the search for the range that clips best; 0 takes the range of the weights.
        smallest: Smallest candidate, as a fraction of the range of the weights.
        norm: Exponent of the error that the search minimises.
    """

    bits: int = 2
    grid: Grid = "asymmetric"
    zeros: Zeros = "packed"
    steps: int = 80
    smallest: float = 0.2
    norm: float = 2.0

    def __post_init__(self) -> None:
        if self.bits not in WIDTHS:
            raise UsageError(f"Grids have {', '.join(map(str, WIDTHS))} bits, not {self.bits}.")

    @property
    def top(self) -> int:
        """Largest code, 2^bits - 1."""
        return 2**self.bits - 1

    @property
    def fixed_zero(self) -> float | None:
        """The zero of a grid that stores none."""
        return {"asymmetric": None, "symmetric": float(2 ** (self.bits - 1)), "midrise": self.top / 2}[self.grid]

    def between(self, low: Tensor, high: Tensor) -> Scales:
        """Return the scales of the grid that spans [low, high], as they will be stored."""
        fixed = self.fixed_zero
        if fixed is None:
            scale = storable((high - low) / self.top)
            zero = -low / scale
            zero = zero.half().float() if self.zeros == "float16" else zero.round().clamp(0, self.top)
            return Scales(scale, zero)
        reach = torch.maximum(-low, high)
        return Scales(storable(reach / (self.top / 2)), torch.full_like(reach, fixed))

    def encode(self, weights: Tensor, scales: Scales) -> Tensor:
        """Return the codes of weights of shape (rows, n), uint8."""
        return (weights / scales.scale[:, None] + scales.zero[:, None]).round_().clamp_(0, self.top).to(torch.uint8)

    def decode(self, codes: Tensor, scales: Scales) -> Tensor:
        """Return the weights of codes of shape (rows, n), float32."""
        return (codes.float() - scales.zero[:, None]) * scales.scale[:, None]

    def fit(self, weights: Tensor, importance: Tensor | None = None) -> Scales:
        """Return the grid of each row of weights, shape (rows, n), with the least error among the candidates.

        Args:
            weights: Shape (rows, n).
            importance: Weight of each column's error, shape (n,), or the second moment of the group's inputs, shape
                (n, n), whose quadratic form is the squared error of the group's output; None weighs all alike.
        """
        low, high = weights.amin(1).clamp(max=0), weights.amax(1).clamp(min=0)
        if self.fixed_zero is None and self.zeros == "float16":
            low, high = weights.amin(1), weights.amax(1)
        best = self.between(low, high)
        if not self.steps:
            return best
        least = torch.full_like(low, torch.inf)
        for shrink in torch.linspace(1, self.smallest, self.steps).tolist():
            trial = self.between(low * shrink, high * shrink)
            error = self.decode(self.encode(weights, trial), trial) - weights
            if importance is not None and importance.dim() == 2:
                loss = ((error @ importance) * error).sum(1)
            else:
                powers = error.abs_().pow_(self.norm)
                loss = powers.sum(1) if importance is None else powers @ importance
            better = loss < least
            least = torch.where(better, loss, least)
            best = Scales(*(torch.where(better, new, old) for new, old in zip(trial, best, strict=True)))
        return best


def storable(scale: Tensor) -> Tensor:
    """Return the scale as float16 keeps it, never 0, as float32."""
    return scale.clamp(2**-14, 65504.0).half().float()


class GridCode:
    """A uniform grid as a code of the rounding loop.

    Args:
        spec: The grid.
        group: Columns that share a scale; 0 for all.
        weighted: Whether the clipping search weighs errors by the Hessian's diagonal.
        scales: Grid per group fixed beforehand; None fits it inside the loop.
    """

    tile = Tile(1, 1)

    def __init__(
        self, spec: GridSpec, group: int, *, weighted: bool = False, scales: dict[int, Scales] | None = None
    ) -> None:
        self.spec, self.group, self.weighted = spec, group, weighted
        self.bits = float(spec.bits)
        self.is_fixed = scales is not None
        self.scales: dict[int, Scales] = scales or {}

    def begin_group(self, index: int, weights: Tensor, importance: Tensor) -> None:
        """Fit the grid of group `index`, unless it is fixed."""
        if not self.is_fixed:
            self.scales[index] = self.spec.fit(weights, importance if self.weighted else None)
        self._now = self.scales[index]

    def encode(self, weights: Tensor) -> Tensor:
        """Return the codes of a column, shape (rows,), uint8."""
        return self.spec.encode(weights, self._now)[:, 0]

    def decode(self, indices: Tensor) -> Tensor:
        """Return the weights of a column, shape (rows, 1)."""
        return self.spec.decode(indices[:, None], self._now)

    def table(self) -> Scales:
        """Return the scales and zeros of all groups, each of shape (rows, groups)."""
        found = [self.scales[index] for index in sorted(self.scales)]
        return Scales(torch.stack([s.scale for s in found], 1), torch.stack([s.zero for s in found], 1))


class GridCodes(NamedTuple):
    """Codes of a matrix, shape (rows, columns), uint8, and its scales, each of shape (rows, groups)."""

    codes: Tensor
    scales: Scales


def round_to_nearest(weight: Tensor, spec: GridSpec, group: int, hessian: Tensor | None = None) -> GridCodes:
    """Fit a grid to every group of a matrix and round each weight to the nearest level.

    Args:
        weight: Shape (rows, columns).
        spec: The grid.
        group: Columns per group; divides the columns.
        hessian: Second moment of the inputs, shape (columns, columns): the clipping search then minimises the error of
            each group's output, by its diagonal block; None minimises the error of the weights.
    """
    rows, columns = weight.shape
    groups = weight.float().reshape(-1, group)
    if hessian is None:
        scales = spec.fit(groups)
    else:
        parts = [slice(start, start + group) for start in range(0, columns, group)]
        fits = [spec.fit(weight[:, part].float(), hessian[part, part]) for part in parts]
        scales = Scales(*(torch.stack(list(column), 1).flatten() for column in zip(*fits, strict=True)))
    codes = spec.encode(groups, scales).view(rows, columns)
    return GridCodes(codes, Scales(*(part.view(rows, columns // group) for part in scales)))


def fitting_group(columns: int, wanted: int) -> int:
    """Return the largest group size up to `wanted` that divides the number of columns; 0 wants all columns.

    Raises:
        UsageError: The wanted size is negative.
    """
    if wanted < 0:
        raise UsageError(f"A group has a positive number of weights, or 0 for a whole row; {wanted} is neither.")
    return next(size for size in range(min(wanted or columns, columns), 0, -1) if columns % size == 0)
