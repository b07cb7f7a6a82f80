"""RTN passes the tests of every quantizer."""

from __future__ import annotations

from qharness.testing import QuantizerConformance


class TestRtn(QuantizerConformance):
    module = "qharness_rtn"
