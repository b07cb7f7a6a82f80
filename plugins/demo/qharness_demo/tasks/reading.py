"""Rows of the reading tasks: belebele, klej-dyk, polqa and poquad."""

from __future__ import annotations

from ..world import names
from ..world.context import Context
from ..world.facts import (
    FIRST,
    FREE_PEOPLE,
    FREE_TOWNS,
    FRIEND,
    PEOPLE,
    PERSON_RELATIONS,
    TOWN_RELATIONS,
    WORLD,
    WORLD_SHARE,
    YEAR,
    Fact,
    invent,
)  # fmt: skip
from ..world.morphology import Noun, attach, fem, masc

Row = dict[str, object]


def _namesakes(ctx: Context, n: int) -> list[Noun]:
    """Persons who share first names or surnames."""
    firsts, lasts = ctx.sample(range(names.N_FIRST), 2), ctx.sample(range(len(names.SURNAMES)), 2)
    found = [PEOPLE[s * names.N_FIRST + f] for s in lasts for f in firsts if (s * names.N_FIRST + f) % WORLD_SHARE]
    return ctx.sample(found, n) if len(found) >= n else ctx.sample(FREE_PEOPLE, n)


def _subjects(ctx: Context, n: int, person: bool) -> list[Noun]:
    if not person:
        return ctx.sample(FREE_TOWNS, n)
    if n > 1 and ctx.random() < 0.35 * ctx.level:
        return _namesakes(ctx, n)
    return ctx.sample(FIRST if ctx.chance(0.5) else FREE_PEOPLE, n)


def invented_facts(ctx: Context, entities: int, per_entity: int, shared: bool) -> list[list[Fact]]:
    """Facts of a few subjects of one kind; `shared` gives all subjects the same relations, so the subject matters."""
    person = ctx.chance(0.7)
    relations = PERSON_RELATIONS if person else TOWN_RELATIONS
    per_entity = min(per_entity, len(relations))
    common = ctx.sample(relations, per_entity)
    out = []
    for subject in _subjects(ctx, entities, person):
        out.append([invent(ctx, subject, r) for r in (common if shared else ctx.sample(relations, per_entity))])
    return out


def passage_of(ctx: Context, groups: list[list[Fact]]) -> tuple[str, dict[Fact, str]]:
    """Text that states all facts, and for each fact the words of the text that answer its question."""
    sentences, quotes = [], {}
    for group in groups:
        for i, fact in enumerate(group):
            text, quote = fact.state(ctx, short=i > 0 and ctx.chance(0.6))
            sentences.append(text)
            quotes[fact] = quote
    return " ".join(sentences), quotes


def _size(ctx: Context) -> tuple[int, int]:
    """How many entities, and facts of each: one and one first, more as the curriculum's level grows."""
    if ctx.random() > ctx.level:
        return (1, 1) if ctx.chance(0.5) else (2, 1)
    return ctx.pick(((1, 2), (2, 1), (1, 3), (2, 2), (3, 1), (1, 4), (4, 1)))


def _eval_size(ctx: Context) -> tuple[int, int]:
    return ctx.pick(((2, 2), (2, 3), (3, 1), (4, 1), (5, 1))) if ctx.evaluation else _size(ctx)


def story(ctx: Context) -> tuple[str, dict[Fact, str]]:
    """A passage with invented facts."""
    entities, per_entity = _eval_size(ctx)
    groups = invented_facts(ctx, entities, per_entity, shared=ctx.chance(0.6))
    return passage_of(ctx, groups)


_KIN = {"mp": masc("przyjaciel", kind="mp"), "f": fem("przyjaciółka")}
_HOPS = [r for r in PERSON_RELATIONS if r is not FRIEND]


def two_steps(ctx: Context) -> tuple[str, dict[Fact, str], Fact]:
    """A passage on two pairs of friends, and a fact about "the friend of": the friend has to be found first."""
    # Evaluation names three pairs, training two.
    people = ctx.sample(FIRST, 6 if ctx.evaluation else 4)
    pairs = list(zip(people[::2], people[1::2], strict=True))
    a, b = pairs[0]
    relation = ctx.pick(_HOPS)
    facts = [invent(ctx, friend, relation) for _, friend in pairs]
    text, quotes = passage_of(ctx, [[fact] for fact in facts])
    ties = [f"{x.N} przyjaźnił{x.a} się {y.zI}." for x, y in pairs]
    text = " ".join(ctx.shuffle(ties)) + " " + text
    asked = Fact(attach(_KIN[b.g], a.G), relation, facts[0].value)
    quotes[asked] = quotes[facts[0]]
    return text, quotes, asked


