"""Rows of PolishCyberbullyingDataset: mild invented utterances in six categories, with harmless near-doubles."""

from __future__ import annotations

from ..world.context import Context
from ..world.facts import FIRST
from ..world.lexicon import nouns
from ..world.morphology import cap, fem

Row = dict[str, object]
CATEGORIES = ("nieszkodliwa", "szyderstwo", "obelga", "insynuacja", "grozba", "molestowanie")
_INSULTS = nouns(
    "mp:leń mp:gamoń mp:tchórz mp:kłamczuch mp:głupek/głupk mp:nieudacznik mp:brudas mp:skąpiec/skąpc mp:bałwan "
    "mp:osioł/osł mp:pyszałek/pyszałk mp:nudziarz mp:gbur mp:błazen/błazn mp:matoł mp:partacz"
)
_INSULTS += [fem("maruda"), fem("fajtłapa"), fem("oferma"), fem("gapa")]
_PRAISES = nouns("mp:geniusz mp:mistrz mp:bohater mp:mędrzec/mędrc mp:as mp:wirtuoz mp:czempion mp:fachowiec/fachowc")
_FAILED = (
    "przypaliłeś zupę", "zgubiłeś klucze", "zepsułeś rower", "spóźniłeś się na pociąg", "przegrałeś mecz", "pomyliłeś drogę", "stłukłeś wazon",
    "zapomniałeś o spotkaniu", "rozlałeś mleko", "oblałeś egzamin", "zniszczyłeś drzwi", "popsułeś zegar", "zalałeś łazienkę", "podarłeś mapę",
)  # fmt: skip
_DONE = (
    "ugotowałeś zupę", "znalazłeś klucze", "naprawiłeś rower", "zdążyłeś na pociąg", "wygrałeś mecz", "pokazałeś drogę", "skleiłeś wazon",
    "pamiętałeś o spotkaniu", "przyniosłeś mleko", "zdałeś egzamin", "pomalowałeś drzwi", "nastawiłeś zegar", "umyłeś łazienkę", "narysowałeś mapę",
)  # fmt: skip
_SUSPECT = (
    "skąd {o.N} ma tyle pieniędzy", "komu {o.N} zapłacił{o.a} za tę posadę", "co {o.N} robi po nocach", "za co {o.N} kupił{o.a} nowy dom",
    "dlaczego {o.N} tak boi się policji", "co {o.N} ukrywa w piwnicy", "z kim {o.N} spotyka się po cichu",
    "kto naprawdę pisze teksty za {o.A}", "po co {o.N} zmienia nazwisko", "ile {o.N} dostał{o.a} pod stołem",
)  # fmt: skip
_INNOCENT = (
    "skąd {o.N} ma ten przepis", "komu {o.N} kupił{o.a} kwiaty", "co {o.N} robi w sobotę", "za ile {o.N} kupił{o.a} nową lampę",
    "dlaczego {o.N} tak lubi góry", "co {o.N} hoduje w ogrodzie", "z kim {o.N} gra w szachy", "kto naprawdę lubi zupę tak jak {o.N}",
    "po co {o.N} zmienia opony", "ile {o.N} dostał{o.a} punktów",
)  # fmt: skip
_THREATS = (
    "pożałujesz tego", "przyjdę do ciebie z kijem", "połamię ci rower", "lepiej uważaj, gdy wracasz do domu", "znajdę cię i popamiętasz",
    "spalę ci szopę", "nie dożyjesz spokojnej niedzieli", "wybiję ci szyby", "porachuję ci kości", "zrobię ci krzywdę",
)  # fmt: skip
_OFFERS = (
    "ucieszysz się z tego", "przyjdę do ciebie z ciastem", "naprawię ci rower", "lepiej weź parasol, gdy wracasz do domu", "znajdę cię i oddam książkę",
    "pomaluję ci szopę", "odpoczniesz w spokojną niedzielę", "umyję ci szyby", "policzę ci wydatki", "zrobię ci kawę",
)  # fmt: skip
_PESTER = (
    "piszę do ciebie {k} raz dzisiaj, odpisz wreszcie", "wiem, gdzie mieszkasz, i znów stoję pod twoim oknem", "nie przestanę dzwonić, aż odbierzesz",
    "mówiłaś, że nie chcesz, ale i tak przyjdę", "wyślij mi wreszcie swoje zdjęcie, proszę {k} raz", "znów szedłem za tobą do domu",
    "nie obchodzi mnie, że mnie zablokowałaś, piszę z innego konta", "usiądę obok ciebie, choć mówisz, żebym odszedł",
)  # fmt: skip
_POLITE = (
    "piszę do ciebie {k} raz w tym roku, pozdrów rodzinę", "wiem, gdzie mieszkasz, więc wyślę ci kartkę", "nie przestanę ćwiczyć, aż wygram",
    "mówiłaś, że nie chcesz ciasta, więc kupię owoce", "wyślij mi wreszcie swój przepis, proszę", "znów szedłem z psem do parku",
    "nie obchodzi mnie deszcz, idę na spacer", "usiądę obok ciebie, skoro mówisz, że jest miejsce",
)  # fmt: skip
_TIMES = ("drugi", "trzeci", "czwarty", "piąty", "szósty", "siódmy", "dziesiąty")
_INSULTING = ("Ty {i.L}!", "Jesteś {i.I}, {v}.", "{v}, jesteś zwykłym {i.I}.", "{o.N} to {i.N}.", "Każdy wie, że {o.N} to {i.N}.",
              "Nikt nie jest takim {i.I} jak ty.", "Co za {i.N} z ciebie.", "Tylko {i.N} mógł to napisać.")  # fmt: skip
