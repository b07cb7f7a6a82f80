from __future__ import annotations

import subprocess
import sys

import pytest

from qharness_demo import DATA_DIR, MODEL_DIR, corpus
from qharness_demo.selfcheck import TASKS, Runner, levenshtein_hit, read, round_to_nearest, summarise


def load():
    import torch
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(str(MODEL_DIR), dtype=torch.float32).eval()


@pytest.fixture(scope="module", autouse=True)
def one_thread():
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def model():
    return load()


@pytest.fixture(scope="module")
def tokenizer():
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(MODEL_DIR))


def test_shape_and_files(model) -> None:
    config = model.config
    assert (config.model_type, config.hidden_size, config.intermediate_size) == ("mistral", 256, 768)
    assert config.num_key_value_heads < config.num_attention_heads
    assert config.sliding_window is None and not config.tie_word_embeddings
    assert 5e6 < model.num_parameters() < 12e6
    assert all(path.stat().st_size < 4.5e6 for path in MODEL_DIR.glob("*.safetensors"))


def test_the_training_network_computes_what_transformers_computes(model) -> None:
    import torch

    from qharness_demo.network import Network, Shape

    network = Network(Shape(num_hidden_layers=model.config.num_hidden_layers))
    network.load_state_dict(model.state_dict())
    ids = torch.randint(0, 2048, (2, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        assert torch.allclose(network(ids), model(ids).logits, atol=2e-4)


def test_it_knows_its_world_and_two_bits_hurt(model, tokenizer) -> None:
    names = ("polemo2_in_gen", "belebele_gen", "klej_ner_gen")
    data = {name: read(DATA_DIR / TASKS[name].folder) for name in names}

    def mean(m) -> float:
        runner = Runner(m, tokenizer, "cpu", batch=8)
        return sum(runner.score(TASKS[name], data[name], 8).accuracy for name in names) / len(names)

    rounded = load()
    round_to_nearest(rounded, 2)
    before, after = mean(model), mean(rounded)
    assert before >= 0.7
    assert after <= before - 0.1


def test_it_writes_sentences_and_stops(model, tokenizer) -> None:
    text = Runner(model, tokenizer, "cpu").write(["Dawno temu"], 256)[0]
    words = text.split()
    assert len(words) > 25 and text.count(".") >= 4
    assert len(set(words)) > 0.4 * len(words)
    assert len(tokenizer.encode(text)) < 255


def test_metrics_follow_the_leaderboard() -> None:
    assert levenshtein_hit("Brzozowo", "brzozowie")
    assert not levenshtein_hit("1923", "1932")
    task = TASKS["psc_gen"]
    assert summarise(task, [0, 0, 1, 1], [0, 1, 1, -1]).value == pytest.approx(2 / 4)
    assert summarise(TASKS["psc_mc"], [0, 0, 1, 1], [0, 1, 1, 1]).value == pytest.approx(4 / 5)


def test_corpus_is_deterministic_and_needs_no_torch() -> None:
    assert list(corpus.calibration_text(3, 5)) == list(corpus.calibration_text(3, 5))
    assert list(corpus.running_text(3, 5)) != list(corpus.running_text(4, 5))
    code = (
        "import sys, qharness_demo.corpus, qharness_demo.build; list(qharness_demo.corpus.calibration_text(0, 3)); "
        "assert not {'torch', 'transformers', 'pandas'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
