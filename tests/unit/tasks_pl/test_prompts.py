"""Every prompt, target and choice to the letter of the benchmark's protocol."""

from __future__ import annotations

from pathlib import Path

import pytest

from qharness_tasks_pl import load_tasks

POLEMO = {"sentence": 'Pokój "z widokiem", brudny.', "target": "__label__meta_minus_m"}
TAGS = {"sentence": "Sejm i film", "label": 3}
BELEBELE = {
    "flores_passage": "Rzeka płynie.",
    "question": "Co robi rzeka?",
    "mc_answer1": "Stoi",
    "mc_answer2": "Płynie",
    "mc_answer3": "Nie 'wiem'",
    "mc_answer4": "Śpi",
    "correct_answer_num": "2",
}
CBD = {"TEXT": "ty gałganie", "CATEGORIES": "grozba"}
DYK = {"question": "Kto?", "answer": "On.", "target": "1"}
NER = {"sentence": "Jadę do Łodzi.", "target": "placeName"}
PPC = {"sentence_A": "Kot śpi.", "sentence_B": "Kot drzemie.", "label": 2}
PSC = {"extract_text": "Długi tekst.", "summary_text": "Skrót.", "label": 0}
POLQA = {"question": "Gdzie?", "passage_text": "W Łodzi.", "answers": ["Łódź", "w Łodzi"], "relevant": 1}
POQUAD = {
    "title": "Łódź",
    "context": "Miasto.",
    "question": "Co?",
    "answers": {"text": ["Miasto"], "answer_start": [0]},
}
EQ = {"prompt": "Dialog.", "reference_answer_fullscale": "{'emotion1': 'Żal'}"}
FIRST = {
    "prompt": "Dialog.",
    "reference_answer": "{'emotion1': 'Złość', 'emotion2': 'Ulga', 'emotion3': 'Wstyd i żal', 'emotion4': 'Duma', "
    "'emotion1_score': 1, 'emotion2_score': '2', 'emotion3_score': 3, 'emotion4_score': 4}",
}

