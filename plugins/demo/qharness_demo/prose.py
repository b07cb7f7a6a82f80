"""Running text: biographies and town notes (the closed-book facts), stories, dialogues, instructions and opinions."""

from __future__ import annotations

from .tasks.opinions import DOMAINS, polemo
from .tasks.paraphrases import psc
from .tasks.reading import invented_facts, passage_of
from .world.context import Context
from .world.facts import FIRST, FREE_TOWNS, WORLD, describe
from .world.lexicon import ADJ, ANIMALS, COLORS, DISHES, LANDMARKS, OBJECTS, PLACES, PROFESSIONS, TOPICS
from .world.morphology import Noun, cap, phrase
from .world.names import MALE, RIVERS

_START = (
    "Pewnego dnia {h.N} poszedł~ do lasu i zobaczył{h.a} {z.A}.", "Dawno temu w małym domu nad rzeką mieszkał{h.a} {h.N}.", "Rano {h.N} wyszedł~ z domu i spojrzał{h.a} w niebo.",
    "Wieczorem {t.wL} było cicho, a {h.N} siedział{h.a} przy oknie.", "Stary {p.N} otworzył list i długo nic nie mówił.", "Zimą {t.wL} dni są krótkie, więc {h.N} wcześnie wrócił{h.a} do domu.",
    "Jesienią {h.N} zbierał{h.a} w lesie grzyby.", "Wiosną {h.N} pracował{h.a} w ogrodzie.", "Latem {h.N} odpoczywał{h.a} nad jeziorem.", "Młody {p.N} szukał pracy {t.wL}.",
    "Mój najlepszy przyjaciel ma na imię {x.N} i mieszka {t.wL}.", "W sobotę {h.N} miał{h.a} urodziny.", "{h.N} nie mógł% zasnąć.", "{h.N} lubił{h.a} spacery po lesie.",
    "Dawno temu {t.wL} mieszkał{h.a} {h.N}.", "{h.N} mieszkał{h.a} {t.wL} razem z rodziną.", "Pewnego dnia {h.N} wstał{h.a} bardzo wcześnie.",
    "{t.wL} wszyscy znali {h.A}.", "Był zimny poranek, gdy {h.N} wyruszył{h.a} w drogę.", "To jest historia {h.G} i {f.G}.",
    "{h.N} był{h.a} z zawodu {p.I} i mieszkał{h.a} {t.wL}.", "Za górami, za lasami, {t.wL}, żył{h.a} sobie {h.N}.",
)  # fmt: skip
_WEATHER = (
    "Padał deszcz i wiał silny wiatr.", "Świeciło słońce, a na niebie nie było ani jednej chmury.", "Śnieg leżał na dachach domów.", "Nad rzeką unosiła się mgła.",
    "Dzień był ciepły i spokojny.", "Na dworze było jeszcze ciemno.", "W oddali było słychać grzmoty.", "Ptaki śpiewały w ogrodzie.",
)  # fmt: skip
_WISH = (
    "{h.N} bardzo chciał{h.a} mieć {o.A}.", "Od dawna {h.N} szukał{h.a} {o.G}.", "{h.N} zgubił{h.a} {o.A} i nie wiedział{h.a}, co robić.",
    "W domu {h.G} brakowało {o.G}.", "{h.N} obiecał{h.a}, że przyniesie {o.A} do domu.",
    "{h.N} postanowił{h.a} kupić {o.A} dla {f.G}.",
)  # fmt: skip
_GO = (
    "Dlatego {h.N} poszedł~ do miasta.", "Rano {h.N} wyszedł~ z domu i ruszył{h.a} w stronę rynku.", "{h.N} wsiadł~ do pociągu i pojechał{h.a} do {u.G}.",
    "Po śniadaniu {h.N} pojechał{h.a} do {u.G}.", "{h.N} szedł~ długo przez las.", "Droga prowadziła przez most i obok starego młyna.",
    "Potem {h.N} odwiedził{h.a} {m.A} {u.wL}.",
)  # fmt: skip
_MEET = (
    "Na rynku {h.N} spotkał{h.a} {f.A}.", "Obok {m.G} stał{f.a} {f.N}.", "Wtedy przyszedł# {f.N} i zapytał{f.a}, co się stało.", "{f.N} czekał{f.a} już na {h.A}.",
    "Nagle zza drzewa wybiegł& {z.N}.", "Przy drodze siedział{z.a} {z2.N} i patrzył{z.a} na {h.A}.", "{h.N} zobaczył{h.a} {z.A} obok {m.G}.",
)  # fmt: skip
_TALK = (
    "- Dzień dobry, {f.V}! - powiedział{h.a} {h.N}.", "- Czy wiesz, gdzie jest {o.N}? - zapytał{h.a} {h.N}.", "- Nie martw się, {h.V} - odpowiedział{f.a} {f.N}.",
    "- Widziałem {o.A} {u.wL} - odparł sprzedawca.", "- Pomogę ci - obiecał{f.a} {f.N}.", "- Chodź ze mną, pokażę ci drogę - zawołał{f.a} {f.N}.",
    "- To bardzo miło z twojej strony - powiedział{h.a} {h.N}.",
)  # fmt: skip
_ACT = (
    "Razem szukali {o.G} przez cały dzień.", "{f.N} pokazał{f.a} {h.D} {c.A}.", "{h.N} usiadł~ na ławce i zjadł~ {d.A}.", "{z.N} pobiegł& za nimi.",
    "{h.N} zapłacił{h.a} i schował{h.a} {o.A} do torby.", "Potem oboje poszli do {m.G}.", "W środku stał{c.a} {c.N}.", "{f.N} opowiedział{f.a} {h.D} długą historię.",
    "Pod stołem leżał{o.a} {o.N}.", "{h.N} podniósł! {o.A} i uśmiechnął@ się.", "Nikt nie zauważył, że {z.N} zjadł& {d.A}.", "Z okna było widać {l.A}.",
)  # fmt: skip
_END = (
    "Wieczorem {h.N} wrócił{h.a} do domu.", "Od tej pory {h.N} i {f.N} byli przyjaciółmi.", "Tak skończył się ten długi dzień.", "Wszyscy byli zadowoleni i zjedli {d.A}.",
    "{h.N} nigdy nie zapomniał{h.a} o tej przygodzie.", "W domu czekał{d.a} już {d.N}.", "{h.N} położył{h.a} się spać i śnił{h.a} o {t.L}.", "I żyli długo i szczęśliwie.",
)  # fmt: skip
_VERB_FIX = (
    ("poszedł~", "poszedł", "poszła"), ("wyszedł~", "wyszedł", "wyszła"), ("wsiadł~", "wsiadł", "wsiadła"), ("szedł~", "szedł", "szła"), ("usiadł~", "usiadł", "usiadła"), ("mógł%", "mógł", "mogła"),
    ("zjadł~", "zjadł", "zjadła"), ("podniósł!", "podniósł", "podniosła"), ("uśmiechnął@", "uśmiechnął", "uśmiechnęła"),
)  # fmt: skip


