"""Start vLLM in this process."""

from __future__ import annotations

import os
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.errors import PluginError, QharnessError, UsageError
from qharness.models.architecture import head_dim_of
from qharness.models.hub import torch_dtype

if TYPE_CHECKING:
    import torch
    from transformers import PretrainedConfig
    from vllm import LLM

ENVIRONMENT = {
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "VLLM_USE_V2_MODEL_RUNNER": "0",
    "VLLM_ALLOW_LONG_MAX_MODEL_LEN": "1",
    "VLLM_NO_USAGE_STATS": "1",
}
"""One process; the model runner that knows logits processors; room for one token that is scored and never fed."""
DEFAULTS = {"VLLM_LOGGING_LEVEL": "ERROR", "VLLM_CPU_OMP_THREADS_BIND": "nobind"}
"""What users may set themselves."""
ABSENT = (
    "The engine vllm needs vLLM, which is not installed; on a machine with a GPU run `pip install vllm`, "
    "without one run `make vllm` in the repository of qharness."
)
CACHED_TOKENS = 1 << 15
"""Tokens that the key-value cache holds at least; it holds one sequence of the model's maximum length in any case."""


def check_installed() -> None:
    """Check that vLLM is installed, without importing it.

    Raises:
        PluginError: It is not.
    """
    spec = find_spec("vllm")
    # A folder of that name in the working directory has a spec, too, but no origin.
    if spec is None or spec.origin is None:
        raise PluginError(ABSENT)


def prepare_environment() -> None:
    """Set what vLLM reads from the environment when it is imported."""
    os.environ.update(ENVIRONMENT)
    for name, value in DEFAULTS.items():
        os.environ.setdefault(name, value)


def check_device(device: str) -> str:
    """Return the kind of device, `cpu` or `cuda`.

    Raises:
        UsageError: vLLM computes elsewhere.
    """
    from vllm.platforms import current_platform

    kind, _, index = device.partition(":")
    if kind != current_platform.device_type:
        raise UsageError(
            f"This vLLM computes on {current_platform.device_type}, and {kind} was asked for; "
            f"use --device {current_platform.device_type}, or install the vLLM for {kind}."
        )
    if index not in ("", "0"):
        raise UsageError(f"vLLM takes the first GPU that it sees; set CUDA_VISIBLE_DEVICES={index} and --device cuda.")
    return kind


def start(
    folder: Path,
    config: PretrainedConfig,
    *,
    dtype: str,
    device: str,
    length: int,
    cache: str,
    settings: Mapping[str, Any],
) -> LLM:
    """Load a model folder.

    Args:
        folder: What vLLM reads.
        config: Its configuration.
        dtype: Name of the type of the activations.
        device: `cpu` or `cuda`.
        length: Positions the model has.
        cache: vLLM's name of the key-value cache.
        settings: What the artifact's quantization config is told.

    Raises:
        QharnessError: vLLM cannot run the model.
    """
    import torch
    import vllm

    from qharness_vllm.forcing import ForcedTokens

    named = torch_dtype(dtype)
    kind = named if isinstance(named, torch.dtype) else config.dtype or torch.float32
    threads = torch.set_num_threads
    options = {
        "model": str(folder),
        "skip_tokenizer_init": True,
        "dtype": dtype,
        "max_model_len": length + 1,
        "kv_cache_dtype": cache,
        "kv_cache_memory_bytes": cache_bytes(config, length, kind, device),
        "enforce_eager": True,
        "enable_prefix_caching": True,
        "generation_config": "vllm",
        "logits_processors": [ForcedTokens],
        "additional_config": dict(settings),
        "use_tqdm_on_load": False,
        "seed": 0,
    }
    try:
        return vllm.LLM(**options)
    except QharnessError:
        raise
    except Exception as error:
        raise PluginError(
            f"vLLM {vllm.__version__} cannot run {folder}: {reason_of(error)}; evaluate it with --engine hf, or export "
            "the artifact with `qharness export --format fp16`."
        ) from error
    finally:
        # vLLM replaces it by a function that does nothing, for the whole process.
        torch.set_num_threads = threads


def reason_of(error: Exception) -> str:
    """Return the line of an error that says what is wrong; pydantic puts a title before it and its input behind."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    found = next((line for line in lines if line.startswith("Value error, ")), lines[0])
    return found.removeprefix("Value error, ").partition(" [type=")[0].rstrip(".")


def cache_bytes(config: PretrainedConfig, length: int, dtype: torch.dtype, device: str) -> int:
    """Return the size of the key-value cache in bytes; on a GPU at least half of the free memory.

    Args:
        config: Configuration of the model.
        length: Positions the model has.
        dtype: Type of the activations, and of an unquantized cache.
        device: `cpu` or `cuda`.
    """
    import torch

    heads = getattr(config, "num_key_value_heads", None) or config.num_attention_heads
    token = 2 * config.num_hidden_layers * heads * head_dim_of(config) * dtype.itemsize
    least = max(length + 1, CACHED_TOKENS) * token
    return int(least if device == "cpu" else max(least, torch.cuda.mem_get_info()[0] // 2))
