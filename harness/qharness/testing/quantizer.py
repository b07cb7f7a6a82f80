"""Tests that every quantizer passes: subclass, name the module and the record, run pytest."""

from __future__ import annotations

import dataclasses
import importlib
import json
import re
import subprocess
import sys
from collections.abc import Mapping
from typing import Any, ClassVar

import pluggy
import pytest
import torch
from safetensors.torch import load, save
from torch import Tensor, nn

from qharness import hookspecs
from qharness.errors import QharnessError, normalize_name
from qharness.quantization.linear import QuantizedLinear
from qharness.records import QuantizerRecord
from qharness.testing.problems import Problem, make_context, make_problem
from qharness_kernels.registry import implementations

HEAVY = ("torch", "transformers", "lm_eval", "datasets", "pandas")


class QuantizerConformance:
    """The conformance tests of a quantizer.

    A test that a method cannot pass is overridden in the subclass with `pytest.mark.xfail(reason=...)`, so that
    the exception is written down.

    Attributes:
        module: Import name of the plugin's top module: what the entry point names.
        name: Name of the quantizer's record; needed only if the plugin offers more than one.
        options: Options to test with, by field name; the defaults otherwise.
        sizes: (out_features, in_features) of the layers to quantize.

    Example:
        ```python
        class TestMyMethod(QuantizerConformance):
            module = "qharness_mymethod"
        ```
    """

    module: ClassVar[str]
    name: ClassVar[str] = ""
    options: ClassVar[Mapping[str, Any]] = {}
    sizes: ClassVar[tuple[tuple[int, int], ...]] = ((96, 128), (64, 256))

    @pytest.fixture
    def record(self) -> QuantizerRecord:
        """The record under test."""
        offered = list(importlib.import_module(self.module).qharness_quantizers())
        found = [r for r in offered if not self.name or normalize_name(r.name) == normalize_name(self.name)]
        names = [r.name for r in offered]
        assert len(found) == 1, f"Set `name` to one of the quantizers of {self.module}: {names}."
        return found[0]

    @pytest.fixture(params=[False, True], ids=["plain", "bias"])
    def bias(self, request: pytest.FixtureRequest) -> bool:
        """Whether the layers have a bias."""
        return bool(request.param)

    @pytest.fixture
    def problems(self, bias: bool) -> list[Problem]:
        """The layers to quantize."""
        return [make_problem(*size, bias=bias, seed=index) for index, size in enumerate(self.sizes)]

    @pytest.fixture
    def layers(self, record: QuantizerRecord, problems: list[Problem]) -> list[QuantizedLinear]:
        """The quantized layers, in the order of `problems`."""
        return [self.quantize(record, problem) for problem in problems]

    def quantize(self, record: QuantizerRecord, problem: Problem, seed: int = 0) -> QuantizedLinear:
        """Quantize one layer with a fresh quantizer."""
        quantizer = record.create(record.options(**self.options))
        return quantizer.quantize(problem.linear, make_context(problem, record, seed))

    def test_hooks_exist(self) -> None:
        """Every hook implementation has a name and arguments that qharness knows."""
        manager = pluggy.PluginManager("qharness")
        manager.add_hookspecs(hookspecs)
        manager.register(importlib.import_module(self.module))
        manager.check_pending()

    def test_import_is_light(self) -> None:
        """Importing the plugin and asking for its quantizers loads nothing heavy."""
        code = (
            f"import sys, {self.module} as plugin; list(plugin.qharness_quantizers()); "
            f"print(*[name for name in {HEAVY!r} if name in sys.modules])"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.split() == [], "import these inside the functions that need them"

    def test_record_is_complete(self, record: QuantizerRecord) -> None:
        """Name, summary and declarations are usable."""
        assert re.fullmatch(r"[a-z][a-z0-9_-]*", record.name), "lower-case letters, digits, - and _"
        assert record.summary and "\n" not in record.summary
        assert record.needs in ("hessian", "inputs", "none")
        assert record.order in ("independent", "sequential")
        assert record.architectures and all(isinstance(name, str) for name in record.architectures)
        assert 0 < record.nominal_bits(record.options(**self.options)) <= 16

    def test_options_are_documented(self, record: QuantizerRecord) -> None:
        """Options are a frozen dataclass whose fields have defaults and help."""
        assert dataclasses.is_dataclass(record.options)
        options: Any = record.options()
        if dataclasses.fields(record.options):
            first = dataclasses.fields(record.options)[0].name
            with pytest.raises(dataclasses.FrozenInstanceError):
                setattr(options, first, None)
        undocumented = [f.name for f in dataclasses.fields(record.options) if not f.metadata.get("help")]
        assert undocumented == [], 'give these metadata={"help": ...}'

    def test_layer_is_of_the_recorded_class(
        self, record: QuantizerRecord, problems: list[Problem], layers: list[QuantizedLinear]
    ) -> None:
        """`quantize` returns what `linear` names, of the size of the layer, without trainable parameters."""
        for problem, layer in zip(problems, layers, strict=True):
            assert isinstance(layer, record.linear())
            size = (problem.linear.out_features, problem.linear.in_features)
            assert (layer.out_features, layer.in_features) == size
            assert not list(layer.parameters())

    def test_dequantize(self, problems: list[Problem], layers: list[QuantizedLinear]) -> None:
        """The weight comes back finite, float32, in shape."""
        for problem, layer in zip(problems, layers, strict=True):
            weight = layer.dequantize()
            assert weight.shape == problem.linear.weight.shape
            assert weight.dtype == torch.float32
            assert torch.isfinite(weight).all()

    def test_result_is_better_than_nothing(self, problems: list[Problem], layers: list[QuantizedLinear]) -> None:
        """On the calibration inputs the layer is nearer to the original than a layer of zeros is."""
        for problem, layer in zip(problems, layers, strict=True):
            weight = problem.linear.weight.detach()
            assert _loss(layer.dequantize() - weight, problem.hessian) < _loss(weight, problem.hessian)

    def test_forward_is_the_dequantized_linear(self, problems: list[Problem], layers: list[QuantizedLinear]) -> None:
        """`forward` equals x W^T + b with the dequantized weight, for any leading dimensions, cached or not."""
        for problem, layer in zip(problems, layers, strict=True):
            x = problem.inputs[:15].reshape(3, 5, -1)
            expected = nn.functional.linear(x, layer.dequantize(), problem.linear.bias)
            torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)
            layer.cache_weight(True)
            torch.testing.assert_close(layer(x), layer(x), rtol=0, atol=0)
            torch.testing.assert_close(layer(x), expected, rtol=1e-4, atol=1e-4)

    def test_forward_keeps_the_activation_type(self, record: QuantizerRecord) -> None:
        """bfloat16 in, bfloat16 out."""
        problem = make_problem(*self.sizes[0], bias=False)
        assert self.quantize(record, problem)(problem.inputs[:2].bfloat16()).dtype == torch.bfloat16

    def test_round_trip(self, problems: list[Problem], layers: list[QuantizedLinear]) -> None:
        """Tensors through safetensors and numbers through JSON give the same layer, to the bit."""
        for problem, layer in zip(problems, layers, strict=True):
            tensors = load(save(layer.tensors()))
            again = type(layer).from_tensors(tensors, json.loads(json.dumps(layer.spec())))
            assert torch.equal(again.dequantize(), layer.dequantize())
            assert torch.equal(again(problem.inputs[:4]), layer(problem.inputs[:4]))
            assert again.stored_bits() == layer.stored_bits()

    def test_a_missing_tensor_is_a_clear_error(self, layers: list[QuantizedLinear]) -> None:
        """An artifact that lacks a tensor is refused with an error of qharness, not a KeyError."""
        layer = layers[0]
        for name in layer.tensors():
            if name != "bias":
                rest = {key: tensor for key, tensor in layer.tensors().items() if key != name}
                with pytest.raises(QharnessError):
                    type(layer).from_tensors(rest, layer.spec())

    def test_stored_bits_count_everything(self, layers: list[QuantizedLinear]) -> None:
        """The stored bits are those of all tensors but the bias: codes, scales, codebooks, signs, padding."""
        for layer in layers:
            stored = {k: t.numel() * t.element_size() * 8 for k, t in layer.tensors().items() if k != "bias"}
            assert sum(layer.stored_bits().values()) == sum(stored.values()), f"stored: {stored}"

    def test_what_kernels_are_given_is_the_weight(self, layers: list[QuantizedLinear]) -> None:
        """The operation that `packed` names decodes its arguments to the layer's weight, before and after repacking."""
        for layer in layers:
            packed = layer.packed()
            if packed is None or packed.refusal:
                continue
            reference = implementations(packed.op)[-1].load()
            torch.testing.assert_close(reference.dequantize(**packed.arguments), layer.dequantize(), rtol=1e-6, atol=0)
            prepared = importlib.import_module(f"qharness_kernels.{packed.op}.layout").prepare(**packed.arguments)
            assert (prepared.out_features, prepared.in_features) == (layer.out_features, layer.in_features)

    @pytest.mark.gpu
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
    @pytest.mark.parametrize("rows", [1, 5, 16, 40])
    @pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
    def test_kernels_compute_the_dequantized_linear(
        self, problems: list[Problem], layers: list[QuantizedLinear], rows: int, dtype: torch.dtype
    ) -> None:
        """On a GPU the kernel's error is at most twice that of a product in the activations' type."""
        for problem, layer in zip(problems, layers, strict=True):
            served = layer.to("cuda")
            use = served.use_kernels("auto", torch.device("cuda"), dtype)
            packed = served.packed()
            if packed is None or packed.refusal:
                assert use.kernel == "reference" and use.reason
                continue
            assert use.kernel in ("cuda", "triton")
            x = problem.inputs[:rows].to("cuda", dtype)
            bias = None if served.bias is None else served.bias.double()
            exact = nn.functional.linear(x.double(), served.dequantize().double(), bias)
            plain = nn.functional.linear(x, served.dequantize().to(dtype), None if bias is None else bias.to(dtype))
            error, least = ((found.double() - exact).norm() for found in (served(x), plain))
            assert error <= 2 * least

    def test_same_seed_same_tensors(
        self, record: QuantizerRecord, problems: list[Problem], layers: list[QuantizedLinear]
    ) -> None:
        """Randomness comes from the context's generator alone, not from the global one."""
        for problem, layer in zip(problems, layers, strict=True):
            torch.rand(7)
            again = self.quantize(record, problem).tensors()
            assert again.keys() == layer.tensors().keys()
            assert all(torch.equal(again[name], tensor) for name, tensor in layer.tensors().items())

    def test_input_is_left_alone(self, record: QuantizerRecord, problems: list[Problem]) -> None:
        """`quantize` changes neither the layer nor what the context holds."""
        for problem in problems:
            before = {name: tensor.detach().clone() for name, tensor in problem.linear.state_dict().items()}
            context = make_context(problem, record)
            record.create(record.options(**self.options)).quantize(problem.linear, context)
            assert all(torch.equal(before[name], tensor) for name, tensor in problem.linear.state_dict().items())
            assert all(parameter.requires_grad for parameter in problem.linear.parameters())
            for kept, given in ((problem.hessian, context.hessian), (problem.inputs, context.inputs)):
                assert given is None or torch.equal(kept, given)


def _loss(difference: Tensor, hessian: Tensor) -> float:
    return float((difference.detach() @ hessian * difference.detach()).sum())