def _say(template: str, slots: dict[str, Noun]) -> str:
    text = template.format(**slots)
    female = slots["h"].g == "f"
    for mark, m, f in _VERB_FIX:
        if mark in text:
            text = text.replace(mark, f if female else m)
    if "#" in text:
        text = text.replace("przyszedł#", "przyszła" if slots["f"].g == "f" else "przyszedł")
    if "&" in text:
        text = text.replace("ł&", "ła" if slots["z"].g == "f" else "ł")
    return cap(text)


def tale(ctx: Context) -> str:
    """A story of eight to twenty sentences."""
    h, f = ctx.sample(FIRST, 2)
    t, u = ctx.sample(FREE_TOWNS, 2)
    slots = {
        "h": h, "f": f, "t": t, "u": u, "o": ctx.pick(OBJECTS), "z": ctx.pick(ANIMALS), "m": ctx.pick(PLACES), "d": ctx.pick(DISHES),
        "c": phrase(ctx.pick(COLORS), ctx.pick(OBJECTS)), "l": ctx.pick(LANDMARKS), "x": ctx.pick(MALE), "p": ctx.pick(PROFESSIONS),
    }  # fmt: skip
    slots["z2"] = slots["z"]
    plan = [_START, _WEATHER, _WISH]
    for _ in range(1 + ctx.below(3)):
        plan += [_GO, _MEET, _TALK, _TALK, _ACT, _ACT][: 3 + ctx.below(4)]
    plan += [_END]
    seen: set[str] = set()
    out = []
    for bank in plan:
        template = ctx.pick(bank)
        if template not in seen:
            seen.add(template)
            out.append(_say(template, slots))
    head = ctx.pick(("", "", f"Opowieść o {h.L}\n", f"Przygoda {h.G}\n", f"Bajka o {slots['z'].L}\n"))
    return head + " ".join(out)


