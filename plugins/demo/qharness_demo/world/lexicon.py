# ruff: noqa: SIM905 (word tables)
"""Common nouns, adjectives and verbs of the micro-world, as compact tables over the paradigm functions."""

from __future__ import annotations

from .morphology import Adjective, Noun, fem, femc, masc, neut

# A noun entry is "kind:lemma" with optional fields: gpl (genitive plural), stem, gen (genitive ending), loc.
_KINDS = {"f": fem, "n": neut, "c": femc}


def noun(entry: str) -> Noun:
    """Build one noun from a table entry such as ``f:książka/książek`` or ``mi:zamek/zamk`` or ``mi:nóż/noż/a``."""
    kind, _, rest = entry.partition(":")
    parts = rest.split("/")
    if kind in _KINDS:
        return _KINDS[kind](parts[0], parts[1] if len(parts) > 1 else None)
    stem = parts[1] if len(parts) > 1 and parts[1] else None
    gen = parts[2] if len(parts) > 2 else ""
    gpl = parts[3] if len(parts) > 3 and parts[3] else None
    return masc(parts[0], stem, kind, gen, gpl, loc=parts[4] if len(parts) > 4 else None)


def nouns(table: str) -> list[Noun]:
    """Build the nouns of a whitespace-separated table."""
    return [noun(entry) for entry in table.split()]


TOPICS: dict[str, list[Noun]] = {
    "Film": nouns(
        "mi:film mp:aktor f:aktorka/aktorek mp:reżyser n:kino f:scena mi:serial f:komedia mi:ekran f:rola/ról "
        "mi:scenariusz//a f:kamera mi:dramat mi:horror//u f:premiera mi:dubbing f:obsada mp:widz f:fabuła "
        "f:ekranizacja mi:zwiastun mp:operator mp:scenarzysta f:kreskówka/kreskówek mi:kadr f:projekcja mi:montaż"
    ),
    "Historia": nouns(
        "mp:król mi:zamek/zamk f:bitwa/bitew f:wojna/wojen n:powstanie mp:rycerz f:dynastia mi:tron mp:książę "
        "mi:traktat f:królowa mi:miecz//a f:kronika n:średniowiecze mp:kronikarz n:imperium f:epoka mp:cesarz "
        "f:twierdza mp:archeolog mi:rozejm n:panowanie mi:rozbiór/rozbior f:koronacja mi:gród/grod f:szabla/szabel "
        "n:oblężenie mp:husarz"
    ),
    "Jedzenie": nouns(
        "f:zupa mi:chleb//a mi:ser//a n:ciasto f:kolacja mi:przepis mp:kucharz f:sałatka/sałatek mi:obiad mi:makaron "
        "f:kapusta mi:rosół/rosoł f:kiełbasa n:śniadanie f:przyprawa mi:pieróg/pierog/a mi:deser mi:omlet f:kasza "
        "n:mięso f:marynata mi:twaróg/twarog mi:bigos f:szarlotka/szarlotek mi:pasztet f:papryka f:śmietana"
    ),
    "Medycyna": nouns(
        "mp:lekarz f:choroba/chorób mi:szpital//a f:szczepionka/szczepionek mp:pacjent n:leczenie mi:wirus//a mp:chirurg "
        "f:operacja f:recepta f:przychodnia f:terapia mi:lek f:diagnoza n:serce f:gorączka/gorączek mp:ortopeda f:infekcja "
        "mi:antybiotyk f:rehabilitacja mi:objaw mp:kardiolog f:tabletka/tabletek n:zapalenie mi:zabieg f:alergia "
        "n:znieczulenie f:bakteria"
    ),
    "Motoryzacja": nouns(
        "mi:samochód/samochod mi:silnik//a mp:kierowca mi:motocykl//a f:opona mi:hamulec/hamulc/a/hamulców n:auto f:benzyna f:karoseria "
        "f:ciężarówka/ciężarówek mp:mechanik n:sprzęgło mi:przebieg n:zawieszenie mi:wydech mi:gaźnik//a f:kierownica "
        "mi:bagażnik//a mi:lakier f:chłodnica mi:diesel//a f:limuzyna mi:zderzak//a mi:przegląd f:laweta "
        "mi:reflektor//a f:skrzynia/skrzyń"
    ),
    "Praca": nouns(
        "mp:pracownik f:pensja mi:etat mp:szef mi:urlop f:firma n:zwolnienie f:rekrutacja f:umowa/umów n:biuro f:kariera "
        "mp:pracodawca mi:awans f:premia f:rozmowa/rozmów n:bezrobocie mi:zawód/zawod f:posada f:delegacja mi:staż "
        "n:wynagrodzenie mi:związek/związk f:kadra mp:kandydat mi:życiorys mi:grafik f:podwyżka/podwyżek n:stanowisko"
    ),
    "Sport": nouns(
        "mi:mecz///meczów f:drużyna mp:piłkarz mp:trener f:bramka/bramek mi:turniej///turniejów n:zwycięstwo f:liga mi:medal//u "
        "mi:stadion mp:biegacz mi:puchar f:porażka/porażek mp:bramkarz n:mistrzostwo mi:rekord mp:sędzia f:piłka/piłek "
        "mi:maraton mp:zawodnik f:dogrywka/dogrywek mi:remis f:sztafeta mp:siatkarz mi:trening f:szermierka/szermierek mi:slalom mp:kolarz"
    ),
    "Technologie": nouns(
        "mi:komputer//a mi:telefon mp:programista f:aplikacja mi:internet mi:robot//a f:klawiatura mi:procesor//a f:sieć "
        "n:urządzenie mi:system f:drukarka/drukarek mi:laptop//a f:bateria mp:informatyk mi:serwer//a n:oprogramowanie "
        "mi:algorytm mi:czujnik//a f:przeglądarka/przeglądarek mi:smartfon//a mi:dron//a mi:router//a f:konsola "
        "mi:monitor//a mi:tablet//u f:baza mi:interfejs"
    ),
}


