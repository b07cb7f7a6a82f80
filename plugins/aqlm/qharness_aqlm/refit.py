"""Refit codebooks and scales with the codes as they are: the continuous half of AQLM.

The error tr(E H E^T) is a quadratic in the codebooks and, row by row, in the scales. So where the paper takes Adam
steps (arXiv 2401.06118, section 3.2, phase 2), the codebooks follow preconditioned conjugate gradients, which have no
learning rate and need fewer products with H, and the scales are solved for exactly.
"""

from __future__ import annotations

import torch
from torch import Tensor

from qharness.rounding.conjugate import conjugate_gradients
from qharness.rounding.segments import Segments
from qharness_aqlm.state import Additive
from qharness_kernels.codebook import decode_additive

CONVERGED = 1e-9
"""What is left below this is rounding, along which further steps would only wander."""


@torch.no_grad()
def refit_codebooks(state: Additive, weight: Tensor, hessian: Tensor, steps: int) -> None:
    """Lower tr(E H E^T) over the codebooks by conjugate gradients.

    The preconditioner is, for each code word, the inverse of the sum of s^2 H_gg over the places where it stands.

    Args:
        state: Its codebooks are changed in place.
        weight: The weights to approximate, shape (rows, columns).
        hessian: Shape (columns, columns).
        steps: Products with the Hessian.
    """
    books, count, size = state.codebooks.shape
    members = [Segments(state.codes[:, :, m].flatten(), count) for m in range(books)]
    scales = state.scales[:, None]

    def gather(product: Tensor) -> list[Tensor]:
        values = (product * scales).view(-1, size)
        return [torch.stack([own.sum(values) for own in members])]

    inverse = _preconditioner(state, hessian)
    found = conjugate_gradients(
        lambda step: gather(decode_additive(state.codes, step[0], state.scales) @ hessian),
        [state.codebooks],
        gather((weight - state.weight()) @ hessian),
        lambda rest: [(inverse @ rest[0][..., None])[..., 0]],
        iterations=steps,
        tolerance=CONVERGED,
    )
    state.codebooks = found[0]


@torch.no_grad()
def refit_scales(state: Additive, weight: Tensor, hessian: Tensor) -> None:
    """Set each row's scale to the one with the least error: (v H w) / (v H v), v the row without its scale."""
    decoded = decode_additive(state.codes, state.codebooks, torch.ones_like(state.scales))
    image = decoded @ hessian
    top, bottom = (image * weight).sum(1), (image * decoded).sum(1)
    found = top / bottom.clamp_min(1e-30)
    sane = torch.isfinite(found) & (found > 0)
    state.scales = torch.where(sane, found, state.scales)


def _preconditioner(state: Additive, hessian: Tensor) -> Tensor:
    books, count, size = state.codebooks.shape
    groups = state.codes.shape[1]
    blocks = hessian.view(groups, size, groups, size).diagonal(dim1=0, dim2=2).permute(2, 0, 1).reshape(groups, -1)
    squares = state.scales.square()[:, None].expand(-1, groups).reshape(-1, 1)
    places = torch.arange(groups, device=hessian.device).expand(len(state.codes), -1)
    found = []
    for index in range(books):
        pairs = (state.codes[:, :, index] * groups + places).flatten()
        mass = Segments(pairs, count * groups).sum(squares).view(count, groups)
        found.append((mass @ blocks).view(count, size, size))
    matrix = torch.stack(found)
    ridge = matrix.diagonal(dim1=2, dim2=3).mean(2)
    ridge = 1e-4 * ridge + 1e-6 * ridge.mean()
    matrix.diagonal(dim1=2, dim2=3).add_(ridge[..., None])
    return torch.linalg.inv(matrix)
