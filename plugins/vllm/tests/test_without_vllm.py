"""What works, or is refused, where vLLM is not installed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from qharness.engines.base import EngineRequest, GenerationRequest
from qharness.errors import PluginError, UsageError
from qharness.host import default_host
from qharness.records import EngineRecord
from qharness_vllm import starting
from qharness_vllm.cache import bits_of, cache_for
from qharness_vllm.engine import fit


def test_import_and_listing_are_light():
    code = (
        "import sys; from qharness.host import Host; from qharness.records import EngineRecord; import qharness_vllm;"
        "Host().get(EngineRecord, 'vllm'); print([name for name in ('torch', 'vllm') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("is_folder", [False, True])
def test_absent_vllm_is_one_sentence_with_the_remedy(is_folder, monkeypatch, tmp_path):
    (tmp_path / "vllm").mkdir()
    found = __import__("importlib.util", fromlist=["util"]).find_spec
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setattr(starting, "find_spec", lambda name: found("vllm_absent" if not is_folder else "folder_only"))
    (tmp_path / "folder_only").mkdir()
    host = default_host()
    with pytest.raises(PluginError, match=r"vLLM, which is not installed; .*make vllm") as error:
        host.get(EngineRecord, "vllm").create(EngineRequest("demo", host))
    assert str(error.value).count(". ") == 0


def test_cache_of_a_width():
    assert cache_for("cpu", 16, "invisible") == "auto"
    assert cache_for("cuda", 4, "visible") == "int4_per_token_head"
    with pytest.raises(UsageError, match="4 bits on this device"):
        cache_for("cpu", 4, "visible")


@pytest.mark.parametrize(
    ("name", "bits"),
    [("auto", 16), ("bfloat16", 16), ("float16", 16), ("fp8", 8), ("fp8_e5m2", 8), ("int8_per_token_head", 8),
     ("int4_per_token_head", 4), ("turboquant_k8v4", 8), ("turboquant_3bit_nc", 4), ("nvfp4", 4)],
)  # fmt: skip
def test_width_of_a_cache(name, bits):
    assert bits_of(name) == bits


def test_prompt_is_cut_from_the_left():
    request = GenerationRequest(tuple(range(10)), (), 4)
    assert fit(request, 8).prompt == (6, 7, 8, 9)
    with pytest.raises(UsageError, match="fewer than 4 new tokens"):
        fit(request, 4)


def test_reason_of_a_refusal_is_one_line():
    error = ValueError(
        "1 validation error for VllmConfig\n  Value error, bits=2 is not read [type=value_error, x]\n  More"
    )
    assert starting.reason_of(error) == "bits=2 is not read"
    assert starting.reason_of(KeyError()) == "KeyError"