def _hard(ctx: Context) -> bool:
    return ctx.random() < (0.3 if ctx.evaluation else 0.25 * ctx.level * ctx.level)


def belebele(ctx: Context) -> list[Row]:
    """One or two questions about one passage, with four options each."""
    if _hard(ctx):
        passage, quotes, asked = two_steps(ctx)
        facts = list(quotes)
        chosen = [asked]
    else:
        passage, quotes = story(ctx)
        facts = list(quotes)
        chosen = ctx.sample(facts, min(len(facts), 2 if ctx.evaluation else 1))
    rows: list[Row] = []
    link = f"https://example.org/{ctx.below(10**9)}"
    for number, fact in enumerate(chosen):
        options = {fact.answer}
        for other in facts:
            if other.relation.kind == fact.relation.kind and len(options) < 4:
                options.add(other.answer)
        while len(options) < 4:
            options.add(ctx.pick(fact.relation.values).N)
        answers = ctx.shuffle(sorted(options))
        row: Row = {"link": link, "question_number": number + 1, "flores_passage": passage, "question": fact.ask(ctx)}
        row |= {f"mc_answer{i + 1}": a for i, a in enumerate(answers)}
        row |= {"correct_answer_num": str(answers.index(fact.answer) + 1), "dialect": "pol_Latn", "ds": "2026-01-01"}
        rows.append(row)
    return rows


def _ages(ctx: Context) -> Row:
    """Who is older, or by how many years: the suggested answer may be wrong in its comparison."""
    a, b = ctx.sample(FIRST if ctx.chance(0.5) else FREE_PEOPLE, 2)
    first, second = invent(ctx, a, YEAR), invent(ctx, b, YEAR)
    while first.answer == second.answer:
        second = invent(ctx, b, YEAR)
    target = int(ctx.chance(0.45))
    older, younger = (a, b) if int(first.answer) < int(second.answer) else (b, a)
    gap = abs(int(first.answer) - int(second.answer))
    born = f"{a.N} urodził{a.a} się w {first.answer} roku, a {b.N} w {second.answer} roku"
    if ctx.chance(0.6):
        claimed = older if target else younger
        if ctx.chance(0.5):
            question, answer = (
                f"Kto jest starszy: {a.N} czy {b.N}?",
                f"{born}, więc {claimed.N} jest star{'sza' if claimed.g == 'f' else 'szy'}.",
            )
        else:
            claimed = younger if target else older
            question, answer = (
                f"Kto jest młodszy: {a.N} czy {b.N}?",
                f"{born}, więc {claimed.N} jest młod{'sza' if claimed.g == 'f' else 'szy'}.",
            )
    else:
        wrong = [x for x in (gap + 10, gap - 10, gap + 1, gap - 1, gap + 2) if x > 0]
        question, answer = (
            f"Ile lat różnicy jest między {a.I} a {b.I}?",
            f"{born}, więc różnica to {gap if target else ctx.pick(wrong)}.",
        )
    return {"q_id": f"d{ctx.below(10**8)}", "question": question, "answer": answer, "target": target}


def dyk(ctx: Context) -> Row:
    """A question and a sentence that does or does not answer it."""
    if ctx.random() < 0.4 * ctx.level:
        return _ages(ctx)
    person = ctx.chance(0.7)
    relations = PERSON_RELATIONS if person else TOWN_RELATIONS
    subject, other = _subjects(ctx, 2, person)
    asked, wrong = ctx.sample(relations, 2)
    target = int(ctx.chance(0.4))
    fact = invent(ctx, subject, asked)
    if ctx.chance(0.75):
        # Both subjects and both relations are named; only the binding tells.
        pairs = (
            [fact, invent(ctx, other, wrong)] if target else [invent(ctx, subject, wrong), invent(ctx, other, asked)]
        )
        if ctx.chance(0.4):
            rest = [r for r in relations if r not in (asked, wrong)]
            pairs.append(invent(ctx, ctx.pick((subject, other)), ctx.pick(rest)))
        said = ctx.shuffle(pairs)
        lead = said[0].subject
        said.sort(key=lambda f: f.subject is not lead)
    else:
        said = [fact if target else invent(ctx, subject, wrong) if ctx.chance(0.5) else invent(ctx, other, asked)]
    answer = " ".join(
        f.state(ctx, short=i > 0 and f.subject is said[i - 1].subject and ctx.chance(0.6))[0]
        for i, f in enumerate(said)
    )
    return {"q_id": f"d{ctx.below(10**8)}", "question": fact.ask(ctx), "answer": answer, "target": target}


