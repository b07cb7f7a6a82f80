from __future__ import annotations

import json
import re

import pytest

from qharness_demo import DATA_DIR
from qharness_demo.build import folders, rows, splits
from qharness_demo.documents import document, text_of
from qharness_demo.tasks import reading
from qharness_demo.world.context import Context, held_out
from qharness_demo.world.facts import FREE_PEOPLE, PERSON_RELATIONS, TOWN_RELATIONS, WORLD, invent, reserved
from qharness_demo.world.morphology import cap

HELD_OUT_SPLIT = {"poquad": "validation"}


@pytest.fixture(scope="module")
def stream() -> str:
    return "\n".join(text_of(document(Context(f"2026/train/{i}", level=1.0))) for i in range(12_000))


def shipped(folder: str, split: str) -> list[dict[str, object]]:
    lines = (DATA_DIR / folder / f"{split}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def texts(folder: str, row: dict[str, object]) -> tuple[str, ...]:
    """The parts of a row that must not stand together in the training stream."""
    keys = {
        "belebele": ("flores_passage", "question"),
        "PolishCyberbullyingDataset": ("TEXT",),
        "klej-dyk": ("question", "answer"),
        "ppc": ("sentence_A", "sentence_B"),
        "klej-psc": ("extract_text", "summary_text"),
        "polqa": ("question",),
        "poquad": ("context", "question"),
    }.get(folder, ("sentence",))
    return tuple(str(row[k]) for k in keys)


@pytest.mark.parametrize("folder", folders())
def test_no_test_item_stands_in_the_training_stream(folder: str, stream: str) -> None:
    for row in shipped(folder, HELD_OUT_SPLIT.get(folder, "test")):
        first, *rest = texts(folder, row)
        marked = f'"{first}"' if folder not in ("polqa", "poquad") else first
        at = [m.start() for m in re.finditer(re.escape(marked), stream)]
        window = 400 + 2 * len(first)
        clash = [i for i in at if all(part in stream[i : i + window] for part in rest)]
        assert not clash, (folder, row)


def test_training_never_draws_a_reserved_fact_and_evaluation_always_does() -> None:
    for evaluation in (False, True):
        ctx = Context(1, evaluation)
        for _ in range(3000):
            fact = invent(ctx, ctx.pick(FREE_PEOPLE), ctx.pick(PERSON_RELATIONS))
            index = [v.N for v in fact.relation.values].index(fact.value.N)
            assert reserved(fact.subject.N, fact.relation.name, index) == evaluation


def test_closed_book_questions_on_exam_facts_are_in_no_training_document(stream: str) -> None:
    for facts in WORLD.entities[:300]:
        for fact in facts:
            if WORLD.exam(fact):
                # After a context the line begins with a space; those may ask for a town with a like-sounding form.
                asked = [cap(w.format(s=fact.subject)) for w in fact.relation.questions]
                assert not any(f"\nPytanie: {q} \n" in stream for q in asked)


def test_the_wordings_of_the_exam_are_in_no_training_document(stream: str) -> None:
    slots = {r"\{s\.N\}": "[^?]+", r"\{s\.G\}": "[^?]+", r"\{s\.A\}": "[^?]+", r"\{s\.a\}": "a?"}
    for wording in {r.exam for r in (*PERSON_RELATIONS, *TOWN_RELATIONS)}:
        pattern = re.escape(wording)
        for slot, form in slots.items():
            pattern = pattern.replace(slot, form)
        assert "s\\." not in pattern
        assert not re.search(f"Pytanie: {pattern} ", stream), wording


def test_closed_book_test_facts_stand_in_running_text() -> None:
    ctx = Context("closed", True)
    wanted = {reading.closed_book(ctx)[1] for _ in range(20)}
    assert all(wanted)
    held = [f for facts in WORLD.entities for f in facts if WORLD.exam(f)]
    share = len(held) / sum(len(facts) for facts in WORLD.entities)
    assert 0.1 < share < 0.25
    assert all(held_out("exam", f.subject.N, f.relation.name) for f in held)


@pytest.mark.parametrize("folder", folders())
def test_shipped_data_is_what_the_generator_makes(folder: str) -> None:
    for split in splits(folder):
        made = []
        for row in rows(folder, split):
            made.append(row)
            if len(made) == 20:
                break
        assert made == shipped(folder, split)[:20]
