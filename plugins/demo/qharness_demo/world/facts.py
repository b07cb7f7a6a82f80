"""Relations between entities and values, with the wordings that state them and ask for them."""

from __future__ import annotations

import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from . import lexicon, names
from .context import HOLD_OUT, Context, held_out
from .morphology import Noun, cap, fixed

_SLOT = re.compile(r"\{v\.(\w+)\}")
_QUOTED = {"wL": "L", "zI": "I", "zG": "G"}


@dataclass(frozen=True, eq=False)
class Relation:
    """A relation: statements (full, and with dropped subject), question wordings, one more for evaluation only."""

    name: str
    values: Sequence[Noun]
    full: tuple[str, ...]
    short: tuple[str, ...]
    questions: tuple[str, ...]
    exam: str
    kind: str


class Fact(NamedTuple):
    """A value of a relation for a subject."""

    subject: Noun
    relation: Relation
    value: Noun

    @property
    def answer(self) -> str:
        """The short answer in the nominative."""
        return self.value.N

    def state(self, ctx: Context, short: bool = False) -> tuple[str, str]:
        """A sentence that states the fact, and the words of it that answer the question."""
        template = ctx.pick(self.relation.short if short and self.relation.short else self.relation.full)
        slots = _SLOT.findall(template)
        case = slots[0] if slots else "N"
        text = cap(template.format(s=self.subject, v=self.value))
        return text, str(getattr(self.value, _QUOTED.get(case, case)))

    def ask(self, ctx: Context, exam: bool = False) -> str:
        """A question for the value."""
        template = self.relation.exam if exam else ctx.pick(self.relation.questions)
        return cap(template.format(s=self.subject, v=self.value))


def _years(lo: int, hi: int) -> list[Noun]:
    return [fixed(str(y), "mi") for y in range(lo, hi)]


def _things(verb: str) -> Relation:
    return Relation(
        verb, lexicon.OBJECTS,
        (f"{{s.N}} {verb}{{s.a}} {{v.A}}.", f"Wczoraj {{s.N}} {verb}{{s.a}} {{v.A}}.", f"{{s.N}} w końcu {verb}{{s.a}} {{v.A}}."),
        (f"{cap(verb)}{{s.a}} {{v.A}}.", f"Potem {verb}{{s.a}} {{v.A}}."),
        (f"Co {verb}{{s.a}} {{s.N}}?", f"Jaki przedmiot {verb}{{s.a}} {{s.N}}?"),
        f"Jaką rzecz {verb}{{s.a}} {{s.N}}?", "thing",
    )  # fmt: skip


# Towns and surnames are split: one part belongs to the fixed world (closed-book facts), the other to invented passages.
WORLD_SHARE = 12
WORLD_TOWNS = [t for i, t in enumerate(names.TOWNS) if i % 2 == 0]
FREE_TOWNS = [t for i, t in enumerate(names.TOWNS) if i % 2 == 1]
PEOPLE = [names.person(f, s) for s in range(len(names.SURNAMES)) for f in range(names.N_FIRST)]
WORLD_PEOPLE = [p for i, p in enumerate(PEOPLE) if i % WORLD_SHARE == 0]
FREE_PEOPLE = [p for i, p in enumerate(PEOPLE) if i % WORLD_SHARE]
FIRST = [*names.MALE, *names.FEMALE]