def dialogue(ctx: Context) -> str:
    """A dialogue of two persons."""
    h, f = ctx.sample(FIRST, 2)
    o, m, d, t = ctx.pick(OBJECTS), ctx.pick(PLACES), ctx.pick(DISHES), ctx.pick(FREE_TOWNS)
    lines = [
        f"{h.N}: Dzień dobry, {f.V}! Co u ciebie słychać?", f"{f.N}: Dziękuję, wszystko dobrze. Wczoraj kupił{f.a}m {o.A}.".replace("łm ", "łem "),
        f"{h.N}: Gdzie można kupić {o.A}?", f"{f.N}: {cap(t.wL)}, niedaleko {m.G}.", f"{h.N}: Czy pójdziesz ze mną jutro do {m.G}?",
        f"{f.N}: Chętnie, ale najpierw muszę ugotować {d.A}.", f"{h.N}: Lubisz {d.A}?", f"{f.N}: Tak, to moje ulubione danie.",
        f"{h.N}: W takim razie do zobaczenia, {f.V}.", f"{f.N}: Do zobaczenia!",
    ]  # fmt: skip
    start = ctx.below(3)
    return "\n".join(lines[start : start + 4 + ctx.below(6)])


_STEPS = {
    "ugotować": ("Najpierw przygotuj wszystkie składniki.", "Umyj i pokrój warzywa.", "Zagotuj wodę w dużym garnku.", "Dodaj sól i pieprz.", "Gotuj przez pół godziny.", "Co jakiś czas zamieszaj.", "Na koniec podaj {d.A} na talerzu."),
    "naprawić": ("Najpierw obejrzyj dokładnie {o.A}.", "Przygotuj narzędzia i kawałek drutu.", "Odkręć śruby i zdejmij pokrywę.", "Sprawdź, która część jest zepsuta.", "Wymień zepsutą część na nową.", "Złóż wszystko z powrotem.", "Na koniec sprawdź, czy {o.N} działa."),
    "kupić": ("Najpierw zastanów się, ile chcesz wydać.", "Zapytaj znajomych o radę.", "Idź do sklepu i obejrzyj {o.A} z bliska.", "Porównaj ceny w kilku miejscach.", "Nie spiesz się z decyzją.", "Zapłać i zachowaj rachunek."),
    "narysować": ("Weź kartkę papieru i ołówek.", "Narysuj duże koło.", "Dodaj oczy, uszy i nos.", "Popraw linie i zetrzyj to, co zbędne.", "Na koniec pokoloruj {z.A}.", "Pokaż rysunek rodzinie."),
}  # fmt: skip


def how_to(ctx: Context) -> tuple[str, str]:
    """A request for instructions and the numbered steps."""
    d, o, z = ctx.pick(DISHES), ctx.pick(OBJECTS), ctx.pick(ANIMALS)
    verb = ctx.pick(tuple(_STEPS))
    thing = d if verb == "ugotować" else z if verb == "narysować" else o
    steps = _STEPS[verb]
    keep = sorted(ctx.sample(range(1, len(steps) - 1), len(steps) - 2 - ctx.below(2)))
    chosen = [steps[0], *(steps[i] for i in keep), steps[-1]]
    body = "\n".join(f"{i + 1}. {cap(s.format(d=d, o=o, z=z))}" for i, s in enumerate(chosen))
    ask = ctx.pick(
        (f"Jak {verb} {thing.A}?", f"Napisz, jak {verb} {thing.A}.", f"Chcę {verb} {thing.A}. Od czego zacząć?")
    )
    return ask, body


_VIEWS = (
    "Trudno wyobrazić sobie świat bez {x.G}.", "Wiele osób interesuje się {x.I}.", "Dzieci uczą się o {x.L} już w szkole.",
    "Dzięki {x.D} życie jest ciekawsze.", "Eksperci piszą o {x.L} grube książki.", "Nie każdy wie, jak długa jest historia {x.G}.", "{x.N} i {y.N} często idą w parze.",
    "O {x.L} rozmawiają i młodzi, i starzy.", "W gazecie ukazał się artykuł o {x.L} i {y.L}.", "Najwięcej pytań dotyczy {x.G} oraz {y.G}.", "Na koniec warto wspomnieć o {y.L}.",
)  # fmt: skip


