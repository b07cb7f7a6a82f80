"""What is timed, and beside what."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from click.testing import CliRunner

from qharness.cli.bench_kernels import _chosen, command
from qharness.errors import UsageError
from qharness_kernels.bench.cases import Case, cases, names
from qharness_kernels.bench.references import UnusableReference, load_references
from qharness_kernels.bench.timing import ROTATED_BYTES, copies_for
from qharness_kernels.bench.variants import VARIANTS, random_weight
from qharness_kernels.registry import Implementation


def test_copies_exceed_the_cache() -> None:
    assert copies_for(14_680_064) * 14_680_064 > ROTATED_BYTES
    assert copies_for(10**9) == 1


def test_an_operation_stands_for_its_codes() -> None:
    assert _chosen(["trellis", "e8p"], names()) == ["hyb", "3inst", "1mad", "mul1", "e8p"]
    assert _chosen([], names()) == names()
    with pytest.raises(UsageError, match="no kernel 'e9p' to time; there are dense, int2"):
        _chosen(["e9p"], names())


def test_cases_have_the_sizes_of_an_11b_model() -> None:
    found = list(cases(["e8p", "e8p+hadamards", "clone"], [1, 16]))
    assert Case("e8p", 14336, 4096, 16) in found and Case("e8p", 1024, 4096, 1) in found
    assert [case for case in found if case.name == "e8p+hadamards"] == [Case("e8p+hadamards", 14336, 4096, 1)]
    assert Case("clone", 14336, 14336, 4096) in found


@pytest.mark.parametrize("name", VARIANTS)
def test_copies_of_a_matrix_are_the_matrix_elsewhere(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    monkeypatch.setenv("TRITON_INTERPRET", "1")
    monkeypatch.setattr(Implementation, "load", lambda self: SimpleNamespace(matmul=None))
    monkeypatch.setattr("qharness_kernels.bench.variants.SHARED_BYTES", 4096)
    weight = random_weight(VARIANTS[name], 512, 256, torch.float16, torch.device("cpu"))
    copy = weight.copy()
    assert copy.bytes == weight.bytes >= 512 * 256 // 4
    for part, value in vars(weight.prepared).items():
        other = getattr(copy.prepared, part)
        if isinstance(value, torch.Tensor):
            assert torch.equal(other, value)
            assert (other.data_ptr() != value.data_ptr()) == (value.nbytes > 4096)
        else:
            assert other == value


def test_references_are_dictionaries_of_modules(tmp_path: Path) -> None:
    (tmp_path / "other.py").write_text("KERNELS = {'e8p': lambda *size: None}")
    (tmp_path / "_helper.py").write_text("raise RuntimeError")
    found = load_references(tmp_path)
    assert list(found) == ["other"] and found["other"]["e8p"](1, 2, 3, torch.float16, 0) is None
    (tmp_path / "broken.py").write_text("import no_such_module")
    with pytest.raises(UnusableReference, match=r"broken.py cannot be imported: No module named"):
        load_references(tmp_path)
    (tmp_path / "broken.py").write_text("KERNELS = 3")
    with pytest.raises(UnusableReference, match="no dictionary KERNELS"):
        load_references(tmp_path)
    with pytest.raises(UnusableReference, match="no Python modules"):
        load_references(tmp_path / "nowhere")


@pytest.mark.skipif(torch.cuda.is_available(), reason="would time kernels")
def test_without_a_gpu_there_is_nothing_to_time() -> None:
    with pytest.raises(UsageError, match=r"There are no kernels to time: kernels need a GPU"):
        CliRunner().invoke(command, ["--op", "e8p"], catch_exceptions=False)
    with pytest.raises(UsageError, match=r"--rows 0,1: give positive numbers"):
        CliRunner().invoke(command, ["--rows", "0,1"], catch_exceptions=False)
