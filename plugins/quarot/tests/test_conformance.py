"""QuaRot passes the tests of every quantizer."""

from __future__ import annotations

from qharness.testing import QuantizerConformance


class TestQuaRot(QuantizerConformance):
    module = "qharness_quarot"
