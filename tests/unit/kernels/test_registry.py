from __future__ import annotations

import pytest
import torch

from qharness_kernels import registry
from qharness_kernels.interpreting import interpreted
from qharness_kernels.registry import KernelUnavailable, choose, implementations, obstacle


def test_every_operation_has_a_reference_last():
    for op in ("hadamard", "butterfly"):
        assert implementations(op)[-1].name == "reference"
        assert implementations(op)[-1].load() is not None


def test_a_kernel_asked_for_by_name_is_refused_with_the_reason_and_never_replaced():
    with pytest.raises(KernelUnavailable, match=r"'hadamard': kernels need a GPU.*device 'cpu'.*--kernels auto"):
        choose("hadamard", "cpu", "triton")
    with pytest.raises(KernelUnavailable, match="13 is odd"):
        choose("hadamard", "cuda", "triton", "13 is odd")


def test_auto_says_why_it_is_the_reference_on_a_gpu_and_needs_no_excuse_on_a_cpu():
    assert choose("hadamard", "cuda").implementation.name == "triton"
    chosen = choose("hadamard", "cuda", "auto", "13 is odd")
    assert (chosen.implementation.name, chosen.reason) == ("reference", "13 is odd")
    assert choose("hadamard", "cpu") == (implementations("hadamard")[-1], "")
    assert choose("hadamard", "cuda", "reference") == (implementations("hadamard")[-1], "")


def test_cuda_comes_before_triton_and_triton_before_the_reference(monkeypatch):
    names = [found.name for found in implementations("int2")]
    assert names == ["cuda", "triton", "reference"]
    monkeypatch.setattr(registry, "_cuda_obstacle", lambda device: "")
    assert choose("int2", "cuda") == (implementations("int2")[0], "")
    monkeypatch.setattr(registry, "_cuda_obstacle", lambda device: "there is no NVRTC")
    for switch in ("auto", "triton"):
        assert choose("int2", "cuda", switch) == (implementations("int2")[1], "there is no NVRTC")
    chosen = choose("int2", "cuda", "auto", "codes of 3 bits have no kernel")
    assert (chosen.implementation.name, chosen.reason) == ("reference", "codes of 3 bits have no kernel")
    found = implementations("int2")
    monkeypatch.setattr(registry, "implementations", lambda op: (found[0], found[-1]))
    assert choose("int2", "cuda") == (found[-1], "there is no NVRTC")
    with pytest.raises(KernelUnavailable, match=r"'int2': there is no NVRTC; use"):
        choose("int2", "cuda", "triton")


def test_interpreted_kernels_are_those_of_triton(monkeypatch):
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    assert choose("int2", "cpu") == (implementations("int2")[1], "Triton's interpreter runs no CUDA kernels")


def test_unknown_names_are_refused():
    with pytest.raises(KernelUnavailable, match="no operation 'hadamart'"):
        choose("hadamart", "cpu")
    with pytest.raises(KernelUnavailable, match="'cuda'; there are auto, reference, triton"):
        choose("hadamard", "cuda", "cuda")


def test_without_triton_the_reason_is_that(monkeypatch):
    monkeypatch.setattr(registry, "find_spec", lambda name: None)
    assert obstacle("cuda") == "Triton is not installed"


def test_the_interpreter_has_a_process_of_its_own(monkeypatch):
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    assert interpreted("qharness_kernels.registry", "obstacle", torch.device("cpu")) == ""
    assert obstacle("cpu")
