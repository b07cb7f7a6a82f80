"""The quantization of a model: prepare, walk the blocks, write the artifact."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch

from qharness import __version__
from qharness.calibration.walk import first_inputs, on_device
from qharness.distillation.block import computing_in_float32
from qharness.errors import MissingData, QharnessError, UnsupportedArchitecture
from qharness.models.architecture import Architecture, architecture_of
from qharness.quantization.base import (
    BlockContext,
    LinearContext,
    ModelContext,
    Prepared,
    Quantizer,
    QuantizesStages,
    Tunes,
    TunesWhole,
)
from qharness.quantization.checkpoint import QuantizedBlock, load_block, save_block
from qharness.quantization.observations import NoObservations, Observations, Seen, StoredHessians, WalkedInputs
from qharness.quantization.provenance import Meter, PluginVersion, plugin_version
from qharness.quantization.replace import replace_module
from qharness.quantization.seeding import seed_of
from qharness.quantization.threads import steady_threads
from qharness.quantization.tuning import BlockTuning, refreshed
from qharness.rounding.feedback import proxy_loss

if TYPE_CHECKING:
    from torch import Tensor, nn
    from transformers import PreTrainedModel

    from qharness.artifacts.writer import ArtifactInfo
    from qharness.calibration.corpus import Corpus
    from qharness.calibration.store import HessianStore
    from qharness.distillation.slots import Slot
    from qharness.distillation.training import Trained
    from qharness.host import Host
    from qharness.models.loaded import LoadedModel
    from qharness.records import QuantizerRecord

ORDERS: dict[str, Literal["independent", "sequential"]] = {"store": "independent", "sequential": "sequential"}
Progress = Callable[[int, int, str], None]


class QuantizationFailed(QharnessError):
    """A quantizer failed; the message names the plugin, its version, the hook and the layer."""


def quantize_model(
    loaded: LoadedModel,
    record: QuantizerRecord,
    options: Any,
    *,
    host: Host,
    calibration: Corpus | None,
    hessians: HessianStore | None,
    seed: int,
    device: str,
    weights: Literal["quantized", "original"] = "quantized",
    work: Path,
    out: Path,
    store_dtype: torch.dtype = torch.bfloat16,
    progress: Progress = lambda done, total, label: None,
) -> ArtifactInfo:
    """Quantize every linear of the decoder blocks and write an artifact.

    What a method is calibrated with: nothing if its record needs nothing; the stored Hessians, through
    `Prepared.hessian_map`, if they are given and its order is independent; else the calibration text, run behind
    the original blocks (independent) or the quantized ones (sequential). An option `hessians` of the method,
    `sequential` or `store`, overrides the record's order.

    Args:
        loaded: The model; changed in place, and quantized afterwards.
        record: The method.
        options: Instance of `record.options`.
        host: Registry of runtime transforms.
        calibration: Calibration tokens; None for methods that need none, or with stored Hessians.
        hessians: Opened store of Hessians of this model.
        seed: Seed of everything random.
        device: Device of heavy work; one block is on it at a time.
        weights: `original` writes the prepared (rotated) model without quantizing its linears, which is what shows
            whether preparation and runtime transforms leave the function unchanged.
        work: Folder for checkpoints. A second call with equal arguments goes on where the first was stopped; other
            arguments never meet its files. Emptied at the end.
        out: Folder of the artifact.
        store_dtype: Type in which parameters that are not quantized are stored, where they are wider.
        progress: Called with (done, total, label).

    Returns:
        What was written.

    Raises:
        UnsupportedArchitecture: The method does not know the model's architecture.
        MissingData: The method needs calibration and got none.
        QuantizationFailed: The method failed at a layer.
    """
    from qharness.artifacts.writer import write_artifact
    from qharness.transforms.attach import attach_transforms

    architecture = architecture_of(loaded.model.config)
    if architecture.model_type not in record.architectures:
        raise UnsupportedArchitecture(
            f"'{record.name}' does not know the architecture '{architecture.model_type}'; "
            f"it knows {', '.join(record.architectures)}."
        )
    if loaded.manifest:
        raise UnsupportedArchitecture(f"'{loaded.reference}' is already quantized; name the original model.")
    meter, plugin = Meter(device), plugin_version(host, record)
    folder = work / _identity(loaded, plugin, options, seed, calibration, hessians)
    folder.mkdir(parents=True, exist_ok=True)
    quantizer: Quantizer = record.create(options)
    tokens = torch.empty(0, 0, dtype=torch.int64) if calibration is None else calibration.tokens
    stored = hessians if record.needs == "hessian" else None
    context = ModelContext(architecture, tokens, seed, device, folder, progress, stored)
    with steady_threads(loaded.model.num_parameters(), device):
        with _blame(plugin, "prepare", loaded.reference):
            prepared = quantizer.prepare(loaded.model, context)
        tensors = dict(prepared.tensors)
        attach_transforms(loaded.model, prepared.transforms, tensors, host)
        meter.lap("prepare")
        job = _Job(loaded.model, record, plugin, quantizer, architecture, prepared, tensors, seed, device, folder)
        tuning = _tuning(job, calibration) if weights == "quantized" else None
        quantized: dict[str, Any] = {}
        measured: dict[str, dict[str, float]] = {}
        if weights == "quantized":
            quantized, measured = job.run(_observations(job, options, calibration, hessians), tuning, progress)
        meter.lap("quantize")
        notes = dict(prepared.notes)
        wide: set[str] = set()
        if tuning and isinstance(quantizer, TunesWhole) and quantizer.whole_tuning:
            with _blame(plugin, "trained", loaded.reference):
                slots = quantizer.trained(loaded.model, architecture, tensors)
                state = folder / "end-to-end.safetensors"
                schedule = quantizer.whole_tuning
                # Norms are few numbers, and training moves them by less than a narrow type can show.
                wide = {f"{slot.name}.weight" for slot in slots if slot.dtype == torch.float32}
                notes["end_to_end"] = tuning.train_whole(loaded.model, architecture, slots, schedule, state, progress)
            meter.lap("end to end")
    for name, parameter in loaded.model.named_parameters():
        if parameter.element_size() > store_dtype.itemsize and name not in wide:
            parameter.data = parameter.data.to(store_dtype)
    info = write_artifact(
        out,
        model=loaded.model,
        tokenizer=loaded.tokenizer,
        quantized=quantized,
        quantizer=record.name,
        plugin_version=plugin.version,
        options=asdict(options),
        transforms=[refreshed(entry, tensors) for entry in prepared.transforms],
        tensors=tensors,
        provenance={
            "base_model": loaded.reference,
            "base_digest": loaded.digest,
            "calibration": None if calibration is None else calibration.describe(),
            "hessians": None if hessians is None else hessians.describe(),
            "seed": seed,
            "nominal_bits": record.nominal_bits(options) if quantized else 8.0 * store_dtype.itemsize,
            "weights": weights,
            "layers": measured,
            "notes": notes,
            **meter.describe(),
        },
    )
    shutil.rmtree(folder)
    return info


@dataclass(frozen=True)
class _Job:
    """The walk over the blocks of one quantization."""

    model: PreTrainedModel
    record: QuantizerRecord
    plugin: PluginVersion
    quantizer: Quantizer
    architecture: Architecture
    prepared: Prepared
    tensors: dict[str, Tensor]
    seed: int
    device: str
    folder: Path

    def run(
        self, observations: Observations, tuning: BlockTuning | None, progress: Progress
    ) -> tuple[dict[str, Any], dict[str, dict[str, float]]]:
        """Quantize block by block; return the quantized linears and what was measured, by full name."""
        blocks = list(self.architecture.module(self.model, self.architecture.blocks).children())
        linears: dict[str, Any] = {}
        measured: dict[str, dict[str, float]] = {}
        for index, block in enumerate(blocks):
            prefix = f"{self.architecture.blocks}.{index}"
            done = load_block(self.folder, index, self.record.linear())
            with on_device(block, self.device), computing_in_float32(block) if tuning else nullcontext():
                observations.begin(block, done is not None)
                if tuning:
                    tuning.begin(block)
                if done is None:
                    done = self._quantize_block(block, prefix, observations, tuning)
                    save_block(self.folder, index, done)
                else:
                    for name, linear in done.linears.items():
                        replace_module(block, name, linear.to(self.device))
                    if tuning:
                        tuning.restore(block, done.changed)
                for linear in done.linears.values():
                    linear.cache_weight(True)
                if index + 1 < len(blocks):
                    observations.end(block)
                if tuning:
                    tuning.end()
                for linear in done.linears.values():
                    linear.cache_weight(False)
            linears |= {f"{prefix}.{name}": linear for name, linear in done.linears.items()}
            measured |= {f"{prefix}.{name}": values for name, values in done.measured.items()}
            progress(index + 1, len(blocks), f"{self.record.name}: block {index}")
        return linears, measured

    def _quantize_block(
        self, block: nn.Module, prefix: str, observations: Observations, tuning: BlockTuning | None
    ) -> QuantizedBlock:
        done = QuantizedBlock({}, {}, {})
        for stage in self.architecture.stages():
            seen = observations.stage(block, prefix, stage)
            for name, (linear, values) in self._quantize_stage(block, prefix, stage, seen).items():
                done.linears[name], done.measured[name] = linear, values
            for name in stage:
                done.linears[name].cache_weight(True)
                replace_module(block, name, done.linears[name])
            if tuning and self._tunes_blocks:
                done.measured[stage[-1]] |= self._tune(block, prefix, tuple(done.linears), tuning)
        if tuning:
            done.changed.update(tuning.changed(block, prefix))
        return done

    @property
    def _tunes_blocks(self) -> bool:
        return isinstance(self.quantizer, Tunes) and self.quantizer.tuning is not None

    def _tune(self, block: nn.Module, prefix: str, quantized: tuple[str, ...], tuning: BlockTuning) -> dict[str, float]:
        started = time.monotonic()
        measured: dict[str, float] = {}

        def train(slots: Sequence[Slot]) -> Trained:
            trained = tuning.train(block, slots, f"{prefix}.{quantized[-1]}")
            measured["tuning_before"], measured["tuning_after"] = trained.before, trained.after
            return trained

        names = [name for stage in self.architecture.stages() for name in stage]
        remaining = tuple(name for name in names if name not in quantized)
        context = BlockContext(prefix, self.architecture, quantized, remaining, self.tensors, train)
        assert isinstance(self.quantizer, Tunes)
        with _blame(self.plugin, "finetune", f"{prefix}.{quantized[-1]}"):
            self.quantizer.finetune(block, context)
        return measured | {"tuning_seconds": time.monotonic() - started}

    @torch.no_grad()
    def _quantize_stage(
        self, block: nn.Module, prefix: str, stage: Sequence[str], seen: Seen
    ) -> dict[str, tuple[Any, dict[str, float]]]:
        """Quantize linears that share an input, together if the method can; return what was measured beside each."""
        hessian = None if seen.hessian is None else seen.hessian.to(self.device)
        linears: dict[str, nn.Linear] = {f"{prefix}.{name}": _linear(block, name) for name in stage}
        parts = [linears] if isinstance(self.quantizer, QuantizesStages) else [{n: m} for n, m in linears.items()]
        found: dict[str, tuple[Any, dict[str, float]]] = {}
        for part in parts:
            started, first = time.monotonic(), next(iter(part))
            generator = torch.Generator(self.device).manual_seed(seed_of(self.seed, first))
            context = LinearContext(first, hessian, seen.inputs, generator, self.device)
            if isinstance(self.quantizer, QuantizesStages):
                with _blame(self.plugin, "quantize_stage", first):
                    quantized = dict(self.quantizer.quantize_stage(part, context))
            else:
                with _blame(self.plugin, "quantize", first):
                    quantized = {first: self.quantizer.quantize(part[first], context)}
            for name, linear in part.items():
                measured = self._measure(linear, quantized[name], hessian)
                found[name.removeprefix(f"{prefix}.")] = quantized[name], measured
            # Linears that are quantized together share the time.
            for name in part:
                measured = found[name.removeprefix(f"{prefix}.")][1]
                measured["seconds"] = (time.monotonic() - started) / len(part)
        return found

    def _measure(self, linear: nn.Linear, quantized: Any, hessian: Tensor | None) -> dict[str, float]:
        weight, found = linear.weight.float(), quantized.dequantize().to(self.device)
        values = {"weight_error": float((found - weight).square().sum() / weight.square().sum().clamp_min(1e-30))}
        return values if hessian is None else values | {"proxy_loss": proxy_loss(weight, found, hessian)}


def _linear(block: nn.Module, name: str) -> nn.Linear:
    found = block.get_submodule(name)
    assert isinstance(found, torch.nn.Linear)
    return found


class _blame:
    """Turn any error of a plugin into one that names the plugin and the place."""

    def __init__(self, plugin: PluginVersion, hook: str, place: str) -> None:
        self.plugin, self.hook, self.place = plugin, hook, place

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, Exception) and not isinstance(error, QuantizationFailed):
            reason = str(error) if isinstance(error, QharnessError) else f"{type(error).__name__}: {error}"
            raise QuantizationFailed(
                f"Plugin '{self.plugin.name}' {self.plugin.version} failed in {self.hook} at {self.place}: {reason}"
            ) from error


def _observations(job: _Job, options: Any, calibration: Corpus | None, hessians: HessianStore | None) -> Observations:
    record = job.record
    order = ORDERS.get(getattr(options, "hessians", ""), record.order)
    if record.needs == "none":
        return NoObservations()
    if record.needs == "hessian" and hessians is not None and order == "independent":
        return StoredHessians(hessians, job.prepared.hessian_map)
    if calibration is None:
        raise MissingData(
            f"'{record.name}' calibrates with text ({order} order) and none was given; name some with `--text SOURCE`."
        )
    return WalkedInputs(
        first_inputs(job.model, job.architecture, calibration.tokens),
        job.architecture.stages(),
        needs=record.needs,
        behind="quantized" if order == "sequential" else "original",
        device=job.device,
    )


def _tuning(job: _Job, calibration: Corpus | None) -> BlockTuning | None:
    within = job.quantizer.tuning if isinstance(job.quantizer, Tunes) else None
    schedule = within or (job.quantizer.whole_tuning if isinstance(job.quantizer, TunesWhole) else None)
    if schedule is None:
        return None
    if calibration is None:
        raise MissingData(f"'{job.record.name}' fine-tunes with text and none was given; name some with `--text`.")
    return BlockTuning(job.model, job.architecture, calibration.tokens, schedule, job.tensors, job.seed, job.device)


def _identity(
    loaded: LoadedModel,
    plugin: PluginVersion,
    options: Any,
    seed: int,
    calibration: Corpus | None,
    hessians: HessianStore | None,
) -> str:
    """Return a folder name for everything that decides the result."""
    facts: Sequence[Any] = (
        __version__,
        plugin.name,
        plugin.version,
        loaded.digest,
        asdict(options),
        seed,
        calibration.digest if calibration else None,
        hessians.digest if hessians else None,
    )
    digest = hashlib.sha256(json.dumps(facts, sort_keys=True, default=str).encode()).hexdigest()
    return f"{plugin.name}-{digest[:16]}"
