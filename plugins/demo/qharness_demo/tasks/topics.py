"""Rows of 8tags: short titles in which nouns of several topics compete; the construction or the count decides."""

from __future__ import annotations

from ..world.context import Context
from ..world.lexicon import TOPICS
from ..world.morphology import Noun, cap

Row = dict[str, object]
_NAMES = list(TOPICS)
# {a} and {b} belong to the topic of the title, {x} and {y} to another one.
_PATTERNS = (
    "{a.N} i {b.N}", "{a.N} a {b.N}: co warto wiedzieć", "Wszystko o {a.L} i {b.L}", "Nowości: {a.N}, {b.N}", "Spotkanie z {a.I} i {b.I}",
    "{a.N} bez {b.G}", "Dzięki {a.D} {b.N} ma przyszłość", "Historia {a.G} i {b.G}", "Poradnik: {a.N} dla początkujących",
)  # fmt: skip
_MIXED = (
    "{a.N} zamiast {x.G}", "Zamiast {x.G} {a.N}", "Nie {x.N}, lecz {a.N}", "{a.N}, a nie {x.N}", "Nie o {x.L}, ale o {a.L}",
    "O {a.L}, nie o {x.L}", "Mniej o {x.L}, więcej o {a.L}", "Więcej o {a.L}, mniej o {x.L}", "Po {x.L} przyszedł czas na {a.A}",
    "{x.N} to tylko tło, ważny temat to {a.N}", "{a.N} to ważny temat, {x.N} to tylko tło", "{a.N}, {x.N} i {b.N}", "{x.N}, {a.N} i {b.N}",
    "{a.N}, {b.N} oraz {x.N}", "Od {a.G} przez {x.A} do {b.G}", "{x.N}, {a.N}, {b.N}, {y.N} i {c.N}", "{a.N}, {x.N}, {c.N}, {y.N} i {b.N}",
    "Koniec z {x.I}, czas na {a.A}", "Czas na {a.A}, koniec z {x.I}",
)  # fmt: skip
_LEADS = ("", "", "", "Poradnik: ", "Ranking: ", "Opinia: ", "Pytanie dnia: ", "Z ostatniej chwili: ")


def _noun(ctx: Context, topic: str) -> Noun:
    noun = ctx.skew(TOPICS[topic], 4.0)
    if noun.pl is not None and topic != "Praca" and ctx.chance(0.35):
        return noun.pl
    return noun


_COUNTS = ((3, 2, 2), (2, 1, 1, 1), (3, 2, 1), (2, 1, 1), (3, 2, 2), (2, 1, 1, 1, 1))

# Evaluation has longer lists than training, with counts closer to each other.
_EVALUATION_COUNTS = ((4, 3, 2), (4, 3, 3), (3, 2, 2, 2), (4, 3, 2, 1), (2, 1, 1, 1, 1, 1), (5, 4))
_EXCLUDED = ((2, 1, 2), (2, 1, 1), (3, 2, 1), (3, 2, 2), (1, 0, 2), (2, 1, 2))
_EVALUATION_EXCLUDED = ((3, 2, 2), (3, 2, 3), (4, 3, 2), (2, 1, 3), (2, 1, 4), (1, 0, 4))


def _counted(ctx: Context, label: int) -> Row:
    """A list of nouns: the topic named most often wins."""
    counts = ctx.pick(_EVALUATION_COUNTS if ctx.evaluation else _COUNTS[:4] if ctx.random() > ctx.level else _COUNTS)
    rest = ctx.sample([t for t in _NAMES if t != _NAMES[label]], len(counts) - 1)
    while True:
        groups = [
            [ctx.skew(TOPICS[topic], 2.0) for _ in range(n)]
            for topic, n in zip((_NAMES[label], *rest), counts, strict=True)
        ]
        words = [x for group in groups for x in group]
        if len({x.N for x in words}) == len(words) and ctx.allowed(
            "titles", *sorted(x.N for x in groups[0]), groups[1][0].N
        ):
            break
    names = [(x.pl if x.pl is not None and ctx.chance(0.25) else x).N for x in ctx.shuffle(words)]
    text = ", ".join(names[:-1]) + ctx.pick((" i ", " oraz ", ", ")) + names[-1]
    return {"sentence": ctx.pick(_LEADS) + cap(text), "label": label}


