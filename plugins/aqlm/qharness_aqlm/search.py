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
        new = scales * sum_of(codes, state.codebooks)
        pull -= (new - old) @ hessian[columns]


def best_sums(target: Tensor, metric: Tensor, codebooks: Tensor, codes: Tensor | None, beam: int) -> Tensor:
    """Return codes whose sum v of code words has a small v M v^T - 2 v b^T.

    Args:
        target: The rows b, shape (rows, group).
        metric: M, shape (group, group).
        codebooks: Shape (M, K, group).
        codes: Where the search begins, shape (rows, M); the result is never worse. None begins with nothing and
            adds one codebook after the other.
        beam: Hypotheses kept per row; with one codebook the search is exact and keeps one.

    Returns:
        Shape (rows, M), int64.
    """
    width = codebooks.shape[1] * (beam if len(codebooks) > 1 else 1)
    step = max(SCORES_AT_ONCE.get(target.device.type, 2**22) // width, 1)
    spans = [slice(start, start + step) for start in range(0, len(target), step)]
    return torch.cat([_search(target[s], metric, codebooks, None if codes is None else codes[s], beam) for s in spans])


def _search(target: Tensor, metric: Tensor, codebooks: Tensor, codes: Tensor | None, beam: int) -> Tensor:
    norms = ((codebooks @ metric) * codebooks).sum(2)
    if len(codebooks) == 1:
        return torch.addmm(norms[0], target, codebooks[0].T, alpha=-2).argmin(1, keepdim=True)
    rows, count = len(target), codebooks.shape[1]
    if codes is None:
        paths = torch.zeros(rows, 1, len(codebooks), dtype=torch.int64, device=target.device)
        sums = torch.zeros_like(target)[:, None]
    else:
        paths, sums = codes[:, None].clone(), sum_of(codes, codebooks)[:, None]
    for index, book in enumerate(codebooks):
        rest = sums if codes is None else sums - book[paths[:, :, index]]
        image = rest @ metric
        base = ((image - 2 * target[:, None]) * rest).sum(2)
        scores = torch.matmul(image - target[:, None], 2 * book.T).add_(norms[index]).add_(base[:, :, None])
        keep = min(beam, scores[0].numel()) if index + 1 < len(codebooks) else 1
        best = scores.view(rows, -1).topk(keep, dim=1, largest=False).indices
        parents, chosen = (best // count)[:, :, None], best % count
        paths = paths.gather(1, parents.expand(-1, -1, paths.shape[2])).clone()
        paths[:, :, index] = chosen
        sums = rest.gather(1, parents.expand(-1, -1, rest.shape[2])) + book[chosen]
    return paths[:, 0]


def sum_of(codes: Tensor, codebooks: Tensor) -> Tensor:
    """Return the sums of the code words, shape (rows, group).

    Args:
        codes: Shape (rows, M).
        codebooks: Shape (M, K, group).
    """
    total = codebooks[0][codes[:, 0]]
    for index in range(1, len(codebooks)):
        total = total + codebooks[index][codes[:, index]]
    return total
