# ruff: noqa: SIM905 (word tables)
"""Rows of klej-nkjp-ner: one named entity, or none, in a sentence; many names fit several kinds and the context decides."""

from __future__ import annotations

from ..world import names
from ..world.context import Context
from ..world.facts import FREE_PEOPLE, FREE_TOWNS
from ..world.lexicon import DAYS, MONTHS, MONTHS_L, PROFESSIONS
from ..world.morphology import Noun, cap, fixed, in_

Row = dict[str, object]
KINDS = ("noEntity", "placeName", "persName", "orgName", "time", "geogName")
_SURNAMES = [pair[i] for pair in names.SURNAMES for i in (0, 1)]
_SHARED = [*names.AMBIGUOUS, *names.RIVERS[::3]]
# The same stem as a surname, a town, a hill: Brzozowski, Brzozów, Brzozowiec.
_GEOGRAPHY = [*names.RIVERS, *names.PEAKS, *names.LAKES, *names.FORESTS]
_TEMPLATES: dict[str, tuple[str, ...]] = {
    "placeName": (
        "{s.N} mieszka {n.wL}.", "Jutro {s.N} jedzie do {n.G}.", "Na rynku {n.wL} stoi pomnik.", "Mieszkańcy {n.G} wybrali burmistrza.",
        "Droga {n.zG} jest zamknięta.", "{n.N} ma dwie szkoły i dworzec.", "{s.N} wraca właśnie {n.zG}.", "W gminie {n.N} zbudowano most.",
        "Burmistrz {n.G} otworzył nową halę.", "{n.wL} spadł śnieg.",
    ),
    "persName": (
        "{s.N} spotkał w sklepie {n.A}.", "{n.N} napisał{n.a} długi list.", "Wczoraj {n.N} obchodził{n.a} urodziny.", "Książkę pożyczono od {n.G}.",
        "{s.N} rozmawiał {n.zI} o pogodzie.", "Dom {n.G} jest pusty.", "{n.N} ma dwoje dzieci i psa.", "Bratu {n.G} skradziono rower.",
        "To prezent dla {n.G}.", "{n.D} podano herbatę.",
    ),
    "orgName": (
        "{n.N} ogłosił{n.a} wyniki finansowe.", "Zarząd {n.G} podał się do dymisji.", "{s.N} pracuje dla {n.G} na umowę.", "Prezes {n.G} zwołał zebranie.",
        "{n.N} zatrudni dwustu pracowników.", "Akcje {n.G} drożeją.", "Nowym sponsorem turnieju jest {n.N}.", "Siedziba {n.G} jest zamknięta.",
        "{s.N} podpisał umowę {n.zI}.", "{n.N} wygrał{n.a} przetarg na remont.",
    ),
    "geogName": (
        "{s.N} łowi ryby nad {n.I}.", "Na brzegu {n.G} rosną wierzby.", "Wody {n.G} są bardzo zimne.", "Szlak prowadzi wzdłuż {n.G}.",
        "Źródła {n.G} są w lesie.", "{s.N} pływał łódką po {n.L}.", "Poziom {n.G} podniósł się o metr.", "Nad {n.I} unosi się mgła.",
        "Przez {n.A} przerzucono kładkę.", "W dolinie {n.G} pasą się owce.",
    ),
    "hill": (
        "{s.N} wszedł na {n.A}.", "Na szczycie {n.G} leży śnieg.", "Szlak prowadzi wzdłuż {n.G}.", "Z {n.G} widać całą okolicę.", "U stóp {n.G} stoi schronisko.",
        "Nad {n.I} unosi się mgła.", "Ze zboczy {n.G} spływa woda.", "{s.N} zgubił się koło {n.G}.",
    ),
    "time": (
        "{s.N} przyjechał {n.N}.", "Sklep otwarto {n.N}.", "{n.N} spadł śnieg.", "{n.N} {s.N} wrócił do domu.", "Zebranie odbędzie się {n.N}.",
        "Most zbudowano {n.N}.", "{s.N} wyjechał {n.N} i nie wrócił.", "Szkoła powstała {n.N}.",
    ),
    "noEntity": (
        "{s.N} mieszka w małym domu.", "Jutro {s.N} jedzie do lasu.", "Na rynku stoi pomnik.", "Mieszkańcy wsi wybrali sołtysa.", "{n.N} ma dwie córki i syna.",
        "{s.N} łowi ryby nad rzeką.", "{n.N} napisał długi list.", "{n.N} rośnie przy drodze.", "Zarząd spółki podał się do dymisji.", "{s.N} przyjechał późno.",
        "{s.N} spotkał w sklepie sąsiada.", "{s.N} rozmawiał z bratem o pogodzie.", "Prezes banku zwołał zebranie.", "Na brzegu jeziora rosną wierzby.",
        "{s.N} wszedł na wysoką górę.", "Sklep otwarto bardzo dawno.", "Most zbudowano niedawno.", "{n.N} siedzi na dachu.", "{s.N} wyjechał wieczorem i nie wrócił.",
        "To prezent dla {s.G}.", "Dom {s.G} jest pusty.", "Nad polem unosi się mgła.",
    ),
}  # fmt: skip
_PLANTS = ("brzoza", "sosna", "lipa", "kalina", "sowa", "róża", "gwiazda", "wrona", "jaskółka", "mucha")
_CENTURIES = "XII XIII XIV XV XVI XVII XVIII XIX XX".split()


