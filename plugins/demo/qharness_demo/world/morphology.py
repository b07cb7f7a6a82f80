"""Polish inflection: paradigm functions that build the seven cases of nouns, names and adjectives.

Rules follow the declension classes of any Polish grammar; consonant alternations are in `soften`.
"""

from __future__ import annotations

CASES = "NGDAILV"
_SOFT = ("cz", "sz", "rz", "dz", "ń", "ć", "ś", "ź", "j", "l", "c", "ż")
_HARDENED = ("cz", "sz", "rz", "dz", "c", "ż")
_ALTERNATIONS = (
    ("zn", "źni"), ("sn", "śni"), ("st", "ści"), ("zd", "ździ"), ("sł", "śl"), ("ch", "sz"),
    ("t", "ci"), ("d", "dzi"), ("r", "rz"), ("ł", "l"), ("k", "c"), ("g", "dz"), ("n", "ni"), ("m", "mi"),
    ("p", "pi"), ("b", "bi"), ("w", "wi"), ("f", "fi"), ("s", "si"), ("z", "zi"),
)  # fmt: skip
_VOWELS = "aąeęioóuy"
_ACUTE = {"ń": "ni", "ć": "ci", "ś": "si", "ź": "zi"}


def soften(stem: str) -> str:
    """Return the stem as it stands before the ending -e of dative and locative (rzek -> rzec, kobiet -> kobieci)."""
    for hard, soft in _ALTERNATIONS:
        if stem.endswith(hard):
            return stem[: -len(hard)] + soft
    return stem


def _cluster(word: str, first: str) -> bool:
    low = word[:2].lower()
    return len(low) == 2 and low[0] in first and low[1] not in _VOWELS


def in_(word: str) -> str:
    """Prefix the preposition w or we."""
    return ("we " if _cluster(word, "wf") else "w ") + word


def with_(word: str) -> str:
    """Prefix the preposition z or ze."""
    low = word.lower()
    return ("ze " if _cluster(word, "szśźż") and not low.startswith(("rz", "cz")) else "z ") + word


class Noun:
    """One number of a noun or noun phrase: seven case forms, gender, and the forms templates need often.

    Attributes N, G, D, A, I, L, V hold the cases; `g` the gender (mp, ma, mi, f, n, p, pv); `a` the ending of the
    past tense third person; `wL`, `zI`, `zG` the phrases with w/we and z/ze; `pl` the plural or None.
    """

    __slots__ = ("A", "D", "G", "I", "L", "N", "V", "a", "g", "on", "pl", "wL", "zG", "zI")

    def __init__(self, forms: tuple[str, ...], gender: str, plural: Noun | None = None) -> None:
        self.N, self.G, self.D, self.A, self.I, self.L, self.V = forms
        self.g = gender
        self.a = {"f": "a", "n": "o", "p": "y", "pv": "i"}.get(gender, "")
        self.on = {"f": "ona", "n": "ono", "p": "one", "pv": "oni"}.get(gender, "on")
        self.wL, self.zI, self.zG = in_(self.L), with_(self.I), with_(self.G)
        self.pl = plural

    @property
    def forms(self) -> tuple[str, ...]:
        """The seven case forms in the order N G D A I L V."""
        return (self.N, self.G, self.D, self.A, self.I, self.L, self.V)

    def __repr__(self) -> str:
        return f"Noun({self.N})"


def _plural(nom: str, gen: str, stem: str, gender: str) -> Noun:
    acc = gen if gender == "pv" else nom
    return Noun((nom, gen, stem + "om", acc, stem + "ami", stem + "ach", nom), gender)


def fem(lemma: str, gpl: str | None = None) -> Noun:
    """Feminine nouns in -a."""
    s = lemma[:-1]
    if s.endswith("i"):
        root = s[:-1]
        g = (
            s + "i"
            if (root.endswith(("f", "r", "l", "g", "k", "ch", "t", "d")) and not root.endswith("dz"))
            or lemma in ("terapia", "premia")
            else s
        )
        pl = _plural(s + "e", gpl or g, s, "p")
        return Noun((lemma, g, g, s + "ę", s + "ą", g, s + "o"), "f", pl)
    if s.endswith(("j", "l")):
        g = s + "i"
        return Noun(
            (lemma, g, g, s + "ę", s + "ą", g, s + "o"),
            "f",
            _plural(s + "e", gpl or (g if s[-1] == "j" else s), s, "p"),
        )
    if s.endswith(_HARDENED):
        g = s + "y"
        return Noun((lemma, g, g, s + "ę", s + "ą", g, s + "o"), "f", _plural(s + "e", gpl or s, s, "p"))
    g = s + ("i" if s.endswith(("k", "g")) else "y")
    d = soften(s) + "e"
    return Noun((lemma, g, d, s + "ę", s + "ą", d, s + "o"), "f", _plural(g, gpl or s, s, "p"))


def femc(lemma: str, nom_pl: str | None = None) -> Noun:
    """Feminine nouns that end in a consonant (noc, kość, podróż)."""
    if lemma[-1] in _ACUTE:
        s = lemma[:-1] + _ACUTE[lemma[-1]]
        g = s
    else:
        s, g = lemma, lemma + ("y" if lemma.endswith(_HARDENED) else "i")
        s = lemma if lemma.endswith(_HARDENED) else lemma + "i"
    pl = _plural(nom_pl or (g if lemma.endswith("ć") else s + "e"), g, s, "p")
    return Noun((lemma, g, g, lemma, s + "ą", g, g), "f", pl)


