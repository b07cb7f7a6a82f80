"""AWQ passes the tests of every quantizer, rounded to nearest and with error feedback."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from qharness.testing import QuantizerConformance


class TestAwq(QuantizerConformance):
    module = "qharness_awq"


class TestAwqGptq(QuantizerConformance):
    module = "qharness_awq"
    options: ClassVar[Mapping[str, Any]] = {"rounding": "gptq", "grid": "midrise"}
