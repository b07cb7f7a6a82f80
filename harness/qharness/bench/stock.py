"""Stock lm-eval's own `hf` model on the weights of a loaded model, at its best batch size."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch

from qharness.bench.clock import Clock
from qharness.errors import UsageError

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance
    from lm_eval.api.model import LM
    from lm_eval.models.huggingface import HFLM

    from qharness.models.loaded import LoadedModel

CPU_SIZES = (1, 4, 16)
GPU_SIZES = (4, 16, 32, 64, 128, 256)
SLOWER = 1.3
"""The search ends at a size that takes so many times as long as the best so far."""


def stock_model(loaded: LoadedModel) -> HFLM:
    """Return lm-eval's model on the same weights; it shares them and copies nothing."""
    from lm_eval.models.huggingface import HFLM

    return HFLM(pretrained=loaded.model, tokenizer=loaded.tokenizer, batch_size=1)


@contextmanager
def attention_of(loaded: LoadedModel, name: str) -> Iterator[None]:
    """Let the model use transformers' own attention function inside the `with`, and the engine's after it.

    Args:
        loaded: The model.
        name: The function that it had when it was loaded.
    """
    engines = str(loaded.model.config._attn_implementation)
    loaded.model.set_attn_implementation(name)
    try:
        yield
    finally:
        loaded.model.set_attn_implementation(engines)


def answer(lm: LM, requests: Sequence[Instance]) -> list[Any]:
    """Return lm-eval's answers to requests of one type."""
    answers: list[Any] = getattr(lm, requests[0].request_type)(list(requests), disable_tqdm=True)
    return answers


def search_batch_size(lm: HFLM, probe: Sequence[Instance]) -> dict[int, float]:
    """Return seconds by batch size on a probe, from small to large until it gets clearly slower or memory is short.

    Args:
        lm: Model; its batch size is left at the best one.
        probe: Requests of one type.

    Raises:
        UsageError: Memory is short at the smallest size.
    """
    seconds: dict[int, float] = {}
    device = torch.device(lm.device)
    lm.batch_size_per_gpu = 1
    answer(lm, probe[:2])
    for size in CPU_SIZES if device.type == "cpu" else GPU_SIZES:
        lm.batch_size_per_gpu = size
        try:
            with Clock(device) as clock:
                answer(lm, probe)
        except torch.OutOfMemoryError:
            torch.cuda.empty_cache()
            break
        seconds[size] = clock.seconds
        if clock.seconds > SLOWER * min(seconds.values()) or size >= len(probe):
            break
    if not seconds:
        raise UsageError(
            f"Stock lm-eval ran out of memory at batches of {size}; free memory on {device}, or measure a smaller "
            "model."
        )
    lm.batch_size_per_gpu = min(seconds, key=seconds.__getitem__)
    return seconds
