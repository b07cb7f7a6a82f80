"""What is between the products of a decode step, in Triton, for one row."""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor
from triton.language.extra.cuda import gdc_launch_dependents, gdc_wait

from qharness_kernels.bench.decoder.joint import Joint
from qharness_kernels.hadamard.tiles import operand, rest
from qharness_kernels.launching import early, early_options

EPSILON = 1e-5
THETA = 1e6
SPAN = 64
"""Tokens of the cache that a program attends to."""


@triton.jit
def _join(
    y,
    residual,
    x,
    norm,
    signs_before,
    signs_after,
    left,
    right,
    scale,
    epsilon,
    A: tl.constexpr,
    B: tl.constexpr,
    BEFORE: tl.constexpr,
    AFTER: tl.constexpr,
    EARLY: tl.constexpr,
) -> None:
    """Write residual += y, and x = the normalised residual, with Hadamards before and after.

    Args:
        y: Shape (A * B,).
        residual: Shape (A * B,), read and written.
        x: Shape (A * B,), written.
        norm: Factors of the normalised numbers, shape (A * B,).
        signs_before: Signs behind the inverse Hadamard of y; read if BEFORE.
        signs_after: Signs before the Hadamard of x; read if AFTER.
        left: Matrix (A, A), symmetric.
        right: Matrix (B, B), symmetric.
        scale: Multiplied to a transform.
        epsilon: Added to the mean square.
        A: Slower extent.
        B: Faster extent.
        BEFORE: Whether y is transformed back.
        AFTER: Whether x is transformed.
        EARLY: Started while the kernel in front still runs.
    """
    if EARLY:
        gdc_launch_dependents()
    dtype = x.dtype.element_ty
    place = tl.arange(0, A)[:, None] * B + tl.arange(0, B)[None, :]
    factors = tl.load(norm + place).to(tl.float32)
    if BEFORE or AFTER:
        h_left = tl.load(left + tl.arange(0, A)[:, None] * A + tl.arange(0, A)[None, :])
        h_right = tl.load(right + tl.arange(0, B)[:, None] * B + tl.arange(0, B)[None, :])
    if AFTER:
        factors = factors * tl.load(signs_after + place).to(tl.float32)
    if EARLY:
        gdc_wait()
    value = tl.load(y + place)
    total = tl.load(residual + place).to(tl.float32)
    if BEFORE:
        value = tl.dot(h_left, value, input_precision="ieee").to(dtype)
        found = tl.dot(value, h_right, input_precision="ieee") * scale
        total = total + found * tl.load(signs_before + place).to(tl.float32)
    else:
        total = total + value.to(tl.float32)
    tl.store(residual + place, total.to(residual.dtype.element_ty))
    mean = tl.sum(tl.sum(total * total, 1), 0) / (A * B)
    normed = (total * tl.rsqrt(mean + epsilon) * factors).to(dtype)
    if AFTER:
        normed = tl.dot(h_left, normed, input_precision="ieee").to(dtype)
        normed = (tl.dot(normed, h_right, input_precision="ieee") * scale).to(dtype)
    tl.store(x + place, normed)


@triton.jit
def _rotated(source, columns, cosine, sine, mask, HEAD: tl.constexpr):  # noqa: ANN202
    """Return a head's numbers, turned by the angles of their pairs (i, i + HEAD / 2), float32."""
    half: tl.constexpr = HEAD // 2
    own = tl.load(source + columns, mask=mask, other=0.0).to(tl.float32)
    other = tl.load(source + (columns + half) % HEAD, mask=mask, other=0.0).to(tl.float32)
    return own * cosine + tl.where(columns < half, -other, other) * sine