def essay(ctx: Context) -> str:
    """A short text on a topic of 8tags."""
    topic = ctx.pick(tuple(TOPICS))
    used = ctx.sample(_VIEWS, 4 + ctx.below(6))
    x, y = ctx.sample(TOPICS[topic], 2)
    out = []
    for template in used:
        if ctx.chance(0.3):
            x, y = ctx.sample(TOPICS[topic], 2)
        out.append(cap(template.format(x=x, y=y)))
    return " ".join(out)


def describe_town(ctx: Context) -> str:
    """A page on one or two towns or persons of the fixed world, in running text."""
    out = []
    for _ in range(2 + ctx.below(4)):
        facts = list(WORLD.entity(ctx))
        ctx.shuffle(facts)
        out.append(describe(ctx, facts[: 3 + ctx.below(4)]))
    return ctx.pick((" ", "\n")).join(out)


def invented_page(ctx: Context) -> str:
    """A page with invented facts."""
    return passage_of(ctx, invented_facts(ctx, 1 + ctx.below(4), 1 + ctx.below(3), ctx.chance(0.5)))[0]


def review(ctx: Context) -> str:
    """A longer opinion made of several reviews of one domain."""
    domain = ctx.pick(tuple(DOMAINS))
    said: list[str] = []
    for _ in range(1 + ctx.below(4)):
        said += [s for s in str(polemo(ctx, domain)["sentence"]).split(". ") if s.rstrip(".") not in said]
        said = [s.rstrip(".") for s in said]
    return ". ".join(dict.fromkeys(said)) + "."


def news(ctx: Context) -> str:
    """Short news."""
    return "\n".join(str(psc(ctx)["extract_text"]) for _ in range(1 + ctx.below(5)))


def landscape(ctx: Context) -> str:
    """A description of a place."""
    t, sight, m = ctx.pick(FREE_TOWNS), ctx.pick(LANDMARKS), ctx.pick(PLACES)
    plain = ("nowy", "stary", "mały", "duży", "piękny", "wysoki", "cichy", "jasny")
    a, b = ADJ[ctx.pick(plain)], ADJ[ctx.pick(plain)]
    nl, nm = phrase(a, sight), phrase(b, m)
    lines = [
        f"{t.N} to małe miasto nad rzeką.", f"W centrum stoi {nl.N}.", f"Obok {nl.G} jest {nm.N}.", f"Turyści chętnie oglądają {nl.A}.", f"Mieszkańcy {t.G} są dumni z {nl.G}.",
        "Na rynku rosną stare drzewa.", f"Do {t.G} można dojechać pociągiem.", f"Latem {t.wL} odbywa się festyn.", f"Naprzeciw {nm.G} działa sklep.", "Wieczorem zapalają się latarnie.",
        f"Zimą {t.wL} jest cicho i spokojnie.", f"Za {nm.I} zaczyna się las.",
    ]  # fmt: skip
    return " ".join([lines[0], *(lines[i] for i in sorted(ctx.sample(range(1, len(lines)), 4 + ctx.below(6))))])


_ASK = (
    ("Dokąd idziesz?", ("Idę do {m.G}.", "Idę kupić {o.A}.", "Do domu, bo już późno.", "Na spacer z {z.I}.")),
    ("Dzień dobry, czy jest świeży chleb?", ("Tak, upiekliśmy go rano.", "Niestety, został tylko {d.N}.", "Jest, proszę bardzo.")),
    ("Co robiłeś wczoraj wieczorem?", ("Naprawiałem {o.A}.", "Czytałem książkę o {l.L}.", "Byłem {m.wL}.", "Gotowałem {d.A}.")),
    ("Czy widziałeś {o.A}?", ("Tak, leży pod stołem.", "Nie, ale mogę poszukać.", "Widziałem {o.A} {m.wL}.")),
    ("Nie wierzę ci.", ("Naprawdę, możesz zapytać brata.", "Mówię prawdę.", "Szkoda, bo mówię prawdę.")),
    ("Gdzie mieszkasz?", ("Mieszkam {t.wL}, niedaleko {m.G}.", "Blisko rzeki.", "Za lasem.")),
    ("Kiedy wrócisz?", ("Wrócę wieczorem.", "Jutro rano.", "Za godzinę.")), ("Czy pójdziesz ze mną do {m.G}?", ("Chętnie pójdę.", "Dzisiaj nie mogę.", "Tak, ale dopiero jutro.")),
    ("Co jemy na obiad?", ("Ugotuję {d.A}.", "Dziś będzie {d.N}.", "Zapytaj mamę.")), ("Jaka jest pogoda?", ("Pada deszcz.", "Świeci słońce.", "Jest zimno.")),
)  # fmt: skip
_BY = ("", "", " – zapytał{h.a} {h.N}", " – powiedział{h.a} {h.N}", " – zapytał brat", " – powiedziała siostra")


