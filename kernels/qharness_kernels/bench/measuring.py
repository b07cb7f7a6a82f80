"""Times of kernels, of references beside them, and of whole decode steps, as plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch

from qharness_kernels.bench import timing
from qharness_kernels.bench.cases import Case, build
from qharness_kernels.bench.decoder.model import random_decoder
from qharness_kernels.bench.decoder.shape import Shape
from qharness_kernels.bench.decoder.timing import time_decoding
from qharness_kernels.bench.references import Maker
from qharness_kernels.bench.variants import VARIANTS

Report = Callable[[str], None]


def measure(
    cases: Sequence[Case], references: Mapping[str, Mapping[str, Maker]], dtype: torch.dtype, report: Report
) -> dict[str, Any]:
    """Time cases on the current GPU.

    Args:
        cases: The cases.
        references: As `load_references` returns them; those that know a case's name are timed on the same size.
        dtype: Type of the activations.
        report: Called with a line for each case.

    Returns:
        `copy_bandwidth` in bytes a second, and `rows`: the fields of the case, `kernel`, `seconds`, `bytes`, `share` of
        the copy bandwidth, `references` (seconds by module) and `ratios` (their seconds over ours); or `error`.
    """
    bandwidth = timing.copy_bandwidth()
    rows = []
    for case in cases:
        row: dict[str, Any] = case._asdict()
        try:
            row |= _timed(case, references, dtype, bandwidth)
            report(
                f"{case.name} {case.out_features}x{case.in_features}, {case.rows} rows: {row['seconds'] * 1e6:.2f} us"
            )
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
            report(f"{case.name} {case.out_features}x{case.in_features}, {case.rows} rows: {row['error']}")
        rows.append(row)
        torch.cuda.empty_cache()
    return {"copy_bandwidth": bandwidth, "rows": rows}


def _timed(
    case: Case, references: Mapping[str, Mapping[str, Maker]], dtype: torch.dtype, bandwidth: float
) -> dict[str, Any]:
    made = build(case, dtype, torch.device("cuda", torch.cuda.current_device()))
    copies = len(made.calls)
    seconds = timing.graph_seconds(made.calls)
    found: dict[str, Any] = {"kernel": made.kernel, "seconds": seconds, "bytes": made.bytes}
    found["share"] = made.bytes / seconds / bandwidth
    del made
    others: dict[str, float] = {}
    for name, kernels in references.items():
        if case.name in kernels:
            size = (case.out_features, case.in_features, case.rows, dtype)
            calls = [kernels[case.name](*size, seed) for seed in range(copies)]
            usable = [call for call in calls if call is not None]
            if usable:
                others[name] = timing.graph_seconds(usable)
    return {**found, "references": others, "ratios": {name: value / seconds for name, value in others.items()}}


def measure_decoding(names: Sequence[str], shape: Shape, dtype: torch.dtype, report: Report) -> list[dict[str, Any]]:
    """Time the decode step of decoders of random weights on the current GPU.

    Args:
        names: Codes of `VARIANTS`, and `dense` for plain weights.
        shape: Sizes of the decoder.
        dtype: Type of everything but the codes.
        report: Called with a line for each.

    Returns:
        Rows with `name`, `hadamards`, `seconds`, `tokens_per_second`; or `error`.
    """
    device = torch.device("cuda", torch.cuda.current_device())
    rows = []
    for name in names:
        variant = VARIANTS.get(name)
        row: dict[str, Any] = {"name": name, "hadamards": variant is not None and variant.has_hadamards}
        try:
            seconds = time_decoding(random_decoder(shape, variant, dtype, device))
            row |= {"seconds": seconds, "tokens_per_second": 1 / seconds}
            report(f"decoder {name}: {1 / seconds:.1f} tokens/s")
        except Exception as error:
            row["error"] = f"{type(error).__name__}: {error}"
            report(f"decoder {name}: {row['error']}")
        rows.append(row)
        torch.cuda.empty_cache()
    return rows