def _repair() -> None:
    """Nouns of the rarer types that the paradigm functions do not cover."""
    for domain, lemma, forms, gender in (
        (
            "Film",
            "scenarzysta",
            "scenarzysta scenarzysty scenarzyście scenarzystę scenarzystą scenarzyście scenarzysto",
            "mp",
        ),
        ("Medycyna", "ortopeda", "ortopeda ortopedy ortopedzie ortopedę ortopedą ortopedzie ortopedo", "mp"),
        ("Motoryzacja", "kierowca", "kierowca kierowcy kierowcy kierowcę kierowcą kierowcy kierowco", "mp"),
        ("Praca", "pracodawca", "pracodawca pracodawcy pracodawcy pracodawcę pracodawcą pracodawcy pracodawco", "mp"),
        ("Sport", "sędzia", "sędzia sędziego sędziemu sędziego sędzią sędzi sędzio", "mp"),
        (
            "Technologie",
            "programista",
            "programista programisty programiście programistę programistą programiście programisto",
            "mp",
        ),
        ("Historia", "książę", "książę księcia księciu księcia księciem księciu książę", "mp"),
        ("Historia", "królowa", "królowa królowej królowej królową królową królowej królowo", "f"),
        ("Historia", "imperium", "imperium imperium imperium imperium imperium imperium imperium", "n"),
        ("Technologie", "sieć", "sieć sieci sieci sieć siecią sieci sieci", "f"),
        ("Historia", "król", "król króla królowi króla królem królu królu", "mp"),
        ("Film", "widz", "widz widza widzowi widza widzem widzu widzu", "mp"),
        ("Praca", "szef", "szef szefa szefowi szefa szefem szefie szefie", "mp"),
    ):
        table = TOPICS[domain]
        at = next(i for i, x in enumerate(table) if lemma == x.N)
        table[at] = Noun(tuple(forms.split()), gender)


_repair()

PROFESSIONS = nouns(
    "mp:lekarz mp:rolnik mp:nauczyciel mp:malarz mp:kucharz mp:piekarz mp:stolarz mp:murarz mp:aktor mp:krawiec/krawc "
    "mp:ogrodnik mp:rybak mp:młynarz mp:kowal mp:muzyk mp:pisarz mp:górnik mp:żeglarz mp:szewc mp:zegarmistrz "
    "mp:strażak mp:listonosz mp:sprzedawca mp:leśnik mp:pilot mp:prawnik mp:inżynier mp:fotograf mp:dentysta mp:bibliotekarz"
)
for _lemma, _stem in (("sprzedawca", "sprzedawc"), ("dentysta", "dentyst")):
    _at = next(i for i, x in enumerate(PROFESSIONS) if _lemma == x.N)
    _l = "dentyście" if _lemma == "dentysta" else "sprzedawcy"
    PROFESSIONS[_at] = Noun((_lemma, _stem + "y", _l, _stem + "ę", _stem + "ą", _l, _stem + "o"), "mp")

