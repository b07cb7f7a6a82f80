"""What vLLM is given to serve: a folder that it reads, and what identifies the model in it."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.artifacts.digest import files_digest
from qharness.artifacts.public import section_of
from qharness.artifacts.reader import is_artifact, read_artifact
from qharness.errors import MissingTransform, UsageError
from qharness.models.hub import claims, folder_of, load_tokenizer
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.quantization.linear import QuantizedLinear
from qharness.transforms.ablation import check_ablations

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

    from qharness.engines.base import EngineRequest
    from qharness.models.loaded import LoadedModel


@dataclass(frozen=True)
class Served:
    """A model for vLLM.

    Attributes:
        folder: Folder that vLLM reads.
        tokenizer: The model's tokenizer.
        digest: Digest of the model that was asked for.
        notice: Sentence that reports must carry.
        manifest: The artifact's manifest; empty for other models.
        is_artifact: Whether the folder is an artifact.
        temporary: Keeps a folder that was written for vLLM alone.
    """

    folder: Path
    tokenizer: PreTrainedTokenizerBase
    digest: str
    notice: str = ""
    manifest: Mapping[str, Any] = field(default_factory=dict)
    is_artifact: bool = False
    temporary: tempfile.TemporaryDirectory[str] | None = None


def serve(request: EngineRequest) -> Served:
    """Return what vLLM shall read for a reference.

    Artifacts, plain models and checkpoints of methods that vLLM itself reads go to it as they are. Anything else that
    the host can load (GGUF files, models under a name, checkpoints of methods that only plugins read) is written to a
    temporary folder as a plain model with its weights dequantized.

    Raises:
        QharnessError: The reference cannot be loaded.
        MissingTransform: A model that is no artifact needs runtime transforms.
        UnknownName: `ablate` names no transform of the artifact.
        UsageError: There is something to ablate in a model without transforms.
    """
    if claims(request.reference):
        folder = folder_of(request.reference)
        if is_artifact(folder):
            artifact = read_artifact(folder)
            check_ablations(artifact.transforms, request.ablate)
            tokenizer = load_tokenizer(str(folder), local=True)
            notice = str(artifact.manifest.get("notice", ""))
            return Served(folder, tokenizer, artifact.digest, notice, artifact.manifest, True)
        if request.ablate:
            raise UsageError(f"{request.reference} is no artifact and has no runtime transforms; drop `--ablate`.")
        if reads(section_of(folder, "quantization_config").get("quant_method")):
            return Served(folder, load_tokenizer(str(folder), local=True), files_digest(folder))
    return _written(request)


def reads(method: str | None) -> bool:
    """Return whether vLLM itself reads checkpoints of a quantization method on this machine; None is no method."""
    if method is None:
        return True
    from vllm.model_executor.layers.quantization import QUANTIZATION_METHODS
    from vllm.platforms import current_platform

    offered = current_platform.supported_quantization or QUANTIZATION_METHODS
    return method in offered and method in QUANTIZATION_METHODS


def _written(request: EngineRequest) -> Served:
    loaded = load_model(LoadRequest(request.reference, request.host, request.dtype, "cpu", request.ablate))
    if loaded.transforms:
        names = ", ".join(sorted({attached.entry.id for attached in loaded.transforms}))
        raise MissingTransform(
            f"vLLM cannot run {request.reference}: it is no artifact and needs the runtime transforms {names}; "
            "evaluate it with --engine hf."
        )
    dequantize(loaded)
    temporary = tempfile.TemporaryDirectory(prefix="qharness-vllm-")
    loaded.model.save_pretrained(temporary.name)
    return Served(
        Path(temporary.name), loaded.tokenizer, loaded.digest, loaded.notice, loaded.manifest, temporary=temporary
    )


def dequantize(loaded: LoadedModel) -> None:
    """Replace the quantized linears of a loaded model by plain ones with the weights that they stand for."""
    import torch

    linears = {name: m for name, m in loaded.model.named_modules() if isinstance(m, QuantizedLinear)}
    for name, module in linears.items():
        plain = torch.nn.Linear(module.in_features, module.out_features, module.bias is not None, dtype=loaded.dtype)
        state = {"weight": module.dequantize()} | ({} if module.bias is None else {"bias": module.bias})
        plain.load_state_dict(state)
        loaded.model.set_submodule(name, plain)
