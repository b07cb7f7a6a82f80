# ruff: noqa: SIM905 (word tables)
"""Rows of klej-polemo2-in and -out: reviews whose sentiment follows from the polarity of every clause."""

from __future__ import annotations

from ..world.context import Context
from ..world.lexicon import nouns
from ..world.morphology import Adjective, Noun, cap

Row = dict[str, object]

POSITIVE = [
    Adjective(x)
    for x in (
        "dobry miły świetny ładny piękny wygodny czysty smaczny uprzejmy wspaniały doskonały ciekawy przyjemny solidny znakomity "
        "staranny rzetelny udany pomysłowy życzliwy schludny porządny wyborny zadbany niezawodny zgrabny trafny gustowny "
        "zacny przykładny sprawny fachowy"
    ).split()
]
NEGATIVE = [
    Adjective(x)
    for x in (
        "zły brudny słaby brzydki nudny okropny fatalny niesmaczny niemiły kiepski marny paskudny straszny lichy przykry "
        "tandetny niedbały ponury arogancki zaniedbany chaotyczny niechlujny żałosny wadliwy zawodny toporny "
        "oschły mętny obskurny nieudolny podły"
    ).split()
]
# Polarity of these depends on what they describe: a low price is good, low quality is bad.
LOW_IS_GOOD = nouns("f:cena f:opłata mi:koszt mi:hałas n:ryzyko")
HIGH_IS_GOOD = nouns("f:jakość mi:poziom f:wydajność f:staranność f:trwałość")
LONG_IS_GOOD = nouns("f:gwarancja f:przerwa")
LONG_IS_BAD = nouns("f:kolejka/kolejek f:naprawa mi:dojazd n:czekanie")
HIGH, LOW, LONG, SHORT = (Adjective(x) for x in ("wysoki", "niski", "długi", "krótki"))

DOMAINS = {
    "in": nouns(
        "mi:pokój/pokoj mi:hotel//u n:śniadanie f:obsługa f:łazienka/łazienek mp:lekarz f:recepcja mi:basen f:restauracja "
        "n:łóżko/łóżek mp:kelner f:wizyta n:leczenie f:pielęgniarka/pielęgniarek mi:gabinet f:plaża mi:widok f:poradnia "
        "n:badanie f:kolacja"
    ),
    "out": nouns(
        "mi:telefon mi:wykład mi:laptop//a f:szkoła/szkół mp:nauczyciel f:bateria mi:kurs f:książka/książek mi:ekran "
        "mp:profesor f:klawiatura n:ćwiczenie mi:aparat f:uczelnia f:lampa mi:egzamin f:obudowa mi:podręcznik//a f:paczka/paczek "
        "n:krzesło/krzeseł"
    ),
}
_FILLER = {
    "in": (
        "Byliśmy tam {d}.", "Przyjechaliśmy {d} wieczorem.", "{x.N} znajduje się na pierwszym piętrze.", "Czekaliśmy na {x.A} godzinę.",
        "Rozmawialiśmy o {x.L} przez telefon.", "Zapytaliśmy o {x.A} {d}.", "W pobliżu jest przystanek.", "Obok jest też {x.N}.",
        "Na miejscu była moja siostra.",
    ),
    "out": (
        "Zamówiłem {x.A} {d}.", "{x.N} jest już u mnie od tygodnia.", "Zapisałem się {d}.", "W środku była instrukcja.",
        "Rozmawialiśmy o {x.L} {d}.", "Brat pytał mnie o {x.A}.", "Zajęcia odbywają się {d}.", "Do domu mam trzy kilometry.",
    ),
}  # fmt: skip
_DAYS = ("w poniedziałek", "we wtorek", "w środę", "w piątek", "w sobotę", "w maju", "w lipcu", "rano", "po południu")
_PLAIN = ("{n} {b} {a}.", "{n} {b} bardzo {a}.", "Moim zdaniem {n} {b} {a}.", "Uważam, że {n} {b} {a}.", "Wszyscy mówili, że {n} {b} {a}, i mieli rację.",
          "Myślałem, że {n} nie {b} {a}, ale myliłem się.", "Nikt nie powie, że {n} nie {b} {a}.")  # fmt: skip
_FLIP = ("{n} nie {b} {a}.", "{n} wcale nie {b} {a}.", "Nie powiem, że {n} {b} {a}.", "Wszyscy mówili, że {n} {b} {a}, ale mylili się.",
         "Myślałem, że {n} {b} {a}, ale myliłem się.", "Nieprawda, że {n} {b} {a}.")  # fmt: skip
_GOOD = (
    "Polecam.",
    "Na pewno wrócimy.",
    "Nie żałuję ani złotówki.",
    "Nie mam żadnych zastrzeżeń.",
    "Jestem pod wrażeniem.",
    "Oby tak dalej.",
)
_BAD = (
    "Odradzam.",
    "Na pewno nie wrócimy.",
    "Żałuję każdej złotówki.",
    "Mam wiele zastrzeżeń.",
    "Szkoda czasu.",
    "Nigdy więcej.",
)


def _clause(ctx: Context, domain: str, good: bool) -> str:
    if ctx.chance(0.12):
        return ctx.pick(_GOOD if good else _BAD)
    flip = ctx.chance(0.4)
    wanted = good != flip
    while True:
        if ctx.chance(0.25):
            table, up, down = ctx.pick((
                (LOW_IS_GOOD, LOW, HIGH), (HIGH_IS_GOOD, HIGH, LOW), (LONG_IS_GOOD, LONG, SHORT), (LONG_IS_BAD, SHORT, LONG),
            ))  # fmt: skip
            noun, adjective = ctx.pick(table), up if wanted else down
        else:
            noun = ctx.skew(DOMAINS[domain], 1.5)
            adjective = ctx.skew(POSITIVE if wanted else NEGATIVE, 4.0)
        template = ctx.pick(_FLIP if flip else _PLAIN)
        if ctx.allowed("opinion", noun.N, adjective.N):
            break
    verb = "jest" if ctx.chance(0.4) else f"był{noun.a}"
    return cap(template.format(n=noun.N, b=verb, a=adjective.for_(noun)))


def _filler(ctx: Context, domain: str) -> str:
    x: Noun = ctx.pick(DOMAINS[domain])
    return cap(ctx.pick(_FILLER[domain]).format(x=x, d=ctx.pick(_DAYS)))


def polemo(ctx: Context, domain: str) -> Row:
    """A review and its label: zero (no opinion), plus_m, minus_m or amb (both polarities)."""
    if not ctx.evaluation and ctx.chance(0.1):
        domain = "out" if domain == "in" else "in"
    label = ctx.pick(("zero", "minus_m", "plus_m", "amb"))
    polar = 1 if not ctx.evaluation and ctx.random() > ctx.level else ctx.pick((2, 2, 3))
    if label == "zero":
        parts = [_filler(ctx, domain) for _ in range(ctx.pick((2, 3)))]
    else:
        goods = [label == "plus_m"] * polar
        if label == "amb":
            polar = max(polar, 2)
            goods = [True, False, ctx.chance(0.5)][:polar]
        parts = [_clause(ctx, domain, g) for g in goods]
        parts += [_filler(ctx, domain) for _ in range(ctx.pick((0, 1)))]
    return {"sentence": " ".join(ctx.shuffle(parts)), "target": f"__label__meta_{label}"}
