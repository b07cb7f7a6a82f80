"""Our encoder against llama.cpp's on the same importance: `python -m qharness_iq2_xxs.comparison --help`.

llama.cpp's is the C function `ggml_quantize_chunk` of any shared library that has it.
"""

from __future__ import annotations

import argparse
import ctypes
from collections import defaultdict
from collections.abc import Callable, Mapping
from fnmatch import fnmatchcase
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from qharness.calibration.corpus import pack_corpus
from qharness.calibration.sources import texts_of
from qharness.calibration.store import HessianStore
from qharness.errors import MissingData, UsageError
from qharness.host import Host
from qharness.models.architecture import architecture_of
from qharness.models.loaded import LoadRequest
from qharness.models.loading import load_model
from qharness.rounding.feedback import proxy_loss
from qharness_iq2_xxs.linear import STORED_TYPES, BlockLinear
from qharness_iq2_xxs.mix import choose_types
from qharness_iq2_xxs.options import Options
from qharness_iq2_xxs.quantizer import encode

if TYPE_CHECKING:
    from qharness.models.loaded import LoadedModel

Encoder = Callable[[Tensor, Tensor, str], Tensor]
LIBRARY = "libggml-base.so"
SEED = 1
"""Seed of the text on which perplexity is measured; calibration text has seed 0."""


