"""Planned work: what it forwards, and that it does not matter who computes which part of it."""

from __future__ import annotations

import random

import pytest

from qharness.engines.base import GenerationRequest, LikelihoodRequest
from qharness.engines.dividing import Divided, FollowingDividingEngine, Share, dividing
from qharness.engines.following import FollowingEngine
from qharness.engines.hf import Budgets
from qharness.engines.requests import RequestList
from qharness.errors import CorruptArtifact

TOGETHER = Budgets(prefill=60, slots=120, rows=4)
ONE_BY_ONE = Budgets(prefill=60, slots=120, rows=4, remembered=1 << 20)
PATHS = ("loglikelihood", "decode_loglikelihood", "generate")


def silent(done, total):
    pass


def asked(path: str, seed: int = 0) -> list:
    """Return requests of many lengths: choices that share a context, single tokens and longer ones."""
    draw = random.Random(seed)
    head = tuple(draw.randrange(3, 250) for _ in range(40))
    prompts = [
        (head if place % 3 else ()) + tuple(draw.randrange(3, 250) for _ in range(draw.randrange(2, 40)))
        for place in range(12)
    ]
    if path == "generate":
        return [GenerationRequest(prompt, ("e",), 5) for prompt in prompts]
    lengths = (1, 1, 1) if path == "loglikelihood" else (1, 2, 3)
    mixed = [
        LikelihoodRequest(prompt, tuple(draw.randrange(3, 250) for _ in range(length)))
        for prompt in prompts
        for length in lengths
    ]
    return [*mixed, LikelihoodRequest((9, 8, 7), (5, 6, 4)), LikelihoodRequest((9, 8, 7), (5, 4, 4))]


@pytest.mark.parametrize("budgets", [TOGETHER, ONE_BY_ONE], ids=["together", "one_by_one"])
@pytest.mark.parametrize("path", PATHS)
def test_the_planned_tokens_are_those_that_are_forwarded(make_engine, path, budgets):
    engine = make_engine(budgets=budgets)
    requests = asked(path)
    if path == "generate":
        requests = [request._replace(until=()) for request in requests]
    planned = engine.plan(path, requests)
    answers = planned.run(silent)
    pieces = {piece: count for batch in planned.batches for piece, count in batch.work.pieces.items()}
    assert pieces
    prefill = sum(batch.work.prefill for batch in planned.batches) + sum(pieces.values())
    if path == "generate" and not budgets.remembered:
        assert 0.5 * prefill < engine.forwarded.prefill <= prefill
    else:
        assert engine.forwarded.prefill == prefill
    decode = sum(batch.work.decode for batch in planned.batches)
    if path == "generate" and any(answer.finish == "eos" for answer in answers):
        assert 0 < engine.forwarded.decode <= decode
    else:
        assert engine.forwarded.decode == decode


@pytest.mark.parametrize("path", PATHS)
def test_parts_computed_elsewhere_give_the_answers_of_one_engine(make_engine, tmp_path, path):
    requests = asked(path)
    want = make_engine(budgets=TOGETHER).plan(path, requests).run(silent)
    places = range(len(make_engine(tmp_path, TOGETHER).plan(path, requests).batches))
    assert len(places) > 3
    scoring = make_engine(tmp_path, TOGETHER)
    for chunk in (places[1::2], places[::2]):
        make_engine(tmp_path, TOGETHER).plan(path, requests).store(reversed(chunk))
    planned = scoring.plan(path, requests)
    assert planned.missing() == []
    assert planned.run(silent) == want
    assert scoring.forwarded.prefill == 0


def test_the_digest_tells_other_prompts_and_other_batches(make_engine):
    engine = make_engine(budgets=TOGETHER)
    requests = asked("loglikelihood")
    base = engine.plan("loglikelihood", requests).digest
    assert engine.plan("loglikelihood", requests).digest == base
    assert engine.plan("loglikelihood", [*requests[1:], requests[0]]).digest != base
    assert engine.plan("loglikelihood", asked("loglikelihood", seed=1)).digest != base
    assert engine.plan("decode_loglikelihood", requests).digest != base
    assert make_engine(budgets=Budgets(prefill=90, slots=120, rows=4)).plan("loglikelihood", requests).digest != base


@pytest.mark.parametrize("path", PATHS)
def test_large_lists_are_handed_out_whole_and_answered_only_once(make_engine, tmp_path, path):
    requests = asked(path)
    share = Share(workers=2, chunk_tokens=100, folder=tmp_path / "requests")
    engine = make_engine(tmp_path / "cache", TOGETHER)
    engine.plan(path, requests).store([1])
    with pytest.raises(Divided) as stop:
        getattr(dividing(engine, share, ()), path)(requests, silent)
    division = stop.value.division
    planned = engine.plan(path, requests)
    assert sorted(place for chunk in division.chunks for place in chunk) == planned.missing()
    assert all(sum(planned.batches[p].work.tokens for p in chunk) >= 100 for chunk in division.chunks[:-1])
    stored = RequestList.read(division.path)
    assert list(stored.requests) == requests and stored.path == path
    assert stored.plan == division.plan == planned.digest
    again = dividing(engine, share, [division.plan])
    assert again.unseen == {division.plan}
    assert getattr(again, path)(requests, silent) == planned.run(silent)
    assert not again.unseen


def test_small_or_uncached_lists_are_answered_at_once(make_engine, tmp_path):
    requests = asked("generate")
    share = Share(workers=2, chunk_tokens=10**6, folder=tmp_path / "requests")
    want = make_engine(budgets=TOGETHER).generate(requests, silent)
    assert dividing(make_engine(tmp_path / "cache", TOGETHER), share, ()).generate(requests, silent) == want
    greedy = Share(workers=2, chunk_tokens=1, folder=tmp_path / "requests")
    assert dividing(make_engine(budgets=TOGETHER), greedy, ()).generate(requests, silent) == want
    assert not share.folder.exists()


def test_an_engine_that_shows_its_distributions_still_does(make_engine, tmp_path):
    engine = dividing(make_engine(), Share(2, 1, tmp_path), ())
    assert isinstance(engine, FollowingDividingEngine) and isinstance(engine, FollowingEngine)
    assert engine.path_logits(LikelihoodRequest((1, 2), (3, 4))).shape[0] == 2


def test_a_damaged_list_of_requests_is_refused(tmp_path):
    (tmp_path / "x.parquet").write_bytes(b"PAR1 half of it")
    with pytest.raises(CorruptArtifact, match="--resume"):
        RequestList.read(tmp_path / "x.parquet")
