"""The GGUF loader against transformers' own reading of the same file."""

from __future__ import annotations

import pytest
import torch

from qharness.errors import CorruptArtifact, MissingModel
from qharness.host import Host
from qharness.models.gguf.loading import load_gguf
from qharness.models.loaded import LoadRequest

pytestmark = [pytest.mark.interop, pytest.mark.slow]


def test_weights_equal_those_of_transformers(smollm2, smollm2_file) -> None:
    from transformers import AutoModelForCausalLM

    reference = AutoModelForCausalLM.from_pretrained(
        smollm2_file.parent, gguf_file=smollm2_file.name, dtype=torch.float32
    ).state_dict()
    ours = smollm2.model.state_dict()
    assert set(ours) == set(reference)
    assert all(torch.equal(ours[name], reference[name]) for name in ours)
    assert "Q4_1" in smollm2.notice


def test_truncated_file_is_refused(smollm2_file, tmp_path) -> None:
    torn = tmp_path / "torn.gguf"
    torn.write_bytes(smollm2_file.read_bytes()[:40_000_000])
    with pytest.raises(CorruptArtifact, match="truncated"):
        load_gguf(LoadRequest(str(torn), Host()))


def test_no_such_file(tmp_path) -> None:
    with pytest.raises(MissingModel, match="no GGUF file"):
        load_gguf(LoadRequest(str(tmp_path / "none.gguf"), Host()))
