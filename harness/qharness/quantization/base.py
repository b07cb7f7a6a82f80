"""What a quantization method implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn
    from transformers import PreTrainedModel

    from qharness.calibration.store import HessianStore
    from qharness.distillation.slots import Slot
    from qharness.distillation.training import Schedule, Trained
    from qharness.models.architecture import Architecture
    from qharness.quantization.linear import QuantizedLinear
    from qharness.transforms.contract import TransformEntry

HessianMap = Callable[[str, "Tensor"], "Tensor"]


@dataclass(frozen=True)
class Prepared:
    """What `Quantizer.prepare` did to the model.

    Attributes:
        transforms: Runtime transforms that the artifact needs from now on; the host attaches them to
            the model before it calibrates, so inputs are seen as they will be at inference.
        hessian_map: Turns the Hessian of the original model's input to a module, (module name, H), into
            that of the prepared model's input, so that one stored Hessian serves every method.
        tensors: Tensors the runtime transforms need, by name (sign vectors, angles).
        notes: What the manifest records of it (losses, orthogonality errors, counts).
    """

    transforms: Sequence[TransformEntry] = ()
    hessian_map: HessianMap | None = None
    tensors: Mapping[str, Tensor] = field(default_factory=dict)
    notes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class ModelContext:
    """What a quantizer sees of the whole job.

    Attributes:
        architecture: Where norms, q/k/v/o, gate/up/down, embeddings and head are.
        calibration: Token ids, shape (samples, length), int64; empty for data-free methods.
        seed: Seed of the job; draw randomness only from generators made from it.
        device: Device on which heavy work should run.
        work: Folder for checkpoints of long steps; what lies there is found again on `--resume`.
        progress: Called with (done, total, label) during long steps.
        hessians: Hessians of the original model, where they were given and the method's record asks for Hessians.
    """

    architecture: Architecture
    calibration: Tensor
    seed: int
    device: str
    work: Any
    progress: Callable[[int, int, str], None]
    hessians: HessianStore | None = None


@dataclass
class LinearContext:
    """What a quantizer sees when it quantizes one linear layer.

    Attributes:
        name: Module name, for example `model.layers.3.mlp.down_proj`.
        hessian: Mean of x x^T over the calibration tokens, shape (n, n), float32; None if not needed.
        inputs: Calibration inputs, shape (tokens, n), if the method asked for them.
        generator: Random generator seeded from (seed, module name).
        device: Device on which to work.
    """

    name: str
    hessian: Tensor | None
    inputs: Tensor | None
    generator: Generator
    device: str


@dataclass
class BlockContext:
    """What a quantizer sees when it fine-tunes a block of which a stage was just quantized.

    Attributes:
        prefix: Name of the block, for example `model.layers.3`.
        architecture: Where its parts are.
        quantized: Names of the linears that are quantized by now, relative to the block.
        remaining: Names of those that are not yet.
        tensors: Tensors of the runtime transforms, by name; what is put there acts at once and is stored.
        train: Trains slots so that the block returns what the original block did.
    """

    prefix: str
    architecture: Architecture
    quantized: tuple[str, ...]
    remaining: tuple[str, ...]
    tensors: MutableMapping[str, Tensor]
    train: Callable[[Sequence[Slot]], Trained]


@runtime_checkable
class Tunes(Protocol):
    """A quantizer that can also fine-tune within blocks.

    Attributes:
        tuning: Epochs and batches; None does not fine-tune.
    """

    tuning: Schedule | None

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train what the method leaves free, after each stage of linears of the block was quantized."""


@runtime_checkable
class TunesWhole(Protocol):
    """A quantizer that can also fine-tune the whole model once it is quantized.

    Attributes:
        whole_tuning: Epochs and batches; None does not fine-tune.
    """

    whole_tuning: Schedule | None

    def trained(
        self, model: PreTrainedModel, architecture: Architecture, tensors: MutableMapping[str, Tensor]
    ) -> Sequence[Slot]:
        """Return what is trained end to end: transform tensors, buffers of quantized layers, an untied head."""


@runtime_checkable
class QuantizesStages(Protocol):
    """A quantizer that can also quantize the linears that share an input together: fused, or in one rounding."""

    def quantize_stage(self, linears: Mapping[str, nn.Linear], context: LinearContext) -> Mapping[str, QuantizedLinear]:
        """Quantize linears by full name; must not change them. The context is that of the first."""


class Quantizer(Protocol):
    """A quantization method with its options bound.

    One that `QuantizesStages` as well is shown all linears of one input together; one that is `Tunes` as well is
    fine-tuned within blocks, one that is `TunesWhole` end to end.
    """

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Change the model in place before its linears are quantized (fold norms, rotate), or do nothing."""

    def quantize(self, linear: nn.Linear, context: LinearContext) -> QuantizedLinear:
        """Quantize one linear layer; must not change `linear`."""