_HARMLESS = ("Nie jesteś {i.I}, {v}.", "{v}, nie jesteś żadnym {i.I}.", "{o.N} to nie {i.N}.", "Nieprawda, że {o.N} to {i.N}.",
             "Nikt nie mówi, że jesteś {i.I}.", "W bajce o królu występuje {i.N}.", "Sam czasem bywam {i.I}.")  # fmt: skip
_MOCK = (
    "Brawo, {p}, znowu {f}.",
    "Gratulacje, {p}, {f}.",
    "No pięknie, {p}, {f}.",
    "{p}, {f}, chylę czoła.",
    "Cały ty, {p}: {f}.",
)
_SMALLTALK = (
    "Dziś pada deszcz.",
    "Miłego dnia.",
    "Byłem wczoraj w kinie.",
    "Czekam na autobus.",
    "Mam nowy rower.",
    "Jutro niedziela.",
    "Słyszałem to rano.",
)


# A quotation that is only reported does no harm; one that the speaker owns does.
_REPORTED = (
    "W filmie ktoś mówi: „{x}”", "Na lekcji omawiano zdanie: „{x}”", "Nikt nie powinien pisać: „{x}”", "Nie zgadzam się ze słowami: „{x}”",
    "Nigdy nie napisałem: „{x}”", "W powieści czytamy: „{x}”",
)  # fmt: skip
_OWNED = (
    "Mówię poważnie: „{x}”", "Powtarzam: „{x}”", "Zgadzam się ze słowami: „{x}”", "Wczoraj napisałem: „{x}”", "Każdy powinien napisać: „{x}”",
    "Piszę to do ciebie: „{x}”",
)  # fmt: skip


_FLIPS = ("nieprawda, że", "nie jest tak, że", "to kłamstwo, że", "nikt nie sądzi, że")
_KEEPS = ("prawda, że", "jest tak, że", "wiadomo, że", "każdy sądzi, że")


def _denied(ctx: Context, harmful: bool) -> str:
    """An insult under nested affirmations and denials; evaluation nests deeper than training."""
    while True:
        i, o = ctx.pick(_INSULTS), ctx.pick(FIRST)
        if ctx.allowed("denied", i.N, o.N):
            break
    if ctx.evaluation:
        flips = ctx.pick((2, 4, 4) if harmful else (3, 3, 5))
    else:
        flips = ctx.pick((0, 2, 2) if harmful else (1, 1, 3))
    chain = [ctx.pick(_FLIPS) for _ in range(flips)] + [
        ctx.pick(_KEEPS) for _ in range(ctx.pick((0, 1, 2)) if flips < 3 else 0)
    ]
    claim = f"{o.N} to {i.N}" if ctx.chance(0.6) else f"{o.N} jest {i.I}"
    return cap(" ".join([*ctx.shuffle(chain or [ctx.pick(_KEEPS)]), claim])) + "."


