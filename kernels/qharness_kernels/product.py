"""The product of activations with a packed matrix, by whichever kernel serves it."""

from __future__ import annotations

from collections.abc import Mapping
from importlib import import_module
from itertools import count
from typing import Any
from weakref import WeakValueDictionary

import torch
from torch import Tensor

from qharness_kernels.registry import Implementation, operator

_made: WeakValueDictionary[int, Product] = WeakValueDictionary()
_numbers = count()


class Product:
    """x -> x W^T, repacked once.

    Under `torch.compile` it is the operator `qharness::packed_matmul`; elsewhere the kernel is called directly, which
    spares an operator's overhead. Either can be captured into a CUDA graph.

    Args:
        implementation: What multiplies.
        arguments: Arguments of the operation's `layout.prepare`, by name.
    """

    def __init__(self, implementation: Implementation, arguments: Mapping[str, Any]) -> None:
        layout = import_module(f"{__package__}.{implementation.op}.layout")
        self.prepared: Any = layout.prepare(**arguments)
        if torch.cuda.is_available():
            # Kernels may read the matrix before the kernel in front of them has ended.
            torch.cuda.synchronize()
        self.matmul = implementation.load().matmul
        self.number = next(_numbers)
        _made[self.number] = self

    def __call__(self, x: Tensor) -> Tensor:
        """Return the product, shape (rows, out_features), for x of shape (rows, in_features), float16 or bfloat16."""
        if torch.compiler.is_compiling():
            found: Tensor = _packed_matmul(x, self.number, self.prepared.out_features)
        else:
            found = self.matmul(x, self.prepared)
        return found


def _fake(x: Tensor, number: int, out_features: int) -> Tensor:
    return x.new_empty(len(x), out_features)


@operator("packed_matmul", _fake)
def _packed_matmul(x: Tensor, number: int, out_features: int) -> Tensor:
    product = _made[number]
    found: Tensor = product.matmul(x, product.prepared)
    return found
