"""Which rows go through the model together: planned from the requests alone, so that shapes are reproducible."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from typing import Any


def plan_batches(
    lengths: Sequence[int], budget: int, keys: Sequence[Hashable] | None = None, most: int | None = None
) -> list[list[int]]:
    """Cut rows into batches of similar length.

    Rows are sorted from the longest to the shortest (ties in their own order); a batch is closed when its padded
    size would pass the budget.

    Args:
        lengths: Tokens of each row.
        budget: Most tokens of a batch, padding included; a longer row makes a batch of its own.
        keys: Rows of different keys never share a batch.
        most: Most rows of a batch.

    Returns:
        Indexes of the rows, batch by batch.
    """
    tags: Sequence[Any] = keys if keys is not None else [0] * len(lengths)
    order_of: dict[Any, int] = {}
    for tag in tags:
        order_of.setdefault(tag, len(order_of))
    order = sorted(range(len(lengths)), key=lambda i: (order_of[tags[i]], -lengths[i], i))
    batches: list[list[int]] = []
    for index in order:
        batch = batches[-1] if batches else None
        fits = (
            batch is not None
            and tags[batch[0]] == tags[index]
            and (len(batch) + 1) * lengths[batch[0]] <= budget
            and (most is None or len(batch) < most)
        )
        if batch is not None and fits:
            batch.append(index)
        else:
            batches.append([index])
    return batches
