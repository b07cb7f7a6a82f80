"""IQ2_XXS against llama.cpp itself: its encoder as the oracle, and its runtime on a file of ours.

llama-cpp-python compiles llama.cpp when it is installed, which takes a quarter of an hour of one core, so it is no
requirement of the tests: `pip install llama-cpp-python`, then `pytest tests/interop/test_llama_cpp.py`.
"""

from __future__ import annotations

from itertools import islice

import pytest

from qharness.calibration.corpus import pack_corpus
from qharness.engines.base import EngineRequest, GenerationRequest
from qharness.engines.hf import HfEngine
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import EngineRecord, QuantizerRecord
from qharness_demo.corpus import calibration_text

pytestmark = pytest.mark.interop
pytest.importorskip("llama_cpp", reason="needs llama-cpp-python, which compiles llama.cpp")


def test_our_encoder_has_no_larger_error_than_llama_cpp():
    from qharness_iq2_xxs import comparison
    from qharness_iq2_xxs.linear import BlockLinear

    encoders = comparison.encoders(comparison._library())
    for weight, importance in comparison.random_matrices(16).values():
        errors = {}
        for name in ("llama.cpp", "ours, diagonal", "ours, least"):
            rounded = BlockLinear(encoders[name](weight, importance, "IQ2_XXS"), "IQ2_XXS", None).dequantize()
            errors[name] = comparison.weighted_error(weight, rounded, importance)
        assert errors["ours, least"] < errors["ours, diagonal"] < errors["llama.cpp"]


def test_llama_cpp_writes_what_our_engine_writes(tmp_path):
    host = Host()
    demo = load_model(LoadRequest("demo", host))
    record = host.get(QuantizerRecord, "iq2_xxs")
    texts = calibration_text(0, 20_000)
    quantize_model(
        demo,
        record,
        record.options(mix="pure", feedback=False, passes=0),
        host=host,
        calibration=pack_corpus(texts, demo.tokenizer, source="demo", samples=4, length=128, seed=0),
        hessians=None,
        seed=0,
        device="cpu",
        work=tmp_path / "work",
        out=tmp_path / "artifact",
    )
    file = str(export_artifact("gguf", tmp_path / "artifact", tmp_path / "folder", host) / "model.gguf")
    prompts = [
        GenerationRequest(tuple(demo.tokenizer(text)["input_ids"]), ("\n",), 24)
        for text in (sample[:80] for sample in islice(calibration_text(5, 400), 4))
    ]
    request = EngineRequest(file, host)
    llama = host.get(EngineRecord, "llama_cpp").create(request).generate(prompts, lambda done, total: None)
    torch_engine = HfEngine(load_model(LoadRequest(file, host)), request)
    ours = torch_engine.generate(prompts, lambda done, total: None)
    same = [a.tokens[:8] == b.tokens[:8] for a, b in zip(llama, ours, strict=True)]
    assert sum(same) >= 3, [(a.text, b.text) for a, b in zip(llama, ours, strict=True)]
