"""Viterbi search in a bitshift trellis: in torch here, in Triton (`trellis.walks`) on a GPU.

A state's predecessors share its L - k upper bits h as their lower bits (k = K V), so one step is
cost'(h, n) = min over p of cost(p, h) + |x - f(h, n)|^2: a minimum over the oldest k bits, and a broadcast over the
newest. Costs lie in memory with the newest bits in front. As long as the oldest bits still have enough others behind
them, a step writes the newest bits where the oldest were, so that both operations run over contiguous memory; then the
minima, a 2^k-th of the costs, are put in order again. Only the minima are kept; the way back compares predecessors
once more. The term |x|^2 is the same for all and left out.
"""

from __future__ import annotations

from importlib.util import find_spec

import torch
from torch import Tensor

from qharness_kernels.trellis.shape import Trellis

CONTIGUOUS_BITS = 6
CPU_STATES, DEVICE_STATES = 1 << 19, 1 << 25


def has_triton(device: torch.device) -> bool:
    """Return whether the search runs in Triton on that device."""
    return device.type == "cuda" and find_spec("triton") is not None


class Search:
    """The Viterbi search of one code.

    Args:
        trellis: The trellis.
        values: Weights of every state, shape (2^L, V), float32.
    """

    def __init__(self, trellis: Trellis, values: Tensor) -> None:
        self.trellis, self.values = trellis, values.float()
        length, shift = trellis.state_bits, trellis.shift
        self.phases = max(1, (length - CONTIGUOUS_BITS) // shift - 1)
        table = torch.cat([-2 * self.values, self.values.square().sum(1, keepdim=True)], 1).T
        self.tables = [
            table.reshape(-1, 1 << (length - new), 1 << new).transpose(1, 2).reshape(-1, 1 << length).contiguous()
            for new in range(shift, (self.phases + 1) * shift, shift)
        ]

        self._device_table: Tensor | None = None

        # Where in the minima of each phase the heads lie.
        heads, width = torch.arange(trellis.heads, device=values.device), length - shift
        self._places = [
            ((heads & ((1 << new) - 1)) << (width - new)) | (heads >> new)
            for new in range(shift, (self.phases + 1) * shift, shift)
        ]

    def batch(self, device: torch.device) -> int:
        """Return how many sequences are searched at once on that device."""
        return max(1, (CPU_STATES if device.type == "cpu" else DEVICE_STATES) // self.trellis.states)

    def best_walks(self, sequences: Tensor, ends: Tensor | None = None) -> Tensor:
        """Return the walk with the least squared error to each sequence.

        Args:
            sequences: Shape (B, T), float32, T a multiple of V.
            ends: Value, shape (B,), that the upper L - k bits of the first state and the lower L - k bits of the last
                must have; None leaves both free.

        Returns:
            States, shape (B, T / V), int32.
        """
        size = self.batch(sequences.device)
        walk = self._walk_on_device if has_triton(sequences.device) else self._walk
        parts = [
            walk(sequences[i : i + size], None if ends is None else ends[i : i + size].long())
            for i in range(0, len(sequences), size)
        ]
        return torch.cat(parts) if parts else torch.empty(0, 0, dtype=torch.int32)

    def _walk_on_device(self, sequences: Tensor, ends: Tensor | None) -> Tensor:
        from qharness_kernels.trellis.walks import best_walks, state_table

        if self._device_table is None:
            self._device_table = state_table(self.values)
        return best_walks(self.trellis, self.values, self._device_table, sequences, ends)

    def _walk(self, sequences: Tensor, ends: Tensor | None) -> Tensor:
        trellis, device = self.trellis, sequences.device
        count, shift, branches = len(sequences), trellis.shift, trellis.branches
        steps = sequences.float().unflatten(1, (-1, trellis.vector)).transpose(0, 1)
        inputs = torch.cat([steps, torch.ones(len(steps), count, 1, device=device)], 2)
        minima = torch.empty(len(steps), count, trellis.heads, device=device)
        cost = torch.empty(count, trellis.states, device=device)
        for t in range(len(steps)):
            phase = (t - 1) % self.phases
            new = 1 << ((phase + 1) * shift)
            old = trellis.heads // new
            if t == 0:
                minima[0] = 0.0 if ends is None else torch.inf
                if ends is not None:
                    minima[0].scatter_(1, ends[:, None], 0.0)
            else:
                torch.amin(cost.view(count, new, branches, old), 2, out=minima[t].view(count, new, old))
            last = t == 0 or phase == self.phases - 1
            torch.mm(inputs[t], self.tables[0 if last else phase + 1], out=cost)
            if t == 0:
                cost.view(count, branches, -1).add_(minima[0][:, None])
            elif last:
                ordered = minima[t].view(count, new, old).transpose(1, 2).reshape(count, 1, -1)
                cost.view(count, branches, -1).add_(ordered)
            else:
                cost.view(count, new, branches, old).add_(minima[t].view(count, new, 1, old))
        return self._back(minima, steps, ends)

    def _back(self, minima: Tensor, steps: Tensor, ends: Tensor | None) -> Tensor:
        """Follow the minima from the last step to the first."""
        trellis, device = self.trellis, steps.device
        oldest = torch.arange(trellis.branches, device=device) << (trellis.state_bits - trellis.shift)
        found = torch.empty(len(steps), steps.shape[1], dtype=torch.int32, device=device)
        heads = torch.zeros(steps.shape[1], dtype=torch.int64, device=device) if ends is None else ends
        for t in range(len(steps) - 1, -1, -1):
            if t == len(steps) - 1 and ends is None:
                states = torch.arange(trellis.states, device=device).expand(len(heads), -1)
            else:
                states = oldest + heads[:, None]
            error = (self.values[states] - steps[t][:, None]).square().sum(-1)
            own = states >> trellis.shift
            cost = error + minima[t].gather(1, self._places[(t - 1) % self.phases][own] if t else own)
            state = states.gather(1, cost.argmin(1, keepdim=True))[:, 0]
            found[t] = state
            heads = state >> trellis.shift
        return found.T


def tail_biting_walks(search: Search, sequences: Tensor, window: int) -> Tensor:
    """Return walks that end in the state that they begin with, by two searches.

    The first search crosses the seam: it runs freely over the last and the first `window` / 2 weights, and the bits
    that it has in the middle become the second search's first and last state. A window as long as the sequence is the
    published method; a walk forgets its ends after a few times L / K weights, so that a shorter one finds the same.

    Args:
        search: The search.
        sequences: Shape (B, T), float32.
        window: Weights of the first search.

    Returns:
        States, shape (B, T / V), int32.

    Source: Tseng et al., QTIP, arXiv 2406.11235, section 3.2, algorithm 4.
    """
    vector = search.trellis.vector
    half = min(window, sequences.shape[1]) // (2 * vector) * vector
    seam = torch.cat([sequences[:, sequences.shape[1] - half :], sequences[:, :half]], 1)
    ends = search.best_walks(seam)[:, half // vector] >> search.trellis.shift
    return search.best_walks(sequences, ends)