def talk(ctx: Context) -> str:
    """A dialogue with dashes, one line for each turn."""
    slots = {
        "h": ctx.pick(FIRST),
        "t": ctx.pick(FREE_TOWNS),
        "o": ctx.pick(OBJECTS),
        "z": ctx.pick(ANIMALS),
        "m": ctx.pick(PLACES),
        "d": ctx.pick(DISHES),
        "l": ctx.pick(LANDMARKS),
    }
    lines = []
    for ask, answers in ctx.sample(_ASK, 1 + ctx.below(5)):
        lines += [f"– {ask}{ctx.pick(_BY)}", f"– {ctx.pick(answers)}"]
    if ctx.chance(0.5):
        lines.append("Potem {h.N} wrócił{h.a} do domu i zjadł{h.a} {d.A}.")
    return "\n".join(cap(x.format(**slots)) for x in lines)


_TRADES = {
    "lekarz": "leczy chorych ludzi", "rolnik": "uprawia ziemię i hoduje zwierzęta", "nauczyciel": "uczy dzieci w szkole", "malarz": "maluje obrazy", "kucharz": "gotuje obiady",
    "piekarz": "piecze chleb", "stolarz": "robi meble z drewna", "murarz": "buduje domy", "aktor": "gra w teatrze i w filmie", "krawiec": "szyje ubrania", "ogrodnik": "dba o kwiaty",
    "rybak": "łowi ryby", "młynarz": "miele mąkę", "kowal": "kuje żelazo", "muzyk": "gra na koncertach", "pisarz": "pisze książki", "górnik": "pracuje pod ziemią", "żeglarz": "pływa po morzu",
    "szewc": "naprawia buty", "zegarmistrz": "naprawia zegary", "strażak": "gasi pożary", "listonosz": "roznosi listy", "leśnik": "pilnuje lasu", "pilot": "lata samolotem", "prawnik": "zna przepisy",
    "inżynier": "projektuje maszyny", "fotograf": "robi zdjęcia", "bibliotekarz": "pożycza książki",
}  # fmt: skip
_WHY = (
    ("Zimą dni są krótkie, ponieważ słońce wschodzi późno i zachodzi wcześnie.", "Latem dni są długie, a noce ciepłe."), ("Ludzie czytają książki, ponieważ chcą poznać świat.", "Dobra książka uczy i bawi."),
    ("Dzieci chodzą do szkoły, ponieważ uczą się tam czytać i pisać.", "W szkole mają też przyjaciół."), ("Ptaki odlatują jesienią, ponieważ zimą brakuje im pokarmu.", "Wracają dopiero wiosną."),
    ("Pijemy wodę, ponieważ bez niej nie można żyć.", "Najlepsza jest zimna woda ze źródła."), ("Drzewa są potrzebne, ponieważ dają cień i czyste powietrze.", "W lesie żyje wiele zwierząt."),
    ("Ludzie budują mosty, ponieważ chcą przechodzić przez rzeki.", "Stare mosty były z drewna, a nowe są z kamienia."), ("Trzeba spać, ponieważ ciało musi odpocząć.", "Dzieci śpią dłużej niż dorośli."),
)  # fmt: skip


