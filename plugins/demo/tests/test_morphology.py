from __future__ import annotations

import pytest

from qharness_demo.world.morphology import Adjective, Noun, adjectival, fem, femc, in_, join, masc, neut, phrase, with_


@pytest.mark.parametrize(
    ("noun", "singular", "plural"),
    [
        (
            fem("książka", "książek"),
            "książka książki książce książkę książką książce książko",
            "książki książek książkom książki książkami książkach książki",
        ),
        (
            masc("lekarz", kind="mp"),
            "lekarz lekarza lekarzowi lekarza lekarzem lekarzu lekarzu",
            "lekarze lekarzy lekarzom lekarzy lekarzami lekarzach lekarze",
        ),
        (
            masc("rolnik", kind="mp"),
            "rolnik rolnika rolnikowi rolnika rolnikiem rolniku rolniku",
            "rolnicy rolników rolnikom rolników rolnikami rolnikach rolnicy",
        ),
        (
            masc("zamek", "zamk"),
            "zamek zamku zamkowi zamek zamkiem zamku zamku",
            "zamki zamków zamkom zamki zamkami zamkach zamki",
        ),
        (
            neut("krzesło", "krzeseł"),
            "krzesło krzesła krzesłu krzesło krzesłem krześle krzesło",
            "krzesła krzeseł krzesłom krzesła krzesłami krzesłach krzesła",
        ),
        (
            femc("kość"),
            "kość kości kości kość kością kości kości",
            "kości kości kościom kości kościami kościach kości",
        ),
    ],
)
def test_nouns_have_the_forms_of_the_dictionary(noun: Noun, singular: str, plural: str) -> None:
    assert noun.forms == tuple(singular.split())
    assert noun.pl is not None and noun.pl.forms == tuple(plural.split())


def test_adjectives_agree_in_gender_and_case() -> None:
    assert phrase(Adjective("stary"), neut("lustro", "luster")).L == "starym lustrze"
    assert phrase(Adjective("wysoki"), fem("wieża")).A == "wysoką wieżę"
    assert Adjective("dobry").forms["pv"][0] == "dobrzy"
    assert Adjective("tani").forms["f"][1] == "taniej"


def test_full_names_inflect_in_both_parts() -> None:
    man = join(masc("Paweł", "Pawł", "mp"), adjectival("Lipski", "mp"))
    woman = join(fem("Maria"), adjectival("Lipska", "f"))
    assert (man.G, man.I, man.L) == ("Pawła Lipskiego", "Pawłem Lipskim", "Pawle Lipskim")
    assert (woman.G, woman.A) == ("Marii Lipskiej", "Marię Lipską")


def test_prepositions_take_a_vowel_before_clusters() -> None:
    assert in_("Wrzośnie") == "we Wrzośnie"
    assert in_("Warszawie") == "w Warszawie"
    assert with_("szkoły") == "ze szkoły"
    assert with_("Anną") == "z Anną"
