"""The request cache: kill, resume, identity."""

from __future__ import annotations

import pytest

from qharness.engines.base import GenerationRequest, LikelihoodRequest
from qharness.engines.hf import Budgets
from qharness.evaluation.cache import RequestCache, request_key

BUDGETS = Budgets(prefill=40, slots=60, rows=2)


def silent(done, total):
    pass


class Killed(BaseException):
    """Stands for the signal that ends a process."""


def requests():
    return [LikelihoodRequest(tuple(range(3, 10 + n)), (k,)) for n in range(10) for k in (5, 6)]


def kill_after(count):
    def progress(done, total):
        if done >= count:
            raise Killed

    return progress


@pytest.mark.parametrize("path", ["loglikelihood", "decode_loglikelihood"])
def test_resumed_equals_uninterrupted_to_the_last_bit(make_engine, count_passes, tmp_path, path) -> None:
    want = getattr(make_engine(budgets=BUDGETS), path)(requests(), silent)
    with pytest.raises(Killed):
        getattr(make_engine(tmp_path, BUDGETS), path)(requests(), kill_after(8))
    resumed = make_engine(tmp_path, BUDGETS)
    calls = count_passes(resumed)
    got = getattr(resumed, path)(requests(), silent)
    assert got == want
    whole = make_engine(budgets=BUDGETS)
    all_calls = count_passes(whole)
    getattr(whole, path)(requests(), silent)
    assert 0 < len(calls) < len(all_calls)
    assert set(calls) <= set(all_calls)


def test_generations_are_resumed(make_engine, count_passes, tmp_path) -> None:
    asked = [GenerationRequest(tuple(range(3, 8 + n)), ("e",), 8) for n in range(8)]
    want = make_engine(budgets=BUDGETS).generate(asked, silent)
    with pytest.raises(Killed):
        make_engine(tmp_path, BUDGETS).generate(asked, kill_after(2))
    assert make_engine(tmp_path, BUDGETS).generate(asked, silent) == want
    again = make_engine(tmp_path, BUDGETS)
    calls = count_passes(again)
    assert again.generate(asked, silent) == want
    assert calls == []


def test_paths_and_models_do_not_share_answers(make_engine, count_passes, tmp_path) -> None:
    make_engine(tmp_path, BUDGETS).loglikelihood(requests(), silent)
    for engine, path in (
        (make_engine(tmp_path, BUDGETS), "decode_loglikelihood"),
        (make_engine(tmp_path, BUDGETS, digest="other"), "loglikelihood"),
    ):
        calls = count_passes(engine)
        getattr(engine, path)(requests(), silent)
        assert calls


def test_torn_and_damaged_files_are_ignored(tmp_path) -> None:
    cache = RequestCache(tmp_path, {"model": "a"})
    cache.put({request_key("prefill", (1,), (2,)): [-1.5, True]})
    (cache.folder / ".tmp-torn.parquet").write_bytes(b"PAR1 half of it")
    (cache.folder / "part-0.parquet").write_bytes(b"not parquet")
    again = RequestCache(tmp_path, {"model": "a"})
    assert again.get(request_key("prefill", (1,), (2,))) == [-1.5, True]
    assert len(again) == 1


def test_floats_survive_exactly(tmp_path) -> None:
    value = -0.1 - 2e-17
    cache = RequestCache(tmp_path, {"model": "a"})
    cache.put({"k": [value, False]})
    assert RequestCache(tmp_path, {"model": "a"}).get("k") == [value, False]


def test_key_depends_on_every_setting() -> None:
    base = GenerationRequest((1, 2), ("a",), 5)
    variants = [base, base._replace(prompt=(1, 3)), base._replace(until=("b",)), base._replace(max_new_tokens=6)]
    variants += [base._replace(temperature=0.5), base._replace(seed=1)]
    keys = {request_key("generate", *v) for v in variants} | {request_key("prefill", *base)}
    assert len(keys) == len(variants) + 1