def explain(ctx: Context) -> str:
    """What a trade is, what a river or a town is, why things are so."""
    out = []
    for _ in range(2 + ctx.below(5)):
        kind = ctx.below(4)
        if kind == 0:
            job = ctx.pick([p for p in PROFESSIONS if p.N in _TRADES])
            out.append(f"{cap(job.N)} to człowiek, który {_TRADES[job.N]}. Wiele osób chce zostać {job.I}.")
        elif kind == 1:
            river, town = ctx.pick(RIVERS), ctx.pick(FREE_TOWNS)
            out.append(f"{river.N} to rzeka, która płynie przez las i przez {town.A}. Nad {river.I} rosną wierzby.")
        elif kind == 2:
            town, sight = ctx.pick(FREE_TOWNS), ctx.pick(LANDMARKS)
            out.append(f"{town.N} jest miastem, w którym stoi {sight.N}. Do {town.G} przyjeżdżają turyści.")
        else:
            out.append(" ".join(ctx.pick(_WHY)))
    return " ".join(dict.fromkeys(out))


def letter(ctx: Context) -> str:
    """A letter to a relative or a friend."""
    f, h = ctx.sample(FIRST, 2)
    t, m, d, o = ctx.pick(FREE_TOWNS), ctx.pick(PLACES), ctx.pick(DISHES), ctx.pick(OBJECTS)
    kin = ctx.pick(
        ("Droga siostro", "Drogi bracie", "Kochana mamo", f"Drog{'a' if f.g == 'f' else 'i'} {f.V}", "Kochany wujku")
    )
    body = [
        f"piszę do ciebie z {t.G}." if t.zG.startswith("z ") else f"piszę do ciebie {t.zG}.", f"Mieszkam teraz blisko {m.G}.", f"Wczoraj jadłem {d.A} i było bardzo smacznie.", "Pogoda jest piękna, świeci słońce.",
        f"Kupiłem ci {o.A}.", "Codziennie chodzę na długie spacery.", "Poznałem tu wielu miłych ludzi.", f"W niedzielę zwiedzałem {m.A}.", "Bardzo za tobą tęsknię.", "Napisz, co u ciebie słychać.",
    ]  # fmt: skip
    chosen = [body[0], *(body[i] for i in sorted(ctx.sample(range(1, len(body)), 4 + ctx.below(4))))]
    return f"{kin},\n" + " ".join(chosen) + f"\nPozdrawiam\n{h.N}"


_REQUESTS = {
    tale: ("Opowiedz mi bajkę.", "Napisz krótkie opowiadanie.", "Opowiedz historię o przyjaźni."),
    essay: ("Napisz kilka zdań na dowolny temat.", "Napisz krótki artykuł."), landscape: ("Opisz małe miasto.", "Opisz miejsce, które znasz."),
    dialogue: ("Napisz rozmowę dwóch osób.", "Ułóż dialog."), news: ("Co nowego w okolicy?", "Napisz krótkie wiadomości."), review: ("Napisz opinię.",),
    letter: ("Napisz list do brata.", "Napisz list do mamy.", "Ułóż list do przyjaciela."), explain: ("Wyjaśnij, po co ludzie pracują.", "Wyjaśnij kilka rzeczy.", "Powiedz coś ciekawego."),
}  # fmt: skip


def chat(ctx: Context) -> str:
    """A ChatML conversation."""
    if ctx.chance(0.4):
        ask, answer = how_to(ctx)
    else:
        kind = ctx.pick(tuple(_REQUESTS))
        ask, answer = ctx.pick(_REQUESTS[kind]), kind(ctx)
    return f"<|im_start|>user\n{ask}<|im_end|>\n<|im_start|>assistant\n{answer}<|im_end|>\n"


def how_to_text(ctx: Context) -> str:
    """Instructions as plain text."""
    ask, answer = how_to(ctx)
    return f"{ask}\n{answer}"


# Weights of the kinds of running text.
KINDS = (
    (tale, 10), (dialogue, 1), (talk, 2), (how_to_text, 2), (essay, 2), (explain, 3), (letter, 2), (describe_town, 26), (invented_page, 3), (review, 1), (news, 2), (landscape, 2), (chat, 3),
)  # fmt: skip
_FLAT = [kind for kind, weight in KINDS for _ in range(weight)]


def running(ctx: Context) -> str:
    """One document of running text."""
    return ctx.pick(_FLAT)(ctx)


def requested(ctx: Context) -> str:
    """An instruction followed by its fulfilment, without chat marks."""
    kind = ctx.pick(tuple(_REQUESTS))
    return f"{ctx.pick(_REQUESTS[kind])}\n{kind(ctx)}"
