"""Training documents: running text and the tasks posed in their exact prompt formats with 0 to 5 worked examples."""

from __future__ import annotations

from collections.abc import Callable

from .prose import requested, running
from .tasks import entities, opinions, paraphrases, reading, topics, utterances
from .tasks.prompts import TASKS, Row, Task
from .world.context import Context

SHOTS = 5
_ROWS: dict[str, Callable[[Context], Row]] = {
    "klej-polemo2-in": lambda c: opinions.polemo(c, "in"),
    "klej-polemo2-out": lambda c: opinions.polemo(c, "out"),
    "8tags": topics.tags,
    "belebele": lambda c: reading.belebele(c)[0],
    "PolishCyberbullyingDataset": utterances.cbd,
    "klej-dyk": reading.dyk,
    "klej-nkjp-ner": entities.ner,
    "ppc": paraphrases.ppc,
    "klej-psc": paraphrases.psc,
    "poquad": reading.poquad,
}


def row_of(ctx: Context, task: Task) -> Row:
    """A fresh row for a task."""
    if task.name == "polqa_closed_gen":
        question, answer = reading.closed_book(ctx)
        return {"question": question, "answers": repr([answer])}
    if task.folder == "polqa":
        rows = reading.polqa(ctx)
        return rows[0] if task.name == "polqa_open_gen" else rows[ctx.below(2)]
    return _ROWS[task.folder](ctx)


# How often each task is drawn. Look-up and pair tasks need more than classification.
WEIGHTS = {
    "belebele_mc": 5, "belebele_text": 4, "poquad_gen": 4, "polqa_open_gen": 4, "polqa_closed_gen": 5,
    "polqa_reranking_mc": 3, "dyk_mc": 2, "dyk_gen": 2, "dyk_text": 1, "ppc_mc": 4, "ppc_gen": 4, "ppc_text": 2,
    "psc_mc": 2, "psc_gen": 2, "psc_text": 2,
}  # fmt: skip
_FLAT = [task for name, task in TASKS.items() for _ in range(2 * WEIGHTS.get(name, 1))]
Piece = tuple[str, bool]


def task_document(ctx: Context) -> list[Piece]:
    """Pieces of one document; the flag marks answers, whose loss counts more."""
    task = ctx.pick(_FLAT)
    shots = 1 + (ctx.below(SHOTS + 1) if ctx.chance(0.6) else SHOTS)
    if ctx.level < 0.5 and ctx.random() > 2 * ctx.level and shots > 3:
        shots = 1 + ctx.below(3)
    pieces: list[Piece] = []
    for i in range(shots):
        row = row_of(ctx, task)
        pieces.append((("\n\n" if i else "") + task.prompt(row), False))
        pieces.append((" " + task.target(row), True))
    if ctx.chance(0.3):
        pieces.append(("\n", False))
    return pieces


def document(ctx: Context) -> list[Piece]:
    """One training document without its end mark."""
    if ctx.chance(0.36):
        text = requested(ctx) if ctx.chance(0.08) else running(ctx)
        return [(text, False)]
    return task_document(ctx)


def text_of(pieces: list[Piece]) -> str:
    """The document as plain text."""
    return "".join(text for text, _ in pieces)