BORN = Relation(
    "born", FREE_TOWNS,
    ("{s.N} urodził{s.a} się {v.wL}.", "{s.N} pochodzi {v.zG}.", "Miejscem urodzenia {s.G} jest {v.N}."),
    ("Urodził{s.a} się {v.wL}.", "Pochodzi {v.zG}."),
    ("Gdzie urodził{s.a} się {s.N}?", "Skąd pochodzi {s.N}?", "W jakim mieście urodził{s.a} się {s.N}?"),
    "Jakie jest miejsce urodzenia {s.G}?", "town",
)  # fmt: skip
YEAR = Relation(
    "year", _years(1900, 2000),
    ("{s.N} urodził{s.a} się w {v.N} roku.", "Rokiem urodzenia {s.G} jest {v.N}."), ("Urodził{s.a} się w {v.N} roku.",),
    ("W którym roku urodził{s.a} się {s.N}?", "Kiedy urodził{s.a} się {s.N}?"), "Jaki jest rok urodzenia {s.G}?", "year",
)  # fmt: skip
JOB = Relation(
    "job", lexicon.PROFESSIONS,
    ("{s.N} był{s.a} z zawodu {v.I}.", "{s.N} pracował{s.a} jako {v.N}.", "Zawód, który wykonywał{s.a} {s.N}, to {v.N}."),
    ("Pracował{s.a} jako {v.N}.", "Z zawodu był{s.a} {v.I}."),
    ("Kim z zawodu był{s.a} {s.N}?", "Jako kto pracował{s.a} {s.N}?", "Jaki zawód miał{s.a} {s.N}?"),
    "Jaki zawód wykonywał{s.a} {s.N}?", "job",
)  # fmt: skip
PET = Relation(
    "pet", lexicon.ANIMALS,
    ("{s.N} miał{s.a} {v.A}.", "{s.N} hodował{s.a} {v.A}.", "W domu {s.G} mieszkał{v.a} {v.N}."),
    ("Miał{s.a} {v.A}.", "Hodował{s.a} {v.A}."),
    ("Jakie zwierzę miał{s.a} {s.N}?", "Jakie zwierzę hodował{s.a} {s.N}?"),
    "Jakie zwierzę mieszkało w domu {s.G}?", "pet",
)  # fmt: skip
DISH = Relation(
    "dish", lexicon.DISHES,
    ("{s.N} najchętniej jadł{s.a} {v.A}.", "Ulubionym daniem {s.G} był{v.a} {v.N}."), ("Najchętniej jadł{s.a} {v.A}.",),
    ("Co najchętniej jadł{s.a} {s.N}?", "Co lubił{s.a} jeść {s.N}?"), "Jakie było ulubione danie {s.G}?", "dish",
)  # fmt: skip
FRIEND = Relation(
    "friend", FIRST,
    ("{s.N} przyjaźnił{s.a} się {v.zI}.", "{s.N} często odwiedzał{s.a} {v.A}."),
    ("Przyjaźnił{s.a} się {v.zI}.", "Często odwiedzał{s.a} {v.A}."),
    ("Z kim przyjaźnił{s.a} się {s.N}?", "Kto był przyjacielem {s.G}?"), "Czyim przyjacielem był{s.a} {s.N}?", "first",
)  # fmt: skip
WORK = Relation(
    "work", [x for x in lexicon.PLACES if x.N not in ("poczta", "stacja")],
    ("{s.N} pracował{s.a} {v.wL}.", "Miejscem pracy {s.G} był{v.a} {v.N}."), ("Pracował{s.a} {v.wL}.",),
    ("Gdzie pracował{s.a} {s.N}?", "W jakim miejscu pracował{s.a} {s.N}?"), "Jakie było miejsce pracy {s.G}?", "place",
)  # fmt: skip
RIVER = Relation(
    "river", names.RIVERS,
    ("{s.N} leży nad {v.I}.", "Przez {s.A} przepływa {v.N}.", "Rzeka, nad którą leży {s.N}, to {v.N}."), (),
    ("Nad jaką rzeką leży {s.N}?", "Jaka rzeka płynie przez {s.A}?"), "Jaka rzeka przepływa przez {s.A}?", "river",
)  # fmt: skip
FOUNDER = Relation(
    "founder", WORLD_PEOPLE,
    ("{s.A} założył{v.a} {v.N}.", "Miasto {s.N} założył{v.a} {v.N}.", "{s.N} to miasto, które założył{v.a} {v.N}."), (),
    ("Kto założył {s.A}?", "Kto był założycielem {s.G}?"), "Kto założył miasto {s.N}?", "person",
)  # fmt: skip
FOUNDED = Relation(
    "founded", _years(1200, 1400),
    ("{s.N} powstał{s.a} w {v.N} roku.", "Miasto {s.N} powstało w {v.N} roku."), (),
    ("W którym roku powstał{s.a} {s.N}?", "Kiedy powstał{s.a} {s.N}?"), "Kiedy powstało miasto {s.N}?", "oldyear",
)  # fmt: skip
PRODUCT = Relation(
    "product", lexicon.PRODUCTS,
    ("{s.N} słynie {v.zG}.", "Cały kraj zna {v.A} {s.zG}.", "{s.wL} wytwarza się {v.A}."), (),
    ("Z czego słynie {s.N}?", "Co wytwarza się {s.wL}?"), "Jakie wyroby wytwarza {s.N}?", "product",
)  # fmt: skip
LANDMARK = Relation(
    "landmark", lexicon.LANDMARKS,
    ("{s.wL} od dawna stoi {v.N}.", "Najstarszą budowlą {s.G} jest {v.N}.", "Turyści oglądają {v.A} {s.wL}."), (),
    ("Co jest najstarszą budowlą {s.G}?", "Co stoi {s.wL}?"), "Jaka jest najstarsza budowla {s.G}?", "landmark",
)  # fmt: skip
BUY, LOSE, SELL, FIND, GET = (_things(v) for v in ("kupił", "zgubił", "sprzedał", "znalazł", "dostał"))

