from __future__ import annotations

import torch

from qharness_kernels.codebook import VectorTensors, decode_vptq


def test_every_weight_is_what_the_format_says():
    generator = torch.Generator().manual_seed(0)

    def draw(high, *shape):
        return torch.randint(0, high, shape, generator=generator)

    rows, v, v0, groups, size, outliers = 11, 4, 2, 2, 3, 2
    columns = outliers + groups * size
    tensors = VectorTensors(
        indices=draw(8, groups, 3, size),
        centroids=torch.randn(groups, 8, v, generator=generator).half(),
        res_indices=draw(4, groups, 3, size),
        res_centroids=torch.randn(groups, 4, v, generator=generator).half(),
        outlier_indices=draw(5, 6, outliers),
        outlier_centroids=torch.randn(5, v0, generator=generator).half(),
        perm=torch.randperm(columns, generator=generator),
        scale=torch.rand(columns, generator=generator).half(),
        bias=torch.randn(columns, generator=generator).half(),
    )
    weight = decode_vptq(tensors, rows)
    assert weight.shape == (rows, columns) and weight.dtype == torch.float32
    for place, column in enumerate(tensors.perm.tolist()):
        for row in range(rows):
            if place < outliers:
                value = tensors.outlier_centroids[tensors.outlier_indices[row // v0, place], row % v0].float()
            else:
                group, inside = divmod(place - outliers, size)
                main, residual = tensors.indices[group, row // v, inside], tensors.res_indices[group, row // v, inside]
                value = tensors.centroids[group, main, row % v].float()
                value = value + tensors.res_centroids[group, residual, row % v].float()
            expected = value * tensors.scale[column].float() + tensors.bias[column].float()
            assert float(weight[row, column]) == float(expected)
