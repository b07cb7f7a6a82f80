"""Two-bit codes with a scale and a zero for each group of columns."""
