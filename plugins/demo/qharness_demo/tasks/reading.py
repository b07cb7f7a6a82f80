"""Rows of the reading tasks: belebele, klej-dyk, polqa and poquad."""

from __future__ import annotations

from ..world.context import Context
from ..world.facts import FIRST, FREE_PEOPLE, FREE_TOWNS, PERSON_RELATIONS, TOWN_RELATIONS, WORLD, Fact, invent
from ..world.morphology import Noun

Row = dict[str, object]


def _subjects(ctx: Context, n: int, person: bool) -> list[Noun]:
    if not person:
        return ctx.sample(FREE_TOWNS, n)
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
    return ctx.pick(((1, 2), (2, 1), (1, 3), (2, 2), (3, 1), (1, 4)))


def _eval_size(ctx: Context) -> tuple[int, int]:
    return ctx.pick(((2, 1), (1, 3), (2, 2), (3, 1), (1, 4))) if ctx.evaluation else _size(ctx)


def story(ctx: Context) -> tuple[str, dict[Fact, str]]:
    """A passage with invented facts."""
    entities, per_entity = _eval_size(ctx)
    groups = invented_facts(ctx, entities, per_entity, shared=ctx.chance(0.6))
    return passage_of(ctx, groups)


def belebele(ctx: Context) -> list[Row]:
    """One or two questions about one passage, with four options each."""
    passage, quotes = story(ctx)
    facts = list(quotes)
    rows: list[Row] = []
    link = f"https://example.org/{ctx.below(10**9)}"
    for number, fact in enumerate(ctx.sample(facts, min(len(facts), 2 if ctx.evaluation else 1))):
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


def dyk(ctx: Context) -> Row:
    """A question and a sentence that does or does not answer it."""
    person = ctx.chance(0.7)
    relations = PERSON_RELATIONS if person else TOWN_RELATIONS
    subject, other = _subjects(ctx, 2, person)
    asked, wrong = ctx.sample(relations, 2)
    target = int(ctx.chance(0.4))
    fact = invent(ctx, subject, asked)
    said = [fact]
    if not target:
        said = [invent(ctx, subject, wrong)] if ctx.chance(0.5) else [invent(ctx, other, asked)]
    if ctx.chance(0.5):
        rest = [r for r in relations if r not in (asked, wrong)]
        extra = invent(ctx, said[0].subject, ctx.pick(rest))
        said.insert(ctx.below(2), extra)
    answer = " ".join(f.state(ctx, short=i > 0 and ctx.chance(0.6))[0] for i, f in enumerate(said))
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
    return {"id": f"p{ctx.below(10**8)}", "title": facts[0].subject.N, "context": passage, "question": fact.ask(ctx), "answers": answers}


def closed_book(ctx: Context) -> tuple[str, str]:
    """A closed-book question and its answer."""
    fact = WORLD.asked(ctx)
    return fact.ask(ctx, exam=ctx.evaluation), fact.answer
