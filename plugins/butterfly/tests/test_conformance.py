"""ButterflyQuant passes the tests of every quantizer."""

from __future__ import annotations

from typing import ClassVar

from qharness.testing import QuantizerConformance


class TestUniform(QuantizerConformance):
    module = "qharness_butterfly"
    name = "butterfly"


class TestNearest(QuantizerConformance):
    module = "qharness_butterfly"
    name = "butterfly"
    options: ClassVar = {"feedback": False, "bits": 3}


class TestE8p(QuantizerConformance):
    module = "qharness_butterfly"
    name = "butterfly_e8p"