def _excluded(ctx: Context, label: int) -> Row:
    """A list in which things after "bez" or "nie" do not count: another topic is named as often or more often."""
    other, third = ctx.sample([t for t in _NAMES if t != _NAMES[label]], 2)
    kept, decoys, out = ctx.pick(_EVALUATION_EXCLUDED if ctx.evaluation else _EXCLUDED)
    while True:
        a = [ctx.skew(TOPICS[_NAMES[label]], 2.0) for _ in range(kept)]
        x = [ctx.skew(TOPICS[other], 2.0) for _ in range(decoys + out)]
        y = ctx.skew(TOPICS[third], 2.0)
        words = [*a, *x, y]
        if len({w.N for w in words}) == len(words) and ctx.allowed("without", a[0].N, x[0].N):
            break
    items = [w.N for w in (*a, *x[:decoys])] + [ctx.pick((f"bez {w.G}", f"nie {w.N}")) for w in x[decoys:]]
    if kept > 1 and ctx.chance(0.5):
        items.append(ctx.pick((y.N, f"bez {y.G}")))
    return {"sentence": ctx.pick(_LEADS) + cap(", ".join(ctx.shuffle(items))), "label": label}


_CONTRASTS = (
    "Mniej o {x}, więcej o {a}", "Więcej o {a}, mniej o {x}", "Nie o {x}, ale o {a}", "O {a}, nie o {x}", "Zamiast o {x} rozmawiano o {a}",
)  # fmt: skip


def _contrasted(ctx: Context, label: int) -> Row:
    """Enumerations in the locative, met in evaluation only: the construction decides against the count."""
    other, third = ctx.sample([t for t in _NAMES if t != _NAMES[label]], 2)
    n, m = ctx.pick(((1, 3), (2, 3), (2, 4), (1, 2)))
    while True:
        a, x = (ctx.sample(TOPICS[topic], k) for topic, k in ((_NAMES[label], n), (other, m)))
        if ctx.allowed("contrast", a[0].N, x[0].N):
            break
    if ctx.chance(0.4):
        x[-1] = ctx.pick(TOPICS[third])

    def listed(words: list[Noun]) -> str:
        forms = [w.L for w in words]
        return forms[0] if len(forms) == 1 else ", ".join(forms[:-1]) + " i " + forms[-1]

    return {"sentence": ctx.pick(_LEADS) + ctx.pick(_CONTRASTS).format(a=listed(a), x=listed(x)), "label": label}


def tags(ctx: Context) -> Row:
    """A title and the number of its topic."""
    label = ctx.below(8)
    if ctx.evaluation and ctx.chance(0.25):
        return _contrasted(ctx, label)
    share = ctx.random()
    if share < 0.35:
        return _counted(ctx, label)
    if share < 0.35 + (0.6 if ctx.evaluation else 0.35 * ctx.level):
        return _excluded(ctx, label)
    other = ctx.pick([t for t in _NAMES if t != _NAMES[label]])
    simple = ctx.chance(0.12) if ctx.evaluation else ctx.chance(0.3) or ctx.random() > ctx.level
    while True:
        a, b, c = (_noun(ctx, _NAMES[label]) for _ in range(3))
        x, y = (_noun(ctx, other) for _ in range(2))
        if simple and ctx.allowed("title", a.N, b.N):
            break
        if not simple and ctx.allowed("title", a.N, x.N) and len({a.N, b.N, c.N}) == 3:
            break
    text = ctx.pick(_PATTERNS if simple else _MIXED).format(a=a, b=b, c=c, x=x, y=y)
    return {"sentence": ctx.pick(_LEADS) + cap(text), "label": label}
