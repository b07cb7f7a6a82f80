"""Beam search over codes: the discrete half of AQLM (arXiv 2401.06118, section 3.2, phase 1)."""

from __future__ import annotations

import torch
from torch import Generator, Tensor

from qharness_aqlm.state import Additive

SCORES_AT_ONCE = {"cpu": 2**22, "cuda": 2**28}


@torch.no_grad()
def search_codes(state: Additive, weight: Tensor, hessian: Tensor, *, beam: int, generator: Generator) -> None:
    """Choose better codes, group of columns by group in a random order; the error tr(E H E^T) never rises.

    Within a group the codes of all rows are searched at once, each row with its own beam over the codebooks. With E the
    current error, changing a group's weights by D changes the error of a row by D H_gg D^T - 2 D (E H)_g, so all that a
    group sees of the others is the product E H, which is kept up to date.

    Args:
        state: Codes, changed in place; codebooks and scales.
        weight: The weights to approximate, shape (rows, columns).
        hessian: Shape (columns, columns).
        beam: Hypotheses kept per row.
        generator: Draws the order of the groups.
    """
    size = state.codebooks.shape[2]
    decoded = state.weight()
    pull = (weight - decoded) @ hessian
    order = torch.randperm(state.codes.shape[1], generator=generator, device=generator.device).tolist()
    scales = state.scales[:, None]
    for group in order:
        columns = slice(group * size, (group + 1) * size)
        metric = hessian[columns, columns]
        old = decoded[:, columns]
        target = (pull[:, columns] + old @ metric) / scales
        codes = best_sums(target, metric, state.codebooks, state.codes[:, group], beam)
        state.codes[:, group] = codes
        new = scales * _sums(codes, state.codebooks)
        pull -= (new - old) @ hessian[columns]


def best_sums(target: Tensor, metric: Tensor, codebooks: Tensor, codes: Tensor, beam: int) -> Tensor:
    """Return codes whose sum v of code words has a small v M v^T - 2 v b^T, never larger than that of `codes`.

    Args:
        target: The rows b, shape (rows, group).
        metric: M, shape (group, group).
        codebooks: Shape (M, K, group).
        codes: Where the search begins, shape (rows, M).
        beam: Hypotheses kept per row; with one codebook the search is exact and keeps one.

    Returns:
        Shape (rows, M), int64.
    """
    width = codebooks.shape[1] * (beam if len(codebooks) > 1 else 1)
    step = max(SCORES_AT_ONCE.get(target.device.type, 2**22) // width, 1)
    parts = zip(target.split(step), codes.split(step), strict=True)
    return torch.cat([_search(part, metric, codebooks, start, beam) for part, start in parts])


def _search(target: Tensor, metric: Tensor, codebooks: Tensor, codes: Tensor, beam: int) -> Tensor:
    images = codebooks @ metric
    norms = (images * codebooks).sum(2)
    if len(codebooks) == 1:
        return torch.addmm(norms[0], target, codebooks[0].T, alpha=-2).argmin(1, keepdim=True)
    rows, count = len(target), codebooks.shape[1]
    paths = codes[:, None].clone()
    sums = _sums(codes, codebooks)[:, None]
    for index in range(len(codebooks)):
        rest = sums - codebooks[index][paths[:, :, index]]
        base = (rest @ metric - 2 * target[:, None]).mul_(rest).sum(2)
        linear = target[:, None] - rest @ metric
        scores = norms[index] + base[:, :, None] - 2 * linear @ codebooks[index].T
        keep = min(beam, scores[0].numel()) if index + 1 < len(codebooks) else 1
        best = scores.view(rows, -1).topk(keep, dim=1, largest=False).indices
        parents = (best // count)[:, :, None]
        chosen = best % count
        paths = paths.gather(1, parents.expand(-1, -1, paths.shape[2])).clone()
        paths[:, :, index] = chosen
        sums = rest.gather(1, parents.expand(-1, -1, rest.shape[2])) + codebooks[index][chosen]
    return paths[:, 0]


def _sums(codes: Tensor, codebooks: Tensor) -> Tensor:
    total = codebooks[0][codes[:, 0]]
    for index in range(1, len(codebooks)):
        total = total + codebooks[index][codes[:, index]]
    return total