def cbd(ctx: Context) -> Row:
    """An utterance and its category."""
    kind = ctx.pick((0, 0, 2, 2, 1, 3, 4, 5)) if ctx.evaluation else 0 if ctx.chance(0.3) else 1 + ctx.below(5)
    if kind in (0, 2) and ctx.random() < 0.6 * ctx.level:
        text = _denied(ctx, kind == 2)
        if ctx.chance(0.3):
            other = ctx.pick((1, 3, 4, 5))
            text = " ".join(ctx.shuffle([text, ctx.pick(_REPORTED).format(x=_phrase(ctx, other, other))]))
        return {"TEXT": text, "CATEGORIES": CATEGORIES[kind]}
    if ctx.chance(0.15 if ctx.evaluation else 0.45):
        return {"TEXT": _phrase(ctx, kind, 1 + ctx.below(5) if kind == 0 else kind), "CATEGORIES": CATEGORIES[kind]}
    owned = [_phrase(ctx, kind, kind or 1 + ctx.below(5))]
    if ctx.chance(0.6):
        owned = [ctx.pick(_OWNED).format(x=owned[0])]
    for _ in range(3 if ctx.evaluation else ctx.pick((1, 1, 1, 2)) if ctx.random() < ctx.level else 1):
        other = ctx.pick([k for k in range(1, 6) if k != kind])
        owned.append(ctx.pick(_REPORTED).format(x=_phrase(ctx, other, other)))
    return {"TEXT": " ".join(ctx.shuffle(owned)), "CATEGORIES": CATEGORIES[kind]}


def _phrase(ctx: Context, kind: int, source: int) -> str:
    """One utterance of the kind (0: harmless, resembling the kind `source`)."""
    while True:
        o, v = ctx.pick(FIRST), ctx.pick(FIRST).V
        if source == 1:
            p, at = ctx.pick(_PRAISES), ctx.below(len(_FAILED))
            f = (_DONE if kind == 0 else _FAILED)[at]
            text, key = ctx.pick(_MOCK).format(p=p.V, f=f), (p.N, f)
        elif source == 2:
            i, template = ctx.skew(_INSULTS, 2.0), ctx.pick(_HARMLESS if kind == 0 else _INSULTING)
            if i.g == "f":
                template = (
                    template.replace("zwykłym", "zwykłą")
                    .replace("żadnym", "żadną")
                    .replace("takim", "taką")
                    .replace("mógł", "mogła")
                )
                template = template.replace("Ty {i.L}", "Ty {i.V}")
            text, key = template.format(i=i, o=o, v=v), (i.N, template)
        elif source == 3:
            phrase = ctx.pick(_INNOCENT if kind == 0 else _SUSPECT).format(o=o)
            template = ctx.pick(
                (
                    "Ciekawe, {x}.",
                    "Wszyscy pytają, {x}.",
                    "Nikogo nie oskarżam, ale zastanawiam się, {x}.",
                    "Ktoś w końcu powie, {x}.",
                )
            )
            text, key = template.format(x=phrase), (template, phrase)
        elif source == 4:
            phrase = ctx.pick(_OFFERS if kind == 0 else _THREATS)
            template = ctx.pick(
                (
                    "Jutro {x}.",
                    "{v}, {x}.",
                    "Zobaczysz, {x}.",
                    "Obiecuję ci, {v}: {x}.",
                    "Jeszcze raz tak powiesz, a {x}.",
                )
            )
            text, key = template.format(x=phrase, v=v), (template, phrase, v)
        else:
            phrase = ctx.pick(_POLITE if kind == 0 else _PESTER).format(k=ctx.pick(_TIMES))
            template = ctx.pick(("{x}.", "{v}, {x}.", "Hej, {x}.", "Droga {v}, {x}.", "To znowu ja, {x}."))
            text, key = template.format(x=phrase, v=v), (template, phrase, v)
        if ctx.allowed("cbd", *key):
            break
    parts = [cap(text)]
    if ctx.chance(0.15):
        parts.insert(ctx.below(2), ctx.pick(_SMALLTALK))
    return " ".join(parts)
