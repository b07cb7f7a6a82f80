"""Runs shared by the functional tests."""

from __future__ import annotations

import copy
import subprocess
import sys
from pathlib import Path

import pytest


def qharness(*arguments: str, cwd: Path, timeout: float = 600) -> subprocess.CompletedProcess[str]:
    """Run the command line in a fresh process."""
    code = "from qharness.cli import main; main()"
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False, timeout=timeout)


@pytest.fixture(scope="session")
def finished_run(tmp_path_factory):
    """A small run: baseline and RTN on two documents a task of one suite."""
    folder = tmp_path_factory.mktemp("finished")
    arguments = ("run", "--plugin", "rtn", "--suite", "polish22-mc", "--limit", "2", "--evaluators", "mc")
    done = qharness(*arguments, cwd=folder)
    assert done.returncode == 0, done.stderr
    return next((folder / "runs").glob("2*"))


@pytest.fixture(scope="session")
def spinquant_artifact(tmp_path_factory):
    """SpinQuant of the embedded model, with little learning and little calibration."""
    folder = tmp_path_factory.mktemp("spinquant")
    settings = ("--set", "spinquant.iterations=2", "--calibration-samples", "8", "--calibration-length", "128")
    done = qharness("quantize", "--plugin", "spinquant", "--out", "artifact", *settings, cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "artifact"


@pytest.fixture(scope="session")
def with_outlier_keys():
    """Return a function that gives a copy of a model whose keys have outlier channels.

    One RoPE pair of channels of every key head is scaled up and the same channels of its queries down, which changes
    nothing with an exact cache. Keys of large models look like this by themselves (KIVI, arXiv 2402.02750, section 3),
    those of the embedded model do not.
    """
    import torch

    def scale(model, factor=8.0, place=3):
        model = copy.deepcopy(model)
        config = model.config
        size, heads, keys = config.head_dim, config.num_attention_heads, config.num_key_value_heads
        with torch.no_grad():
            for block in model.model.layers:
                for channel in (place, place + size // 2):
                    block.self_attn.k_proj.weight.view(keys, size, -1)[:, channel] *= factor
                    block.self_attn.q_proj.weight.view(heads, size, -1)[:, channel] /= factor
        return model

    return scale
