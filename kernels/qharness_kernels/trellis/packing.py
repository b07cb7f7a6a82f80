"""Payload of a tail-biting walk: a ring of bits in which every step's state is a window of L bits."""

from __future__ import annotations

import torch
from torch import Tensor

from qharness_kernels.trellis.shape import WORD, Trellis


def words_of(weights: int, trellis: Trellis) -> int:
    """Return how many 16-bit words hold that many weights.

    Raises:
        ValueError: They do not fill whole words, or whole steps.
    """
    if weights % trellis.vector or weights * trellis.bits % WORD:
        raise ValueError(f"{weights} weights of {trellis.bits} bits do not fill whole words of {WORD} bits")
    return weights * trellis.bits // WORD


def is_tail_biting(states: Tensor, trellis: Trellis) -> Tensor:
    """Return whether each walk is one of the trellis and ends where it began.

    Args:
        states: Shape (walks, steps), integers.
        trellis: The trellis.

    Returns:
        Shape (walks,), bool.
    """
    low = states & (trellis.heads - 1)
    return (low.roll(1, 1) == states >> trellis.shift).all(1)


def pack_states(states: Tensor, trellis: Trellis) -> Tensor:
    """Pack tail-biting walks, the most significant bit first.

    Args:
        states: Shape (walks, steps), integers.
        trellis: The trellis.

    Returns:
        Shape (walks, steps * shift / 16), int16: exactly K bits a weight.

    Raises:
        ValueError: A walk does not bite its tail; its payload would decode to another one.
    """
    if not bool(is_tail_biting(states, trellis).all()):
        raise ValueError("A walk does not end in the state that it began with")
    words_of(states.shape[1] * trellis.vector, trellis)
    # The ring begins with the first state's L bits; each later state adds its newest bits.
    top = torch.arange(trellis.shift - 1, -1, -1, device=states.device)
    first = states.roll(_lead(trellis), 1) if _lead(trellis) else states
    newest = ((first.long()[..., None] >> top) & 1).flatten(1)
    extra = _lead(trellis) * trellis.shift - (trellis.state_bits - trellis.shift)
    ring = newest.roll(-extra, 1)
    place = torch.arange(WORD - 1, -1, -1, device=states.device)
    words = (ring.unflatten(1, (-1, WORD)) << place).sum(-1)
    return ((words ^ 0x8000) - 0x8000).to(torch.int16)


def unpack_states(words: Tensor, trellis: Trellis) -> Tensor:
    """Return the walks of a payload.

    Args:
        words: Shape (walks, words), int16.
        trellis: The trellis.

    Returns:
        Shape (walks, words * 16 / shift), int32.
    """
    count = words.shape[1]
    unsigned = words.int() & 0xFFFF
    pairs = (unsigned.long() << WORD) | unsigned.roll(-1, 1)
    start = torch.arange(0, count * WORD, trellis.shift, device=words.device)
    windows = pairs[:, start // WORD] >> (2 * WORD - trellis.state_bits - start % WORD)
    return (windows & (trellis.states - 1)).int()


def _lead(trellis: Trellis) -> int:
    """Steps before the first whose newest bits reach into the first state."""
    return -(-(trellis.state_bits - trellis.shift) // trellis.shift)
