# ruff: noqa: SIM905 (word tables)
"""Names of the micro-world: persons, towns, rivers, other geography, organisations; all invented from stems."""

from __future__ import annotations

from .morphology import Adjective, Noun, adjectival, attach, fem, fixed, join, masc, neut, phrase

_MALE = (
    "Adam Jan Piotr Paweł/Pawł Marek/Mark Tomasz Łukasz Michał Karol Andrzej Maciej Wojciech Krzysztof Robert Marcin Stefan "
    "Leon Roman Jakub Filip Dawid Kamil Rafał Witold Zenon Hubert Igor Oskar Edward Jacek/Jack Franciszek/Franciszk Henryk "
    "Bogdan Tadeusz Grzegorz Artur Daniel Emil Feliks Konrad"
)
_FEMALE = (
    "Anna Maria Ewa Zofia Julia Katarzyna Barbara Magda Dorota Teresa Agata Beata Danuta Elżbieta Halina Irena Jadwiga Joanna "
    "Karolina Kinga Krystyna Laura Lena Małgorzata Marta Monika Natalia Olga Renata Urszula Wanda Weronika Zuzanna Helena Iza "
    "Alicja Aniela Bożena Celina Sabina"
)


def _male(entry: str) -> Noun:
    lemma, _, stem = entry.partition("/")
    return masc(lemma, stem or None, "mp")


MALE = [_male(x) for x in _MALE.split()]
FEMALE = [fem(x) for x in _FEMALE.split()]

STEMS = (
    "Brzoz Lip Dąb Olsz Wierzb Sosn Jawor Klon Buk Grab Kamień Piask Wrzos Jezior Łąk Bagn Górk Rud Star Biał Czarn "
    "Zielon Krasn Jasn Ciepł Such Mokr Bród Most Młyn Koz Wilk Lis Niedźw Sok Orł Wron Żur Bocian Kruk Raj Kos Zaw Rad "
    "Bog Dobr Mił Stan Jarosł Wit Miecz Kazim Wład Bron Zbyl Tom Pawł Marc Grzegorz Szym"
).split()
_SURNAME_STEMS = (
    "Brzoz Lip Dąbr Olsz Wierzb Sosn Jawor Klon Buk Grab Kamień Piask Wrzos Jezior Łąk Bagn Górk Rud Star Biał Czarn Zielon Krasn "
    "Jasn Such Mokr Most Młyn Koz Wilk Lis Sok Orł Wron Żur Bocian Kruk Raj Kos Zaw Rad Bog Dobr Mił Wit Kazim"
).split()


def _pair(lemma_m: str) -> tuple[Noun, Noun]:
    return adjectival(lemma_m, "mp"), adjectival(lemma_m[:-1] + "a", "f")


def _noun_surname(entry: str) -> tuple[Noun, Noun]:
    lemma, _, stem = entry.partition("/")
    return masc(lemma, stem or None, "mp"), fixed(lemma, "f")


SURNAMES: list[tuple[Noun, Noun]] = [
    *[_pair(s + "owski") for s in _SURNAME_STEMS],
    *[
        _pair(s + "iński")
        for s in "Brzez Lip Kal Mal Wol Gutm Jas Kam Kop Los Mar Obr Pil Roz Sel Tur Zab Ziel Wit Cen".split()
    ],
    *[
        _noun_surname(x)
        for x in (
            "Nowak Mazur Wójcik Kowalczyk Wrona/Wron Pawlak Walczak Duda/Dud Sikora/Sikor Baran Wilk Zając Kozak Gajda/Gajd "
            "Krawczyk Urban Szulc Kubiak Sobczak Bielak Czech Mucha/Much Nowik Rybak Szewczyk Adamczyk Jurek/Jurk Kaczmarek/Kaczmark"
        ).split()
        if "a/" not in x
    ],
]


def person(first: int, last: int) -> Noun:
    """The person with the given first name (males first, then females) and surname."""
    if first < len(MALE):
        return join(MALE[first], SURNAMES[last][0])
    return join(FEMALE[first - len(MALE)], SURNAMES[last][1])


N_FIRST = len(MALE) + len(FEMALE)


def _towns() -> list[Noun]:
    base: list[Noun] = []
    for s in STEMS:
        base += [
            neut(s + "owo"), masc(s + "ów", s + "ow", gen="a"), fem(s + "nica") if s[-1] not in "nśń" else fem(s + "ica"),
            neut(s + "no") if s[-1] not in "nńdk" else neut(s + "ewo"), masc(s + "in", gen="a"),
        ]  # fmt: skip
    out = list(base)
    prefixes = [Adjective(x) for x in ("Nowy", "Stary", "Wielki", "Mały", "Dolny", "Górny")]
    for i, p in enumerate(prefixes):
        out += [phrase(p, b) for b in base[i % 3 :: 3]]
    return out


TOWNS = _towns()
# Rivers, lakes and mountains share stems with towns and surnames on purpose: the form and the context decide.
RIVERS = [fem(s + x) for s in STEMS for x in ("anka", "ówka")] + [fem(s + "na") for s in STEMS if s[-1] not in "nńdmkw"]
PEAKS = [masc(s + "owiec", s + "owc", gen="a") for s in STEMS] + [
    phrase(Adjective(a), fem("Góra")) for a in ("Łysy", "Biały", "Czarny", "Kozi", "Wilczy", "Ostry")
]
FORESTS = [phrase(Adjective(s + "owy"), fem("Puszcza")) for s in STEMS[:30]] + [
    phrase(Adjective(s + "owski"), fem("Dolina")) for s in STEMS[:12]
]
LAKES = [phrase(Adjective(s + "owy"), neut("Jezioro")) for s in STEMS[:40]]
ORGS = (
    [attach(join(masc("Bank"), adjectival("Ludowy", "mi")), x) for x in ("Brzoza", "Orzeł", "Jutrzenka", "Zgoda")]
    + [attach(masc("Klub"), x) for x in ("Orzeł", "Sokół", "Wilga", "Jutrzenka", "Gwiazda", "Warta", "Polonez")]
    + [attach(fem("Fabryka"), x) for x in ("Mebli", "Zegarów", "Maszyn", "Papieru", "Szkła", "Lamp")]
    + [attach(fem("Spółka"), x) for x in ("Brzoza", "Zgoda", "Promień", "Jutrzenka", "Kotwica", "Wilga")]
    + [join(neut("Towarzystwo"), adjectival(x, "n")) for x in ("Lekarski", "Muzyczny", "Rybacki", "Naukowy", "Leśny")]
    + [attach(fem("Fundacja"), x) for x in ("Nadzieja", "Promień", "Zgoda", "Dom", "Most", "Kotwica")]
    + [attach(neut("Stowarzyszenie"), x) for x in ("Rolników", "Nauczycieli", "Rybaków", "Muzyków", "Piekarzy")]
    + [join(masc("Uniwersytet"), adjectival(x, "mi")) for x in ("Ludowy", "Leśny", "Morski", "Rolniczy")]
)
# One word that may be a river, a club or a surname; only the context tells.
AMBIGUOUS = [
    fem(x)
    for x in (
        "Wilga",
        "Warta",
        "Kotwica",
        "Brzoza",
        "Jutrzenka",
        "Zgoda",
        "Gwiazda",
        "Sosna",
        "Kalina",
        "Lipa",
        "Sowa",
        "Rosa",
    )
]
