"""The transform contract: what an artifact says about each online operation that it needs.

Transform entries live in `quantization_config.transforms` of an artifact's config.json. They are read strictly: a
field that is unknown, missing or of a wrong type makes the artifact corrupt, since a guess would run another model.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

from qharness.errors import CorruptArtifact, UsageError

if TYPE_CHECKING:
    from qharness_kernels.hadamard import Family

Site = Literal["linear_input", "linear_output", "q_post_rope", "k_pre_cache"]
SITES: tuple[str, ...] = get_args(Site)
Scalar = str | int | float | bool

_CONDITION = re.compile(r"\s*kv_bits\s*(<=|>=|==|<|>)\s*(\d{1,2})\s*")
_COMPARE: dict[str, Callable[[int, int], bool]] = {
    "<": operator.lt, "<=": operator.le, "==": operator.eq, ">=": operator.ge, ">": operator.gt,
}  # fmt: skip


@dataclass(frozen=True)
class MapSpec:
    """A linear map of `size` numbers, described so exactly that it can be rebuilt and checked.

    Attributes:
        type: `hadamard`, or a type that a plugin's runtime transform defines.
        size: Size of the dimension that it acts on.
        factor: Order K of the dense factor of a Hadamard map: block = K * 2^m.
        block: Size of the diagonal blocks; None is one block of `size`.
        signs: Name of the transform tensor with the sign vector, or None. A `*` in it stands for what the `*` of
            the entry's module pattern matched, so that one entry serves modules with signs of their own.
        sha256: SHA-256 of the dense factor matrix, int8, row by row (Hadamard), or what the type defines.
        normalisation: `orthonormal` (1 / sqrt(block)), or what the type defines.
        parameters: Further scalars; a Hadamard map knows `transposed` (apply diag(signs) H^T in place of
            H diag(signs)) and `real` (training made its signs real numbers), other types may name their tensors here.
    """

    type: str
    size: int
    factor: int | None = None
    block: int | None = None
    signs: str | None = None
    sha256: str = ""
    normalisation: str = "orthonormal"
    parameters: Mapping[str, Scalar] = field(default_factory=dict)


@dataclass(frozen=True)
class TransformEntry:
    """One online operation of an artifact.

    Several entries may share an id when one operation acts at several sites (R3 rotates queries and keys): they are
    attached, refused and ablated together.

    Attributes:
        id: Name in the artifact, matched by `--ablate ID` ignoring case.
        kind: Name of the runtime transform record that attaches it.
        modules: Glob over module names, for example `model.layers.*.mlp.down_proj`.
        site: Where it acts: at linears, or in attention modules.
        map: The map.
        required: Whether the artifact must not run without it.
        needed_if: Condition under which it is needed, `kv_bits < 16` and the like; None is always.
        fingerprint: Response of the map to a fixed vector (`transforms.fingerprint`).
    """

    id: str
    kind: str
    modules: str
    site: Site
    map: MapSpec
    required: bool = True
    needed_if: str | None = None
    fingerprint: tuple[float, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the entry as plain data."""
        return {**asdict(self), "fingerprint": list(self.fingerprint)}

    @classmethod
    def from_json(cls, data: object) -> TransformEntry:
        """Read an entry back, strictly.

        Raises:
            CorruptArtifact: A field is missing, unknown, or of a wrong type or value.
        """
        label = (
            f"Transform '{data['id']}'" if isinstance(data, dict) and isinstance(data.get("id"), str) else "A transform"
        )
        found = _fields(data, _ENTRY, label)
        spec = MapSpec(**_fields(found.pop("map"), _MAP, f"The map of {label[0].lower() + label[1:]}"))
        entry = cls(map=spec, fingerprint=tuple(float(v) for v in found.pop("fingerprint")), **found)
        problem = _contradiction(entry)
        if problem:
            raise CorruptArtifact(f"{label} is corrupt: {problem}; write the artifact again.")
        return entry


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value)


def _is_text_or_none(value: object) -> bool:
    return value is None or _is_text(value)


