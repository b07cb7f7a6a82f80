"""Improve a rounding tile by tile once all tiles are chosen."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness.errors import UsageError
from qharness.rounding.code import Code
from qharness.rounding.feedback import Rounded
from qharness.rounding.order import Order, column_order


@torch.no_grad()
def coordinate_descent(
    weight: Tensor,
    hessian: Tensor,
    code: Code,
    rounded: Rounded,
    *,
    iterations: int,
    order: Order = "reverse",
    damping: float = 0.01,
    block: int = 128,
) -> Rounded:
    """Round every tile of columns again with the others as they are, and keep what lowers tr(E H E^T).

    With the other tiles fixed, the best real values of tile k are Q_k + (W - Q) H_:k H_kk^-1. They are rounded by the
    code; a tile of a row (or of a row of tiles) takes the new word only where its loss falls, so no pass makes the
    matrix worse.

    Args:
        weight: Weights that were rounded, shape (rows, columns).
        hessian: Shape (columns, columns).
        code: The code that rounded them, its scales fixed beforehand.
        rounded: What `round_with_feedback` found.
        iterations: Passes over the matrix; fewer if a pass changes nothing.
        order: Order of the walk.
        damping: Fraction of the mean diagonal added to the diagonal.
        block: Columns updated eagerly.

    Raises:
        UsageError: The code fits scales inside the walk.

    Source: Tseng et al., QuIP#, arXiv 2402.04396 (block coordinate descent after BlockLDLQ); the acceptance test is
    added here.
    """
    if not getattr(code, "is_fixed", True):
        raise UsageError("Coordinate descent needs a code whose scales are fixed; fix those that the rounding found.")
    columns = weight.shape[1]
    tile, group = code.tile.columns, code.group or columns
    damped = hessian.float().clone()
    damped.diagonal().add_(damping * damped.diagonal().mean())
    walk = column_order(damped.diagonal(), order, group, tile)
    starts = walk[::tile].tolist()
    found, indices = rounded.weight.clone(), rounded.indices.clone()
    inverses = {k: torch.linalg.inv(damped[k : k + tile, k : k + tile].double()).float() for k in starts}
    for _ in range(iterations):
        changed = False
        for left in range(0, len(starts), max(block // tile, 1)):
            span = starts[left : left + max(block // tile, 1)]
            here = torch.cat([torch.arange(k, k + tile, device=weight.device) for k in span])
            pull = (weight - found) @ damped[:, here]
            for place, k in enumerate(span):
                if k % group == 0 or place == 0 or k // group != span[place - 1] // group:
                    first = k // group * group
                    code.begin_group(k // group, found[:, first : first + group], damped.diagonal()[first:][:group])
                own = slice(place * tile, (place + 1) * tile)
                new = code.encode(found[:, k : k + tile] + pull[:, own] @ inverses[k])
                step = code.decode(new) - found[:, k : k + tile]
                gain = step * (2 * pull[:, own] - step @ damped[k : k + tile, k : k + tile])
                better = gain.sum(1).view(-1, code.tile.rows).sum(1) > 0
                if not bool(better.any()):
                    continue
                changed = True
                step = step * better.repeat_interleave(code.tile.rows)[:, None]
                found[:, k : k + tile] += step
                pull -= step @ damped[k : k + tile][:, here]
                number = k // tile
                chosen = better.view(-1, *[1] * (new.dim() - 1))
                indices[:, number] = torch.where(chosen, new, indices[:, number])
        if not changed:
            break
    return Rounded(found, indices, rounded.damping)
