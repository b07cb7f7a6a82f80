"""AQLM passes the tests of every quantizer."""

from __future__ import annotations

from typing import ClassVar

from qharness.testing import QuantizerConformance


class TestAqlm(QuantizerConformance):
    module = "qharness_aqlm"


class TestTwoCodebooks(QuantizerConformance):
    module = "qharness_aqlm"
    options: ClassVar = {"scheme": "2x5", "shrink": False}
