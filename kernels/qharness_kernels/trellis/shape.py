"""The numbers that define a bitshift trellis."""

from __future__ import annotations

from dataclasses import dataclass

WORD = 16


@dataclass(frozen=True)
class Trellis:
    """A bitshift trellis: state' = (state << shift) mod 2^state_bits, plus `shift` new bits.

    Attributes:
        state_bits: L, the bits of a state.
        bits: K, the bits of a weight.
        vector: V, the weights of a step.

    Raises:
        ValueError: Fewer than two steps fit into a state, or a state is wider than a 16-bit word.

    Source: Tseng et al., QTIP, arXiv 2406.11235, section 3.1.
    """

    state_bits: int = 16
    bits: int = 2
    vector: int = 1

    def __post_init__(self) -> None:
        if self.bits < 1 or self.vector < 1:
            raise ValueError(f"A trellis has at least one bit and one weight a step, not {self.bits}, {self.vector}")
        if not 2 * self.shift <= self.state_bits <= WORD:
            raise ValueError(
                f"A trellis of {self.bits} bits and {self.vector} weights a step needs states of "
                f"{2 * self.shift} to {WORD} bits, not {self.state_bits}"
            )

    @property
    def shift(self) -> int:
        """New bits of a step, K V."""
        return self.bits * self.vector

    @property
    def states(self) -> int:
        """Number of states, 2^L."""
        return 1 << self.state_bits

    @property
    def branches(self) -> int:
        """Successors, and predecessors, of a state: 2^(K V)."""
        return 1 << self.shift

    @property
    def heads(self) -> int:
        """Number of values of the state's bits that two neighbours share, 2^(L - K V)."""
        return 1 << (self.state_bits - self.shift)