def _is_size(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value > 0


def _is_size_or_none(value: object) -> bool:
    return value is None or _is_size(value)


def _is_scalars(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(v, (str, int, float, bool)) for v in value.values())


def _is_numbers(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(v, (int, float)) and not isinstance(v, bool) for v in value)


_ENTRY: dict[str, Callable[[Any], bool]] = dict(
    id=_is_text, kind=_is_text, modules=_is_text, site=lambda v: v in SITES, map=lambda v: isinstance(v, dict),
    required=lambda v: isinstance(v, bool), needed_if=_is_text_or_none, fingerprint=_is_numbers,
)  # fmt: skip
_MAP: dict[str, Callable[[Any], bool]] = dict(
    type=_is_text, size=_is_size, factor=_is_size_or_none, block=_is_size_or_none, signs=_is_text_or_none,
    sha256=lambda v: isinstance(v, str), normalisation=_is_text, parameters=_is_scalars,
)  # fmt: skip


def _fields(data: object, checks: Mapping[str, Callable[[Any], bool]], label: str) -> dict[str, Any]:
    if not isinstance(data, dict):
        raise CorruptArtifact(f"{label} is corrupt: it is no JSON object; write the artifact again.")
    unknown, missing = sorted(set(data) - set(checks)), sorted(set(checks) - set(data))
    if unknown:
        raise CorruptArtifact(
            f"{label} has the unknown field '{unknown[0]}'; if a newer qharness wrote it, update, else write it again."
        )
    if missing:
        raise CorruptArtifact(f"{label} lacks the field '{missing[0]}'; write the artifact again.")
    for name, check in checks.items():
        if not check(data[name]):
            raise CorruptArtifact(f"{label} has {data[name]!r} for '{name}', which is no valid value; write it again.")
    return dict(data)


def _contradiction(entry: TransformEntry) -> str:
    spec = entry.map
    if spec.block is not None and spec.size % spec.block:
        return f"its block {spec.block} does not divide its size {spec.size}"
    if entry.needed_if is not None and not _CONDITION.fullmatch(entry.needed_if):
        return f"its condition '{entry.needed_if}' is not of the form 'kv_bits < 16'"
    if spec.type == "hadamard":
        if spec.normalisation != "orthonormal":
            return f"a Hadamard map has no normalisation '{spec.normalisation}'"
        rest, odd = divmod(spec.block or spec.size, spec.factor or 1)
        if spec.factor is None or odd or rest & (rest - 1):
            return f"its factor {spec.factor} times a power of two is not its block of {spec.block or spec.size}"
        unknown = sorted(set(spec.parameters) - {"transposed", "real"})
        if unknown:
            return f"a Hadamard map has no parameter '{unknown[0]}'"
        if spec.signs is not None and "*" in spec.signs and (spec.signs.count("*"), entry.modules.count("*")) != (1, 1):
            return f"the names '{spec.signs}' and '{entry.modules}' need one '*' each"
    return ""


def needed(entry: TransformEntry, kv_bits: int) -> bool:
    """Return whether an entry is needed with a key-value cache of that width.

    Raises:
        UsageError: The condition is not of the form `kv_bits < 16`.
    """
    if entry.needed_if is None:
        return True
    match = _CONDITION.fullmatch(entry.needed_if)
    if match is None:
        raise UsageError(f"'{entry.needed_if}' is no condition; write it like 'kv_bits < 16'.")
    return _COMPARE[match[1]](kv_bits, int(match[2]))


def hadamard_entry(
    *,
    id: str,
    modules: str,
    site: Site,
    size: int,
    kind: str | None = None,
    block: int | None = None,
    signs: str | None = None,
    sign_vector: Any = None,
    transposed: bool = False,
    real: bool = False,
    required: bool = True,
    needed_if: str | None = None,
    family: Family = "generated",
) -> TransformEntry:
    """Describe a Hadamard transform, with the digest of its factor and its fingerprint.

    Args:
        id: Name in the artifact.
        modules: Glob over module names.
        site: Where it acts.
        size: Size of the dimension it acts on (`in_features` for `linear_input`, `head_dim` for q and k).
        kind: Runtime transform that attaches it; the id if None.
        block: Size of diagonal blocks, or None.
        signs: Name under which the sign vector is stored among the artifact's transform tensors; with a `*` in it,
            each module has its own (`MapSpec.signs`).
        sign_vector: That vector, shape (size,), entries +1 and -1; needed with `signs`. With a `*`, the vectors by
            their names.
        transposed: Apply the transposed map.
        real: Training made the signs real numbers.
        required: Whether the artifact must not run without it.
        needed_if: Condition such as `kv_bits < 16`.
        family: Family of the dense factor; the entry names it by the digest of the matrix.

    Raises:
        UsageError: No Hadamard matrix of that size can be made, or arguments contradict each other.
    """
    from qharness.transforms.fingerprint import fingerprint
    from qharness.transforms.hadamard import factor_sha256, hadamard_map
    from qharness_kernels.hadamard import family_factor

    if (signs is None) != (sign_vector is None):
        raise UsageError("A Hadamard transform with signs needs both the tensor's name and the vector.")
    try:
        split = family_factor(block or size, family)
    except ValueError as error:
        raise UsageError(str(error)) from error
    parameters = {name: True for name, is_set in (("transposed", transposed), ("real", real)) if is_set}
    spec = MapSpec("hadamard", size, split.k, block, signs, factor_sha256(split.k, family), parameters=parameters)
    entry = TransformEntry(id, kind or id, modules, site, spec, required, needed_if)
    problem = _contradiction(entry)
    if problem or site not in SITES:
        raise UsageError(f"Transform '{id}' cannot be described: {problem or f'there is no site {site!r}'}.")
    vectors = sign_vector if signs is not None and "*" in signs else {signs or "": sign_vector}
    apply = hadamard_map(spec, vectors)
    return TransformEntry(id, kind or id, modules, site, spec, required, needed_if, fingerprint(apply, size))
