"""What happens between two products."""

from __future__ import annotations

from typing import NamedTuple

from torch import Tensor


class Joint(NamedTuple):
    """What happens where a product meets the residual stream and the next begins.

    Attributes:
        norm: Factors of the normalised numbers, shape (hidden,).
        before: Signs of the product's output transform, shape (hidden,); None if it has none.
        after: Signs of the next product's input transform, shape (hidden,); None if it has none.
    """

    norm: Tensor
    before: Tensor | None
    after: Tensor | None
