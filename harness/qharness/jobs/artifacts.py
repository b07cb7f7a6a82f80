"""Artifacts of a run: found by what decides them, built when they are not there yet."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness import __version__
from qharness.artifacts.bits import account_of
from qharness.jobs.calibration import corpus_for, hessians_for
from qharness.jobs.configurations import ArtifactSpec, Built
from qharness.jobs.plan import BASELINE, RunPlan
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.records import QuantizerRecord

if TYPE_CHECKING:
    from qharness.host import Host
    from qharness.jobs.progress import Reporter
    from qharness.models.loaded import LoadedModel

Facts = dict[str, Any]


def load_original(plan: RunPlan, host: Host) -> LoadedModel:
    """Load the unquantized model for calibration and quantization.

    It stays in host memory, in its own type if a GPU works on it block by block, else in float32: few CPUs multiply
    16-bit matrices at speed.
    """
    dtype = "float32" if plan.device == "cpu" else "auto"
    return load_model(LoadRequest(reference=plan.model, host=host, dtype=dtype))


def describe_baseline(plan: RunPlan, host: Host) -> tuple[Built, Facts]:
    """Return the model as it is: the baseline, or an artifact that is evaluated by itself."""
    loaded = load_model(LoadRequest(reference=plan.model, host=host, dtype="auto"))
    if loaded.manifest:
        from qharness.artifacts.reader import read_artifact

        artifact = read_artifact(plan.model)
        spec = ArtifactSpec(artifact.plugin, plan.seed)
        facts = _facts(spec, Path(plan.model), loaded.manifest)
        return Built(spec, plan.model, loaded.digest, artifact.transforms), facts
    account = account_of(loaded.model)
    size, bits = account.size_bytes, account.stored_bpw or account.model_bpw
    facts = {
        "plugin": BASELINE,
        "variant": "",
        "seed": plan.seed,
        "path": plan.model,
        "nominal_bits": bits,
        "stored_bpw": bits,
        "model_bpw": account.model_bpw,
        "size_bytes": size,
        "digest": loaded.digest,
    }
    return Built(ArtifactSpec(BASELINE, plan.seed), plan.model, loaded.digest), facts


def build_artifact(
    spec: ArtifactSpec, plan: RunPlan, host: Host, store: Path, reporter: Reporter, out: Path | None = None
) -> tuple[Built, Facts]:
    """Return the artifact of a quantizer, from the store if it was built before.

    Args:
        spec: Which quantizer, with which options, seed and calibration.
        plan: The run's choices.
        host: Registry.
        store: Folder `.cache` of all runs.
        reporter: Shows progress.
        out: Folder to write it to; None for the store.

    Raises:
        QharnessError: The model, the text, the Hessians or the method failed.
    """
    from qharness.artifacts.reader import is_artifact, read_artifact
    from qharness.quantization.options import options_from
    from qharness.quantization.pipeline import quantize_model
    from qharness.quantization.provenance import plugin_version

    plugin, plan = spec.plugin, spec.plan(plan)
    record = host.get(QuantizerRecord, plugin)
    options = options_from(record, plan.settings.get(plugin, {}))
    loaded = load_original(plan, host)
    hessians = hessians_for(plan, loaded) if record.needs == "hessian" else None
    corpus = corpus_for(plan, loaded, host) if record.needs != "none" else None
    facts = (
        __version__,
        plugin,
        plugin_version(host, record).version,
        loaded.digest,
        asdict(options),
        plan.seed,
        corpus.digest if corpus else "",
        hessians.digest if hessians else "",
        *(() if spec.weights == "quantized" else (spec.weights,)),
    )
    key = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()[:16]
    folder = out or store / "artifacts" / f"{plugin}-{key}"
    if out is not None or not is_artifact(folder):
        quantize_model(
            loaded,
            record,
            options,
            host=host,
            calibration=corpus,
            hessians=hessians,
            seed=plan.seed,
            device=plan.device,
            weights=spec.weights,
            work=store / "work",
            out=folder,
            progress=reporter.update,
        )
    artifact = read_artifact(folder)
    source = spec.calibration or (corpus.source if corpus else "")
    built = Built(spec, str(folder), artifact.digest, artifact.transforms, source)
    return built, _facts(spec, folder, artifact.manifest)


def _facts(spec: ArtifactSpec, path: Path, manifest: Any) -> Facts:
    names = ("nominal_bits", "stored_bpw", "model_bpw", "size_bytes", "digest")
    return {
        "plugin": spec.plugin,
        "variant": spec.variant,
        "seed": spec.seed,
        "path": str(path),
        **{name: manifest.get(name) for name in names},
    }
