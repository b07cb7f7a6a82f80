"""A small random model, its corpus, and a sequential quantizer with error feedback."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import pytest
import torch
from transformers import MistralConfig, MistralForCausalLM

from qharness import hookimpl
from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.host import Host
from qharness.models.loaded import LoadedModel
from qharness.quantization.base import Prepared
from qharness.quantization.grid_linear import GridLinear
from qharness.records import QuantizerRecord
from qharness.rounding.feedback import round_with_feedback
from qharness.rounding.grid import GridCode, GridSpec


@dataclass(frozen=True)
class Options:
    bits: int = 2
    damping: float = 0.01
    act_order: bool = False
    hessians: Literal["sequential", "store"] = "sequential"
    fail_at: str = ""


class Feedback:
    """GPTQ without anything else; counts its calls."""

    calls = 0

    def __init__(self, options):
        self.options = options

    def prepare(self, model, context):
        return Prepared()

    def quantize(self, linear, context):
        type(self).calls += 1
        if context.name == self.options.fail_at:
            raise RuntimeError("broken on purpose")
        assert context.hessian is not None
        noise = torch.rand((), generator=context.generator) * 1e-3
        code = GridCode(GridSpec(self.options.bits), 32)
        found = round_with_feedback(linear.weight + noise, context.hessian, code, damping=self.options.damping)
        return GridLinear(found.indices, code.table(), code.spec, 32, linear.bias)


class Plugin:
    @staticmethod
    @hookimpl
    def qharness_quantizers():
        yield QuantizerRecord(
            name="feedback",
            summary="",
            paper="",
            options=Options,
            create=Feedback,
            linear=lambda: GridLinear,
            needs="hessian",
            order="sequential",
            architectures=("mistral",),
            nominal_bits=lambda options: options.bits,
        )


@pytest.fixture
def host():
    from qharness import builtin

    missing = {} if any(status.name == "builtin" for status in Host().status) else {"builtin": builtin}
    return Host(extra={**missing, "feedback": Plugin()})


@pytest.fixture
def record(host):
    return host.get(QuantizerRecord, "feedback")


def make_model(seed=0):
    torch.manual_seed(seed)
    config = MistralConfig(
        vocab_size=64,
        hidden_size=64,
        intermediate_size=96,
        num_hidden_layers=3,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=64,
    )
    model = MistralForCausalLM(config).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.dim() == 2:
                parameter.mul_(4)
    return model


@pytest.fixture
def load():
    def make(seed=0):
        model = make_model(seed)
        return LoadedModel(model, None, f"model-{seed}", model_digest(model), torch.float32)

    return make


@pytest.fixture
def loaded(load):
    return load()


@pytest.fixture
def corpus():
    return Corpus(torch.randint(0, 64, (8, 32), generator=torch.Generator().manual_seed(0)), "random")