PERSON_RELATIONS = (BORN, YEAR, JOB, PET, DISH, FRIEND, WORK, BUY, LOSE, SELL, FIND, GET)
TOWN_RELATIONS = (RIVER, replace(FOUNDER, values=FREE_PEOPLE), FOUNDED, PRODUCT, LANDMARK)


def reserved(subject: str, relation: str, index: int) -> bool:
    """Whether the fact with the value at `index` of the relation's values is reserved for evaluation (one in six)."""
    return (zlib.crc32(f"{subject}|{relation}".encode()) + index) % HOLD_OUT == 0


def invent(ctx: Context, subject: Noun, relation: Relation) -> Fact:
    """A fact with a random value, from the side of the hold-out rule that the context may use."""
    while True:
        index = ctx.below(len(relation.values))
        if reserved(subject.N, relation.name, index) == ctx.evaluation and relation.values[index].N != subject.N:
            return Fact(subject, relation, relation.values[index])


class World:
    """The fixed world of closed-book facts: the same in every run."""

    def __init__(self) -> None:
        ctx = Context("world")
        self.towns = WORLD_TOWNS
        self.people = WORLD_PEOPLE
        self.town_facts = [
            [Fact(t, r, ctx.pick(r.values)) for r in (RIVER, FOUNDER, FOUNDED, PRODUCT, LANDMARK)] for t in self.towns
        ]
        born = replace(BORN, values=WORLD_TOWNS)
        self.person_facts = [
            [Fact(p, r, ctx.pick(r.values)) for r in (born, YEAR, JOB, PET, DISH, WORK)] for p in self.people
        ]
        self.entities = [x for pair in zip(self.person_facts, self.town_facts, strict=False) for x in pair]
        self.of = {facts[0].subject.N: facts for facts in (*self.person_facts, *self.town_facts)}
        rest = min(len(self.person_facts), len(self.town_facts))
        self.entities += self.person_facts[rest:] + self.town_facts[rest:]

    @staticmethod
    def exam(fact: Fact) -> bool:
        """Whether questions about the fact are reserved for evaluation."""
        return held_out("exam", fact.subject.N, fact.relation.name)

    def entity(self, ctx: Context, power: float = 1.5) -> list[Fact]:
        """The facts of one entity; the first ones are met more often."""
        return self.entities[int(len(self.entities) * ctx.random() ** power)]

    def asked(self, ctx: Context) -> Fact:
        """A fact whose question the context may ask.

        Evaluation leaves out years, which are as hard as digits, and dishes: the trained model never answered those
        without the passage, so they could show no damage.
        """
        while True:
            fact = ctx.pick(self.entity(ctx, 2.2 if ctx.evaluation else 1.5))
            if self.exam(fact) != ctx.evaluation:
                continue
            if not (ctx.evaluation and (fact.relation.kind == "dish" or fact.relation.kind.endswith("year"))):
                return fact


WORLD = World()


def describe(ctx: Context, facts: Sequence[Fact]) -> str:
    """Running text that states the facts of one entity."""
    sentences = []
    for i, fact in enumerate(facts):
        sentences.append(fact.state(ctx, short=i > 0 and ctx.chance(0.7))[0])
    return " ".join(sentences)
