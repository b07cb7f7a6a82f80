"""What `qharness bench kernels` times, with fresh random inputs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from qharness_kernels.bench.timing import copies_for
from qharness_kernels.bench.variants import VARIANTS, random_weight
from qharness_kernels.registry import choose

MATRICES = ((14336, 4096), (4096, 14336), (4096, 4096), (1024, 4096))
ROWS = (1, 8, 16, 512)
TRANSFORMS = ((1, 4096), (1, 14336), (16, 14336), (512, 4096), (512, 14336), (4096, 4096), (4096, 14336))
DENSE, HADAMARD, COPY, BUTTERFLY = "dense", "hadamard", "clone", "butterfly"
AROUND = "+hadamards"
MOST_TRANSFORMED = 64
Call = Callable[[], object]


class Case(NamedTuple):
    """An operation at a size.

    Attributes:
        name: A code of `VARIANTS`, one followed by `+hadamards` (transforms with signs before and behind), `dense`
            (torch's product with an unquantized matrix), `hadamard`, `butterfly` or `clone` (a copy of the input).
        out_features: Outputs.
        in_features: Inputs.
        rows: Rows of activations.
    """

    name: str
    out_features: int
    in_features: int
    rows: int


class Calls(NamedTuple):
    """A case, ready to run.

    Attributes:
        kernel: What runs.
        bytes: Bytes that one call must read and write.
        calls: The same operation on inputs at different places, enough of them that no cache holds all.
    """

    kernel: str
    bytes: int
    calls: list[Call]


def names() -> list[str]:
    """Return the names that cases can have."""
    around = [name + AROUND for name, variant in VARIANTS.items() if variant.has_hadamards]
    return [DENSE, *VARIANTS, *around, HADAMARD, BUTTERFLY, COPY]


def cases(chosen: Sequence[str], rows: Sequence[int]) -> Iterator[Case]:
    """Yield the cases of some names; matrices with these numbers of rows."""
    for name in chosen:
        if name in (HADAMARD, BUTTERFLY, COPY):
            yield from (Case(name, size, size, count) for count, size in TRANSFORMS)
            continue
        shapes = MATRICES[:1] if name.endswith(AROUND) else MATRICES
        counts = rows[:1] if name.endswith(AROUND) else rows
        yield from (Case(name, *shape, count) for shape in shapes for count in counts)


def build(case: Case, dtype: torch.dtype, device: torch.device) -> Calls:
    """Make a case's inputs.

    Raises:
        KernelUnavailable: No kernel serves the device.
    """
    generator = torch.Generator(device).manual_seed(1)

    def drawn(rows: int, columns: int) -> Tensor:
        return torch.randn(rows, columns, generator=generator, device=device).to(dtype)

    if case.name in (HADAMARD, BUTTERFLY, COPY):
        moved = 2 * case.rows * case.in_features * dtype.itemsize
        count = min(copies_for(moved // 2), MOST_TRANSFORMED)
        inputs = [drawn(case.rows, case.in_features) for _ in range(count)]
        kernel, apply = _transform(case.name, case.in_features, device)
        return Calls(kernel, moved, [_bound(apply, x) for x in inputs])
    x = drawn(case.rows, case.in_features)
    around = (case.in_features + case.out_features) * case.rows * dtype.itemsize
    if case.name == DENSE:
        moved = case.out_features * case.in_features * dtype.itemsize
        weights = [drawn(case.out_features, case.in_features) for _ in range(copies_for(moved))]
        return Calls("cublas", moved + around, [_bound(torch.matmul, x, weight.T) for weight in weights])
    first = random_weight(VARIANTS[case.name.removesuffix(AROUND)], case.out_features, case.in_features, dtype, device)
    copies = [first, *(first.copy() for _ in range(copies_for(first.bytes) - 1))]
    torch.cuda.synchronize(device)
    if not case.name.endswith(AROUND):
        return Calls(first.kernel, first.bytes + around, [_bound(weight, x) for weight in copies])
    signs = [
        (torch.randint(0, 2, (size,), generator=generator, device=device) * 2 - 1).to(dtype)
        for size in (case.in_features, case.out_features)
    ]
    transform = choose(HADAMARD, device, "triton").implementation.load().hadamard_transform

    def linear(weight: Callable[[Tensor], Tensor]) -> object:
        return transform(weight(transform(x, signs=signs[0])), signs=signs[1], inverse=True)

    return Calls(first.kernel, first.bytes + around, [_bound(linear, weight) for weight in copies])


def _transform(name: str, size: int, device: torch.device) -> tuple[str, Callable[[Tensor], object]]:
    if name == COPY:
        return "torch", torch.clone
    implementation = choose(name, device, "triton").implementation
    module = implementation.load()
    if name == HADAMARD:
        return implementation.name, module.hadamard_transform
    from qharness_kernels.butterfly.layout import prepare
    from qharness_kernels.butterfly.reference import butterfly_split

    split = butterfly_split(size)
    prepared = prepare(torch.randn(split.angles), torch.randn(split.skew), size, device)
    return implementation.name, lambda x: module.butterfly_transform(x, prepared)


def _bound(function: Callable[..., object], *args: object) -> Call:
    return lambda: function(*args)
