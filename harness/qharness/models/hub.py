"""The loader of transformers models: a local folder or an id on the Hugging Face hub."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.errors import CorruptArtifact, MissingModel, QharnessError, UnsupportedArchitecture, UsageError
from qharness.models.loaded import LoadedModel, LoadRequest

if TYPE_CHECKING:
    import torch
    from transformers import PreTrainedTokenizerBase

DTYPES = ("float32", "bfloat16", "float16", "float64", "auto")
_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def claims(reference: str) -> bool:
    """Return whether a reference is a folder with a config.json or looks like a hub id."""
    path = Path(reference).expanduser()
    if path.exists():
        return path.is_dir() and (path / "config.json").is_file()
    return is_hub_id(reference)


def is_hub_id(reference: str) -> bool:
    """Return whether a reference has the form `owner/name`."""
    return bool(_HUB_ID.fullmatch(reference)) and not reference.endswith((".gguf", ".json", ".safetensors"))


def load_hf(request: LoadRequest) -> LoadedModel:
    """Load a transformers model; its digest is that of the files, whatever type it is loaded in.

    A hub repository that holds an artifact is loaded as one.

    Raises:
        MissingModel: The folder or the hub repository cannot be had, or has no safetensors weights.
        CorruptArtifact: A file is truncated or invalid, or weights are missing.
        UnsupportedArchitecture: transformers does not know the model_type.
        UsageError: The requested type is unknown, or transforms of a plain model are to be ablated.
    """
    import torch
    from transformers import AutoModelForCausalLM

    from qharness.artifacts.digest import stored_digest
    from qharness.artifacts.loading import load_artifact
    from qharness.artifacts.reader import is_artifact
    from qharness.artifacts.tensorfiles import read_headers

    dtype = torch_dtype(request.dtype)
    folder = folder_of(request.reference)
    if is_artifact(folder):
        return replace(load_artifact(replace(request, reference=str(folder))), reference=request.reference)
    if request.ablate:
        raise UsageError(f"{request.reference} is no artifact and has no runtime transforms; drop `--ablate`.")
    _check_config(folder)
    headers = read_headers(folder)
    with quiet_loading():
        try:
            model, report = AutoModelForCausalLM.from_pretrained(
                folder,
                dtype=dtype,
                attn_implementation="sdpa",
                local_files_only=True,
                output_loading_info=True,
                trust_remote_code=request.trust_remote_code,
            )
        except ImportError as error:
            raise MissingModel(f"{folder} needs software that is not installed: {_first_line(error)}.") from error
        except QharnessError:
            raise
        except (OSError, ValueError, RuntimeError, KeyError) as error:
            raise CorruptArtifact(f"{folder} cannot be loaded by transformers: {_first_line(error)}.") from error
    absent = sorted(report["missing_keys"])
    if absent:
        raise CorruptArtifact(f"{folder} lacks the weight '{absent[0]}' ({len(absent)} in all); download it again.")
    model = model.eval().to(torch.device(request.device))
    return LoadedModel(
        model=model,
        tokenizer=load_tokenizer(str(folder), local=True, trust_remote_code=request.trust_remote_code),
        reference=request.reference,
        digest=stored_digest(headers.values()),
        dtype=model.dtype,
    )


def load_tokenizer(reference: str, *, local: bool, trust_remote_code: bool = False) -> PreTrainedTokenizerBase:
    """Load a tokenizer.

    Raises:
        MissingModel: There is none.
    """
    from transformers import AutoTokenizer

    try:
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            reference, local_files_only=local, trust_remote_code=trust_remote_code
        )
    except (OSError, ValueError, KeyError, AttributeError, TypeError) as error:
        raise MissingModel(
            f"{reference} has no tokenizer that transformers can load: {_first_line(error)}; "
            "put tokenizer.json and tokenizer_config.json beside the weights."
        ) from error
    return tokenizer


def torch_dtype(name: str) -> torch.dtype | str:
    """Return the torch type of that name, or `auto`.

    Raises:
        UsageError: There is no such type.
    """
    import torch

    if name not in DTYPES:
        raise UsageError(f"There is no dtype '{name}'; use one of {', '.join(DTYPES)}.")
    dtype: torch.dtype | str = name if name == "auto" else getattr(torch, name)
    return dtype


@contextmanager
def quiet_loading() -> Iterator[None]:
    """Silence transformers' own progress bars and load reports; problems are raised instead."""
    from transformers.utils import logging

    verbosity, had_bar = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(verbosity)
        if had_bar:
            logging.enable_progress_bar()


def folder_of(reference: str) -> Path:
    """Return the local folder of a model: the reference itself, or what the hub has under it, downloaded.

    Raises:
        MissingModel: The hub does not have it, or cannot be reached.
    """
    path = Path(reference).expanduser()
    if path.is_dir():
        return path
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError, RepositoryNotFoundError

    patterns = ["*.json", "*.safetensors", "*.model", "*.txt", "*.jinja"]
    try:
        return Path(snapshot_download(reference, allow_patterns=patterns))
    except RepositoryNotFoundError as error:
        raise MissingModel(
            f"The hub has no model '{reference}', or it is private; check the id, or log in with `hf auth login`."
        ) from error
    except LocalEntryNotFoundError as error:
        raise MissingModel(
            f"The model '{reference}' is not on this machine and the hub cannot be reached; "
            "go online, or give a folder that holds the model."
        ) from error
    except (HfHubHTTPError, OSError, ValueError) as error:
        raise MissingModel(f"The model '{reference}' cannot be downloaded: {_first_line(error)}.") from error


def _check_config(folder: Path) -> None:
    from transformers import CONFIG_MAPPING

    try:
        config: Any = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind = config["model_type"]
    except OSError as error:
        raise MissingModel(f"{folder} has no config.json; give the folder of a transformers model.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise CorruptArtifact(f"{folder / 'config.json'} names no model_type; copy or download it again.") from error
    if kind not in CONFIG_MAPPING and "auto_map" not in config:
        raise UnsupportedArchitecture(f"{folder} has the architecture '{kind}', which transformers does not know.")


def _first_line(error: BaseException) -> str:
    text = str(error).strip().splitlines()
    return (text[0] if text else type(error).__name__).rstrip(".").replace(os.linesep, " ")
