"""Bad input: one clear sentence with the remedy, the right exit code, nothing half-written."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from qharness.cli import main
from qharness_demo import DATA_DIR, MODEL_DIR


@pytest.fixture
def call(capsys, tmp_path, monkeypatch):
    """Run the command line in an empty folder; return (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as stop:
            main(list(arguments))
        streams = capsys.readouterr()
        return int(stop.value.code or 0), streams.out, streams.err

    return run


def install(folder: Path, monkeypatch, name: str, source: str) -> None:
    """Put a plugin distribution on the path without pip."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(f"[qharness]\n{name} = {name}_module\n")
    (folder / f"{name}_module.py").write_text(source)
    monkeypatch.syspath_prepend(str(folder))


@pytest.fixture
def demo_copy(tmp_path):
    """A private copy of the embedded model's folder."""
    return Path(shutil.copytree(MODEL_DIR, tmp_path / "model"))


def test_unknown_plugin_suggests_a_near_one(call):
    code, _, err = call("run", "--plugin", "spinquent", "--suite", "polish22")
    assert code == 2
    assert "spinquent" in err and "Did you mean 'spinquant'?" in err
    assert "Traceback" not in err
    assert not Path("runs").exists()


def test_unknown_suite_suggests_a_near_one(call):
    code, _, err = call("run", "--plugin", "rtn", "--suite", "polsh22")
    assert code == 2
    assert "Did you mean 'polish22'?" in err


def test_unknown_option_of_a_quantizer(call):
    code, _, err = call("quantize", "--plugin", "rtn", "--set", "rtn.grup_size=64", "--out", "x")
    assert code == 2
    assert "group_size" in err
    assert not Path("x").exists()


def test_unknown_transform(call):
    code, _, err = call("run", "--plugin", "rtn", "--suite", "polish22", "--ablate", "r5")
    assert code == 2
    assert "r5" in err


def test_missing_model(call):
    code, _, err = call("eval", "./nowhere", "--suite", "polish22-mc")
    assert code == 2
    assert "nowhere" in err
    assert "Traceback" not in err


def test_unsupported_architecture(call, tmp_path):
    from transformers import GPT2Config, GPT2LMHeadModel

    GPT2LMHeadModel(GPT2Config(vocab_size=64, n_embd=16, n_layer=1, n_head=2, n_positions=32)).save_pretrained("gpt")
    shutil.copy(MODEL_DIR / "tokenizer.json", "gpt")
    shutil.copy(MODEL_DIR / "tokenizer_config.json", "gpt")
    code, _, err = call("quantize", "--plugin", "rtn", "--model", "./gpt", "--out", "artifact")
    assert code == 1
    assert "gpt2" in err and "mistral" in err
    assert not Path("artifact").exists()


def test_missing_data_fails_the_cell_and_keeps_the_others(call, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(DATA_DIR / "ppc", data / "ppc")
    arguments = ("eval", "demo", "--suite", "polish22-mc", "--data", str(data), "--limit", "2", "--evaluators", "mc")
    code, out, _ = call(*arguments, "--json")
    assert code == 1
    shown = json.loads(out)
    assert {row["task"] for row in shown["results"]} == {"polish_ppc_multiple_choice"}
    reasons = {row["task"]: row["reason"] for row in shown["failures"]}
    assert "klej-psc" in reasons["polish_psc_multiple_choice"]


def test_missing_data_folder(call):
    code, _, err = call("eval", "demo", "--suite", "polish22-mc", "--data", "./nothing-here")
    assert code == 2
    assert "nothing-here" in err and "embedded" in err


def test_hessians_of_another_model(call, demo_copy):
    small = ("--calibration-samples", "2", "--calibration-length", "64")
    assert call("hessians", "--out", "hessians", *small)[0] == 0
    from safetensors.torch import load_file, save_file

    shard = sorted(demo_copy.glob("*.safetensors"))[0]
    tensors = load_file(shard)
    name = sorted(tensors)[0]
    tensors[name] = tensors[name] + 1
    save_file(tensors, shard, metadata={"format": "pt"})
    code, _, err = call(
        "quantize", "--plugin", "spinquant", "--set", "spinquant.hessians=store", "--model", str(demo_copy),
        "--text", "demo", "--hessians", "hessians", "--out", "artifact", *small,
    )  # fmt: skip
    assert code == 1
    assert "demo" in err and str(demo_copy) in err
    assert not Path("artifact").exists()


def test_truncated_safetensors(call, demo_copy):
    shard = sorted(demo_copy.glob("*.safetensors"))[0]
    shard.write_bytes(shard.read_bytes()[:-1000])
    code, _, err = call("quantize", "--plugin", "rtn", "--model", str(demo_copy), "--out", "artifact")
    assert code == 1
    assert shard.name in err
    assert "Traceback" not in err


def test_plugin_that_fails_to_import_is_reported_and_fatal_only_if_asked_for(call, tmp_path, monkeypatch):
    install(tmp_path / "site", monkeypatch, "brokenmethod", "import a_module_that_does_not_exist\n")
    code, out, _ = call("plugins", "--json")
    assert code == 0
    states = {plugin["name"]: plugin for plugin in json.loads(out)["plugins"]}
    assert states["brokenmethod"]["state"] == "failed"
    assert "a_module_that_does_not_exist" in states["brokenmethod"]["error"]
    code, _, err = call("run", "--plugin", "brokenmethod", "--suite", "polish22")
    assert code == 1
    assert "brokenmethod" in err and "a_module_that_does_not_exist" in err
    assert call("plugins", "-p", "no:brokenmethod", "--check")[0] == 0


def test_artifact_with_a_missing_required_transform_is_refused(call, monkeypatch):
    import qharness.builtin as builtin

    small = ("--calibration-samples", "4", "--calibration-length", "64", "--set", "spinquant.learn=false")
    assert call("quantize", "--plugin", "spinquant", "--out", "artifact", *small)[0] == 0
    monkeypatch.delattr(builtin, "qharness_runtime_transforms")
    code, out, _ = call("eval", "./artifact", "--suite", "polish22-mc", "--limit", "1", "--evaluators", "mc", "--json")
    assert code == 1
    reasons = " ".join(row["reason"] for row in json.loads(out)["failures"])
    assert "r4" in reasons and "--ablate" in reasons


def test_unwritable_runs_folder(call):
    Path("runs").write_text("a file is in the way")
    code, _, err = call("run", "--plugin", "rtn", "--suite", "polish22-mc", "--limit", "1")
    assert code == 2
    assert "runs" in err and "--runs" in err


def test_contradicting_options(call):
    code, _, err = call("eval", "demo", "--suite", "polish22", "--system", "Odpowiadaj krótko.")
    assert code == 2
    assert "--apply-chat-template" in err


def test_unknown_command_is_suggested(call):
    code, _, err = call("evaluate")
    assert code == 2
    assert "eval" in err


@pytest.mark.parametrize("option", [("--kernels", "triton")])
def test_what_the_engine_cannot_do_is_refused_and_never_stamped_on_a_row(call, option):
    code, out, _ = call("eval", "demo", "--suite", "polish22-mc", "--limit", "1", *option, "--json")
    assert code == 1
    shown = json.loads(out)
    assert not shown["results"]
    assert option[0] in shown["failures"][0]["reason"]
