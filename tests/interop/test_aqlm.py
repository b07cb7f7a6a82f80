"""Exported AQLM checkpoints in stock transformers with the `aqlm` package: the same logits as ours."""

from __future__ import annotations

import copy
import json
import os
import subprocess
import sys

import pytest
import torch

from qharness.artifacts.digest import model_digest
from qharness.calibration.corpus import Corpus
from qharness.host import Host
from qharness.jobs.export import export_artifact
from qharness.models.loaded import LoadedModel, LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.pipeline import quantize_model
from qharness.records import QuantizerRecord

pytestmark = pytest.mark.interop
QUICK = {"rounds": 1, "beam": 2, "refit_steps": 2, "kmeans_iterations": 3}
STOCK = """
import sys, torch
from transformers import AutoModelForCausalLM
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32).eval()
assert "aqlm.inference" in {type(module).__module__ for module in model.modules()}
assert "qharness" not in sys.modules
with torch.no_grad():
    torch.save(model(input_ids=torch.load(sys.argv[2])).logits, sys.argv[3])
"""


@pytest.fixture(scope="module")
def demo():
    return load_model(LoadRequest("demo", Host()))


def _first_blocks(loaded: LoadedModel, blocks: int) -> LoadedModel:
    config = copy.deepcopy(loaded.model.config)
    config.num_hidden_layers = blocks
    if getattr(config, "layer_types", None):
        config.layer_types = config.layer_types[:blocks]
    model = type(loaded.model)(config)
    state = loaded.model.state_dict()
    model.load_state_dict({name: state[name] for name in model.state_dict()})
    return LoadedModel(model.eval(), loaded.tokenizer, loaded.reference, model_digest(model), loaded.dtype)


def _stock_logits(folder, tokens, work):
    torch.save(tokens, work / "tokens.pt")
    command = [sys.executable, "-c", STOCK, str(folder), str(work / "tokens.pt"), str(work / "logits.pt")]
    # The package's CPU kernel adds to shared sums from all its threads.
    alone = os.environ | {"NUMBA_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env=alone, check=False)
    assert done.returncode == 0, done.stderr
    return torch.load(work / "logits.pt")


@pytest.mark.parametrize(
    ("model", "options", "scheme"),
    [
        ("demo", {}, (2, 8)),
        ("demo", {"scheme": "3x6", "shrink": False}, (3, 8)),
        ("smollm2", {}, (2, 8)),
    ],
)
def test_stock_transformers_computes_the_same_logits(request, tmp_path, model, options, scheme):
    host = Host()
    loaded = _first_blocks(request.getfixturevalue(model), 2)
    tokens = torch.randint(4, loaded.model.config.vocab_size, (4, 64), generator=torch.Generator().manual_seed(0))
    record = host.get(QuantizerRecord, "aqlm")
    quantize_model(
        loaded,
        record,
        record.options(**QUICK, **options),
        host=host,
        calibration=Corpus(tokens, "random"),
        hessians=None,
        seed=0,
        device="cpu",
        work=tmp_path / "work",
        out=tmp_path / "artifact",
    )
    public = export_artifact("aqlm", tmp_path / "artifact", tmp_path / "public", host)
    config = json.loads((public / "config.json").read_text())["quantization_config"]
    assert (config["num_codebooks"], config["nbits_per_codebook"]) == scheme
    sample = tokens[:1, :24]
    ours = load_model(LoadRequest(str(tmp_path / "artifact"), host)).model(input_ids=sample).logits
    read = load_model(LoadRequest(str(public), host)).model(input_ids=sample).logits
    stock = _stock_logits(public, sample, tmp_path)
    noise = 2**-8 * float(ours.std())
    assert (stock - ours).abs().max() < noise
    assert (read - ours).abs().max() < noise