@triton.jit
def _attend(
    queries,
    pairs,
    keys,
    values,
    position,
    angles,
    partial,
    maxima,
    sums,
    context,
    scale,
    HEADS: tl.constexpr,
    KV_HEADS: tl.constexpr,
    HEAD: tl.constexpr,
    SPAN: tl.constexpr,
    EARLY: tl.constexpr,
) -> None:
    """Attend from the new token to SPAN tokens of the cache; the first program adds the new token, and stores it.

    Args:
        queries: Of the new token, shape (HEADS * HEAD,).
        pairs: Its keys, then its values, shape (2 * KV_HEADS * HEAD,).
        keys: Cache, shape (KV_HEADS, context, HEAD), turned.
        values: Cache, shape (KV_HEADS, context, HEAD).
        position: Place of the new token, shape (1,), int64.
        angles: Angle of every pair for one place, shape (HEAD / 2,), float32.
        partial: Sums of weighted values, shape (KV_HEADS, spans, HEADS / KV_HEADS, HEAD), float32, written.
        maxima: Largest score, shape (KV_HEADS, spans, HEADS / KV_HEADS), float32, written.
        sums: Sums of the exponentials, of the shape of `maxima`, written.
        context: Tokens that the cache holds.
        scale: Multiplied to the scores, times log2(e).
        HEADS: Query heads.
        KV_HEADS: Key heads.
        HEAD: Size of a head.
        SPAN: Tokens of a program.
        EARLY: Started while the kernel in front still runs.
    """
    if EARLY:
        gdc_launch_dependents()
    group: tl.constexpr = HEADS // KV_HEADS
    head, span = tl.program_id(0), tl.program_id(1)
    token = span * SPAN + tl.arange(0, SPAN)
    column = tl.arange(0, HEAD)
    turn = tl.load(angles + column % (HEAD // 2))
    row = tl.arange(0, 16)
    if EARLY:
        gdc_wait()
    now = tl.load(position)
    turn = turn * now.to(tl.float32)
    cosine, sine = tl.cos(turn), tl.sin(turn)
    is_cached = (token < now)[:, None]
    place = (head * context + token)[:, None] * HEAD + column[None, :]
    key = tl.load(keys + place, mask=is_cached, other=0.0)
    value = tl.load(values + place, mask=is_cached, other=0.0)
    is_query = (row < group)[:, None]
    heads = ((head * group + row) * HEAD)[:, None]
    query = _rotated(queries + heads, column[None, :], cosine[None, :], sine[None, :], is_query, HEAD)
    score = tl.dot(query.to(key.dtype), tl.trans(key), input_precision="ieee") * scale
    score = tl.where((token < now)[None, :], score, float("-inf"))
    new_key = _rotated(pairs + head * HEAD, column, cosine, sine, column < HEAD, HEAD)
    new_value = tl.load(pairs + (KV_HEADS + head) * HEAD + column)
    rounded = new_key.to(key.dtype)
    own = tl.sum(query.to(key.dtype).to(tl.float32) * rounded.to(tl.float32)[None, :], 1) * scale
    own = tl.where(span == 0, own, float("-inf"))
    top = tl.maximum(tl.max(score, 1), own)
    # A span of no tokens has no maximum; any finite number serves.
    top = tl.where(top == float("-inf"), 0.0, top)
    weight = tl.exp2(score - top[:, None])
    extra = tl.exp2(own - top)
    found = tl.dot(weight.to(value.dtype), value, input_precision="ieee")
    found += extra[:, None] * new_value.to(tl.float32)[None, :]
    line = (head * tl.num_programs(1) + span) * group + row
    tl.store(partial + line[:, None] * HEAD + column[None, :], found, mask=is_query)
    tl.store(maxima + line, top, mask=row < group)
    tl.store(sums + line, tl.sum(weight, 1) + extra, mask=row < group)
    if span == 0:
        tl.store(keys + (head * context + now) * HEAD + column, rounded)
        tl.store(values + (head * context + now) * HEAD + column, new_value)


@triton.jit
def _combine(
    partial,
    maxima,
    sums,
    out,
    spans,
    GROUP: tl.constexpr,
    HEAD: tl.constexpr,
    SPANS: tl.constexpr,
    EARLY: tl.constexpr,
) -> None:
    """Write the attention of a head, shape (heads * HEAD,), from the parts that `_attend` writes."""
    if EARLY:
        gdc_launch_dependents()
    head = tl.program_id(0)
    span = tl.arange(0, SPANS)
    line = (head // GROUP * spans + span) * GROUP + head % GROUP
    column = tl.arange(0, HEAD)
    if EARLY:
        gdc_wait()
    top = tl.load(maxima + line, mask=span < spans, other=float("-inf"))
    count = tl.load(sums + line, mask=span < spans, other=0.0)
    part = tl.load(partial + line[:, None] * HEAD + column[None, :], mask=(span < spans)[:, None], other=0.0)
    top = tl.where(count > 0, top, float("-inf"))
    weight = tl.exp2(top - tl.max(top, 0))
    found = tl.sum(part * weight[:, None], 0) / tl.sum(count * weight, 0)
    tl.store(out + head * HEAD + column, found.to(out.dtype.element_ty))


@triton.jit
def _gate(x, out, signs, size, SIGNED: tl.constexpr, WIDTH: tl.constexpr, EARLY: tl.constexpr) -> None:
    """Write silu(x[:size]) * x[size:], times signs if SIGNED."""
    if EARLY:
        gdc_launch_dependents()
    place = tl.program_id(0) * WIDTH + tl.arange(0, WIDTH)
    mask = place < size
    if EARLY:
        gdc_wait()
    gate = tl.load(x + place, mask=mask, other=0.0).to(tl.float32)
    value = gate * tl.sigmoid(gate) * tl.load(x + size + place, mask=mask, other=0.0).to(tl.float32)
    if SIGNED:
        value = value * tl.load(signs + place, mask=mask, other=0).to(tl.float32)
    tl.store(out + place, value.to(out.dtype.element_ty), mask=mask)


def join(y: Tensor, residual: Tensor, joint: Joint) -> Tensor:
    """Add a product to the residual stream and return the input of the next, shape (1, hidden).

    Args:
        y: Shape (1, hidden), hidden a power of two.
        residual: Shape (1, hidden), changed.
        joint: Norm and transforms.
    """
    power = y.shape[-1].bit_length() - 1
    a, b = 1 << (power + 1) // 2, 1 << power // 2
    x = torch.empty_like(y)
    left, right = (operand(order, False, y.dtype, y.device) for order in (a, b))
    _join[(1,)](
        y,
        residual,
        x,
        joint.norm,
        y if joint.before is None else joint.before,
        y if joint.after is None else joint.after,
        left,
        right,
        rest(a, b),
        EPSILON,
        A=a,
        B=b,
        BEFORE=joint.before is not None,
        AFTER=joint.after is not None,
        EARLY=early(y.device),
        num_warps=8,
        **early_options(y.device),
    )
    return x


def attend(queries: Tensor, pairs: Tensor, keys: Tensor, values: Tensor, position: Tensor, angles: Tensor) -> Tensor:
    """Return the attention of one new token, shape (1, heads * head), and put its key and value into the cache.

    Args:
        queries: Its queries, shape (1, heads * head).
        pairs: Its keys, then its values, shape (1, 2 * kv_heads * head).
        keys: Cache, shape (kv_heads, context, head), changed.
        values: Cache of that shape, changed.
        position: Its place, shape (1,), int64.
        angles: Angle of every pair for one place, shape (head / 2,), float32.
    """
    kv_heads, context, head = keys.shape
    heads, spans = queries.shape[-1] // head, triton.cdiv(context, SPAN)
    group, device = heads // kv_heads, queries.device
    partial = torch.empty(kv_heads, spans, group, head, dtype=torch.float32, device=device)
    maxima, sums = torch.empty(2, kv_heads, spans, group, dtype=torch.float32, device=device)
    out = torch.empty_like(queries, memory_format=torch.contiguous_format)
    options = {"EARLY": early(device), **early_options(device)}
    _attend[(kv_heads, spans)](
        queries,
        pairs,
        keys,
        values,
        position,
        angles,
        partial,
        maxima,
        sums,
        context,
        math.log2(math.e) / head**0.5,
        HEADS=heads,
        KV_HEADS=kv_heads,
        HEAD=head,
        SPAN=SPAN,
        num_warps=4,
        **options,
    )
    most = triton.next_power_of_2(spans)
    _combine[(heads,)](partial, maxima, sums, out, spans, GROUP=group, HEAD=head, SPANS=most, num_warps=4, **options)
    return out


def gate(x: Tensor, signs: Tensor | None) -> Tensor:
    """Return silu(first half) * second half of x, shape (1, size), times signs if there are any."""
    size, width = x.shape[-1] // 2, 256
    out = torch.empty(1, size, dtype=x.dtype, device=x.device)
    _gate[(triton.cdiv(size, width),)](
        x,
        out,
        x if signs is None else signs,
        size,
        SIGNED=signs is not None,
        WIDTH=width,
        EARLY=early(x.device),
        num_warps=2,
        **early_options(x.device),
    )
    return out


def angles(head: int, device: torch.device | str) -> Tensor:
    """Return the angle of every pair of a head for one place, shape (head / 2,), float32."""
    return (THETA ** -(torch.arange(0, head, 2, dtype=torch.float64) / head)).float().to(device)
