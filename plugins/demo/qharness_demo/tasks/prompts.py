"""The exact prompt formats of polish22 (facts: Open Polish LLM Leaderboard task files) and of the text-answer variants."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import NamedTuple

Row = dict[str, object]
SENTIMENT = ["Neutralny", "Negatywny", "Pozytywny", "Niejednoznaczny"]
SENTIMENT_LABELS = {f"__label__meta_{name}": i for i, name in enumerate(("zero", "minus_m", "plus_m", "amb"))}
TAGS = ["Film", "Historia", "Jedzenie", "Medycyna", "Motoryzacja", "Praca", "Sport", "Technologie"]
CBD = ["nieszkodliwa", "szyderstwo", "obelga", "insynuacja", "groźba", "molestowanie"]
CBD_LABELS = {"szyderstwo": 1, "obelga": 2, "insynuacja": 3, "grozba": 4, "molestowanie": 5}
NER = ["Brak nazwanej jednostki", "Nazwa miejsca", "Nazwa osoby", "Nazwa organizacji", "Czas", "Nazwa geograficzna"]
NER_LABELS = {"noEntity": 0, "placeName": 1, "persName": 2, "orgName": 3, "time": 4, "geogName": 5}
PPC = ["znaczą dokładnie to samo", "mają podobne znaczenie", "mają różne znaczenie"]
LETTERS = "ABCDEFGH"


class Task(NamedTuple):
    """How one task is posed: data folder, kind (mc, gen, text), prompt, choices, gold index or target, official metric."""

    name: str
    folder: str
    kind: str
    prompt: Callable[[Row], str]
    target: Callable[[Row], str]
    choices: tuple[str, ...] = ()
    metric: str = "acc"
    baseline: float = 0.0


def _letters(options: list[str]) -> str:
    return "\n".join(f"{letter} - {option}" for letter, option in zip(LETTERS, options, strict=False))


def _polemo_mc(r: Row) -> str:
    return f'Opinia: "{r["sentence"]}"\nOkreśl sentyment podanej opinii: {", ".join(SENTIMENT)}.\nSentyment:'


def _polemo_gen(r: Row) -> str:
    return f'Opinia: "{r["sentence"]}"\nOkreśl sentyment podanej opinii. Możliwe odpowiedzi:\n{_letters(SENTIMENT)}\nPrawidłowa odpowiedź:'


def _tags_mc(r: Row) -> str:
    return (
        f'Tytuł: "{r["sentence"]}"\nDo podanego tytułu przyporządkuj jedną najlepiej pasującą kategorię z podanych: '
        f"{', '.join(TAGS)}.\nKategoria:"
    )


def _tags_gen(r: Row) -> str:
    return (
        f'Tytuł: "{r["sentence"]}"\nPytanie: jaka kategoria najlepiej pasuje do podanego tytułu?\nMożliwe odpowiedzi:\n'
        f"{_letters([t.lower() for t in TAGS])}\nPrawidłowa odpowiedź:"
    )


def _answers(r: Row) -> list[str]:
    return [str(r[f"mc_answer{i}"]) for i in range(1, 5)]


def _belebele(r: Row) -> str:
    return (
        f'Fragment: "{r["flores_passage"]}"\nPytanie: "{r["question"]}"\nMożliwe odpowiedzi:\n{_letters(_answers(r))}\n'
        "Prawidłowa odpowiedź:"
    )


def _belebele_text(r: Row) -> str:
    return (
        f'Fragment: "{r["flores_passage"]}"\nPytanie: "{r["question"]}"\nMożliwe odpowiedzi: {"; ".join(_answers(r))}.\n'
        "Prawidłowa odpowiedź pełnym tekstem:"
    )


def _cbd_mc(r: Row) -> str:
    return (
        f'Wypowiedź: "{r["TEXT"]}"\nDo podanej wypowiedzi przyporządkuj jedną, najlepiej pasującą kategorię z podanych: '
        f"{', '.join(CBD)}.\nKategoria:"
    )


def _cbd_gen(r: Row) -> str:
    return (
        f'Wypowiedź: "{r["TEXT"]}"\nPytanie: Jaka kategoria najlepiej pasuje do podanej wypowiedzi?\nMożliwe odpowiedzi:\n'
        f"{_letters(CBD)}\nPrawidłowa odpowiedź:"
    )


def _dyk_head(r: Row) -> str:
    return f'Pytanie: "{r["question"]}"\nSugerowana odpowiedź: "{r["answer"]}"\n'


def _dyk_mc(r: Row) -> str:
    return (
        _dyk_head(r) + "Pytanie: Czy sugerowana odpowiedź na zadane pytanie jest poprawna?\n"
        'Odpowiedz krótko "Tak" lub "Nie". Prawidłowa odpowiedź:'
    )


def _dyk_text(r: Row) -> str:
    return (
        _dyk_head(r) + "Pytanie: Czy sugerowana odpowiedź na zadane pytanie jest poprawna?\n"
        'Odpowiedz pełnym zdaniem: "Tak, odpowiedź jest poprawna" lub "Nie, odpowiedź nie jest poprawna". Prawidłowa odpowiedź:'
    )


def _dyk_gen(r: Row) -> str:
    return (
        _dyk_head(r) + "Czy sugerowana odpowiedź na zadane pytanie jest poprawna? Możliwe opcje:\n"
        "A - brakuje sugerowanej odpowiedzi\nB - nie, sugerowana odpowiedź nie jest poprawna\n"
        "C - tak, sugerowana odpowiedź jest poprawna\nD - brakuje pytania\nPrawidłowa opcja:"
    )


def _ner_mc(r: Row) -> str:
    return (
        f'Zdanie: "{r["sentence"]}"\nJakiego rodzaju jest nazwana jednostka, jeżeli występuje w podanym zdaniu?\n'
        f"Możliwe odpowiedzi: {', '.join(NER)}.\nRodzaj:"
    )


def _ner_gen(r: Row) -> str:
    return (
        f'Zdanie: "{r["sentence"]}"\nPytanie: Jakiego rodzaju jest nazwana jednostka, jeżeli występuje w podanym zdaniu?\n'
        f"Możliwe odpowiedzi:\n{_letters(NER)}\nPrawidłowa odpowiedź:"
    )


def _ppc_head(r: Row) -> str:
    return (
        f'Zdanie A: "{r["sentence_A"]}"\nZdanie B: "{r["sentence_B"]}"\n'
        "Pytanie: jaka jest zależność między zdaniami A i B? Możliwe odpowiedzi:"
    )


def _ppc_mc(r: Row) -> str:
    return f"{_ppc_head(r)}\n{_letters(PPC)}\nPrawidłowa odpowiedź:"


def _ppc_gen(r: Row) -> str:
    return f"{_ppc_head(r)}\n{_letters(['wszystkie odpowiedzi poprawne', *PPC])}\nPrawidłowa odpowiedź:"


def _ppc_text(r: Row) -> str:
    return f"{_ppc_head(r)} {'; '.join(PPC)}.\nPrawidłowa odpowiedź pełnym tekstem:"


def _psc_head(r: Row) -> str:
    return (
        f'Tekst: "{r["extract_text"]}"\nPodsumowanie: "{r["summary_text"]}"\n'
        "Pytanie: Czy podsumowanie dla podanego tekstu jest poprawne?\n"
    )


def _psc_mc(r: Row) -> str:
    return _psc_head(r) + 'Odpowiedz krótko "Tak" lub "Nie". Prawidłowa odpowiedź:'


def _psc_text(r: Row) -> str:
    return (
        _psc_head(r)
        + 'Odpowiedz pełnym zdaniem: "Tak, podsumowanie jest poprawne" lub "Nie, podsumowanie nie jest poprawne". '
        "Prawidłowa odpowiedź:"
    )


def _psc_gen(r: Row) -> str:
    return (
        f'Fragment 1: "{r["extract_text"]}"\nFragment 2: "{r["summary_text"]}"\n'
        "Pytanie: jaka jest zależność między fragmentami 1 i 2?\nMożliwe odpowiedzi:\nA - wszystkie odpowiedzi poprawne\n"
        "B - dotyczą tego samego artykułu\nC - dotyczą różnych artykułów\nD - brak poprawnej odpowiedzi\nPrawidłowa odpowiedź:"
    )


def _rerank(r: Row) -> str:
    return (
        f"Kontekst: {r['passage_text']} \n Pytanie: {r['question']} \n Czy kontekst jest relewantny dla pytania? \n "
        'Odpowiedz krótko "Tak" lub "Nie". Prawidłowa odpowiedź:'
    )


def _open(r: Row) -> str:
    return f"Kontekst: {r['passage_text']} \n Pytanie: {r['question']} \n Prawidłowa odpowiedź:"


def _closed(r: Row) -> str:
    return f"Pytanie: {r['question']} \n Prawidłowa odpowiedź:"


def _poquad(r: Row) -> str:
    return (
        f"Tytuł: {r['title']} \n Kontekst: {r['context']} \n Pytanie: {r['question']} \n "
        "Prawidłowa odpowiedź (krótki cytat z Kontekstu):"
    )


def poquad_target(r: Row) -> str:
    """The first quotation with the leading space of the official target, or " bez odpowiedzi"."""
    texts = r["answers"]["text"]  # type: ignore[index]
    return f" {texts[0]}" if texts else " bez odpowiedzi"


def polqa_target(r: Row) -> str:
    """The first of the listed answers."""
    return str(ast.literal_eval(str(r["answers"]))[0])


def _index(key: str, labels: dict[str, int], options: list[str]) -> Callable[[Row], str]:
    return lambda r: options[labels.get(str(r[key]), 0)]


YES_NO = ["Nie", "Tak"]
_DYK_TEXT = ["Nie, odpowiedź nie jest poprawna", "Tak, odpowiedź jest poprawna"]
_PSC_TEXT = ["Nie, podsumowanie nie jest poprawne", "Tak, podsumowanie jest poprawne"]
_TAG_LABELS = {str(i): i for i in range(8)}
_BIN = {"0": 0, "1": 1}
_PPC_LABELS = {"1": 0, "2": 1, "3": 2}
_BEL_LABELS = {"1": 0, "2": 1, "3": 2, "4": 3}
_ABCD = list("ABCDEFGH")


def _nine() -> list[Task]:
    out: list[Task] = []

    def add(short: str, folder: str, key: str, labels: dict[str, int], mc: Callable[[Row], str], options: list[str],
            gen: Callable[[Row], str], letters: list[str], text: Callable[[Row], str], words: list[str] | None,
            metric: str, baseline: float) -> None:  # fmt: skip
        target = (lambda r: str(r[f"mc_answer{r[key]}"])) if words is None else _index(key, labels, words)
        out.append(
            Task(f"{short}_mc", folder, "mc", mc, _index(key, labels, options), tuple(options), metric, baseline)
        )
        out.append(
            Task(f"{short}_gen", folder, "gen", gen, _index(key, labels, letters), tuple(letters), metric, baseline)
        )
        out.append(Task(f"{short}_text", folder, "text", text, target, (), "acc", 0.0))

    for where, base in (("in", 0.416), ("out", 0.368)):
        add(f"polemo2_{where}", f"klej-polemo2-{where}", "target", SENTIMENT_LABELS, _polemo_mc, SENTIMENT, _polemo_gen,
            _ABCD[:4], _polemo_mc, SENTIMENT, "acc", base)  # fmt: skip
    add("8tags", "8tags", "label", _TAG_LABELS, _tags_mc, TAGS, _tags_gen, _ABCD, _tags_mc, TAGS, "acc", 0.143)
    add("belebele", "belebele", "correct_answer_num", _BEL_LABELS, _belebele, _ABCD[:4], _belebele, _ABCD[:4],
        _belebele_text, None, "acc", 0.279)  # fmt: skip
    add("dyk", "klej-dyk", "target", _BIN, _dyk_mc, YES_NO, _dyk_gen, ["B", "C"], _dyk_text, _DYK_TEXT, "f1", 0.289)
    add("ppc", "ppc", "label", _PPC_LABELS, _ppc_mc, _ABCD[:3], _ppc_gen, ["B", "C", "D"], _ppc_text, PPC, "acc", 0.419)
    add("psc", "klej-psc", "label", _BIN, _psc_mc, YES_NO, _psc_gen, ["C", "B"], _psc_text, _PSC_TEXT, "f1", 0.466)
    add("cbd", "PolishCyberbullyingDataset", "CATEGORIES", CBD_LABELS, _cbd_mc, CBD, _cbd_gen, _ABCD[:6], _cbd_mc, CBD,
        "macro_f1", 0.149)  # fmt: skip
    add(
        "klej_ner", "klej-nkjp-ner", "target", NER_LABELS, _ner_mc, NER, _ner_gen, _ABCD[:6], _ner_mc, NER, "acc", 0.343
    )
    return out


def _relevant(r: Row) -> str:
    return YES_NO[bool(r["relevant"])]


TASKS: dict[str, Task] = {
    t.name: t
    for t in (
        *_nine(),
        Task("polqa_reranking_mc", "polqa", "mc", _rerank, _relevant, tuple(YES_NO), "acc", 0.5335588952710677),
        Task("polqa_closed_gen", "polqa", "qa", _closed, polqa_target, (), "levenshtein", 0.0),
        Task("polqa_open_gen", "polqa", "qa", _open, polqa_target, (), "levenshtein", 0.0),
        Task("poquad_gen", "poquad", "qa", _poquad, poquad_target, (), "levenshtein", 0.0),
    )
}
