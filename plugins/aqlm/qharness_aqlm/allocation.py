"""Which scheme each matrix gets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from typing import NamedTuple

from qharness.errors import UsageError
from qharness_aqlm.scheme import DISTORTION, Scheme


class Matrix(NamedTuple):
    """Size of a matrix, and how much the loss rises per unit of its relative squared error."""

    rows: int
    columns: int
    sensitivity: float = 1.0


class _Step(NamedTuple):
    """From one scheme to the next better one on a matrix's lower convex hull."""

    gain: float
    name: str
    scheme: Scheme
    bits: int


def allocate(matrices: Mapping[str, Matrix], budget: float) -> dict[str, Scheme]:
    """Spend a budget of stored bits so that the sum of sensitivity * distortion is small.

    Every matrix begins with its cheapest scheme. The step that lowers the sum most per bit is taken next, along the
    lower convex hull of each matrix's choices; a step that no longer fits ends its matrix. Distortions are those of
    independent normal weights: what the inputs add is in the sensitivity.

    Args:
        matrices: By module name.
        budget: Stored bits per weight over all matrices: codes, codebooks and scales.

    Raises:
        UsageError: Even the cheapest schemes take more.
    """
    total = budget * sum(m.rows * m.columns for m in matrices.values())
    chosen: dict[str, Scheme] = {}
    steps: list[_Step] = []
    for name, matrix in matrices.items():
        hull = _hull(matrix)
        chosen[name] = hull[0]
        for before, after in pairwise(hull):
            more = after.stored_bits(*matrix[:2]) - before.stored_bits(*matrix[:2])
            gain = matrix.sensitivity * (DISTORTION[before] - DISTORTION[after]) / more
            steps.append(_Step(gain, name, after, more))
    left = total - sum(scheme.stored_bits(*matrices[name][:2]) for name, scheme in chosen.items())
    if left < 0:
        least = (total - left) / sum(m.rows * m.columns for m in matrices.values())
        raise UsageError(f"aqlm.budget={budget:g} is too small: the cheapest schemes store {least:.3f} bits a weight.")
    stopped: set[str] = set()
    for step in sorted(steps, key=lambda step: (-step.gain, step.name, step.scheme)):
        if step.bits > left or step.name in stopped:
            stopped.add(step.name)
            continue
        chosen[step.name] = step.scheme
        left -= step.bits
    return chosen


def _hull(matrix: Matrix) -> list[Scheme]:
    """Return the schemes on the lower convex hull of (stored bits, distortion), from the cheapest on."""

    def cost(scheme: Scheme) -> int:
        return scheme.stored_bits(matrix.rows, matrix.columns)

    possible = [scheme for scheme in DISTORTION if matrix.columns % scheme.group == 0]
    hull: list[Scheme] = []
    for scheme in sorted(possible, key=lambda s: (cost(s), DISTORTION[s])):
        if hull and DISTORTION[scheme] >= DISTORTION[hull[-1]]:
            continue
        while len(hull) > 1 and _slope(hull[-2], hull[-1], cost) <= _slope(hull[-1], scheme, cost):
            hull.pop()
        hull.append(scheme)
    return hull


def _slope(before: Scheme, after: Scheme, cost: Callable[[Scheme], int]) -> float:
    """Return the distortion saved per bit."""
    return (DISTORTION[before] - DISTORTION[after]) / (cost(after) - cost(before))


def table(
    schemes: Mapping[str, Scheme], matrices: Mapping[str, Matrix], kinds: Sequence[str]
) -> list[dict[str, object]]:
    """Return one row a kind of layer (k, v, q, o, gate, up, down) and one for all, with nominal and stored bits.

    Args:
        schemes: By module name.
        matrices: By module name.
        kinds: Last parts of module names, in the order of the rows.
    """
    rows: list[dict[str, object]] = []
    for kind in (*kinds, "all"):
        names = [name for name in schemes if kind == "all" or name.rpartition(".")[2] == kind]
        weights = sum(matrices[name].rows * matrices[name].columns for name in names)
        if not weights:
            continue
        stored = sum(schemes[name].stored_bits(*matrices[name][:2]) for name in names)
        nominal = sum(schemes[name].nominal_bits * matrices[name].rows * matrices[name].columns for name in names)
        counts: dict[str, int] = {}
        for name in names:
            counts[schemes[name].name] = counts.get(schemes[name].name, 0) + 1
        rows.append(
            {"kind": kind, "schemes": counts, "nominal_bits": nominal / weights, "stored_bpw": stored / weights}
        )
    return rows
