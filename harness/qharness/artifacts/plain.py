"""The exporters `fp16` and `fp32`: an artifact as a model that transformers loads without qharness."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor, nn

from qharness.errors import QharnessError
from qharness.models.loaded import LoadRequest
from qharness.quantization.linear import QuantizedLinear

if TYPE_CHECKING:
    from transformers import PreTrainedModel

    from qharness.jobs.export import ExportRequest
    from qharness.models.loaded import LoadedModel
    from qharness.transforms.contract import MapSpec

PROBES = 1024
TOLERANCE = 1e-3


class CannotFold(QharnessError):
    """An artifact computes something that no plain model of its architecture can."""


def write_plain(request: ExportRequest, dtype: str = "float16") -> None:
    """Write the artifact as a plain model: weights dequantized, transforms around linears folded into them.

    Transforms of queries and keys are left out where they cancel in the scores, as R3 does with an unquantized cache.

    Args:
        request: What was asked for.
        dtype: Name of the type of the weights. Float16 rounds each by up to 2^-12 of its size, float32 keeps them.

    Raises:
        CannotFold: A transform cannot be folded, or weights exceed the range of the type.
    """
    from qharness.artifacts.loading import load_artifact

    kind: torch.dtype = getattr(torch, dtype)

    device = "cuda" if torch.cuda.is_available() else "cpu"
    loaded = load_artifact(LoadRequest(str(request.path), request.host, dtype="float32"))
    _check_attention(loaded)
    model = loaded.model
    folded = {
        name for attached in loaded.transforms if attached.entry.site.startswith("linear") for name in attached.modules
    }
    folded |= {name for name, module in model.named_modules() if isinstance(module, QuantizedLinear)}
    state = {
        name: _narrow(name, tensor, kind)
        for name, tensor in model.state_dict().items()
        if not any(name.startswith(f"{module}.") for module in folded)
    }
    for name in sorted(folded):
        module = model.get_submodule(name).to(device)
        weight, bias = folded_linear(name, module, device)
        state[f"{name}.weight"] = _narrow(name, weight, kind)
        if bias is not None:
            state[f"{name}.bias"] = _narrow(name, bias, kind)
        module.to("cpu")
    plain = _plain(model, state, kind)
    plain.save_pretrained(request.out)
    if loaded.tokenizer is not None:
        loaded.tokenizer.save_pretrained(request.out)


@torch.no_grad()
def folded_linear(name: str, module: nn.Module, device: str) -> tuple[Tensor, Tensor | None]:
    """Return weight, shape (m, n), and bias of the one linear layer that a module and what is attached to it amount to.

    The module is probed with unit vectors, so that whatever acts at its input and output is folded in.

    Args:
        name: Its name, for errors.
        module: A linear layer with its hooks.
        device: Where the module is.

    Raises:
        CannotFold: It is not linear.
    """
    columns = cast("nn.Linear", module).in_features
    if isinstance(module, QuantizedLinear):
        module.cache_weight(True)
    offset = module(torch.zeros(1, columns, device=device))
    parts = []
    for start in range(0, columns, PROBES):
        stop = min(start + PROBES, columns)
        unit = torch.zeros(stop - start, columns, device=device)
        unit[torch.arange(stop - start), torch.arange(start, stop)] = 1
        parts.append((module(unit) - offset).T.cpu())
    weight = torch.cat(parts, 1)
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, columns, generator=generator).to(device)
    found, expected = module(x), x @ weight.to(device).T + offset
    if isinstance(module, QuantizedLinear):
        module.cache_weight(False)
    if not torch.allclose(found, expected, rtol=TOLERANCE, atol=TOLERANCE * float(expected.abs().max())):
        raise CannotFold(f"'{name}' with what is attached to it is not linear; it cannot be exported as a plain model.")
    has_bias = getattr(module, "bias", None) is not None or bool(offset.ne(0).any())
    return weight, offset[0].cpu() if has_bias else None


def _check_attention(loaded: LoadedModel) -> None:
    """Queries and keys may be rotated by one orthogonal map: their products stay as they are."""
    maps: dict[str, dict[str, MapSpec]] = {}
    for attached in loaded.transforms:
        entry = attached.entry
        if not entry.site.startswith("linear"):
            maps.setdefault(entry.modules, {})[entry.site] = entry.map
    for modules, found in maps.items():
        query = found.get("q_post_rope")
        is_orthogonal = query is not None and query.type == "hadamard" and not query.parameters.get("real")
        if not is_orthogonal or query != found.get("k_pre_cache"):
            raise CannotFold(
                f"The transforms of queries and keys in '{modules}' do not cancel, so a plain model cannot hold them."
            )


def _narrow(name: str, tensor: Tensor, dtype: torch.dtype) -> Tensor:
    found = tensor.detach().to("cpu", dtype) if tensor.is_floating_point() else tensor.detach().cpu()
    if not bool(found.isfinite().all()):
        raise CannotFold(f"'{name}' holds values beyond the range of {dtype}; the model cannot be stored in it.")
    return found


def _plain(model: PreTrainedModel, state: dict[str, Tensor], dtype: torch.dtype) -> PreTrainedModel:
    config = copy.deepcopy(model.config)
    if hasattr(config, "quantization_config"):
        del config.quantization_config
    config.dtype = dtype
    with torch.device("meta"):
        plain: PreTrainedModel = type(model)(config)
    plain.load_state_dict(state, assign=True)
    plain.tie_weights()
    plain.generation_config = copy.deepcopy(model.generation_config)
    return plain
