"""AQLM: choose a scheme for every linear, then fit each."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any

from qharness.distillation.slots import Slot, buffer_slot, parameter_slot
from qharness.distillation.training import Schedule
from qharness.errors import UnsupportedArchitecture, UsageError
from qharness.quantization.base import BlockContext, LinearContext, ModelContext, Prepared
from qharness_aqlm.allocation import Matrix, allocate, table
from qharness_aqlm.fitting import fit
from qharness_aqlm.linear import AdditiveLinear
from qharness_aqlm.scheme import Scheme, fitting_scheme
from qharness_aqlm.sensitivity import sensitivities

if TYPE_CHECKING:
    from torch import nn
    from transformers import PreTrainedModel

    from qharness_aqlm.options import Options

log = logging.getLogger(__name__)


class Aqlm:
    """Additive quantization of every linear.

    Args:
        options: Options of the method.
    """

    def __init__(self, options: Options) -> None:
        self.options = options
        self.schemes: dict[str, Scheme] = {}
        self.tuning = Schedule(options.epochs, options.batch) if options.epochs else None

    def prepare(self, model: PreTrainedModel, context: ModelContext) -> Prepared:
        """Choose the schemes; the model stays as it is. The manifest's notes hold the table of bits."""
        names = context.architecture.linears(model.config.num_hidden_layers)
        sizes = {name: Matrix(*model.get_submodule(name).weight.shape) for name in names}
        notes: dict[str, Any] = {}
        if self.options.budget:
            tokens = context.calibration[: self.options.sensitivity_samples]
            if not tokens.numel():
                raise UsageError("aqlm.budget needs calibration text for the sensitivities; name some with --text.")
            found = sensitivities(model, context.architecture, names, tokens, context.device, context.progress)
            sizes = {name: size._replace(sensitivity=found[name]) for name, size in sizes.items()}
            self.schemes = allocate(sizes, self.options.budget)
            notes["sensitivities"] = found
        else:
            self.schemes = {name: self._by_size(size.rows, size.columns) for name, size in sizes.items()}
        a = context.architecture
        kinds = [name.rpartition(".")[2] for name in (a.k, a.v, a.q, a.o, a.gate, a.up, a.down)]
        notes["bits"] = table(self.schemes, sizes, kinds)
        return Prepared(notes=notes)

    def quantize(self, linear: nn.Linear, context: LinearContext) -> AdditiveLinear:
        """Quantize one linear."""
        rows, columns = linear.weight.shape
        scheme = self.schemes.get(context.name) or self._by_size(rows, columns)
        if columns % scheme.group:
            raise UnsupportedArchitecture(
                f"'{context.name}' has {columns} inputs, which groups of {scheme.group} do not divide; "
                "set aqlm.scheme to one with smaller groups, for instance 1x8g4."
            )
        if scheme.codebook_bits > scheme.payload_bits(rows, columns):
            log.warning(
                "The codebooks of '%s' (%s) take %.2f bits per weight, more than its codes: set aqlm.shrink=true or a "
                "smaller aqlm.scheme.", context.name, scheme.name, scheme.codebook_bits / (rows * columns),
            )  # fmt: skip
        assert context.hessian is not None
        weight = linear.weight.detach().float().to(context.device)
        found = fit(weight, context.hessian.to(context.device), scheme, self.options, context.generator)
        return AdditiveLinear(found.codes, found.codebooks, found.scales, linear.bias)

    def finetune(self, block: nn.Module, context: BlockContext) -> None:
        """Train codebooks, scales and norms of a block once all of it is quantized (section 3.2, phase 3)."""
        if context.remaining:
            return
        rate, slots = self.options.rate, list[Slot]()
        for name in context.quantized:
            layer = block.get_submodule(name)
            assert isinstance(layer, AdditiveLinear)
            slots += [buffer_slot(layer, part, rate, f"{name}.{part}") for part in ("codebooks", "scales")]
        for name in (context.architecture.input_norm, context.architecture.post_norm):
            slots.append(parameter_slot(block.get_submodule(name), "weight", rate, f"{name}.weight"))
        context.train(slots)

    def _by_size(self, rows: int, columns: int) -> Scheme:
        wanted = self.options.parsed()
        return fitting_scheme(wanted, rows, columns, self.options.overhead) if self.options.shrink else wanted
