"""QTIP passes the tests of every quantizer, with a table and with a computed code."""

from __future__ import annotations

from qharness.testing import QuantizerConformance


class TestHybrid(QuantizerConformance):
    module = "qharness_qtip"
    options = {"L": 9, "window": 64, "scale": 1.0, "iterations": 0}  # noqa: RUF012


class TestComputed(QuantizerConformance):
    module = "qharness_qtip"
    options = {"code": "3inst", "L": 8, "bits": 3, "window": 32}  # noqa: RUF012
    sizes = ((32, 64), (48, 32))
