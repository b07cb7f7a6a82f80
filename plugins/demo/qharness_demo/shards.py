"""The training stream: shards of packed token rows, made by a pool of processes in a fixed order."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from .documents import document
from .tokens import EOS, Encoder
from .world.context import Context

ANSWER = 0x8000
_ENCODER: Encoder | None = None


def _start(tokenizer: Path) -> None:
    global _ENCODER
    _ENCODER = Encoder(tokenizer)


def document_ids(ctx: Context, encoder: Encoder) -> list[int]:
    """One document as ids, answers marked with bit 15, ended by </s>."""
    out: list[int] = []
    for text, answer in document(ctx):
        ids = encoder(text)
        out += [i | ANSWER for i in ids] if answer else ids
    out.append(EOS)
    return out


def make(job: tuple[int, int, int, int, float]) -> Any:
    """One shard: (seed, index, rows, length, level) -> uint16 array (rows, length + 1); each row starts a document."""
    import numpy as np

    seed, index, rows, length, level = job
    assert _ENCODER is not None
    out = np.zeros((rows, length + 1), dtype=np.uint16)
    ctx = Context(f"{seed}/train/{index}", level=level)
    for r in range(rows):
        row: list[int] = []
        while len(row) < length + 1:
            row += document_ids(ctx, _ENCODER)
        out[r] = row[: length + 1]
    return out


def stream(
    tokenizer: Path, seed: int, first: int, count: int, rows: int, length: int, ramp: int, workers: int
) -> Iterator[Any]:
    """Shards first .. count-1 in order; the curriculum's level rises linearly over the first `ramp` shards."""
    jobs = [(seed, i, rows, length, min(1.0, 0.15 + i / max(1, ramp))) for i in range(first, count)]
    if workers <= 1:
        _start(tokenizer)
        yield from map(make, jobs)
        return
    context = multiprocessing.get_context("spawn")
    with context.Pool(workers, initializer=_start, initargs=(tokenizer,)) as pool:
        ahead = 3 * workers
        waiting = [pool.apply_async(make, (job,)) for job in jobs[:ahead]]
        for job in jobs[ahead:] + [None] * ahead:
            if not waiting:
                break
            yield waiting.pop(0).get()
            if job is not None:
                waiting.append(pool.apply_async(make, (job,)))
