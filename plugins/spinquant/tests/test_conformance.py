"""SpinQuant passes the tests of every quantizer."""

from __future__ import annotations

from qharness.testing import QuantizerConformance


class TestSpinQuant(QuantizerConformance):
    module = "qharness_spinquant"
