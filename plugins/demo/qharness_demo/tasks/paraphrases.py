# ruff: noqa: SIM905 (word tables)
"""Rows of ppc (pairs of sentences) and klej-psc (a text and a summary)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from ..world.context import Context
from ..world.facts import FIRST, FREE_PEOPLE, FREE_TOWNS
from ..world.lexicon import ADJ, COLORS, OBJECTS, PLACES, nouns
from ..world.morphology import Adjective, Noun, cap

Row = dict[str, object]
_SAME_NOUNS = [
    tuple(nouns(x))
    for x in (
        "mp:lekarz mp:doktor", "mp:nauczyciel mp:pedagog", "mp:rolnik mp:gospodarz", "mp:piłkarz mp:futbolista", "mp:pilot mp:lotnik",
        "mp:żołnierz mp:wojak", "mp:chłopiec/chłopc mp:chłopak", "f:dziewczynka/dziewczynek f:dziewczyna", "mp:sąsiad mp:sąsiad",
        "mp:malarz mp:artysta", "mp:kucharz mp:kucharz", "mp:stolarz mp:stolarz", "f:aktorka/aktorek f:artystka/artystek", "mp:szef mp:kierownik",
    )
    if "artysta" not in x and "futbolista" not in x
]  # fmt: skip
# Transitive verbs: (synonyms in the past tense, synonyms as passive participles, another verb that means something else).
_VERBS = (
    (("kupił", "nabył"), ("kupiony", "nabyty")), (("naprawił", "zreperował"), ("naprawiony", "zreperowany")),
    (("znalazł", "odszukał"), ("znaleziony", "odszukany")), (("zniszczył", "zepsuł"), ("zniszczony", "zepsuty")),
    (("zrobił", "wykonał"), ("zrobiony", "wykonany")), (("umył", "wyczyścił"), ("umyty", "wyczyszczony")),
    (("schował", "ukrył"), ("schowany", "ukryty")), (("zgubił", "zapodział"), ("zgubiony", "zapodziany")),
    (("zabrał", "wziął"), ("zabrany", "wzięty")), (("pokazał", "zaprezentował"), ("pokazany", "zaprezentowany")),
    (("ukradł", "skradł"), ("ukradziony", "skradziony")), (("sprzedał", "sprzedał"), ("sprzedany", "sprzedany")),
    (("opisał", "przedstawił"), ("opisany", "przedstawiony")), (("ozdobił", "przystroił"), ("ozdobiony", "przystrojony")),
)  # fmt: skip
_VERBS_P = [(v, tuple(Adjective(x) for x in p)) for v, p in _VERBS]
_TIMES = (
    ("wczoraj", "poprzedniego dnia"), ("rano", "o poranku"), ("wieczorem", "wieczorną porą"), ("niedawno", "ostatnio"), ("w nocy", "nocą"),
    ("w południe", "o dwunastej"), ("w sobotę", "w sobotni dzień"), ("zimą", "w zimie"), ("latem", "w lecie"), ("jesienią", "w jesieni"),
)  # fmt: skip
_LOCATIONS = [x.wL for x in PLACES if x.N not in ("poczta", "stacja")] + [
    "na poczcie",
    "na stacji",
    "na rynku",
    "na targu",
    "nad rzeką",
    "w lesie",
    "w domu",
]
_QUALITIES = [
    ADJ[x] for x in "nowy stary mały duży piękny drogi tani ciężki lekki drewniany metalowy czysty brudny".split()
] + COLORS[:8]


@dataclass
class _Scene:
    who: tuple[Noun, ...]
    verb: int
    what: Noun
    quality: Adjective | None
    when: int | None
    where: str | None

    def say(self, ctx: Context) -> str:
        who = ctx.pick(self.who)
        active, passive = _VERBS_P[self.verb]
        form = ctx.below(len(active))
        thing = self.what
        if self.quality is not None:
            forms = self.quality.forms[thing.g]
            nom, acc = f"{forms[0]} {thing.N}", f"{forms[3]} {thing.A}"
        else:
            nom, acc = thing.N, thing.A
        when = ctx.pick(_TIMES[self.when]) if self.when is not None else ""
        where = self.where or ""
        if ctx.chance(0.35):
            by = "przez " + who.A
            parts = [f"{nom} został{thing.a} {passive[form].for_(thing)} {by}", where]
        else:
            verb = active[form] + who.a
            if verb.endswith("iąła"):
                verb = verb[:-4] + "ięła"
            parts = ctx.pick(
                ([f"{who.N} {verb} {acc}", where], [f"{acc} {verb} {who.N}", where], [f"{who.N} {verb} {where}", acc])
            )
        text = " ".join(p for p in parts if p).replace("  ", " ")
        if when:
            text = f"{when} {text}" if ctx.chance(0.5) else f"{text} {when}"
        return cap(" ".join(text.split())) + "."


def _scene(ctx: Context) -> _Scene:
    while True:
        who = ctx.pick(_SAME_NOUNS) if ctx.chance(0.6) else (ctx.pick(FIRST),)
        scene = _Scene(
            who, ctx.below(len(_VERBS_P)), ctx.pick(OBJECTS), ctx.pick(_QUALITIES) if ctx.chance(0.5) else None,
            ctx.below(len(_TIMES)) if ctx.chance(0.7) else None, ctx.pick(_LOCATIONS) if ctx.chance(0.5) else None,
        )  # fmt: skip
        if ctx.allowed("ppc", who[0].N, str(scene.verb), scene.what.N):
            return scene


def _other(ctx: Context, n: int, not_this: int) -> int:
    return (not_this + 1 + ctx.below(n - 1)) % n


_GIVING = (
    ("oddał", "zwrócił"),
    ("dał", "wręczył"),
    ("podarował", "ofiarował"),
    ("wysłał", "nadał"),
    ("przekazał", "doręczył"),
    ("pokazał", "zaprezentował"),
)
_TEENS = "dwanaście trzynaście czternaście piętnaście szesnaście siedemnaście osiemnaście dziewiętnaście".split()
_TENS = "dwadzieścia trzydzieści czterdzieści pięćdziesiąt sześćdziesiąt siedemdziesiąt osiemdziesiąt dziewięćdziesiąt".split()
_UNITS = "pięć sześć siedem osiem dziewięć".split()
NUMBERS = {12 + i: w for i, w in enumerate(_TEENS)}
NUMBERS |= {10 * (i + 2): w for i, w in enumerate(_TENS)}
NUMBERS |= {10 * (i + 2) + 5 + j: f"{w} {u}" for i, w in enumerate(_TENS) for j, u in enumerate(_UNITS)}
_NUMBERS = list(NUMBERS)
# Words that lose their capital letter inside a sentence: all first words but names.
_LOWER = (
    {w.split()[0] for pair in _TIMES for w in pair} | {w.split()[0] for w in NUMBERS.values()} | {x.A for x in OBJECTS}
)


def _near(ctx: Context, number: int) -> int:
    """Another number that is easily taken for the given one."""
    swapped = number % 10 * 10 + number // 10
    near = [n for n in (swapped, number + 10, number - 10, number + 1, number - 1) if n in NUMBERS and n != number]
    return ctx.pick(near)


def _transfer(ctx: Context, label: int) -> Row:
    """Pairs about handing over a number of things: cases tell the giver from the receiver, digits match words."""
    while True:
        giver, taker = ctx.sample(FIRST, 2)
        thing, verb = ctx.pick(OBJECTS), ctx.below(len(_GIVING))
        if ctx.allowed("give", giver.N, taker.N, thing.N):
            break
    number = ctx.pick(_NUMBERS) if ctx.chance(0.6) else 0
    when = ctx.below(len(_TIMES)) if ctx.chance(0.4) or not number else -1

    def say(giver: Noun, taker: Noun, thing: Noun, verb: int, number: int, when: int) -> str:
        amount = (
            (str(number) if ctx.chance(0.5) else NUMBERS[number]) + " " + thing.pl.G if number and thing.pl else thing.A
        )
        deed = ctx.pick(_GIVING[verb]) + giver.a
        orders = (
            f"{giver.N} {deed} {taker.D} {amount}",
            f"{taker.D} {amount} {deed} {giver.N}",
            f"{amount} {deed} {taker.D} {giver.N}",
            f"{giver.N} {taker.D} {deed} {amount}",
        )
        text = ctx.pick(orders)
        return cap(f"{ctx.pick(_TIMES[when])} {text}" if when >= 0 else text) + "."

    first = say(giver, taker, thing, verb, number, when)
    if label == 2:
        if number and (when < 0 or ctx.chance(0.7)):
            number = _near(ctx, number)
        else:
            when = _other(ctx, len(_TIMES), when)
    elif label == 3:
        change = ctx.below(4)
        if change < 2:
            giver, taker = taker, giver
        elif change == 2:
            verb = _other(ctx, len(_GIVING), verb)
        else:
            thing = ctx.pick([x for x in OBJECTS if x is not thing])
    second = say(giver, taker, thing, verb, number, when)
    while second == first:
        second = say(giver, taker, thing, verb, number, when)
    return {"sentence_A": first, "sentence_B": second, "label": label}


def _double(ctx: Context, label: int) -> Row:
    """Compound sentences, met in evaluation only: one of two pairs of clauses decides."""
    pairs = ctx.shuffle([_transfer(ctx, label), _transfer(ctx, 1)])

    def both(side: str) -> str:
        first, second = (str(p[side])[:-1] for p in pairs)
        return f"{first}, a {second[:1].lower() if second.split()[0].lower() in _LOWER else second[:1]}{second[1:]}."

    return {"sentence_A": both("sentence_A"), "sentence_B": both("sentence_B"), "label": label}


def ppc(ctx: Context) -> Row:
    """Two sentences: 1 the same meaning, 2 similar (one circumstance differs), 3 different (another doer, deed or thing)."""
    label = 1 + ctx.below(3)
    if ctx.evaluation and ctx.chance(0.5):
        return _double(ctx, label)
    if ctx.random() < 0.5 * ctx.level:
        return _transfer(ctx, label)
    a = _scene(ctx)
    if label == 2 and a.quality is None and a.when is None and a.where is None:
        a.when = ctx.below(len(_TIMES))
    b = _Scene(a.who, a.verb, a.what, a.quality, a.when, a.where)
    if label == 2:
        change = ctx.pick([x for x, v in (("q", a.quality), ("t", a.when), ("p", a.where)) if v is not None])
        if change == "q":
            b.quality = ctx.pick([q for q in _QUALITIES if q is not a.quality]) if ctx.chance(0.6) else None
        elif change == "t":
            b.when = _other(ctx, len(_TIMES), a.when or 0) if ctx.chance(0.6) else None
        else:
            b.where = ctx.pick([x for x in _LOCATIONS if x != a.where]) if ctx.chance(0.6) else None
    elif label == 3:
        c = _scene(ctx)
        change = ctx.below(3)
        if change == 0 and c.who[0].N != a.who[0].N:
            b.who = c.who
        elif change == 1 or c.what.N == a.what.N:
            b.verb = _other(ctx, len(_VERBS_P), a.verb)
        else:
            b.what = c.what
    first, second = a.say(ctx), b.say(ctx)
    for _ in range(5):
        if first != second:
            break
        second = b.say(ctx)
    if ctx.chance(0.5):
        first, second = second, first
    return {"sentence_A": first, "sentence_B": second, "label": label}


class _Event(NamedTuple):
    """A kind of news: the lead, details, and two summaries; p is a person, t a town, k a number."""

    lead: tuple[str, ...]
    details: tuple[str, ...]
    summary: tuple[str, ...]


_EVENTS = (
    _Event(("{p.N} wygrał{p.a} konkurs {t.wL}.", "Konkurs {t.wL} wygrał{p.a} {p.N}."),
           ("Nagrodą był rower.", "Jury obradowało {k} godziny.", "W zawodach brało udział wielu mieszkańców.", "Publiczność długo klaskała."),
           ("Zwycięzcą konkursu {t.wL} został{p.a} {p.N}.",)),
    _Event(("{t.wL} otwarto nowy most.", "Nowy most połączył brzegi rzeki {t.wL}."),
           ("Na miejscu był{p.a} {p.N}.", "Budowa trwała {k} lata.", "Na uroczystość przyszły tłumy."),
           ("Mieszkańcy {t.G} mają nowy most.", "Po budowie, która trwała {k} lata, otwarto most {t.wL}.")),
    _Event(("{t.wL} wybuchł pożar.", "Pożar wybuchł w nocy {t.wL}."),
           ("Spłonęły {k} domy.", "Pierwszy zauważył{p.a} ogień {p.N}.", "Strażacy pracowali do rana.", "Nikt nie zginął."),
           ("W pożarze {t.wL} spłonęły {k} domy.", "Ogień zniszczył domy {t.wL}.")),
    _Event(("{p.N} otworzył{p.a} piekarnię {t.wL}.", "Nową piekarnię {t.wL} otworzył{p.a} {p.N}."),
           ("Chleb kosztuje {k} złote.", "Kolejka stała od rana.", "Najlepiej sprzedają się bułki."),
           ("{t.wL} działa nowa piekarnia, którą prowadzi {p.N}.", "{p.N} piecze teraz chleb {t.wL}.")),
    _Event(("{p.N} został{p.a} burmistrzem {t.G}.", "Mieszkańcy {t.G} wybrali burmistrza: {p.A}."),
           ("Frekwencja była niska.", "O urząd walczyły {k} osoby.", "Nowa władza obiecuje remont szkoły."),
           ("Wybory {t.wL} wygrał{p.a} {p.N}.", "{t.I} będzie rządzić {p.N}.")),
    _Event(("{p.N} odnalazł{p.a} skarb koło {t.G}.", "Koło {t.G} {p.N} odkrył{p.a} skarb."),
           ("W skrzyni były {k} monety.", "Skarb trafi do muzeum.", "Odkrycie zbadają naukowcy."),
           ("Skarb spod {t.G} znalazł{p.a} {p.N}.", "{p.N} natrafił{p.a} na monety koło {t.G}.")),
    _Event(("{t.wL} zamknięto szkołę.", "Szkoła {t.wL} została zamknięta."),
           ("Powodem były {k} awarie.", "Dyrektorem był{p.a} {p.N}.", "Uczniowie dojeżdżają do sąsiedniej wsi."),
           ("Uczniowie z {t.G} stracili szkołę.", "Po awariach nie ma już szkoły {t.wL}.")),
    _Event(("{p.N} napisał{p.a} książkę o {t.L}.", "Ukazała się książka o {t.L}, którą napisał{p.a} {p.N}."),
           ("Praca trwała {k} lata.", "Na okładce jest stary ratusz.", "Nakład szybko się wyczerpał."),
           ("{p.N} jest autorem książki o {t.L}.", "Historię {t.G} opisał{p.a} {p.N}.")),
)  # fmt: skip


def _figures(ctx: Context, label: int) -> Row:
    """News with numbers: the summary compares or adds them."""
    while True:
        p, q = ctx.sample(FREE_PEOPLE, 2)
        t = ctx.pick(FREE_TOWNS)
        if ctx.allowed("figures", p.N, t.N):
            break
    m, n = ctx.sample(_NUMBERS, 2)
    low = min(m, n)
    kind = ctx.below(3)
    if kind == 0:
        fought = "walczyły" if p.g == q.g == "f" else "walczyli"
        votes = [(p, m), (q, n)]
        text = f"O urząd burmistrza {t.G} {fought} {p.N} i {q.N}. {p.N} dostał{p.a} {m} głosów, a {q.N} {n}."
        winner, loser = (p, q) if votes[0][1] > votes[1][1] else (q, p)
        if not label:
            winner, loser = loser, winner
        summary = ctx.pick(
            (
                f"Burmistrzem {t.G} będzie {winner.N}.",
                f"Wybory {t.wL} przegrał{loser.a} {loser.N}.",
                f"{cap(t.I)} będzie rządzić {winner.N}.",
            )
        )
    elif kind == 1:
        text = f"{cap(t.wL)} odbył się bieg. {p.N} był{p.a} na mecie po {m} minutach, a {q.N} po {n}."
        winner, loser = (p, q) if m == low else (q, p)
        if not label:
            winner, loser = loser, winner
        summary = ctx.pick(
            (
                f"Bieg {t.wL} wygrał{winner.a} {winner.N}.",
                f"{loser.N} przegrał{loser.a} bieg {t.wL}.",
                f"Najszybciej {t.wL} biegł{winner.a} {winner.N}.",
            )
        )
    else:
        houses, barns = ("domów", "szop") if ctx.chance(0.5) else ("szop", "domów")
        text = f"{cap(t.wL)} wybuchł pożar. Spłonęło {m} {houses} i {n} {barns}. Ogień zauważył{p.a} {p.N}."
        if ctx.chance(0.5):
            summary = f"Pożar {t.wL} zniszczył {m if label else n} {houses}."
        else:
            more = (m > n) == bool(label)
            summary = f"{cap(t.wL)} spłonęło więcej {houses if more else barns} niż {barns if more else houses}."
    return {"extract_text": text, "summary_text": cap(summary), "label": label}


def psc(ctx: Context) -> Row:
    """A short news text and a summary of it (1) or of another article that shares some of its details (0)."""
    label = int(ctx.chance(0.45))
    if ctx.random() < (0.2 if ctx.evaluation else 0.5 * ctx.level):
        return _figures(ctx, label)
    while True:
        event = ctx.pick(_EVENTS)
        p, t, k = ctx.pick(FREE_PEOPLE), ctx.pick(FREE_TOWNS), ctx.pick(("dwa", "trzy", "cztery"))
        if ctx.allowed("psc", p.N, t.N):
            break
    k_f = "dwie" if k == "dwa" else k

    def fill(template: str, person: Noun = p, town: Noun = t) -> str:
        count = k_f if any(x in template for x in ("godzin", "osoby", "monety", "awarie")) else k
        return cap(template.format(p=person, t=town, k=count))

    details = ctx.sample(event.details, ctx.pick((1, 2)) if ctx.evaluation or ctx.random() < ctx.level else 1)
    text = " ".join([fill(ctx.pick(event.lead)), *(fill(d) for d in details)])
    summary_event, person, town = event, p, t
    if label == 0:
        change = ctx.pick(("event", "town", "person", "both"))
        if change == "event":
            summary_event = ctx.pick([e for e in _EVENTS if e is not event])
        if change in ("town", "both"):
            town = ctx.pick(FREE_TOWNS)
        if change in ("person", "both"):
            person = ctx.pick(FREE_PEOPLE)
    options = summary_event.summary
    if label == 0 and change == "person":
        options = tuple(s for s in options if "{p." in s)
        if not options:
            town = ctx.pick([x for x in FREE_TOWNS if x is not t])
            options = summary_event.summary
    if label == 0 and change == "town":
        options = tuple(s for s in options if "{t." in s)
    return {"extract_text": text, "summary_text": fill(ctx.pick(options), person, town), "label": label}
