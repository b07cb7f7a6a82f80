"""Tools for authors of plugins: tests that every quantizer passes. Needs pytest."""

from __future__ import annotations

from qharness.testing.quantizer import QuantizerConformance

__all__ = ["QuantizerConformance"]