def _virile(stem: str) -> str:
    for hard, soft in (("ch", "si"), ("t", "ci"), ("d", "dzi"), ("r", "rzy"), ("k", "cy"), ("g", "dzy"), ("ł", "li")):
        if stem.endswith(hard):
            return stem[: -len(hard)] + soft
    return stem + "i"


def masc(lemma: str, stem: str | None = None, kind: str = "mi", gen: str = "", gpl: str | None = None,
         loc: str | None = None, npl: str | None = None) -> Noun:  # fmt: skip
    """Masculine nouns; `kind` is mp (personal), ma (animate) or mi; `gen` is the genitive ending."""
    stem = stem or lemma
    soft = stem.endswith(_SOFT)
    s = stem[:-1] + _ACUTE[stem[-1]] if stem[-1] in _ACUTE else stem
    velar = s.endswith(("k", "g"))
    g = s + (gen or ("u" if kind == "mi" else "a"))
    low = loc or (s + "u" if soft or velar or s.endswith("ch") else soften(s) + "e")
    if soft:
        n_pl = npl or (s + "e")
        g_pl = gpl or (s + "y" if s.endswith(_HARDENED) else (s if s.endswith("i") else s + "i"))
    else:
        n_pl = npl or (_virile(s) if kind == "mp" else s + ("i" if velar else "y"))
        g_pl = gpl or s + "ów"
    pl = _plural(n_pl, g_pl, s, "pv" if kind == "mp" else "p")
    acc = lemma if kind == "mi" else g
    return Noun((lemma, g, s + "owi", acc, s + ("iem" if velar else "em"), low, low), kind, pl)


def neut(lemma: str, gpl: str | None = None, loc: str | None = None) -> Noun:
    """Neuter nouns in -o, -e, -ie."""
    s = lemma[:-1]
    back = lemma.endswith("e") or s.endswith(("k", "g", "ch"))
    low = loc or (s + "u" if back else soften(s) + "e")
    inst = s + ("iem" if s.endswith(("k", "g")) else "em")
    if gpl is None:
        gpl = s[:-2] + "ń" if s.endswith("ni") else s
    return Noun((lemma, s + "a", s + "u", lemma, inst, low, lemma), "n", _plural(s + "a", gpl, s, "p"))


class Adjective:
    """An adjective: `forms[gender]` gives seven case forms; `N` is the masculine lemma, `adv` an adverb if given."""

    __slots__ = ("N", "adv", "comp", "forms")

    def __init__(self, lemma: str, adv: str = "", comp: str = "") -> None:
        s, y = lemma[:-1], lemma[-1]
        e = "i" if y == "i" else ""
        a = "i" if y == "i" and not s.endswith(("k", "g")) else ""
        self.N, self.adv, self.comp = lemma, adv, comp
        ego, ej, ym, ych = s + e + "ego", s + e + "ej", s + y + "m", s + y + "ch"
        m = (lemma, ego, s + e + "emu", lemma, ym, ym, lemma)
        man = (*m[:3], ego, *m[4:])
        f = (s + a + "a", ej, ej, s + a + "ą", s + a + "ą", ej, s + a + "a")
        n = (s + e + "e", ego, m[2], s + e + "e", ym, ym, s + e + "e")
        p = (s + e + "e", ych, ym, s + e + "e", s + y + "mi", ych, s + e + "e")
        vir = lemma if a else _virile(s) if not s.endswith("sz") else s[:-2] + "si"
        pv = (vir, ych, ym, ych, s + y + "mi", ych, vir)
        self.forms = {"mi": m, "mp": man, "ma": man, "f": f, "n": n, "p": p, "pv": pv}

    def for_(self, noun: Noun) -> str:
        """The nominative that agrees with the noun."""
        return self.forms[noun.g][0]


def phrase(adj: Adjective, noun: Noun) -> Noun:
    """Adjective and noun agreeing in all cases (and in the plural, if there is one)."""
    forms = tuple(f"{x} {y}" for x, y in zip(adj.forms[noun.g], noun.forms, strict=True))
    return Noun(forms, noun.g, None)


def join(first: Noun, second: Noun, gender: str | None = None) -> Noun:
    """Two nouns inflected together (first name and surname)."""
    return Noun(tuple(f"{x} {y}" for x, y in zip(first.forms, second.forms, strict=True)), gender or first.g)


def attach(head: Noun, tail: str) -> Noun:
    """A noun with an uninflected tail (Bank + "Rolny w Lipnie", fabryka + "mebli")."""
    return Noun(tuple(f"{x} {tail}" for x in head.forms), head.g)


def adjectival(lemma: str, gender: str) -> Noun:
    """A name that inflects like an adjective (Lipski, Lipska, Bystra)."""
    masculine = lemma if gender != "f" else lemma[:-1] + ("i" if lemma[-2] in "kg" else "y")
    return Noun(Adjective(masculine).forms[gender], gender)


def fixed(word: str, gender: str) -> Noun:
    """An indeclinable word."""
    return Noun((word,) * 7, gender)


def cap(text: str) -> str:
    """Upper-case the first letter only."""
    return text[:1].upper() + text[1:]