def _time(ctx: Context) -> Noun:
    year = 1200 + ctx.below(800)
    month = ctx.below(12)
    forms = (
        f"w {year} roku", f"{1 + ctx.below(28)} {MONTHS[month]}", f"w {MONTHS_L[month]} {year} roku", f"w {ctx.pick(_CENTURIES)} wieku",
        f"{1 + ctx.below(28)} {MONTHS[month]} {year} roku", f"{in_(ctx.pick(DAYS))} o godzinie {1 + ctx.below(20)}",
    )  # fmt: skip
    return fixed(ctx.pick(forms), "mi")


def _name(ctx: Context, kind: str) -> Noun:
    shared = ctx.chance(0.35)
    if kind == "placeName":
        return ctx.pick(FREE_TOWNS)
    if kind == "persName":
        return (
            ctx.pick(names.AMBIGUOUS)
            if ctx.chance(0.1)
            else ctx.pick(_SURNAMES)
            if ctx.chance(0.6)
            else ctx.pick(FREE_PEOPLE)
        )
    if kind == "orgName":
        return ctx.pick(_SHARED) if shared else ctx.pick(names.ORGS)
    return ctx.pick(_SHARED) if shared else ctx.pick(_GEOGRAPHY)


_WORDS = {
    "placeName": ("miasto", "wieś"), "persName": ("pewna kobieta", "malarka"), "orgName": ("firma", "klub"), "geogName": ("rzeka", "jezioro"),
}  # fmt: skip
_ORDINALS = ("pierwszej", "drugiej", "trzeciej", "czwartej", "piątej")


def _chosen(ctx: Context, kind: str) -> Row:
    """One name with several bearers; an ordinal or a negation says which is meant."""
    while True:
        name = ctx.pick(_SHARED)
        pool = [(k, w) for k, group in _WORDS.items() for w in group]
        mine = ctx.pick([x for x in pool if x[0] == kind])
        listing = ctx.shuffle(
            [
                mine,
                *ctx.sample([x for x in pool if x is not mine], ctx.pick((5, 6) if ctx.evaluation else (2, 3, 3, 4))),
            ]
        )
        words = [w for _, w in listing]
        if ctx.evaluation and words.index(mine[1]) >= len(_ORDINALS):
            continue
        if ctx.allowed("ner", name.N, *words):
            break
    at, n = words.index(mine[1]), len(words)
    listed = ", ".join(words[:-1]) + " i " + words[-1]
    rest = [_ORDINALS[i] for i in range(min(n, len(_ORDINALS))) if i != at]
    place = [_ORDINALS[at]]
    if at == n - 1:
        place.append("ostatniej")
    if at == n - 2:
        place.append("przedostatniej")
    if at == n - 3:
        place.append("trzeciej od końca")
    clue = ctx.pick((
        f"Mowa o {ctx.pick(place)} z tych rzeczy.", f"Mowa nie o {ctx.pick(rest)}, ale o {ctx.pick(place)} z nich.",
f"Mowa o {ctx.pick(place)}, a nie o {ctx.pick(rest)} z nich.",
    ))  # fmt: skip
    return {"sentence": f"Nazwę {name.N} noszą {listed}. {clue}", "target": kind}


def ner(ctx: Context) -> Row:
    """A sentence and the kind of its entity."""
    kind = KINDS[ctx.below(6)]
    if kind in _WORDS and ctx.random() < (0.8 if ctx.evaluation else 0.6 * ctx.level):
        return _chosen(ctx, kind)
    while True:
        subject, group = ctx.pick(PROFESSIONS), kind
        if kind == "time":
            name = _time(ctx)
        elif kind == "noEntity":
            name = fixed(ctx.pick(_PLANTS), "f") if ctx.chance(0.3) else ctx.pick(PROFESSIONS)
        else:
            name = _name(ctx, kind)
            if kind == "placeName" and ctx.chance(0.3):
                name = ctx.pick(names.AMBIGUOUS)
            if kind == "geogName" and name in names.PEAKS:
                group = "hill"
        templates = _TEMPLATES[group]
        if kind == "noEntity":
            plant = name.g == "f"
            templates = tuple(
                t for t in templates if ("rośnie" in t or "siedzi" in t) == plant or ("{n" not in t and not plant)
            )
        template = ctx.pick(templates)
        if ctx.allowed("ner", name.N, template, subject.N):
            break
    return {"sentence": cap(template.format(n=name, s=subject)), "target": kind}
