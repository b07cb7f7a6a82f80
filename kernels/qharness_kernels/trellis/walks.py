"""Viterbi search in a bitshift trellis, in Triton: one program a sequence, all of its steps in one launch.

The costs of a sequence lie in two buffers that a program reads and writes in turn, 2^18 bytes each at L = 16: those of
the programs that run at a time about fill an H100's second-level cache.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from qharness_kernels.trellis.shape import Trellis

WIDTH = 4096


@triton.jit
def _forward(
    inputs,
    values,
    ends,
    costs,
    minima,
    steps,
    VECTOR: tl.constexpr,
    BOUND: tl.constexpr,
    HEADS: tl.constexpr,
    BRANCHES: tl.constexpr,
    BLOCK: tl.constexpr,
) -> None:
    """Write the minima of every step of one sequence.

    Args:
        inputs: Sequences, (B, steps * VECTOR), float32.
        values: Weights of every state, (HEADS * BRANCHES, VECTOR), float32.
        ends: Upper bits of the first state, (B,), int64; read if BOUND.
        costs: Room for two rows of costs a program, (B, 2, HEADS * BRANCHES), float32.
        minima: (steps, B, HEADS), float32, written.
        steps: Number of steps.
        VECTOR: Weights of a step.
        BOUND: Whether the first state's upper bits are given.
        HEADS: Number of values of the bits that neighbours share.
        BRANCHES: Successors of a state.
        BLOCK: Heads at once.
    """
    row = tl.program_id(0).to(tl.int64)
    count = tl.num_programs(0).to(tl.int64)
    states: tl.constexpr = HEADS * BRANCHES
    mine = costs + row * 2 * states
    branch = tl.arange(0, BRANCHES)
    for step in range(steps):
        old = mine + (step % 2) * states
        new = mine + ((step + 1) % 2) * states
        for start in range(0, HEADS, BLOCK):
            head = start + tl.arange(0, BLOCK)
            if step == 0:
                best = tl.zeros((BLOCK,), tl.float32)
                if BOUND:
                    best = tl.where(head == tl.load(ends + row), 0.0, float("inf"))
            else:
                best = tl.min(tl.load(old + branch[:, None] * HEADS + head[None, :]), 0)
            tl.store(minima + (step * count + row) * HEADS + head, best)
            state = head[:, None] * BRANCHES + branch[None, :]
            error = tl.zeros((BLOCK, BRANCHES), tl.float32)
            for i in tl.static_range(VECTOR):
                value = tl.load(values + state * VECTOR + i)
                number = tl.load(inputs + (row * steps + step) * VECTOR + i)
                error += value * value - 2 * number * value
            tl.store(new + state, best[:, None] + error)
        tl.debug_barrier()


@triton.jit
def _backward(
    inputs,
    values,
    minima,
    heads,
    found,
    steps,
    left,
    VECTOR: tl.constexpr,
    HEADS: tl.constexpr,
    BRANCHES: tl.constexpr,
) -> None:
    """Follow the minima of one sequence from step `left` - 1 to the first.

    Args:
        inputs: Sequences, (B, steps * VECTOR), float32.
        values: Weights of every state, (HEADS * BRANCHES, VECTOR), float32.
        minima: (steps, B, HEADS), float32.
        heads: Lower bits of state `left` - 1, (B,), int64.
        found: States, (B, steps), int32, written.
        steps: Number of steps.
        left: Number of steps to find.
        VECTOR: Weights of a step.
        HEADS: Number of values of the bits that neighbours share.
        BRANCHES: Successors of a state.
    """
    row = tl.program_id(0).to(tl.int64)
    count = tl.num_programs(0).to(tl.int64)
    branch = tl.arange(0, BRANCHES)
    head = tl.load(heads + row).to(tl.int32)
    for i in range(left):
        step = left - 1 - i
        state = branch * HEADS + head
        cost = tl.load(minima + (step * count + row) * HEADS + state // BRANCHES)
        for v in tl.static_range(VECTOR):
            value = tl.load(values + state * VECTOR + v)
            number = tl.load(inputs + (row * steps + step) * VECTOR + v)
            cost += value * value - 2 * number * value
        best = tl.argmin(cost, 0).to(tl.int32) * HEADS + head
        tl.store(found + row * steps + step, best)
        head = best // BRANCHES


def best_walks(trellis: Trellis, values: Tensor, sequences: Tensor, ends: Tensor | None) -> Tensor:
    """Return the walk with the least squared error to each sequence, as `Search.best_walks` does.

    Args:
        trellis: The trellis.
        values: Weights of every state, shape (2^L, V), float32.
        sequences: Shape (B, T), float32.
        ends: Upper L - k bits of the first state and lower ones of the last, shape (B,), int64; None leaves them free.

    Returns:
        States, shape (B, T / V), int32.
    """
    count, steps, device = len(sequences), sequences.shape[1] // trellis.vector, sequences.device
    inputs, values = sequences.float().contiguous(), values.contiguous()
    minima = torch.empty(steps, count, trellis.heads, device=device)
    costs = torch.empty(count, 2, trellis.states, device=device)
    found = torch.empty(count, steps, dtype=torch.int32, device=device)
    sizes = {"VECTOR": trellis.vector, "HEADS": trellis.heads, "BRANCHES": trellis.branches}
    chosen = {"BOUND": ends is not None, "BLOCK": min(trellis.heads, max(WIDTH // trellis.branches, 1))}
    unused = found if ends is None else ends
    _forward[(count,)](inputs, values, unused, costs, minima, steps, num_warps=8, num_stages=1, **sizes, **chosen)
    heads, left = ends, steps
    if heads is None:
        errors = values.square().sum(1) - 2 * inputs[:, -trellis.vector :] @ values.T
        last = (errors.unflatten(1, (-1, trellis.branches)) + minima[-1][:, :, None]).flatten(1).argmin(1)
        found[:, -1] = last
        heads, left = last >> trellis.shift, steps - 1
    _backward[(count,)](inputs, values, minima, heads, found, steps, left, num_warps=1, **sizes)
    return found