OBJECTS = nouns(
    "mi:zegar//a f:lampa mi:stół/stoł f:książka/książek mi:rower f:walizka/walizek mi:kapelusz//a n:lustro/luster "
    "f:szafa mi:dywan mi:obraz f:gitara mi:parasol//a n:krzesło/krzeseł mi:wazon f:czapka/czapek mi:płaszcz//a mi:kubek/kubk/a "
    "mi:nóż/noż/a f:skrzynka/skrzynek mi:aparat mi:namiot f:łódka/łódek n:radio f:moneta mi:pierścionek/pierścionk/a "
    "f:mapa mi:globus mi:wózek/wózk/a f:poduszka/poduszek mi:dzwon f:torba/toreb mi:scyzoryk//a f:latarka/latarek mi:fotel//a "
    "n:wiadro/wiader f:drabina mi:garnek/garnk/a n:pióro mi:obrus"
)
ANIMALS = nouns(
    "ma:pies/ps ma:kot f:koza/kóz ma:koń f:kura f:krowa/krów ma:królik f:gęś ma:baran ma:jeż f:papuga ma:chomik "
    "f:owca/owiec ma:gołąb f:mysz f:żaba ma:wilk ma:lis f:sowa/sów ma:niedźwiedź"
)
ANIMALS = [x for x in ANIMALS if x.N not in ("gęś", "gołąb", "mysz", "jeż")]
DISHES = nouns(
    "f:zupa mi:rosół/rosoł mi:bigos f:szarlotka/szarlotek f:sałatka/sałatek mi:makaron mi:omlet n:ciasto f:kasza mi:gulasz "
    "mi:sernik//a mi:barszcz mi:pasztet f:jajecznica mi:placek/plack/a mi:kotlet//a f:fasola f:ryba"
)
PLACES = nouns(
    "f:szkoła/szkół f:fabryka f:biblioteka f:apteka f:piekarnia mi:szpital//a mi:teatr n:muzeum f:stocznia mi:młyn//a "
    "f:cukrownia f:huta n:biuro f:poczta mi:tartak mi:bank f:kopalnia f:księgarnia mi:warsztat f:stacja"
)
_MUZEUM = next(i for i, x in enumerate(PLACES) if x.N == "muzeum")
PLACES[_MUZEUM] = Noun(("muzeum",) * 7, "n")
LANDMARKS = nouns(
    "mi:zamek/zamk mi:kościół/kościoł mi:ratusz//a f:wieża mi:pałac mi:most f:fontanna mi:park mi:pomnik//a f:latarnia "
    "mi:młyn//a mi:klasztor mi:teatr f:brama mi:dworzec/dworc/a n:lotnisko f:kaplica f:synagoga mi:ogród/ogrod mi:rynek/rynk"
)
PRODUCTS = nouns(
    "mi:mebel/mebl mi:but mi:ser f:świeca mi:dywan mi:zegar mi:dzwon f:zabawka/zabawek mi:garnek/garnk f:koronka/koronek "
    "n:jabłko/jabłek n:piernik mi:kapelusz f:szklanka/szklanek mi:nóż/noż mi:grzyb f:lampa f:gitara mi:kwiat f:cegła/cegieł"
)
for _i, _x in enumerate(PRODUCTS):
    if _x.N == "piernik":
        PRODUCTS[_i] = masc("piernik")
    if _x.N == "mebel":
        PRODUCTS[_i] = masc("mebel", "mebl", gpl="mebli")
PRODUCTS = [x.pl for x in PRODUCTS if x.pl is not None]

ADJ = {
    lemma: Adjective(lemma, adv)
    for lemma, adv in (
        e.split("/")
        for e in (
            "nowy/nowo stary/staro mały/mało duży/dużo piękny/pięknie wysoki/wysoko niski/nisko długi/długo krótki/krótko "
            "cichy/cicho głośny/głośno ciepły/ciepło zimny/zimno jasny/jasno ciemny/ciemno mądry/mądrze wesoły/wesoło "
            "smutny/smutno szybki/szybko wolny/wolno ciężki/ciężko lekki/lekko drogi/drogo tani/tanio młody/młodo "
            "dobry/dobrze zły/źle miły/miło groźny/groźnie spokojny/spokojnie czysty/czysto brudny/brudno bogaty/bogato "
            "biedny/biednie silny/silnie słaby/słabo pusty/pusto pełny/pełno szeroki/szeroko wąski/wąsko drewniany/- "
            "szklany/- metalowy/- kamienny/- srebrny/- złoty/- skórzany/- ręczny/ręcznie dawny/dawno znany/- sławny/-"
        ).split()
    )
}
COLORS = [
    Adjective(x)
    for x in "czerwony zielony niebieski żółty czarny biały szary brązowy fioletowy różowy złoty srebrny".split()
]
MONTHS = "stycznia lutego marca kwietnia maja czerwca lipca sierpnia września października listopada grudnia".split()
MONTHS_L = "styczniu lutym marcu kwietniu maju czerwcu lipcu sierpniu wrześniu październiku listopadzie grudniu".split()
DAYS = "poniedziałek wtorek środę czwartek piątek sobotę niedzielę".split()
