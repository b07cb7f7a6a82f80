from __future__ import annotations

import torch

from qharness.rounding.conjugate import conjugate_gradients


def test_several_tensors_are_solved_for_at_once_and_null_directions_stay():
    torch.manual_seed(0)
    root = torch.randn(6, 9, dtype=torch.float64)
    matrix = torch.zeros(8, 8, dtype=torch.float64)
    matrix[:6, :6] = root @ root.T
    right = matrix @ torch.randn(8, dtype=torch.float64)

    def split(vector):
        return [vector[:2].view(2, 1), vector[2:].view(3, 2)]

    def join(tensors):
        return torch.cat([tensor.reshape(-1) for tensor in tensors])

    start = torch.ones(8, dtype=torch.float64)
    inverse = split(1 / matrix.diagonal().clamp_min(1e-12))
    found = conjugate_gradients(
        lambda tensors: split(matrix @ join(tensors)),
        split(start),
        split(right - matrix @ start),
        lambda tensors: [a * b for a, b in zip(inverse, tensors, strict=True)],
        iterations=40,
        tolerance=1e-24,
    )
    assert [tensor.shape for tensor in found] == [(2, 1), (3, 2)]
    torch.testing.assert_close(matrix @ join(found), right)
    assert torch.equal(join(found)[6:], start[6:])
