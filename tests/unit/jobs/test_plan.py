"""What a plan decides by itself."""

from __future__ import annotations

import json

import pytest

from qharness.host import Host
from qharness.jobs.plan import default_data


@pytest.mark.parametrize(
    ("base", "data"), [("demo", "embedded"), ("speakleash/Bielik-11B-v2.3-Instruct", "hub"), (None, "hub")]
)
def test_an_artifact_is_measured_on_the_data_of_its_base_model(tmp_path, base, data) -> None:
    (tmp_path / "manifest.json").write_text(json.dumps({"base_model": base}))
    assert default_data(str(tmp_path), Host()) == data


def test_a_damaged_manifest_is_no_reason_to_stop_here(tmp_path) -> None:
    (tmp_path / "manifest.json").write_text("{")
    assert default_data(str(tmp_path), Host()) == "hub"
    assert default_data("demo", Host()) == "embedded"
