"""The conformance kit fails quantizers that break the contract, each for its own reason."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field, replace
from types import SimpleNamespace

import pytest
import torch

from qharness import hookimpl
from qharness.errors import CorruptArtifact
from qharness.quantization.base import Prepared
from qharness.quantization.linear import QuantizedLinear
from qharness.records import QuantizerRecord
from qharness.testing import QuantizerConformance
from qharness.testing.problems import make_context, make_problem


@dataclass(frozen=True)
class Options:
    noise: float = field(default=0.0, metadata={"help": "Random rounding."})


class Rows(QuantizedLinear):
    """int8 codes with a float16 scale a row."""

    def __init__(self, codes, scales, bias):
        super().__init__()
        self.out_features, self.in_features = codes.shape
        for name, tensor in (("codes", codes), ("scales", scales), ("bias", bias)):
            self.register_buffer(name, tensor)

    @classmethod
    def from_tensors(cls, tensors, spec):
        if not {"codes", "scales"} <= set(tensors):
            raise CorruptArtifact("A tensor is missing; make the artifact again.")
        return cls(tensors["codes"], tensors["scales"], tensors.get("bias"))

    def spec(self):
        return {}

    def dequantize(self):
        return self.codes.float() * self.scales.float()

    def stored_bits(self):
        return {"payload": self.codes.numel() * 8, "scales": self.scales.numel() * 16}


class Rounding:
    layer = Rows

    def prepare(self, model, context):
        return Prepared()

    def quantize(self, linear, context):
        weight = linear.weight.detach()
        scales = (weight.abs().amax(dim=1, keepdim=True) / 127).half()
        noise = torch.rand(weight.shape, generator=self.generator(context)) - 0.5
        codes = (weight / scales.float() + noise).round().clamp(-127, 127).to(torch.int8)
        return self.layer(codes, scales, None if linear.bias is None else linear.bias.detach().clone())

    def generator(self, context):
        return context.generator


def record_of(quantizer, **changes):
    record = QuantizerRecord(
        name="rows", summary="8-bit rows", paper="", options=Options, create=lambda options: quantizer(),
        linear=lambda: quantizer.layer, needs="none", order="independent", architectures=("llama",),
        nominal_bits=lambda options: 8.0,
    )  # fmt: skip
    return replace(record, **changes)


def kit(record, monkeypatch):
    module = SimpleNamespace(qharness_quantizers=hookimpl(lambda: iter([record])))
    monkeypatch.setitem(sys.modules, "conformance_example", module)
    return type("Kit", (QuantizerConformance,), {"module": "conformance_example"})()


def call(test, record, monkeypatch):
    """Run one test of the kit as pytest would."""
    tests = kit(record, monkeypatch)
    problems = [make_problem(*size, bias=True, seed=i) for i, size in enumerate(tests.sizes)]
    given = {
        "record": lambda: record,
        "problems": lambda: problems,
        "layers": lambda: [tests.quantize(record, p) for p in problems],
    }
    function = getattr(tests, test)
    wanted = function.__func__.__code__.co_varnames[1 : function.__func__.__code__.co_argcount]
    return function(**{name: given[name]() for name in wanted})


def is_called(name):
    """Tests of the kit that need no GPU; the example has no module whose import could be light."""
    marks = {mark.name for mark in getattr(getattr(QuantizerConformance, name), "pytestmark", ())}
    return name.startswith("test_") and name != "test_import_is_light" and "gpu" not in marks


TESTS = [name for name in vars(QuantizerConformance) if is_called(name)]


@pytest.mark.parametrize("test", TESTS)
def test_a_correct_quantizer_passes(test, monkeypatch):
    call(test, record_of(Rounding), monkeypatch)


def broken(**parts):
    """Return a quantizer class whose layer has some methods replaced."""
    return type("Broken", (Rounding,), {"layer": type("BrokenRows", (Rows,), parts)})


class GlobalRandomness(Rounding):
    def generator(self, context):
        return None


class Vandal(Rounding):
    def quantize(self, linear, context):
        with torch.no_grad():
            linear.weight.mul_(0.5)
        return super().quantize(linear, context)


def forgetful(cls, tensors, spec):
    return cls(tensors["codes"], tensors["scales"], tensors.get("bias"))


@pytest.mark.parametrize(
    ("test", "quantizer"),
    [
        ("test_stored_bits_count_everything", broken(stored_bits=lambda self: {"payload": self.codes.numel() * 8})),
        ("test_same_seed_same_tensors", GlobalRandomness),
        ("test_input_is_left_alone", Vandal),
        ("test_dequantize", broken(dequantize=lambda self: self.codes * self.scales)),
        ("test_dequantize", broken(dequantize=lambda self: (self.codes.float() * self.scales.float()).T)),
        (
            "test_result_is_better_than_nothing",
            broken(dequantize=lambda self: -self.codes.float() * self.scales.float()),
        ),
        ("test_forward_is_the_dequantized_linear", broken(forward=lambda self, x: x @ self.dequantize().T)),
        ("test_round_trip", broken(spec=lambda self: {"seed": torch.ones(1)})),
        ("test_a_missing_tensor_is_a_clear_error", broken(from_tensors=classmethod(forgetful))),
    ],
)
def test_a_broken_quantizer_fails(test, quantizer, monkeypatch):
    with pytest.raises((AssertionError, TypeError, KeyError, pytest.fail.Exception)):
        call(test, record_of(quantizer), monkeypatch)


@dataclass
class Loose:
    bits: int = 2


@pytest.mark.parametrize(
    ("test", "changes"),
    [
        ("test_options_are_documented", {"options": Loose}),
        ("test_record_is_complete", {"name": "My Method"}),
        ("test_record_is_complete", {"needs": "gradients"}),
        ("test_record_is_complete", {"nominal_bits": lambda options: 0}),
        ("test_layer_is_of_the_recorded_class", {"linear": lambda: torch.nn.Linear}),
    ],
)
def test_a_careless_record_fails(test, changes, monkeypatch):
    with pytest.raises((AssertionError, pytest.fail.Exception)):
        call(test, record_of(Rounding, **changes), monkeypatch)


@pytest.mark.parametrize(
    ("needs", "given"), [("none", (False, False)), ("hessian", (True, False)), ("inputs", (False, True))]
)
def test_a_quantizer_sees_only_what_it_asked_for(needs, given):
    problem = make_problem(8, 16, bias=False)
    context = make_context(problem, record_of(Rounding, needs=needs))
    assert (context.hessian is not None, context.inputs is not None) == given


def test_the_hessian_is_that_of_the_inputs_and_correlated():
    problem = make_problem(8, 16, bias=False)
    expected = torch.einsum("ti,tj->ij", problem.inputs, problem.inputs) / len(problem.inputs)
    torch.testing.assert_close(problem.hessian, expected)
    diagonal = problem.hessian.diagonal()
    off = problem.hessian / (diagonal[:, None] * diagonal[None]).sqrt() - torch.eye(16)
    assert off.abs().max() > 0.2
