"""What a quantization method implements."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from torch import Generator, Tensor, nn
    from transformers import PreTrainedModel

    from qharness.calibration.store import HessianStore
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


class Quantizer(Protocol):
    """A quantization method with its options bound."""

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Change the model in place before its linears are quantized (fold norms, rotate), or do nothing."""

    def quantize(self, linear: nn.Linear, context: LinearContext) -> QuantizedLinear:
        """Quantize one linear layer; must not change `linear`."""
