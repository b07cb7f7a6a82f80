"""The ablation matrix of one method: which of its parts is missing, one row at a time, and the dose curve.

Rows share artifacts: everything that differs only at inference (a transform left out, the key-value cache) is one
artifact. A row that means nothing for a method (an R3 that it does not have) does not exist.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

from qharness.errors import UnknownName, UsageError
from qharness.jobs.configurations import ArtifactSpec, Built, Configuration
from qharness.jobs.plan import BASELINE, RunPlan
from qharness.records import QuantizerRecord
from qharness.transforms.ablation import layer_of
from qharness.transforms.contract import TransformEntry, needed

if TYPE_CHECKING:
    from qharness.host import Host

LETTERS = "ABCDEFGHIJKLM"
DOSE = "dose"
PLAIN = ("gptq", "rtn")
"""Methods without rotation for row D, the first that is installed."""
CODEBOOKS = ("quip_sharp", "qtip", "aqlm", "vptq", "iq2_xxs")
"""Codebook methods for row M, the first that is installed."""
SHARED_OPTIONS = ("bits", "group_size")
"""Options that rows D and M take over, so that sizes are alike."""
SMALL_CACHES = (4, 2)
SHARES = (5, 10, 25, 50)
"""Percent of a transform's outputs that the dose curve leaves out."""


@dataclass(frozen=True)
class Draft:
    """A row before its artifact is built.

    Attributes:
        name: `A` to `M`, with the width of the cache where a row has several, or `dose ...`.
        purpose: What it shows, in a few words.
        artifact: Its model.
        ablation: What is left out.
        kv_bits, kv_prefill: Its cache.
    """

    name: str
    purpose: str
    artifact: ArtifactSpec
    ablation: tuple[str, ...] = ()
    kv_bits: int = 16
    kv_prefill: str = ""


@dataclass(frozen=True)
class Row:
    """A row of the matrix and the configuration that is evaluated for it; rows may share one."""

    name: str
    purpose: str
    configuration: Configuration


@dataclass(frozen=True)
class Subject:
    """The method under test.

    Attributes:
        artifact: The method as published (row F).
        transforms: Contract of that artifact.
        layers: Blocks of the model.
        has_no_had: Whether the method has a variant without online transforms (option `no_had`).
        learns: Whether it learns before it quantizes (option `learn`), which the unquantized control can go without.
        plain: A method without rotation, for row D.
        codebook: A codebook method, for row M.
    """

    artifact: ArtifactSpec
    transforms: Sequence[TransformEntry]
    layers: int
    has_no_had: bool = False
    learns: bool = False
    plain: ArtifactSpec | None = None
    codebook: ArtifactSpec | None = None

    @property
    def online(self) -> list[str]:
        """Transforms that are needed whatever the cache is."""
        return list(dict.fromkeys(entry.id for entry in self.transforms if needed(entry, 16)))

    @property
    def cache_only(self) -> list[str]:
        """Transforms that only a quantized cache needs (R3)."""
        return list(dict.fromkeys(entry.id for entry in self.transforms if not needed(entry, 16)))


def drafts(subject: Subject) -> list[Draft]:
    """Return the rows A to M that apply to a method, then its dose curve."""
    f, online = subject.artifact, tuple(subject.online)
    learn = (("learn", "false"),) if subject.learns else ()
    rotated = ArtifactSpec(f.plugin, f.seed, "unquantized", (*f.settings, *learn), "original", f.calibration)
    rows = [Draft("A", "unquantized model: the ceiling", ArtifactSpec(BASELINE, f.seed))]
    if subject.transforms:
        rows.append(Draft("B", "prepared but not quantized: must equal A", rotated))
    if online:
        rows.append(Draft("C", "online transforms missing, nothing quantized: must collapse", rotated, online))
    if subject.plain:
        rows.append(Draft("D", "quantized without rotation", subject.plain))
    if subject.has_no_had:
        merged = ArtifactSpec(f.plugin, f.seed, "no_had", (*f.settings, ("no_had", "true")), calibration=f.calibration)
        rows.append(Draft("E", "merged rotations only: nothing online to forget", merged))
    rows.append(Draft("F", "the method as published", f))
    if online:
        rows.append(Draft("G", "F with the online transforms missing", f, online))
    rows += [*_cache_rows(subject), *_subset_rows(f, online)]
    if subject.codebook:
        rows.append(Draft("M", "a codebook method of about the same size", subject.codebook))
    return rows + _dose_rows(subject)


def _cache_rows(subject: Subject) -> list[Draft]:
    f, rotation = subject.artifact, tuple(subject.cache_only)
    sides = [entry for entry in subject.transforms if entry.id in rotation and entry.site == "q_post_rope"]
    rows = []
    if rotation:
        for bits in SMALL_CACHES:
            rows.append(Draft(f"H{bits}", f"F, {bits}-bit cache, R3 on", f, (), bits, "invisible"))
        for bits in SMALL_CACHES:
            rows.append(Draft(f"I{bits}", f"F, {bits}-bit cache, R3 missing", f, rotation, bits, "invisible"))
        one_sided = tuple(f"{entry.id}:q_post_rope" for entry in sides)
        for bits in (8, 4) if one_sided else ():
            purpose = f"F, {bits}-bit cache, keys rotated and queries not: must collapse"
            rows.append(Draft(f"J{bits}", purpose, f, one_sided, bits, "invisible"))
    else:
        for bits in SMALL_CACHES:
            rows.append(Draft(f"I{bits}", f"F, {bits}-bit cache without R3", f, (), bits, "invisible"))
    for bits in SMALL_CACHES:
        rows.append(Draft(f"K{bits}", f"F, {bits}-bit cache that the prompt reads too", f, (), bits, "visible"))
    return rows


