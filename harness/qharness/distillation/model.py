"""End-to-end fine-tuning: the quantized model's next-token distributions are pulled to those of the original."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from qharness.distillation.block import gradients_off
from qharness.distillation.slots import Slot
from qharness.distillation.training import Schedule, Trained, train
from qharness.quantization.linear import QuantizedLinear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture


class Teacher:
    """Soft labels of the original model, recomputed from its last hidden states.

    The logits of a calibration set take vocabulary / hidden times the memory of the hidden states behind the last
    block, which the walk over the original blocks leaves anyway: so only the original norm and head are kept, and
    nothing is cut to the most likely tokens.

    Args:
        norm: Final norm; copied.
        head: Output head; copied.
        hidden: Output of the last original block, one tensor of shape (batch, length, hidden) per batch.
        device: Device of the work.
    """

    def __init__(self, norm: nn.Module, head: nn.Module, hidden: Sequence[Tensor], device: str) -> None:
        self.norm, self.head = copy.deepcopy(norm).to(device), copy.deepcopy(head).to(device)
        self.hidden, self.device = hidden, device

    @torch.no_grad()
    def probabilities(self, batch: int) -> Tensor:
        """Return the distributions after each token, shape (batch, length, vocabulary), float32."""
        logits: Tensor = self.head(self.norm(self.hidden[batch].to(self.device)))
        return logits.float().softmax(-1)


def tune_model(
    model: PreTrainedModel,
    tokens: Sequence[Tensor],
    teacher: Teacher,
    slots: Sequence[Slot],
    schedule: Schedule,
    *,
    seed: int,
    device: str,
    state: Path | None = None,
    finished: Callable[[int], None] = lambda epoch: None,
) -> Trained:
    """Train tensors of a quantized model to lower the divergence KL(original || quantized).

    Args:
        model: The quantized model on the device, its transforms attached.
        tokens: Token ids of each batch, shape (batch, length).
        teacher: Soft labels of the same batches.
        slots: What is trained.
        schedule: Epochs, accumulation, early stopping.
        seed: Seed of the order of the batches.
        device: The device.
        state: File for the state between epochs.
        finished: Called with the number of each finished epoch.

    Source: Tseng et al., QuIP#, arXiv 2402.04396, section 5 (soft labels of the original model, end to end).
    """

    def loss(batch: int) -> Tensor:
        with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=device != "cpu"):
            logits = model(input_ids=tokens[batch].to(device), use_cache=False).logits
        target = teacher.probabilities(batch)
        divergence = nn.functional.kl_div(logits.float().log_softmax(-1), target, reduction="none")
        return divergence.sum(-1).mean()

    with gradients_off(model), _checkpointing(model):
        return train(slots, len(tokens), loss, schedule, seed=seed, device=device, state=state, finished=finished)


@contextmanager
def _checkpointing(model: PreTrainedModel) -> Iterator[None]:
    """Recompute activations of blocks in the backward pass, and keep dequantized weights, inside the `with`."""
    layers = [module for module in model.modules() if isinstance(module, QuantizedLinear)]
    was_training = model.training
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": False})
    model.train()
    for layer in layers:
        layer.cache_weight(True)
    try:
        yield
    finally:
        for layer in layers:
            layer.cache_weight(False)
        model.train(was_training)
        model.gradient_checkpointing_disable()


def memory_needed(model: PreTrainedModel, architecture: Architecture, batch: int, length: int, trained: int) -> int:
    """Return an estimate of the device memory that end-to-end fine-tuning takes, in bytes.

    Counted are the dequantized weights, embedding and two heads, the trained tensors with gradient and Adam's moments
    (16 bytes each), one hidden state per block, the activations of one block, and six float32 arrays as large as the
    logits: these, their logarithms and gradient, the teacher's logits and probabilities, and the divergence's terms.

    Args:
        model: The model.
        architecture: Where its parts are.
        batch: Samples per batch.
        length: Tokens per sample.
        trained: Number of trained elements.
    """
    config, size = model.config, torch.finfo(model.dtype).bits // 8
    blocks = list(architecture.module(model, architecture.blocks).children())
    names = [name for stage in architecture.stages() for name in stage]
    weights = sum(_weights(block.get_submodule(name)) for block in blocks for name in names)
    tables = 3 * config.vocab_size * config.hidden_size
    tokens = batch * length
    inside = tokens * (12 * config.hidden_size + 5 * config.intermediate_size) * 4
    states = tokens * config.hidden_size * len(blocks) * size
    return (weights + tables) * size + 16 * trained + inside + states + 6 * 4 * tokens * int(config.vocab_size)


def _weights(linear: nn.Module) -> int:
    layer = cast("nn.Linear | QuantizedLinear", linear)
    return layer.in_features * layer.out_features
