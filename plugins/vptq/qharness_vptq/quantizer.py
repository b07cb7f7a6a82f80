"""VPTQ of a model: linears with one input are quantized together, so that they can share codebooks."""

from __future__ import annotations

import logging
from collections.abc import MutableMapping
from typing import TYPE_CHECKING

from qharness.distillation.training import Schedule
from qharness.quantization.base import BlockContext, LinearContext, ModelContext, Prepared
from qharness_vptq.fitting import Fitted, fit
from qharness_vptq.linear import VptqLinear, as_int16, pack_indices
from qharness_vptq.refit import outlier_labels
from qharness_vptq.tuning import trainable, trainable_whole

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness.distillation.slots import Slot
    from qharness.models.architecture import Architecture
    from qharness_vptq.options import Options

log = logging.getLogger(__name__)


class Vptq:
    """VPTQ.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.tuning = Schedule(options.epochs, options.batch) if options.epochs else None
        self.whole_tuning = Schedule(options.whole_epochs, options.batch) if options.whole_epochs else None
        self._model: PreTrainedModel | None = None
        self._architecture: Architecture | None = None
        self._ready: dict[str, VptqLinear] = {}

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Leave the model as it is, and remember it: linears that share codebooks are quantized at the first one."""
        self._model, self._architecture = model, context.architecture
        return Prepared()

    def quantize(self, linear: nn.Linear, context: LinearContext) -> VptqLinear:
        """Quantize a linear, or return what was found for it together with another one."""
        ready = self._ready.pop(context.name, None)
        if ready is not None:
            return ready
        assert context.hessian is not None
        linears = {context.name: linear} | self._partners(context.name)
        weights = [module.weight.detach().to(context.device).float() for module in linears.values()]
        found = fit(weights, context.hessian, self.options, context.generator)
        self._warn(found, context.name, weights)
        for index, (name, module) in enumerate(linears.items()):
            self._ready[name] = _build(found, index, module, None if name == context.name else context.name)
        return self._ready.pop(context.name)

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train codebooks and norms once all linears of the block are quantized."""
        if not context.remaining:
            context.train(trainable(block, context, self.options.rate))

    def trained(
        self, model: PreTrainedModel, architecture: Architecture, tensors: MutableMapping[str, Tensor]
    ) -> list[Slot]:
        """Return codebooks, norms and an untied head."""
        return trainable_whole(model, architecture, self.options.whole_rate)

    def _partners(self, name: str) -> dict[str, nn.Linear]:
        """Return the linears that share codebooks with this one and come after it, by full name."""
        if self._model is None or self._architecture is None or self.options.share == "none":
            return {}
        names = self._architecture
        block, _, own = name.removeprefix(f"{names.blocks}.").partition(".")
        families = [{names.k, names.v}] if self.options.share == "kv" else [set(stage) for stage in names.stages()]
        family = next((family for family in families if own in family), {own})
        order = [linear for stage in names.stages() for linear in stage]
        later = [linear for linear in order[order.index(own) + 1 :] if linear in family]
        found = {f"{names.blocks}.{block}.{linear}": linear for linear in later}
        return {full: names.module(self._model, full) for full in found}  # type: ignore[misc]

    def _warn(self, found: Fitted, name: str, weights: list[Tensor]) -> None:
        payload = found.layout.payload_bits(sum(map(len, weights)), weights[0].shape[1])
        if found.layout.codebook_bits > payload:
            log.warning(
                "The codebooks of %s take %d bits, more than the indices (%d); set smaller vptq.centroids, "
                "leave vptq.vector_len at 0, or share them with vptq.share=input.",
                name,
                found.layout.codebook_bits,
                payload,
            )


def _build(found: Fitted, index: int, linear: nn.Linear, owner: str | None) -> VptqLinear:
    layout, books, columns = found.layout, found.books, found.columns
    common = {"centroids": books.main.flatten(1).half()}
    if books.residual is not None:
        common["res_centroids"] = books.residual.flatten(1).half()
    if books.outlier is not None:
        common["outlier_centroids"] = books.outlier.reshape(1, -1).half()
    if found.norm != "none":
        common["weight_scale"] = books.scale.half()
    if found.norm == "minmax":
        common["weight_bias"] = books.bias.half()
    if columns.is_permuted:
        common["perm"] = as_int16(columns.order)
    tensors = {"indices": pack_indices(found.indices[index], layout, columns)} | common
    if layout.outliers:
        vectors = -(-linear.out_features // layout.outlier_vector_len)
        tensors["outlier_indices"] = as_int16(outlier_labels(found.indices[index], layout, columns)[None, :vectors])
    if linear.bias is not None:
        tensors["bias"] = linear.bias.detach().clone()
    shared = {} if owner is None else dict.fromkeys(common, owner)
    size = (linear.out_features, linear.in_features)
    return VptqLinear({name: tensor.contiguous() for name, tensor in tensors.items()}, layout, size, shared)
