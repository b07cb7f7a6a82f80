from __future__ import annotations

import pytest

from qharness.evaluation.free import metrics_of, run_free


def test_rows_of_free_generation(make_context) -> None:
    done = {}
    context = make_context(limit=3, task_done=lambda task, samples, results: done.update({task: (samples, results)}))
    found = run_free(context)
    assert done == {"free": (found.samples, found.results)}
    texts = {(s.doc_id, s.cluster, s.gold, s.response) for s in found.samples}
    assert len(texts) == 3 and {cluster for _, cluster, _, _ in texts} == {"facts"}
    rows = {r.metric: r for r in found.results}
    assert {"degenerate", "seq_rep_4", "distinct_2", "compression_ratio", "finished", "invalid_chars"} <= set(rows)
    values = [s.value for s in found.samples if s.metric == "seq_rep_4"]
    assert rows["seq_rep_4"].value == pytest.approx(sum(values) / 3) and rows["seq_rep_4"].n == 3
    assert all(len(s.response) > 0 and s.tokens <= 256 for s in found.samples)


def test_end_of_text_does_not_count(make_engine) -> None:
    from qharness.engines.base import Generation

    ended = metrics_of(Generation("a b", (10, 11, 12, 2), "eos"))
    assert ended["finished"] == 1.0 and ended["mean_tokens"] == 3.0