POLEMO_MC = (
    'Opinia: "Pokój "z widokiem", brudny."\nOkreśl sentyment podanej opinii: Neutralny, Negatywny, Pozytywny, '
    "Niejednoznaczny.\nSentyment:"
)
POLEMO_GEN = (
    'Opinia: "Pokój "z widokiem", brudny."\nOkreśl sentyment podanej opinii. Możliwe odpowiedzi:\nA - Neutralny\n'
    "B - Negatywny\nC - Pozytywny\nD - Niejednoznaczny\nPrawidłowa odpowiedź:"
)
TAGS_MC = (
    'Tytuł: "Sejm i film"\nDo podanego tytułu przyporządkuj jedną najlepiej pasującą kategorię z podanych: Film, '
    "Historia, Jedzenie, Medycyna, Motoryzacja, Praca, Sport, Technologie.\nKategoria:"
)
TAGS_GEN = (
    'Tytuł: "Sejm i film"\nPytanie: jaka kategoria najlepiej pasuje do podanego tytułu?\nMożliwe odpowiedzi:\n'
    "A - film\nB - historia\nC - jedzenie\nD - medycyna\nE - motoryzacja\nF - praca\nG - sport\nH - technologie\n"
    "Prawidłowa odpowiedź:"
)
BELEBELE_LETTERS = (
    'Fragment: "Rzeka płynie."\nPytanie: "Co robi rzeka?"\nMożliwe odpowiedzi:\nA - Stoi\nB - Płynie\n'
    "C - Nie 'wiem'\nD - Śpi\nPrawidłowa odpowiedź:"
)
BELEBELE_TEXT = (
    'Fragment: "Rzeka płynie."\nPytanie: "Co robi rzeka?"\nMożliwe odpowiedzi: Stoi; Płynie; Nie \'wiem\'; Śpi.\n'
    "Prawidłowa odpowiedź pełnym tekstem:"
)
CBD_MC = (
    'Wypowiedź: "ty gałganie"\nDo podanej wypowiedzi przyporządkuj jedną, najlepiej pasującą kategorię z podanych: '
    "nieszkodliwa, szyderstwo, obelga, insynuacja, groźba, molestowanie.\nKategoria:"
)
CBD_GEN = (
    'Wypowiedź: "ty gałganie"\nPytanie: Jaka kategoria najlepiej pasuje do podanej wypowiedzi?\nMożliwe odpowiedzi:\n'
    "A - nieszkodliwa\nB - szyderstwo\nC - obelga\nD - insynuacja\nE - groźba\nF - molestowanie\nPrawidłowa odpowiedź:"
)
DYK_MC = (
    'Pytanie: "Kto?"\nSugerowana odpowiedź: "On."\nPytanie: Czy sugerowana odpowiedź na zadane pytanie jest poprawna?\n'
    'Odpowiedz krótko "Tak" lub "Nie". Prawidłowa odpowiedź:'
)
DYK_GEN = (
    'Pytanie: "Kto?"\nSugerowana odpowiedź: "On."\nCzy sugerowana odpowiedź na zadane pytanie jest poprawna? Możliwe '
    "opcje:\nA - brakuje sugerowanej odpowiedzi\nB - nie, sugerowana odpowiedź nie jest poprawna\n"
    "C - tak, sugerowana odpowiedź jest poprawna\nD - brakuje pytania\nPrawidłowa opcja:"
)
DYK_TEXT = (
    'Pytanie: "Kto?"\nSugerowana odpowiedź: "On."\nPytanie: Czy sugerowana odpowiedź na zadane pytanie jest poprawna?\n'
    'Odpowiedz pełnym zdaniem: "Tak, odpowiedź jest poprawna" lub "Nie, odpowiedź nie jest poprawna". '
    "Prawidłowa odpowiedź:"
)
NER_MC = (
    'Zdanie: "Jadę do Łodzi."\nJakiego rodzaju jest nazwana jednostka, jeżeli występuje w podanym zdaniu?\nMożliwe '
    "odpowiedzi: Brak nazwanej jednostki, Nazwa miejsca, Nazwa osoby, Nazwa organizacji, Czas, Nazwa geograficzna.\n"
    "Rodzaj:"
)
NER_GEN = (
    'Zdanie: "Jadę do Łodzi."\nPytanie: Jakiego rodzaju jest nazwana jednostka, jeżeli występuje w podanym zdaniu?\n'
    "Możliwe odpowiedzi:\nA - Brak nazwanej jednostki\nB - Nazwa miejsca\nC - Nazwa osoby\nD - Nazwa organizacji\n"
    "E - Czas\nF - Nazwa geograficzna\nPrawidłowa odpowiedź:"
)
PPC_HEAD = (
    'Zdanie A: "Kot śpi."\nZdanie B: "Kot drzemie."\nPytanie: jaka jest zależność między zdaniami A i B? Możliwe '
    "odpowiedzi:"
)
PPC_MC = (
    PPC_HEAD + "\nA - znaczą dokładnie to samo\nB - mają podobne znaczenie\nC - mają różne znaczenie\n"
    "Prawidłowa odpowiedź:"
)
PPC_GEN = (
    PPC_HEAD + "\nA - wszystkie odpowiedzi poprawne\nB - znaczą dokładnie to samo\nC - mają podobne znaczenie\n"
    "D - mają różne znaczenie\nPrawidłowa odpowiedź:"
)
PPC_TEXT = (
    PPC_HEAD + " znaczą dokładnie to samo; mają podobne znaczenie; mają różne znaczenie.\n"
    "Prawidłowa odpowiedź pełnym tekstem:"
)
PSC_HEAD = (
    'Tekst: "Długi tekst."\nPodsumowanie: "Skrót."\nPytanie: Czy podsumowanie dla podanego tekstu jest poprawne?\n'
)
PSC_GEN = (
    'Fragment 1: "Długi tekst."\nFragment 2: "Skrót."\nPytanie: jaka jest zależność między fragmentami 1 i 2?\n'
    "Możliwe odpowiedzi:\nA - wszystkie odpowiedzi poprawne\nB - dotyczą tego samego artykułu\n"
    "C - dotyczą różnych artykułów\nD - brak poprawnej odpowiedzi\nPrawidłowa odpowiedź:"
)
SENTIMENTS = ["Neutralny", "Negatywny", "Pozytywny", "Niejednoznaczny"]
TOPICS = ["Film", "Historia", "Jedzenie", "Medycyna", "Motoryzacja", "Praca", "Sport", "Technologie"]
HARMS = ["nieszkodliwa", "szyderstwo", "obelga", "insynuacja", "groźba", "molestowanie"]
ENTITIES = [
    "Brak nazwanej jednostki",
    "Nazwa miejsca",
    "Nazwa osoby",
    "Nazwa organizacji",
    "Czas",
    "Nazwa geograficzna",
]
SAMENESS = ["znaczą dokładnie to samo", "mają podobne znaczenie", "mają różne znaczenie"]
DYK_SENTENCES = ["Nie, odpowiedź nie jest poprawna", "Tak, odpowiedź jest poprawna"]
PSC_SENTENCES = ["Nie, podsumowanie nie jest poprawne", "Tak, podsumowanie jest poprawne"]