def _subset_rows(f: ArtifactSpec, online: Sequence[str]) -> list[Draft]:
    """Several online places: each combination of them missing but the whole, which is row G."""
    return [
        Draft(f"L {'+'.join(missing)}", f"F without {' and '.join(missing)} only", f, missing)
        for size in range(1, len(online))
        for missing in combinations(online, size)
    ]


def _dose_rows(subject: Subject) -> list[Draft]:
    rows = []
    n = subject.layers
    linear = [e for e in subject.transforms if needed(e, 16) and e.site in ("linear_input", "linear_output")]
    for name in dict.fromkeys(entry.id for entry in linear):
        doses = [f"{name}@layers={layer}" for layer in sorted({n // 4, n // 2, 3 * n // 4})]
        doses += [f"{name}@layers={_middle(n, width)}" for width in sorted({2, 4, n - 2}) if 1 < width < n - 1]
        doses += [f"{name}@layers=0", f"{name}@layers={n - 1}"]
        doses += [f"{name}@channels={share}%" for share in SHARES]
        rows += [
            Draft(f"{DOSE} {dose}", "F with part of an online transform missing", subject.artifact, (canonical(dose),))
            for dose in dict.fromkeys(doses)
        ]
    return rows


def canonical(text: str) -> str:
    """Return the one text form of an ablation."""
    from qharness.transforms.ablation import Ablation

    return str(Ablation.parse(text))


def _middle(layers: int, width: int) -> str:
    first = (layers - width) // 2
    return f"{first}-{first + width - 1}"


def selected(rows: Iterable[Draft], names: Sequence[str]) -> list[Draft]:
    """Return the rows that names choose: letters, full names, or `dose`; all of them without names.

    Raises:
        UsageError: A name chooses no row.
    """
    rows = list(rows)
    if not names:
        return rows
    for name in names:
        if not any(_chooses(name, row) for row in rows):
            known = ", ".join(dict.fromkeys(row.name.split()[0] for row in rows))
            raise UsageError(f"--rows {name}: this method has no such row; its rows are {known}.")
    return [row for row in rows if row.name == "A" or any(_chooses(name, row) for name in names)]


def _chooses(name: str, row: Draft) -> bool:
    name, full = name.strip().lower(), row.name.lower()
    return full == name or full.split()[0].rstrip("0123456789") == name


def subject_of(plan: RunPlan, host: Host, built: Built) -> Subject:
    """Return what the rows of a plan's one plugin depend on."""
    config = json.loads((Path(built.reference) / "config.json").read_text(encoding="utf-8"))
    layers = [layer_of(name) for name in config["quantization_config"]["modules"]]
    own = options_of(host, built.plugin)
    chosen: Mapping[str, Any] = config["quantization_config"]["options"]
    return Subject(
        built.spec,
        built.transforms,
        int(config.get("num_hidden_layers") or 1 + max((n for n in layers if n is not None), default=0)),
        "no_had" in own,
        "learn" in own,
        _other(PLAIN, plan, host, built.plugin, chosen),
        _other(CODEBOOKS, plan, host, built.plugin, chosen),
    )


def options_of(host: Host, plugin: str) -> set[str]:
    """Return the names of a quantizer's options."""
    return {field.name for field in fields(host.get(QuantizerRecord, plugin).options)}


def _other(
    names: Sequence[str], plan: RunPlan, host: Host, subject: str, chosen: Mapping[str, Any]
) -> ArtifactSpec | None:
    """Return the first installed method of some names, with the subject's chosen options that both have."""
    for name in names:
        if name == subject:
            continue
        try:
            known = options_of(host, name)
        except UnknownName:
            continue
        shared = tuple((key, str(chosen[key])) for key in SHARED_OPTIONS if key in chosen and key in known)
        return ArtifactSpec(name, plan.seed, settings=shared if name in PLAIN else ())
    return None


def rows_of(chosen: Iterable[Draft], built: Mapping[ArtifactSpec, Built], dose_limit: int | None = None) -> list[Row]:
    """Return the rows whose models were built.

    Args:
        chosen: Rows.
        built: Models.
        dose_limit: Documents per task in the rows of the dose curve; None for as many as elsewhere.
    """
    rows = []
    for d in chosen:
        if d.artifact in built:
            limit = dose_limit if d.name.startswith(DOSE) else None
            configuration = Configuration(built[d.artifact], d.ablation, d.kv_bits, d.kv_prefill, limit)
            rows.append(Row(d.name, d.purpose, configuration))
    return rows