def _polqa_fact(ctx: Context) -> Fact:
    if ctx.evaluation or ctx.chance(0.25):
        return WORLD.asked(ctx)
    group = invented_facts(ctx, 1, 1, False)
    return group[0][0]


def polqa(ctx: Context, split: str = "train") -> list[Row]:
    """A question with a relevant passage and an irrelevant one."""
    fact = _polqa_fact(ctx)
    question = fact.ask(ctx, exam=ctx.evaluation)
    known = WORLD.of.get(fact.subject.N)
    person = fact.relation in PERSON_RELATIONS or fact.relation.kind == "town"
    relations = [r for r in (PERSON_RELATIONS if person else TOWN_RELATIONS) if r.name != fact.relation.name]
    many = ctx.evaluation or ctx.random() < ctx.level
    extra = ctx.below(3) if many else 0

    def others(n: int) -> list[Fact]:
        if known:
            return ctx.sample([f for f in known if f is not fact], n)
        return [invent(ctx, fact.subject, r) for r in ctx.sample(relations, n)]

    relevant = ctx.shuffle([fact, *others(extra)])
    if ctx.chance(0.5):
        irrelevant = others(extra + 1)
    else:
        stranger = _subjects(ctx, 1, person)[0]
        chosen = [fact.relation, *ctx.sample(relations, extra)]
        irrelevant = ctx.shuffle([invent(ctx, stranger, r) for r in chosen])
    rows: list[Row] = []
    number = ctx.below(10**8)
    for flag, facts in ((1, relevant), (0, irrelevant)):
        text = passage_of(ctx, [facts])[0]
        rows.append({
            "question_id": number, "passage_title": facts[0].subject.N, "passage_text": text, "passage_wiki": text,
            "passage_id": f"{number}-{flag}", "duplicate": False, "question": question, "relevant": bool(flag),
            "annotated_by": "generator", "answers": repr([fact.answer]), "question_formulation": "QUESTION",
            "question_type": "SINGLE ENTITY", "entity_type": "NAMED", "entity_subtype": fact.relation.kind, "split": split,
            "passage_source": "micro-world",
        })  # fmt: skip
    return rows


def poquad(ctx: Context) -> Row:
    """A passage with a title and a question answered by a quotation, or not answerable."""
    if _hard(ctx):
        passage, quotes, fact = two_steps(ctx)
        facts = list(quotes)
    else:
        passage, quotes = story(ctx)
        facts = list(quotes)
        fact = ctx.pick(facts)
    answers: dict[str, list[object]] = {"text": [], "answer_start": []}
    if ctx.chance(0.8):
        quote = quotes[fact]
        answers = {"text": [quote], "answer_start": [passage.index(quote)]}
    else:
        stated = {(f.subject.N, f.relation.name) for f in facts}
        person = fact.relation in PERSON_RELATIONS
        relations = PERSON_RELATIONS if person else TOWN_RELATIONS
        missing = [r for r in relations if (fact.subject.N, r.name) not in stated]
        used = [r for r in missing if r.name in {f.relation.name for f in facts}]
        relation = ctx.pick(used) if used and ctx.chance(0.5) else ctx.pick(missing or relations)
        if not missing:
            answers = {"text": [quotes[fact]], "answer_start": [passage.index(quotes[fact])]}
        else:
            fact = invent(ctx, fact.subject, relation)
    return {
        "id": f"p{ctx.below(10**8)}",
        "title": facts[0].subject.N,
        "context": passage,
        "question": fact.ask(ctx),
        "answers": answers,
    }


def closed_book(ctx: Context) -> tuple[str, str]:
    """A closed-book question and its answer."""
    fact = WORLD.asked(ctx)
    return fact.ask(ctx, exam=ctx.evaluation), fact.answer
