from __future__ import annotations

import json
import subprocess
import sys

import pytest
import torch

from qharness.errors import CorruptArtifact, UsageError
from qharness.transforms.contract import MapSpec, TransformEntry, hadamard_entry, needed
from qharness.transforms.fingerprint import agrees, fingerprint
from qharness_kernels.hadamard import hadamard_transform

R4 = {"id": "r4", "modules": "model.layers.*.mlp.down_proj", "site": "linear_input"}


def test_entry_survives_json() -> None:
    signs = torch.ones(96)
    signs[5] = -1
    entry = hadamard_entry(**R4, size=96, block=48, signs="s", sign_vector=signs, needed_if="kv_bits < 16")
    assert TransformEntry.from_json(json.loads(json.dumps(entry.to_json()))) == entry
    assert entry.map.factor == 12 and entry.kind == "r4"


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"later": 1}, "unknown field 'later'"),
        ({"required": 1}, "'required'"),
        ({"site": "o_input"}, "'site'"),
        ({"fingerprint": ["a"]}, "'fingerprint'"),
        ({"needed_if": "__import__('os')"}, "kv_bits < 16"),
        ({"map": []}, "'map'"),
        ({"id": None}, "'id'"),
        ({"map": {"size": 96}}, "lacks the field"),
        ({"map": {"block": 7}}, "does not divide"),
        ({"map": {"factor": 20}}, "factor 20"),
        ({"map": {"normalisation": "none"}}, "normalisation"),
        ({"map": {"size": "96"}}, "'size'"),
        ({"map": {"parameters": {"x": [1]}}}, "'parameters'"),
    ],
)
def test_strange_fields_make_the_artifact_corrupt(change, words) -> None:
    data = hadamard_entry(**R4, size=96).to_json()
    if isinstance(change.get("map"), dict) and change["map"] != {"size": 96}:
        change = {"map": {**data["map"], **change["map"]}}
    with pytest.raises(CorruptArtifact, match=words):
        TransformEntry.from_json({**data, **change})


@pytest.mark.parametrize("data", [None, [], "r4", {}])
def test_no_object_is_no_entry(data) -> None:
    with pytest.raises(CorruptArtifact):
        TransformEntry.from_json(data)


@pytest.mark.parametrize(
    ("condition", "bits", "expected"),
    [
        (None, 16, True), ("kv_bits < 16", 16, False), ("kv_bits < 16", 4, True), ("kv_bits<=8", 8, True),
        ("kv_bits == 2", 4, False), ("kv_bits >= 16", 16, True), (" kv_bits > 4 ", 4, False),
    ],
)  # fmt: skip
def test_conditions(condition, bits, expected) -> None:
    entry = TransformEntry("x", "x", "*", "linear_input", MapSpec("other", 4), needed_if=condition)
    assert needed(entry, bits) is expected


def test_impossible_descriptions_are_refused() -> None:
    with pytest.raises(UsageError, match="block"):
        hadamard_entry(**R4, size=14 * 17)
    with pytest.raises(UsageError, match="does not divide"):
        hadamard_entry(**R4, size=100, block=64)
    with pytest.raises(UsageError, match="kv_bits"):
        hadamard_entry(**R4, size=64, needed_if="always")
    with pytest.raises(UsageError, match="vector"):
        hadamard_entry(**R4, size=64, signs="s")


def test_fingerprint_sees_every_coordinate_and_ignores_float32_noise() -> None:
    size, block = 1792, 128
    signs = torch.ones(size)
    reference = fingerprint(lambda x: hadamard_transform(x, block=block, signs=signs), size)
    assert agrees(fingerprint(lambda x: hadamard_transform(x.float(), block=block, signs=signs), size), reference)
    for index in range(0, size, 97):
        flipped = signs.clone()
        flipped[index] = -1
        assert not agrees(
            fingerprint(lambda x, s=flipped: hadamard_transform(x, block=block, signs=s), size), reference
        )
    assert not agrees(fingerprint(lambda x: hadamard_transform(x, block=256, signs=signs), size), reference)
    assert not agrees(fingerprint(lambda x: hadamard_transform(x, block=block, inverse=True) * 1.001, size), reference)


def test_fingerprint_is_the_same_in_every_process_and_release() -> None:
    expected = (0.431093696, -0.158834416, 0.103802296)
    assert hadamard_entry(**R4, size=768).fingerprint[:3] == pytest.approx(expected, abs=1e-8)


def test_reading_a_contract_needs_no_torch() -> None:
    code = (
        "import sys; import qharness.builtin, qharness.transforms.contract, qharness.artifacts.reader;"
        "from qharness.host import Host; from qharness import builtin;"
        "list(builtin.qharness_loaders()); list(builtin.qharness_runtime_transforms());"
        "assert 'torch' not in sys.modules and 'transformers' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
