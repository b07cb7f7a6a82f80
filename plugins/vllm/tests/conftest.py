"""Artifacts of the embedded model, and engines of both kinds for them, made once."""

from __future__ import annotations

import json
from collections import OrderedDict

import pytest

from qharness.engines.base import EngineRequest
from qharness.host import default_host
from qharness.records import EngineRecord

LITTLE = ("--calibration-samples", "8", "--calibration-length", "128")
SETTINGS = {
    "spinquant": ("--set", "spinquant.learn=false", "--set", "spinquant.clip_steps=4"),
    "quip_sharp": ("--set", "quip_sharp.iterations=0"),
}
KEPT = 3


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Quantize the embedded model by a method's name, each once, with little calibration."""
    from qharness.cli.group import cli

    folder = tmp_path_factory.mktemp("artifacts")

    def make(method):
        out = folder / method
        if not out.exists():
            chosen = ["quantize", "--plugin", method, "--out", str(out), "--runs", str(folder / "runs")]
            cli.main(args=[*chosen, *LITTLE, *SETTINGS[method]], standalone_mode=False)
        return out

    return make


@pytest.fixture(scope="session")
def engines():
    """Return the engine of a name for a reference; the latest few are kept."""
    made = OrderedDict()

    def get(name, reference, **choices):
        key = (name, str(reference), *sorted(choices.items()))
        if key not in made:
            host = default_host()
            while len(made) >= KEPT:
                made.popitem(last=False)[1].close()
            made[key] = host.get(EngineRecord, name).create(EngineRequest(str(reference), host, **choices))
        made.move_to_end(key)
        return made[key]

    yield get
    for engine in made.values():
        engine.close()


@pytest.fixture(scope="session")
def prompts():
    """Openings of the embedded data's documents, as text."""
    from qharness_demo import DATA_DIR

    texts = []
    for path in sorted(DATA_DIR.rglob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines()[:4]:
            values = [value for value in json.loads(line).values() if isinstance(value, str)]
            texts.append(" ".join(values)[:300])
    return [text for text in texts if len(text) > 60][:50]
