"""Schemes: how many codebooks, of how many bits, over how many weights."""

from __future__ import annotations

import re
from typing import NamedTuple

VALUE_BITS = 16
"""Codebooks and scales are stored as float16."""


class Scheme(NamedTuple):
    """M codebooks of 2^B vectors of G weights: M * B / G bits per weight and 16 M 2^B G bits of codebooks.

    Attributes:
        codebooks: M.
        bits: B, bits of one code.
        group: G, consecutive inputs that a code word covers.
    """

    codebooks: int
    bits: int
    group: int = 8

    @property
    def name(self) -> str:
        """The scheme as users write it: `2x8`, `1x8g4`."""
        return f"{self.codebooks}x{self.bits}" + ("" if self.group == 8 else f"g{self.group}")

    @property
    def nominal_bits(self) -> float:
        """Bits of the codes per weight."""
        return self.codebooks * self.bits / self.group

    @property
    def codebook_bits(self) -> int:
        """Stored bits of the codebooks."""
        return self.codebooks * 2**self.bits * self.group * VALUE_BITS

    def payload_bits(self, rows: int, columns: int) -> int:
        """Return the stored bits of the codes of a matrix, padding to whole words included."""
        codes = columns // self.group * self.codebooks
        return rows * (-(-codes * self.bits // 32) * 32)

    def stored_bits(self, rows: int, columns: int) -> int:
        """Return all stored bits of a matrix: codes, codebooks, one scale per row."""
        return self.payload_bits(rows, columns) + self.codebook_bits + rows * VALUE_BITS


DISTORTION: dict[Scheme, float] = {
    Scheme(1, 8): 0.3187,
    Scheme(1, 4, 4): 0.3510,
    Scheme(2, 6): 0.1803,
    Scheme(1, 6, 4): 0.1872,
    Scheme(2, 8): 0.0917,
    Scheme(1, 8, 4): 0.0978,
    Scheme(2, 4, 4): 0.1091,
    Scheme(1, 4, 2): 0.1105,
    Scheme(2, 5, 4): 0.0588,
    Scheme(1, 5, 2): 0.0590,
    Scheme(3, 8): 0.0268,
    Scheme(2, 6, 4): 0.0310,
    Scheme(1, 6, 2): 0.0305,
    Scheme(4, 8): 0.0081,
    Scheme(2, 8, 4): 0.0084,
    Scheme(1, 8, 2): 0.0079,
}
"""Mean squared error per weight on independent normal weights of variance one, measured (tests/test_scheme.py)."""


def parse_scheme(text: str) -> Scheme:
    """Return the scheme written as `MxB` or `MxBgG`.

    Raises:
        ValueError: It is not of that form, or its numbers are out of range.
    """
    match = re.fullmatch(r"(\d+)x(\d+)(?:g(\d+))?", text.strip().lower())
    if match is None:
        raise ValueError(f"scheme={text} is not of the form 2x8 or 1x8g4 (codebooks x bits g weights)")
    scheme = Scheme(*(int(part) for part in match.groups(default="8")))
    if not (1 <= scheme.codebooks <= 8 and 1 <= scheme.bits <= 16 and scheme.group in (2, 4, 8)):
        raise ValueError(f"scheme={text}: 1 to 8 codebooks of 1 to 16 bits over 2, 4 or 8 weights are possible")
    return scheme


def smaller_schemes(scheme: Scheme) -> list[Scheme]:
    """Return schemes of the same bits per weight with smaller codebooks, from the best to the worst."""
    same = [s for s in DISTORTION if s.nominal_bits == scheme.nominal_bits and s.codebook_bits < scheme.codebook_bits]
    return sorted(same, key=lambda s: (DISTORTION[s], s.codebook_bits))


def fitting_scheme(scheme: Scheme, rows: int, columns: int, overhead: float) -> Scheme:
    """Return the best scheme of the same bits per weight whose codebooks suit a matrix.

    Args:
        scheme: The scheme that is wanted.
        rows: Rows of the matrix.
        columns: Its columns.
        overhead: Largest ratio of the codebooks' bits to those of the codes.

    Returns:
        `scheme` itself if it suits; if none does, the one with the smallest codebooks.
    """
    choices = [s for s in (scheme, *smaller_schemes(scheme)) if columns % s.group == 0]
    suiting = [s for s in choices if s.codebook_bits <= overhead * s.payload_bits(rows, columns)]
    return suiting[0] if suiting else min(choices or [scheme], key=lambda s: s.codebook_bits)
