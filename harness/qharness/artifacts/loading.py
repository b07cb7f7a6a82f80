"""The loader of artifacts."""

from __future__ import annotations

from pathlib import Path

from qharness.artifacts.reader import is_artifact, read_artifact
from qharness.models.loaded import LoadedModel, LoadRequest


def claims(reference: str) -> bool:
    """Return whether a reference is a folder with an artifact, finished or not."""
    return is_artifact(Path(reference).expanduser())


def load_artifact(request: LoadRequest) -> LoadedModel:
    """Load an artifact with its quantized linears and runtime transforms.

    Everything but the quantized linears is converted to the requested type; their tensors stay as stored. Files are
    checked by sizes, headers and the digest of the configuration; the manifest's digest is recorded.

    Raises:
        CorruptArtifact: The artifact is unfinished, truncated or contradicts itself.
        MissingTransform: A required runtime transform cannot be attached.
        PluginError: The plugin that wrote it is not installed.
        UnknownName: `ablate` names no transform of the artifact.
    """
    from transformers import AutoModelForCausalLM

    from qharness.hf import LoadingOptions, loading_options, outcome_of
    from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype
    from qharness.transforms.ablation import check_ablations

    folder = Path(request.reference).expanduser()
    artifact = read_artifact(folder)
    check_ablations(artifact.transforms, request.ablate)
    with loading_options(LoadingOptions(request.host, request.ablate, request.kv_bits)), quiet_loading():
        model = AutoModelForCausalLM.from_pretrained(
            folder,
            dtype=torch_dtype(request.dtype),
            attn_implementation="sdpa",
            local_files_only=True,
            trust_remote_code=request.trust_remote_code,
        )
    model = model.eval().to(request.device)
    outcome = outcome_of(model)
    return LoadedModel(
        model=model,
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=artifact.digest,
        dtype=model.dtype,
        transforms=outcome.attached,
        ablated=outcome.ablated,
        manifest=artifact.manifest,
        notice=str(artifact.manifest.get("notice", "")),
    )
