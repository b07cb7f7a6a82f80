"""Text sources and packing."""

from __future__ import annotations

import json
from itertools import count

import pytest
import torch

from qharness import hookimpl
from qharness.calibration.corpus import mix_corpora, pack_corpus, shares
from qharness.calibration.sources import texts_of
from qharness.errors import MissingData, UsageError
from qharness.host import Host
from qharness.records import TextSource


class Letters:
    """A tokenizer of letters."""

    eos_token_id, bos_token_id = 1, 0

    def __init__(self, begins=True):
        self.begins = begins

    def __call__(self, text, **_):
        return {"input_ids": [0] * self.begins + [ord(letter) for letter in text]}


class Speaker:
    """A plugin with an endless source."""

    @staticmethod
    @hookimpl
    def qharness_text_sources():
        yield TextSource("numbers", "endless", lambda seed: (str(seed + i) * 3 for i in count()))


def _pack(seed=0, begins=True, **sizes):
    texts = (f"text number {i} " * 3 for i in range(200))
    return pack_corpus(texts, Letters(begins), source="x", seed=seed, **{"samples": 8, "length": 32, **sizes})


def test_samples_follow_the_seed_and_begin_with_bos():
    first, again, other = _pack(), _pack(), _pack(seed=1)
    assert first.tokens.shape == (8, 32) and first.tokens.dtype == torch.int64
    assert torch.equal(first.tokens, again.tokens) and first.digest == again.digest
    assert not torch.equal(first.tokens, other.tokens) and first.digest != other.digest
    assert (first.tokens[:, 0] == 0).all()
    assert not (_pack(begins=False).tokens[:, 0] == 0).any()
    assert len({tuple(row) for row in first.tokens.tolist()}) == 8


def test_several_sources_give_equal_shares_in_random_order():
    assert shares(8, 1) == [8] and shares(8, 3) == [3, 3, 2]
    letters = [chr(ord("a") + n) * 4000 for n in range(3)]
    parts = [
        pack_corpus([text], Letters(), source=text[0], samples=n, length=32, seed=0)
        for text, n in zip(letters, shares(8, 3), strict=True)
    ]
    assert mix_corpora(parts[:1], source="x", seed=0) is parts[0]
    mixed = mix_corpora(parts, source="a+b+c", seed=0)
    found = [chr(row[1]) for row in mixed.tokens.tolist()]
    assert sorted(found) == list("aaabbbcc") and found != sorted(found) and mixed.source == "a+b+c"
    assert mixed.digest == mix_corpora(parts, source="a+b+c", seed=0).digest


def test_too_little_text_says_how_much_is_there():
    with pytest.raises(MissingData, match=r"8,000 samples|8000 samples"):
        _pack(samples=8000)


def test_files_and_folders(tmp_path):
    (tmp_path / "b.txt").write_text("zażółć\ngęślą\n\njaźń\n", encoding="utf-8")
    rows = [{"text": "jeden"}, {"content": "dwa"}]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    read = texts_of(f"file:{tmp_path}", Host())
    assert list(read()) == ["jeden", "dwa", "zażółć\ngęślą", "jaźń"]
    assert list(texts_of(f"file:{tmp_path / 'b.txt'}", Host())()) == ["zażółć\ngęślą", "jaźń"]


@pytest.mark.parametrize("line", ['{"other": 1}', "no json", "3"])
def test_broken_lines_are_named(tmp_path, line):
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "x"}\n' + line)
    with pytest.raises(MissingData, match="line 2"):
        list(texts_of(f"file:{path}", Host())())


def test_bad_sources_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("a")
    for source, kind, text in [
        (f"file:{tmp_path}/none.txt", MissingData, "does not exist"),
        (f"file:{tmp_path}/x.csv", UsageError, "jsonl"),
        (f"file:{tmp_path}", MissingData, "no .txt"),
        ("web:thing", UsageError, "file:PATH"),
        ("nothing", UsageError, "nothing"),
    ]:
        with pytest.raises(kind, match=text):
            texts_of(source, Host())


def test_hub_source_fails_with_one_sentence(monkeypatch):
    import datasets

    def refuse(*_, **__):
        raise ConnectionError("no network\nlong trace")

    monkeypatch.setattr(datasets, "load_dataset", refuse)
    with pytest.raises(MissingData, match=r"'a/b' .split 'validation'.*no network; check") as caught:
        next(texts_of("hub:a/b:validation", Host())())
    assert "\n" not in str(caught.value)


def test_hub_source_streams_the_text_column(monkeypatch):
    import datasets

    asked = {}

    def serve(path, name=None, **options):
        asked.update(options, path=path, name=name)
        return iter([{"text": "a"}, {"text": "b"}])

    monkeypatch.setattr(datasets, "load_dataset", serve)
    assert list(texts_of("hub:a/b", Host())()) == ["a", "b"]
    assert asked == {"path": "a/b", "name": None, "split": "train", "streaming": True}
    assert list(texts_of("hub:a/b/pl:validation", Host())()) == ["a", "b"]
    assert asked == {"path": "a/b", "name": "pl", "split": "validation", "streaming": True}


def test_plugins_offer_sources():
    host = Host(extra={"speaker": Speaker()})
    corpus = pack_corpus(texts_of("Numbers", host, 5)(), Letters(), source="numbers", samples=4, length=8, seed=0)
    assert corpus.tokens.shape == (4, 8)