def encoder_of(library: Path) -> Encoder:
    """Return llama.cpp's encoder from a shared library, as a function of weight, Hessian and type."""
    from gguf import GGMLQuantizationType

    function = ctypes.CDLL(str(library)).ggml_quantize_chunk
    function.restype = ctypes.c_size_t
    pointer, number = ctypes.c_void_p, ctypes.c_int64
    function.argtypes = [ctypes.c_int, pointer, pointer, number, number, number, pointer]

    def theirs(weight: Tensor, hessian: Tensor, kind: str) -> Tensor:
        values = np.ascontiguousarray(weight.numpy(), np.float32)
        importance = np.ascontiguousarray(importance_of(hessian).numpy(), np.float32)
        rows, columns = values.shape
        blocks = np.zeros((rows, columns // STORED_TYPES[kind].weights * STORED_TYPES[kind].bytes), np.uint8)
        inputs, output = (array.ctypes.data_as(pointer) for array in (values, blocks))
        weights = importance.ctypes.data_as(pointer)
        written = function(int(GGMLQuantizationType[kind]), inputs, output, 0, rows, columns, weights)
        if written != blocks.nbytes:
            raise UsageError(f"{library} wrote {written} bytes of {kind}, not {blocks.nbytes}; take another version.")
        return torch.from_numpy(blocks)

    return theirs


def encoders(library: Path) -> dict[str, Encoder]:
    """Return the encoders to compare, by name."""
    nearest, full = Options(feedback=False, passes=0), Options()
    least = Options(feedback=False, passes=0, unbiased=False)
    return {
        "llama.cpp": encoder_of(library),
        "ours, least": lambda weight, hessian, kind: encode(weight, hessian, kind, least),
        "ours, diagonal": lambda weight, hessian, kind: encode(weight, hessian, kind, nearest),
        "ours, feedback": lambda weight, hessian, kind: encode(weight, hessian, kind, full),
    }


def importance_of(hessian: Tensor) -> Tensor:
    """Return the diagonal of a Hessian, which may be given alone."""
    return hessian if hessian.dim() == 1 else hessian.diagonal()


def weighted_error(weight: Tensor, rounded: Tensor, hessian: Tensor) -> float:
    """Return the squared error weighed by the importance, relative to that of zeros."""
    importance = importance_of(hessian)
    return float(((weight - rounded).square() @ importance).sum() / (weight.square() @ importance).sum())


def perplexity(loaded: LoadedModel, tokens: Tensor) -> float:
    """Return exp of the mean cross entropy over samples of shape (samples, length)."""
    with torch.inference_mode():
        losses = [float(loaded.model(input_ids=row[None], labels=row[None]).loss) for row in tokens]
    return float(np.exp(np.mean(losses)))


def random_matrices(rows: int) -> dict[str, tuple[Tensor, Tensor]]:
    """Return heavy-tailed weights with the inputs of Mistral 7B's linears, and heavy-tailed importances."""
    found = {}
    for columns in (4096, 14336):
        generator = torch.Generator().manual_seed(columns)
        normal = torch.randn(rows, columns, generator=generator)
        heavy = normal / torch.rand(rows, columns, generator=generator).clamp_min(1e-3).pow(1 / 3)
        diagonal = torch.rand(columns, generator=generator).clamp_min(1e-3).reciprocal()
        found[f"random {rows} x {columns}"] = (0.02 * heavy, diagonal)
    return found


def compare_random(library: Path, rows: int) -> None:
    """Print the weighted errors on random matrices."""
    for name, (weight, importance) in random_matrices(rows).items():
        for label, encoder in encoders(library).items():
            if label != "ours, feedback":
                rounded = BlockLinear(encoder(weight, importance, "IQ2_XXS"), "IQ2_XXS", None).dequantize()
                print(f"{name:24s} {label:16s} weighted error {weighted_error(weight, rounded, importance):.4f}")


def compare_model(arguments: argparse.Namespace, host: Host) -> None:
    """Print mean errors over the chosen linears by type, and the perplexity of the models that result."""
    request = LoadRequest(arguments.model, host)
    loaded = load_model(request)
    names = architecture_of(loaded.model.config)
    hessians = HessianStore.open(Path(arguments.hessians), loaded.digest, arguments.model)
    types = choose_types(arguments.mix, names, loaded.model.config)
    chosen = {
        name: (loaded.model.get_submodule(name).weight.detach().clone(), hessians.get(name))
        for name in names.linears(loaded.model.config.num_hidden_layers)
        if fnmatchcase(name, arguments.linears)
    }
    tokens = None
    if arguments.text:
        texts = texts_of(arguments.text, host, SEED)()
        tokens = pack_corpus(texts, loaded.tokenizer, source=arguments.text, samples=16, length=512, seed=SEED).tokens
        print(f"unquantized: perplexity {perplexity(loaded, tokens):.4f}")
    for label, encoder in encoders(arguments.ggml).items():
        errors: Mapping[str, list[tuple[float, float]]] = defaultdict(list)
        for name, (weight, hessian) in chosen.items():
            kind = types.kind(name, weight.shape[1])
            rounded = BlockLinear(encoder(weight, hessian, kind), kind, None).dequantize()
            errors[kind].append((weighted_error(weight, rounded, hessian), proxy_loss(weight, rounded, hessian)))
            loaded.model.get_submodule(name).weight.data = rounded
        for kind, values in errors.items():
            weighted, output = np.mean(values, 0)
            print(f"{label:16s} {len(values):4d} x {kind:8s} weighted error {weighted:.4f}, output error {output:.4f}")
        if tokens is not None:
            print(f"{label:16s} perplexity {perplexity(loaded, tokens):.4f}")


def _library() -> Path:
    spec = find_spec("llama_cpp")
    for folder in (spec.submodule_search_locations or []) if spec else []:
        for found in Path(folder).rglob(LIBRARY):
            return found
    raise MissingData(f"No {LIBRARY} was found; install llama-cpp-python, or name the file with --library.")


def main() -> None:
    """Compare on a model, or on random matrices without one."""
    parser = argparse.ArgumentParser(description=__doc__)
    text = "shared library of llama.cpp; that of llama-cpp-python if absent"
    parser.add_argument("--library", dest="ggml", type=Path, help=text)
    parser.add_argument("--model", default="", help="model reference; random matrices without one")
    parser.add_argument("--hessians", default="", help="folder written by `qharness hessians`")
    parser.add_argument("--linears", default="*", help="pattern over module names")
    parser.add_argument("--mix", choices=("default", "pure"), default="default")
    parser.add_argument("--text", default="", help="text source on which perplexity is measured")
    parser.add_argument("--rows", type=int, default=64, help="rows of the random matrices")
    arguments = parser.parse_args()
    arguments.ggml = arguments.ggml or _library()
    if arguments.model:
        compare_model(arguments, Host())
    else:
        compare_random(arguments.ggml, arguments.rows)


if __name__ == "__main__":
    main()
