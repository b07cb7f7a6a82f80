"""The arithmetic of estimates, with clocks and rates of our own."""

from __future__ import annotations

import json

import pytest

from qharness.estimation.forecast import Forecast
from qharness.estimation.history import earlier
from qharness.estimation.sizes import Rates, StepSize, rates_of
from qharness.jobs.progress import Reporter, spoken
from qharness.jobs.spent import Spent

MC, GEN = ("mc", "tags", 5), ("gen", "tags", 5)
SIZES = {MC: StepSize(100, 400, prefill=60_000, decode=0, build=4.0), GEN: StepSize(100, 100, 0, 5_000, 0.2, 1.0)}
RATES = Rates(prefill=1000.0, decode=100.0)


class Clock:
    now = 50.0

    def __call__(self) -> float:
        return self.now


def forecast(workers=1) -> tuple[Forecast, Clock]:
    clock = Clock()
    found = Forecast(workers, clock)
    for label in ("fp16", "rtn"):
        found.expect(label, [MC, GEN])
    found.begin(SIZES, RATES)
    return found, clock


def test_rates_tell_reading_from_writing():
    reading = [Spent(2.0, 4000, 0), Spent(2.0, 4000, 0)]
    writing = [Spent(5.0, 2000, 600), Spent(1.5, 1000, 100)]
    rates = rates_of(reading, writing)
    assert rates.prefill == 2000
    assert rates.decode == pytest.approx(700 / (6.5 - 3000 / 2000))


def test_writing_keeps_a_rate_when_its_prompts_explain_all_of_its_time():
    assert rates_of([Spent(1.0, 100, 0)], [Spent(2.0, 1000, 50)]).decode == pytest.approx(50 / 0.2)
    assert rates_of([Spent(1.0, 100, 0)], []) == Rates(100.0, 100.0)
    with pytest.raises(ValueError):
        rates_of([], [Spent(1.0, 10, 10)])


def test_the_total_is_tokens_over_rates_and_building():
    found, _ = forecast()
    per_configuration = 60_000 / 1000 + 4 + 5_000 * 0.2 / 100 + 1
    assert found.total() == pytest.approx(2 * per_configuration)
    assert forecast(workers=4)[0].total() == pytest.approx(2 * per_configuration / 4)
    found.expect_more(3)
    assert found.total() == pytest.approx(5 * per_configuration)


def test_finished_steps_correct_the_rates():
    found, clock = forecast()
    clock.now += 128
    found.finish("fp16", MC, Spent(128.0, 60_000, 0))
    assert found.correction == pytest.approx(2.0)
    assert found.total() == pytest.approx(2 * (64 + 11 + 11))
    clock.now += 10
    assert found.left() == pytest.approx(found.total() - 10)
    clock.now += 1000
    assert found.left() == 0


def test_answers_from_the_cache_do_not_make_the_machine_look_fast():
    found, _ = forecast()
    before = found.total()
    found.finish("fp16", MC, Spent(4.0, 0, 0))
    assert found.correction == pytest.approx(1.0)
    assert found.total() == pytest.approx(before - 64)


def test_the_length_of_texts_is_learnt_from_the_first_configuration():
    found, _ = forecast()
    found.finish("fp16", GEN, Spent(41.0, 0, 4_000))
    assert found.correction == pytest.approx(1.0)
    assert found.total() == pytest.approx(64 + 64 + 41)


def test_steps_of_a_failed_model_are_no_longer_waited_for():
    found, _ = forecast()
    found.drop("rtn", [MC, GEN])
    assert found.total() == pytest.approx(64 + 11)


def test_a_configuration_with_fewer_documents_takes_its_part():
    found, _ = forecast()
    found.expect("dose", [MC], limit=25)
    assert found.total() == pytest.approx(2 * 75 + 64 / 4)


def test_models_still_to_be_built_count_with_the_mean_of_those_that_are():
    found, _ = forecast()
    base = found.total()
    found.expect_builds(3)
    found.built(10.0)
    assert found.total() == pytest.approx(base + 20)


def test_the_reporter_tells_the_forecast_once_there_are_rates(capsys):
    with Reporter(10) as reporter:
        reporter.forecast, _ = forecast()
        reporter.step("fp16: mc tags", 1.0)
    assert "about 150 s left" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0 s"), (59.6, "1 min 00 s"), (200, "3 min 20 s"), (25_500, "7 h 05 min")]
)
def test_durations_are_spoken(seconds, text):
    assert spoken(seconds) == text


def test_earlier_artifacts_tell_the_speed_of_a_method(tmp_path):
    def artifact(name, plugin, seconds, peak=None):
        (tmp_path / name).mkdir()
        manifest = {
            "plugin": plugin, "peak_memory": peak, "seconds": {"prepare": 1.0, "quantize": seconds},
            "bits": {"quantized_weights": 100},
        }  # fmt: skip
        (tmp_path / name / "manifest.json").write_text(json.dumps(manifest))

    artifact("a", "rtn", 3.0)
    artifact("b", "rtn", 5.0)
    artifact("c", "rtn", 500.0, peak=1)
    artifact("d", "gptq", 9.0)
    (tmp_path / "e").mkdir()
    (tmp_path / "e" / "manifest.json").write_text("{")
    assert earlier(tmp_path, "rtn", is_cpu=True).seconds == pytest.approx(10 / 200)
    assert earlier(tmp_path, "rtn", is_cpu=False).seconds == pytest.approx(501 / 100)
    assert earlier(tmp_path, "vptq", is_cpu=True) is None
