"""IQ2_XXS passes the tests of every quantizer; 128 inputs are no superblock and get the fallback type."""

from __future__ import annotations

from typing import ClassVar

from qharness.testing import QuantizerConformance


class TestIq2Xxs(QuantizerConformance):
    module = "qharness_iq2_xxs"


class TestDiagonal(QuantizerConformance):
    module = "qharness_iq2_xxs"
    options: ClassVar = {"feedback": False, "passes": 0}
    sizes = ((32, 512),)
