"""Viterbi search in a bitshift trellis, in Triton: one program a sequence, all of its steps in one launch.

A state's cost is that of its upper bits, the best walk to them, and its own error. So only the minima of the upper bits
are kept, 2^(L - k) numbers a step, which the way back needs anyway; they stay in the caches. What a step reads besides
is the table of all states' weights, in float16 where that holds them exactly.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.trellis.shape import Trellis

HEADS_AT_ONCE = 2048
WARPS = 16


@triton.jit
def _forward(
    inputs,
    values,
    minima,
    MOVES: tl.constexpr,
    VECTOR: tl.constexpr,
    HEADS: tl.constexpr,
    BRANCHES: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write the minima of every step but the first of one sequence.

    Args:
        inputs: Sequences, (B, (MOVES + 1) * VECTOR), float32.
        values: Weights of every state, (VECTOR, HEADS * BRANCHES), float16 or float32.
        minima: (MOVES + 1, B, HEADS), float32; the first step's are given.
        MOVES: Number of steps less one.
        VECTOR: Weights of a step.
        HEADS: Number of values of the bits that neighbours share.
        BRANCHES: Successors, and predecessors, of a state.
        BLOCK: Heads at once, a multiple of BRANCHES.
    """
    row = tl.program_id(0).to(tl.int64)
    count = tl.num_programs(0).to(tl.int64)
    states: tl.constexpr = HEADS * BRANCHES
    # Heads that differ in their newest bits alone have the same predecessors' heads.
    group = tl.arange(0, BLOCK // BRANCHES)
    newest = tl.arange(0, BRANCHES)
    for step in range(MOVES):
        old = minima + (step * count + row) * HEADS
        new = minima + ((step + 1) * count + row) * HEADS
        for start in range(0, HEADS, BLOCK):
            head = start + group[:, None] * BRANCHES + newest[None, :]
            best = tl.full((BLOCK // BRANCHES, BRANCHES), float("inf"), tl.float32)
            for branch in tl.static_range(BRANCHES):
                cost = tl.load(old + branch * (HEADS // BRANCHES) + start // BRANCHES + group)[:, None]
                for i in tl.static_range(VECTOR):
                    number = tl.load(inputs + (row * (MOVES + 1) + step) * VECTOR + i)
                    value = tl.load(values + i * states + branch * HEADS + head).to(tl.float32)
                    cost = cost + value * (value - 2 * number)
                best = tl.minimum(best, cost)
            tl.store(new + head, best)
        tl.debug_barrier()


@triton.jit
def _backward(
    inputs,
    values,
    minima,
    heads,
    found,
    STEPS: tl.constexpr,
    LEFT: tl.constexpr,
    VECTOR: tl.constexpr,
    HEADS: tl.constexpr,
    BRANCHES: tl.constexpr,
) -> None:
    """Follow the minima of one sequence from step `LEFT` - 1 to the first.

    Args:
        inputs: Sequences, (B, STEPS * VECTOR), float32.
        values: Weights of every state, (HEADS * BRANCHES, VECTOR), float32.
        minima: (STEPS, B, HEADS), float32.
        heads: Lower bits of state `LEFT` - 1, (B,), int64.
        found: States, (B, STEPS), int32, written.
        STEPS: Number of steps.
        LEFT: Number of steps to find.
        VECTOR: Weights of a step.
        HEADS: Number of values of the bits that neighbours share.
        BRANCHES: Successors of a state.
    """
    row = tl.program_id(0).to(tl.int64)
    count = tl.num_programs(0).to(tl.int64)
    branch = tl.arange(0, BRANCHES)
    head = tl.load(heads + row).to(tl.int32)
    for i in range(LEFT):
        step = LEFT - 1 - i
        state = branch * HEADS + head
        cost = tl.load(minima + (step * count + row) * HEADS + state // BRANCHES)
        for v in tl.static_range(VECTOR):
            value = tl.load(values + state * VECTOR + v)
            number = tl.load(inputs + (row * STEPS + step) * VECTOR + v)
            cost += value * value - 2 * number * value
        best = tl.argmin(cost, 0).to(tl.int32) * HEADS + head
        tl.store(found + row * STEPS + step, best)
        head = best // BRANCHES


def state_table(values: Tensor) -> Tensor:
    """Return the weights of every state as `best_walks` reads them: shape (V, 2^L), float16 where that is exact.

    Args:
        values: Shape (2^L, V), float32.
    """
    narrow = values.half()
    return (narrow if torch.equal(narrow.float(), values) else values).T.contiguous()


def best_walks(trellis: Trellis, values: Tensor, table: Tensor, sequences: Tensor, ends: Tensor | None) -> Tensor:
    """Return the walk with the least squared error to each sequence, as `Search.best_walks` does.

    Args:
        trellis: The trellis.
        values: Weights of every state, shape (2^L, V), float32.
        table: The same from `state_table`.
        sequences: Shape (B, T), float32.
        ends: Upper L - k bits of the first state and lower ones of the last, shape (B,), int64; None leaves them free.

    Returns:
        States, shape (B, T / V), int32.
    """
    count, steps, device = len(sequences), sequences.shape[1] // trellis.vector, sequences.device
    inputs, values = sequences.float().contiguous(), values.contiguous()
    minima = torch.empty(steps, count, trellis.heads, device=device)
    minima[0] = 0.0 if ends is None else torch.inf
    if ends is not None:
        minima[0].scatter_(1, ends[:, None], 0.0)
    found = torch.empty(count, steps, dtype=torch.int32, device=device)
    sizes = {"VECTOR": trellis.vector, "HEADS": trellis.heads, "BRANCHES": trellis.branches}
    block = min(trellis.heads, HEADS_AT_ONCE)
    _forward[(count,)](inputs, table, minima, steps - 1, BLOCK=block, num_warps=WARPS, num_stages=1, **sizes)
    heads, left = ends, steps
    if heads is None:
        errors = values.square().sum(1) - 2 * inputs[:, -trellis.vector :] @ values.T
        last = (errors.unflatten(1, (-1, trellis.branches)) + minima[-1][:, :, None]).flatten(1).argmin(1)
        found[:, -1] = last
        heads, left = last >> trellis.shift, steps - 1
    _backward[(count,)](inputs, values, minima, heads, found, steps, left, num_warps=1, **sizes)
    return found
