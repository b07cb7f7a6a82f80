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
    found, indices = rounded.weight.clone(), rounded.indices.clone()
    blocks = damped.unflatten(0, (-1, tile)).unflatten(2, (-1, tile)).diagonal(dim1=0, dim2=2).permute(2, 0, 1)
    inverses = torch.linalg.inv(blocks.double()).float()
    # Lists and index tensors are made once: in the walk nothing is read back, so that a GPU never waits for the host.
    starts, count = walk[::tile].tolist(), max(block // tile, 1)
    cuts = range(0, len(starts), count)
    spans = [(walk[cut * tile : (cut + count) * tile], starts[cut : cut + count]) for cut in cuts]
    for _ in range(iterations):
        changed = torch.zeros((), dtype=torch.bool, device=weight.device)
        for here, span in spans:
            around = damped[:, here]
            pull = (weight - found) @ around
            for place, k in enumerate(span):
                if k % group == 0 or place == 0 or k // group != span[place - 1] // group:
                    first = k // group * group
                    code.begin_group(k // group, found[:, first : first + group], damped.diagonal()[first:][:group])
                own = slice(place * tile, (place + 1) * tile)
                new = code.encode(found[:, k : k + tile] + pull[:, own] @ inverses[k // tile])
                step = code.decode(new) - found[:, k : k + tile]
                gain = step * (2 * pull[:, own] - step @ damped[k : k + tile, k : k + tile])
                better = gain.sum(1).view(-1, code.tile.rows).sum(1) > 0
                changed |= better.any()
                step = step * better.repeat_interleave(code.tile.rows)[:, None]
                found[:, k : k + tile] += step
                pull -= step @ around[k : k + tile]
                number = k // tile
                chosen = better.view(-1, *[1] * (new.dim() - 1))
                indices[:, number] = torch.where(chosen, new, indices[:, number])
        if not bool(changed):
            break
    return Rounded(found, indices, rounded.damping)