CASES = [
    ("polemo2_in_multiple_choice", POLEMO, POLEMO_MC, 1, SENTIMENTS),
    ("polemo2_out_multiple_choice", POLEMO, POLEMO_MC, 1, SENTIMENTS),
    ("polish_8tags_multiple_choice", TAGS, TAGS_MC, 3, TOPICS),
    ("polish_belebele_mc", BELEBELE, BELEBELE_LETTERS, 1, ["A", "B", "C", "D"]),
    ("polish_dyk_multiple_choice", DYK, DYK_MC, 1, ["Nie", "Tak"]),
    ("polish_ppc_multiple_choice", PPC, PPC_MC, 1, ["A", "B", "C"]),
    (
        "polish_psc_multiple_choice",
        PSC,
        PSC_HEAD + 'Odpowiedz krótko "Tak" lub "Nie". Prawidłowa odpowiedź:',
        0,
        ["Nie", "Tak"],
    ),
    ("polish_cbd_multiple_choice", CBD, CBD_MC, 4, HARMS),
    ("polish_klej_ner_multiple_choice", NER, NER_MC, 1, ENTITIES),
    (
        "polish_polqa_reranking_multiple_choice",
        POLQA,
        "Kontekst: W Łodzi. \n Pytanie: Gdzie? \n Czy kontekst jest relewantny dla pytania? \n "
        'Odpowiedz krótko "Tak" lub "Nie". Prawidłowa odpowiedź:',
        1,
        ["Nie", "Tak"],
    ),
    ("polemo2_in", POLEMO, POLEMO_GEN, "B", None),
    ("polemo2_out", POLEMO, POLEMO_GEN, "B", None),
    ("polish_8tags_regex", TAGS, TAGS_GEN, "D", None),
    ("polish_belebele_regex", BELEBELE, BELEBELE_LETTERS, "B", None),
    ("polish_dyk_regex", DYK, DYK_GEN, "C", None),
    ("polish_ppc_regex", PPC, PPC_GEN, "C", None),
    ("polish_psc_regex", PSC, PSC_GEN, "C", None),
    ("polish_cbd_regex", CBD, CBD_GEN, "E", None),
    ("polish_klej_ner_regex", NER, NER_GEN, "B", None),
    ("polish_polqa_closed_book", POLQA, "Pytanie: Gdzie? \n Prawidłowa odpowiedź:", ["Łódź", "w Łodzi"], None),
    (
        "polish_polqa_open_book",
        POLQA,
        "Kontekst: W Łodzi. \n Pytanie: Gdzie? \n Prawidłowa odpowiedź:",
        ["Łódź", "w Łodzi"],
        None,
    ),
    (
        "polish_poquad_open_book",
        POQUAD,
        "Tytuł: Łódź \n Kontekst: Miasto. \n Pytanie: Co? \n Prawidłowa odpowiedź (krótki cytat z Kontekstu):",
        " Miasto",
        None,
    ),
    ("polish_eq_bench", EQ, "Dialog.\nPierwsze oceny:\n", "{'emotion1': 'Żal'}", None),
    (
        "polish_eq_bench_first_turn",
        FIRST,
        "Dialog.\nOceny:\n",
        "Złość: 1\nUlga: 2\nWstyd i żal: 3\nDuma: 4\n\n",
        None,
    ),
    ("paired_polemo2_in_text", POLEMO, POLEMO_MC, 1, SENTIMENTS),
    ("paired_polemo2_out_text", POLEMO, POLEMO_MC, 1, SENTIMENTS),
    ("paired_8tags_text", TAGS, TAGS_MC, 3, TOPICS),
    ("paired_belebele_text", BELEBELE, BELEBELE_TEXT, 1, ["Stoi", "Płynie", "Nie 'wiem'", "Śpi"]),
    ("paired_dyk_text", DYK, DYK_TEXT, 1, DYK_SENTENCES),
    ("paired_ppc_text", PPC, PPC_TEXT, 1, SAMENESS),
    (
        "paired_psc_text",
        PSC,
        PSC_HEAD + 'Odpowiedz pełnym zdaniem: "Tak, podsumowanie jest poprawne" lub '
        '"Nie, podsumowanie nie jest poprawne". Prawidłowa odpowiedź:',
        0,
        PSC_SENTENCES,
    ),
    ("paired_cbd_text", CBD, CBD_MC, 4, HARMS),
    ("paired_klej_ner_text", NER, NER_MC, 1, ENTITIES),
]


