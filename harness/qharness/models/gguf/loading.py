"""The loader of GGUF files."""

from __future__ import annotations

import hashlib
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from qharness.errors import CorruptArtifact, MissingModel, UsageError
from qharness.models.gguf.config import config_of
from qharness.models.gguf.reading import TOKENIZER_SHA256, GgufFile, open_gguf
from qharness.models.gguf.tensors import ROPE_FACTORS, dequantized, divide_frequencies, weights_of
from qharness.models.hub import load_tokenizer, quiet_loading, torch_dtype
from qharness.models.loaded import LoadedModel, LoadRequest

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase


def load_gguf(request: LoadRequest) -> LoadedModel:
    """Load a GGUF file as a transformers model with dequantized weights; `auto` means float32.

    Raises:
        MissingModel: There is no such file, or it has no tokenizer that transformers can read.
        CorruptArtifact: The file is truncated or damaged, or weights are missing.
        UnsupportedArchitecture: The model is not a dense Llama or Mistral.
        UsageError: Transforms of a plain model are to be ablated.
    """
    import torch
    from transformers import LlamaForCausalLM

    if request.ablate:
        raise UsageError(f"{request.reference} is no artifact and has no runtime transforms; drop `--ablate`.")
    file = open_gguf(Path(request.reference).expanduser())
    config = config_of(file)
    named = torch_dtype(request.dtype)
    dtype = named if isinstance(named, torch.dtype) else torch.float32
    weights = dict(weights_of(file, config, dtype))
    with quiet_loading():
        try:
            model, report = LlamaForCausalLM.from_pretrained(
                None,
                config=config,
                state_dict=weights,
                dtype=dtype,
                attn_implementation="sdpa",
                output_loading_info=True,
            )
        except RuntimeError as error:
            raise CorruptArtifact(f"{file.path} holds tensors of unexpected sizes; download it again.") from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise CorruptArtifact(f"{file.path} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    if ROPE_FACTORS in file.tensors:
        divide_frequencies(model, dequantized(file, ROPE_FACTORS))
    return LoadedModel(
        model=model.eval().to(torch.device(request.device)),
        tokenizer=tokenizer_of(file),
        reference=request.reference,
        digest=file.digest(),
        dtype=dtype,
        notice=f"The weights come from a GGUF file ({', '.join(file.types())}): {file.path.name}.",
    )


def tokenizer_of(file: GgufFile) -> PreTrainedTokenizerBase:
    """Return the tokenizer of a file.

    Files that qharness writes name the SHA-256 of the tokenizer.json they were made with; where it lies beside the
    file, it is used, since GGUF describes tokenizers only in part. Else transformers builds one from the metadata.

    Raises:
        MissingModel: It cannot.
    """
    from transformers import AutoTokenizer

    if is_tokenizer_of(file.path.parent / "tokenizer.json", file):
        return load_tokenizer(str(file.path.parent), local=True)
    # In a folder of its own: transformers would prefer a tokenizer.json beside the file, whosesoever it is.
    with quiet_loading(), tempfile.TemporaryDirectory() as folder:
        (Path(folder) / file.path.name).symlink_to(file.path.resolve())
        try:
            tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
                folder, gguf_file=file.path.name, local_files_only=True
            )
        except (OSError, ValueError, KeyError, NotImplementedError, ImportError) as error:
            raise MissingModel(f"{file.path} has no tokenizer that transformers can read: {error}.") from error
    return tokenizer


def is_tokenizer_of(path: Path, file: GgufFile) -> bool:
    """Return whether a tokenizer.json is the one whose digest the GGUF file holds."""
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == file.metadata.get(TOKENIZER_SHA256)
