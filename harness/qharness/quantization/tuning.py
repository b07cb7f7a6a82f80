"""Fine-tuning within blocks as a part of the quantization: original inputs and outputs, training, what to keep."""

from __future__ import annotations

from collections.abc import MutableMapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from qharness.calibration.walk import BlockInputs, first_inputs, forward_block
from qharness.distillation.block import tune_block
from qharness.distillation.slots import Slot
from qharness.distillation.training import Schedule, Trained
from qharness.quantization.seeding import seed_of

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness.models.architecture import Architecture
    from qharness.transforms.contract import TransformEntry

TRANSFORM = "transform:"
PARAMETER = "parameter:"


class BlockTuning:
    """The walk of a fine-tuning over the blocks.

    Args:
        model: The prepared model, its transforms attached.
        architecture: Where its parts are.
        tokens: Calibration tokens, shape (samples, length).
        schedule: Epochs and batches.
        tensors: Tensors of the runtime transforms; training replaces some.
        seed: Seed of the job.
        device: Device of the work.
    """

    def __init__(
        self,
        model: PreTrainedModel,
        architecture: Architecture,
        tokens: Tensor,
        schedule: Schedule,
        tensors: MutableMapping[str, Tensor],
        seed: int,
        device: str,
    ) -> None:
        self.schedule, self.tensors, self.seed, self.device = schedule, tensors, seed, device
        self.inputs = first_inputs(model, architecture, tokens, schedule.batch * tokens.shape[1])
        self._targets: BlockInputs | None = None

    def begin(self, block: nn.Module) -> None:
        """See what the original block returns."""
        self._targets = forward_block(block, self.inputs, self.device)

    def train(self, block: nn.Module, slots: Sequence[Slot], label: str) -> Trained:
        """Train tensors of the block so that it returns what the original one did."""
        assert self._targets is not None
        seed = seed_of(self.seed, label) % 2**32
        return tune_block(block, self.inputs, self._targets.hidden, slots, self.schedule, seed=seed, device=self.device)

    def end(self) -> None:
        """Go on to the next block, with the original model's inputs."""
        assert self._targets is not None
        self.inputs, self._targets = self._targets, None

    def changed(self, block: nn.Module, prefix: str) -> dict[str, Tensor]:
        """Return what training may have changed besides the quantized linears, for the checkpoint."""
        found = {f"{PARAMETER}{name}": parameter.detach() for name, parameter in block.named_parameters()}
        own = {name: tensor for name, tensor in self.tensors.items() if name.startswith(f"{prefix}.")}
        return found | {f"{TRANSFORM}{name}": tensor for name, tensor in own.items()}

    def restore(self, block: nn.Module, changed: MutableMapping[str, Tensor]) -> None:
        """Put back what a checkpoint holds."""
        for key, tensor in changed.items():
            kind, _, name = key.partition(":")
            if f"{kind}:" == TRANSFORM:
                self.tensors[name] = tensor
            else:
                parameter = block.get_parameter(name)
                parameter.data = tensor.to(parameter)


def refreshed(entry: TransformEntry, tensors: MutableMapping[str, Tensor]) -> TransformEntry:
    """Return a Hadamard entry as it has to be stored once training made its signs real numbers."""
    from qharness.transforms.fingerprint import fingerprint
    from qharness.transforms.hadamard import hadamard_map, sign_names

    names = sign_names(entry.map, tensors)
    if not any(tensors[name].is_floating_point() for name in names):
        return entry
    spec = replace(entry.map, parameters={**entry.map.parameters, "real": True})
    return replace(entry, map=spec, fingerprint=fingerprint(hadamard_map(spec, tensors), spec.size))
