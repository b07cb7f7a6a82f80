from __future__ import annotations

import json

import pytest

from qharness_demo import MODEL_DIR
from qharness_demo.shards import stream
from qharness_demo.train import load_state, parser, schedule, train


def arguments(tmp_path, *more: str):
    base = ["--checkpoint", str(tmp_path / "ck"), "--out", str(tmp_path / "out"), "--steps", "8", "--layers", "1"]
    base += ["--batch", "2", "--rows", "4", "--length", "96", "--workers", "1", "--log", "2", "--ramp", "0.5"]
    return parser().parse_args([*base, *more])


def test_a_stopped_training_goes_on_where_it_was(tmp_path) -> None:
    assert not train(arguments(tmp_path, "--time-limit", "0"))
    saved = load_state(tmp_path / "ck")
    assert saved is not None and saved[1]["step"] == 2
    assert train(arguments(tmp_path))
    curve = (tmp_path / "out" / "loss_curve.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in curve] == ["step", "2", "4", "6", "8"]
    config = json.loads((tmp_path / "out" / "config.json").read_text())
    assert config["model_type"] == "mistral" and config["num_hidden_layers"] == 1


def test_the_stream_depends_on_the_seed_only_and_can_start_anywhere() -> None:
    whole = list(stream(MODEL_DIR, 5, 0, 3, 4, 64, 2, 1))
    rest = list(stream(MODEL_DIR, 5, 2, 3, 4, 64, 2, 1))
    assert (whole[2] == rest[0]).all()
    assert (whole[0] != whole[1]).any()
    assert whole[0].shape == (4, 65)


def test_learning_rate_rises_stays_and_falls() -> None:
    factors = [schedule(i, 1000, warmup=100) for i in (0, 99, 300, 750, 999)]
    assert factors == pytest.approx([0.01, 1.0, 1.0, 0.5, 0.02])
