"""Perplexity in windows."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch

from qharness.errors import MissingData, UsageError
from qharness.evaluation.perplexity import PROTOCOLS, Protocol, cut, protocol_of, run_perplexity
from qharness.host import Host


@pytest.fixture(scope="module")
def host():
    return Host()


@pytest.fixture
def story(tmp_path):
    file = tmp_path / "story.txt"
    file.write_text("Zamek stał nad rzeką, a rzeka płynęła do morza. " * 200, encoding="utf-8")
    return f"file:{file}"


def test_it_equals_a_plain_computation_over_the_same_windows(make_context, story, host, model):
    done = []
    context = make_context(limit=2, perplexity=[story], host=host, task_done=lambda *found: done.append(found))
    found = run_perplexity(context)
    rows = {row.metric: row for row in found.results}
    tokenizer = context.engine.tokenizer
    ids = tokenizer(Path(story.removeprefix("file:")).read_text(encoding="utf-8"))["input_ids"]
    losses = []
    for start in (0, 2048):
        window = torch.tensor([ids[start : start + 2048]])
        with torch.no_grad():
            losses.append(float(model(window, labels=window).loss))
    assert rows["nll"].value == pytest.approx(sum(losses) / 2, rel=1e-4)
    assert rows["perplexity"].value == pytest.approx(math.exp(sum(losses) / 2), rel=1e-4)
    assert rows["perplexity"].filter == "windows of 2048" and rows["perplexity"].n == 2
    assert [sample.value for sample in found.samples] == pytest.approx(losses, rel=1e-4)
    assert done == [(story, found.samples, found.results)]


def test_a_text_shorter_than_a_window_and_no_text_are_refused(make_context, tmp_path, host):
    (tmp_path / "short.txt").write_text("Krótko.", encoding="utf-8")
    with pytest.raises(MissingData, match="less than 2048 tokens"):
        run_perplexity(make_context(perplexity=[f"file:{tmp_path / 'short.txt'}"], host=host))
    with pytest.raises(UsageError, match="--perplexity"):
        run_perplexity(make_context(host=host))


def test_windows_follow_one_another_and_an_endless_source_is_not_read_to_its_end(tokenizer):
    read = 0

    def endless():
        nonlocal read
        while True:
            read += 1
            yield f"tekst numer {read} "

    windows = cut(endless, Protocol("x", joint=" "), tokenizer, 64, 5)
    assert [len(window) for window in windows] == [64] * 5
    assert read < 100
    whole = tokenizer(" ".join(f"tekst numer {i} " for i in range(1, read + 1)))["input_ids"]
    assert [token for window in windows for token in window] == whole[: 5 * 64]


def test_named_protocols_are_those_of_gptq_and_others_keep_their_source():
    assert protocol_of("c4") == PROTOCOLS["c4"] and PROTOCOLS["c4"].windows == 256
    assert PROTOCOLS["wikitext2"].joint == "\n\n" and PROTOCOLS["wikitext2"].windows is None
    assert protocol_of("file:a.txt") == Protocol("file:a.txt")
    assert protocol_of("demo").window == 512