@pytest.fixture(scope="module")
def tasks(world: Path):
    return load_tasks([case[0] for case in CASES], world)


@pytest.mark.parametrize(("name", "doc", "prompt", "target", "choices"), CASES, ids=[case[0] for case in CASES])
def test_prompt_target_and_choices(tasks, name, doc, prompt, target, choices):
    task = tasks[name]
    assert task.doc_to_text(doc) == prompt
    assert task.doc_to_target(doc) == target
    assert (task.doc_to_choice(doc) if task.config.doc_to_choice else None) == choices


@pytest.mark.parametrize(
    ("name", "column", "value", "target"),
    [
        ("polish_cbd_regex", "CATEGORIES", "nieszkodliwa", "A"),
        ("polish_cbd_multiple_choice", "CATEGORIES", "cokolwiek", 0),
        ("polish_psc_regex", "label", 1, "B"),
        ("polish_dyk_regex", "target", 0, "B"),
        ("polish_ppc_regex", "label", 1, "B"),
        ("polish_poquad_open_book", "answers", {"text": [], "answer_start": []}, " bez odpowiedzi"),
    ],
)
def test_other_targets(tasks, name, column, value, target):
    doc = next(case[1] for case in CASES if case[0] == name)
    assert tasks[name].doc_to_target(doc | {column: value}) == target


@pytest.mark.parametrize("name", [case[0] for case in CASES if case[4] is None or case[0].startswith("paired_")])
def test_generation_settings(tasks, name):
    settings = tasks[name].config.generation_kwargs
    stops, length = [".", ","], 50
    if name.startswith("paired_"):
        stops, length = ["\n", "</s>", "<|im_end|>"], 32
    elif "polqa" in name or "poquad" in name:
        stops = ["\n", "</s>", "<|im_end|>"]
    elif "eq_bench" in name:
        stops, length = ["</s>", "[Koniec odpowiedzi]", "Masz za zadanie", "<|im_end|>"], 512
    elif "cbd" in name or "klej_ner" in name:
        stops = [".", ",", ";"]
    assert settings == {"until": stops, "do_sample": False, "temperature": 0.0, "max_gen_toks": length}


def test_examples_carry_two_spaces_for_poquad_and_the_sentence_for_text_answers(tasks):
    for name, ending in [
        ("polish_poquad_open_book", "Kontekstu):  "),
        ("paired_psc_text", "Prawidłowa odpowiedź: Nie, pod"),
    ]:
        task = tasks[name]
        task.set_fewshot_seed(1234)
        assert ending in task.fewshot_context(task.eval_docs[0], num_fewshot=5)
