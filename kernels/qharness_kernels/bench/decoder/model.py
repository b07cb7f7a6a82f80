"""A decoder of random weights and its decode step."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from qharness_kernels.bench.decoder import triton as glue
from qharness_kernels.bench.decoder.joint import Joint
from qharness_kernels.bench.decoder.shape import Shape
from qharness_kernels.bench.variants import Variant, Weight, random_weight
from qharness_kernels.hadamard.triton import hadamard_transform

Product = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Layer:
    """A layer's products, norms, signs and cache.

    Attributes:
        products: By the names of `Shape.linears`.
        signs: Signs of the transforms, by the names of `_sign_sizes`; empty without transforms.
        attention: Where the layer begins.
        network: Where its gated network begins.
        keys: Cache, shape (kv_heads, context, head).
        values: Cache of that shape.
    """

    products: Mapping[str, Product]
    signs: Mapping[str, Tensor]
    attention: Joint
    network: Joint
    keys: Tensor
    values: Tensor


@dataclass(frozen=True)
class Decoder:
    """A decoder.

    Attributes:
        shape: Its sizes.
        layers: Its layers.
        last: Where the head begins.
        embedding: Shape (vocabulary, hidden).
        head: Shape (vocabulary, hidden).
        angles: Angle of every pair for one place.
    """

    shape: Shape
    layers: list[Layer]
    last: Joint
    embedding: Tensor
    head: Tensor
    angles: Tensor

    def step(self, token: Tensor, position: Tensor) -> Tensor:
        """Return the logits behind a token, shape (1, vocabulary), and store its keys and values.

        Args:
            token: Shape (1,), int64.
            position: Its place, shape (1,), int64.
        """
        shape = self.shape
        residual = self.embedding[token]
        y = torch.zeros_like(residual)
        joint_signs = None
        for layer in self.layers:
            x = glue.join(y, residual, layer.attention._replace(before=joint_signs))
            queries, pairs = layer.products["qkv"](x).split([shape.query, 2 * shape.keys], 1)
            if layer.signs:
                queries = hadamard_transform(queries, signs=layer.signs["queries.output"], inverse=True)
                pairs = hadamard_transform(pairs, block=shape.keys, signs=layer.signs["pairs.output"], inverse=True)
            x = glue.attend(queries, pairs, layer.keys, layer.values, position, self.angles)
            if layer.signs:
                x = hadamard_transform(x, signs=layer.signs["o.input"])
            x = glue.join(layer.products["o"](x), residual, layer.network)
            wide = layer.products["gate_up"](x)
            if layer.signs:
                wide = hadamard_transform(
                    wide, block=shape.intermediate, signs=layer.signs["gate_up.output"], inverse=True
                )
            x = glue.gate(wide, layer.signs.get("down.input"))
            if layer.signs:
                x = hadamard_transform(x)
            y, joint_signs = layer.products["down"](x), layer.signs.get("down.output")
        return glue.join(y, residual, self.last._replace(before=joint_signs)) @ self.head.T


def random_decoder(shape: Shape, variant: Variant | None, dtype: torch.dtype, device: torch.device) -> Decoder:
    """Return a decoder of random weights; the layers' values are alike, their places in memory are not.

    Args:
        shape: Its sizes.
        variant: The code of the linears; None for plain ones of `dtype`.
        dtype: Type of everything else.
        device: Where.
    """
    generator = torch.Generator(device).manual_seed(0)
    options: dict[str, Any] = {"device": device, "generator": generator}
    has_hadamards = variant is not None and variant.has_hadamards

    def signs(size: int) -> Tensor:
        return (torch.randint(0, 2, (size,), **options) * 2 - 1).to(dtype)

    def plain(rows: int, columns: int) -> Tensor:
        return (torch.randn(rows, columns, **options) * columns**-0.5).to(dtype)

    firsts: dict[str, Tensor | Weight] = {
        name: plain(*size) if variant is None else random_weight(variant, *size, dtype, device)
        for name, size in shape.linears().items()
    }
    ones = torch.ones(shape.hidden, dtype=dtype, device=device)
    layers = []
    for _ in range(shape.layers):
        own = {name: signs(size) for name, size in _sign_sizes(shape).items()} if has_hadamards else {}
        cache = torch.randn(2, shape.kv_heads, shape.context, shape.head, **options).to(dtype)
        layers.append(
            Layer(
                {name: _product(first) for name, first in firsts.items()},
                own,
                Joint(ones, None, own.get("qkv.input")),
                Joint(ones, own.get("o.output"), own.get("gate_up.input")),
                cache[0],
                cache[1],
            )
        )
    embedding = torch.randn(shape.vocabulary, shape.hidden, **options).to(dtype)
    head = plain(shape.vocabulary, shape.hidden)
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return Decoder(shape, layers, Joint(ones, None, None), embedding, head, glue.angles(shape.head, device))


def _sign_sizes(shape: Shape) -> dict[str, int]:
    return {
        **{f"{name}.input": columns for name, (_, columns) in shape.linears().items()},
        "queries.output": shape.query,
        "pairs.output": 2 * shape.keys,
        "o.output": shape.hidden,
        "gate_up.output": 2 * shape.intermediate,
        "down.output": shape.hidden,
    }


def _product(first: Tensor | Weight) -> Product:
    if isinstance(first, Weight):
        return first.copy()
    weight = first.clone()
    return lambda x: x @ weight.T
