from __future__ import annotations

import pytest

from qharness_demo import MODEL_DIR
from qharness_demo.documents import document, text_of
from qharness_demo.tokens import Encoder
from qharness_demo.world.context import Context


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(MODEL_DIR))


def test_polish_letters_are_single_units(tokenizer) -> None:
    for letter in "ąćęłńóśźżĄĆĘŁŃÓŚŹŻ":
        assert len(tokenizer.encode(letter, add_special_tokens=False)) == 1
    pieces = tokenizer.convert_ids_to_tokens(tokenizer.encode("Zażółć gęślą jaźń", add_special_tokens=False))
    assert "".join(pieces) == "Zażółć gęślą jaźń"


def test_any_text_comes_back(tokenizer) -> None:
    for text in ("Ala ma kota.\n\n  – Ω 漢字 🙂 „cytat”\t1984_x", "a  b \n c"):
        assert tokenizer.decode(tokenizer.encode(text, add_special_tokens=False)) == text


def test_a_choice_is_tokenized_alike_in_and_out_of_context(tokenizer) -> None:
    def ids(text: str) -> list[int]:
        return tokenizer.encode(text, add_special_tokens=False)

    for context in ("Prawidłowa odpowiedź:", "Kategoria:", "(krótki cytat z Kontekstu):"):
        for choice in (" A", " Nie", " Technologie", "  Brzozowie", " znaczą dokładnie to samo"):
            assert ids(context + choice) == ids(context) + ids(choice)


def test_the_fast_encoder_agrees_with_the_tokenizer(tokenizer) -> None:
    encode = Encoder(MODEL_DIR)
    for i in range(200):
        text = text_of(document(Context(i)))
        assert encode(text) == tokenizer.encode(text, add_special_tokens=False)


def test_chat_template(tokenizer) -> None:
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "Cześć"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nCześć<|im_end|>\n<|im_start|>assistant\n"
