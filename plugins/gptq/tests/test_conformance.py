"""GPTQ passes the tests of every quantizer, with the defaults and with stored group indices."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

from qharness.testing import QuantizerConformance


class TestGptq(QuantizerConformance):
    module = "qharness_gptq"


class TestSortedColumns(QuantizerConformance):
    module = "qharness_gptq"
    options: ClassVar[Mapping[str, Any]] = {"act_order": "columns", "grid": "symmetric", "clip_weighted": True}
