"""QuIP# passes the tests of every quantizer."""

from __future__ import annotations

from typing import Any, ClassVar

from qharness.testing import QuantizerConformance


class TestTwoBits(QuantizerConformance):
    module = "qharness_quip_sharp"
    options: ClassVar[dict[str, Any]] = {"iterations": 1}
    sizes = ((32, 64), (24, 50))


class TestThreeBits(QuantizerConformance):
    module = "qharness_quip_sharp"
    options: ClassVar[dict[str, Any]] = {"bits": 3, "row_scales": False, "scale": 0.9, "iterations": 0}
    sizes = ((32, 64), (24, 50))


class TestFourBits(QuantizerConformance):
    module = "qharness_quip_sharp"
    options: ClassVar[dict[str, Any]] = {"bits": 4, "scale": 0.9, "iterations": 0}
    sizes = ((32, 64), (24, 50))
