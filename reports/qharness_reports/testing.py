"""A synthetic comparison, for tests of the report and of third-party sections. Every number in it is invented."""

from __future__ import annotations

import random
from typing import Any

NOTICE = "embedded data: not the leaderboard"
PAIRED = {
    "polemo2_in": ("klej-polemo2-in", "polemo2_in_multiple_choice", "polemo2_in", "acc", "exact_match", 0.416),
    "polemo2_out": ("klej-polemo2-out", "polemo2_out_multiple_choice", "polemo2_out", "acc", "exact_match", 0.368),
    "8tags": ("8tags", "polish_8tags_multiple_choice", "polish_8tags_regex", "acc", "exact_match", 0.143),
    "belebele": ("belebele", "polish_belebele_mc", "polish_belebele_regex", "acc", "exact_match", 0.279),
    "dyk": ("klej-dyk", "polish_dyk_multiple_choice", "polish_dyk_regex", "f1", "f1", 0.289),
    "ppc": ("ppc", "polish_ppc_multiple_choice", "polish_ppc_regex", "acc", "exact_match", 0.419),
    "psc": ("klej-psc", "polish_psc_multiple_choice", "polish_psc_regex", "f1", "f1", 0.466),
    "cbd": ("PolishCyberbullyingDataset", "polish_cbd_multiple_choice", "polish_cbd_regex", "f1", "f1", 0.149),
    "klej_ner": (
        "klej-nkjp-ner",
        "polish_klej_ner_multiple_choice",
        "polish_klej_ner_regex",
        "acc",
        "exact_match",
        0.343,
    ),
}
ALONE = (
    ("polqa_reranking_mc", "polqa", "mc", "polish_polqa_reranking_multiple_choice", "acc", 0.5336),
    ("polqa_open_book_g", "polqa", "gen", "polish_polqa_open_book", "levenshtein", 0.0),
    ("polqa_closed_book_g", "polqa", "gen", "polish_polqa_closed_book", "levenshtein", 0.0),
    ("poquad_open_book_g", "poquad", "gen", "polish_poquad_open_book", "levenshtein", 0.0),
)
# id, plugin, ablation, label, share kept of MC, of GEN, degenerate rate, verdict, stored bits per weight
CONFIGURATIONS = (
    ("fp16", "fp16", (), "fp16", 1.0, 1.0, 0.0, "", 16.0),
    ("quip", "quipsharp", (), "quipsharp", 0.96, 0.95, 0.0, "healthy", 2.02),
    ("spin", "spinquant", (), "spinquant", 0.86, 0.37, 0.35, "dissociated", 2.19),
    ("spin-r4", "spinquant", ("r4",), "spinquant without r4", 0.04, 0.02, 0.95, "collapsed", 2.19),
    ("vptq", "vptq", (), "vptq", 0.64, 0.58, 0.1, "uniform_damage", 2.11),
    ("rtn", "rtn", (), "rtn", 0.28, 0.12, 0.8, "inconclusive", 2.25),
)
PROMPTS = (
    ("przepis", "instrukcja", "Napisz krótki przepis na zupę szczawiową."),
    ("list", "list", "Napisz list do burmistrza w sprawie zepsutej latarni przy ulicy Źródlanej."),
    ("bajka", "narracja", "Opowiedz bajkę o żółwiu, który chciał latać."),
    ("pogoda", "wiadomość", "Jaka będzie jutro pogoda w Łodzi?"),
)
FLUENT = (
    "Szczaw dokładnie płuczemy, kroimy w paski i dusimy na maśle. Do garnka wlewamy bulion, dodajemy ziemniaki "
    "i gotujemy, aż zmiękną. Na końcu zabielamy zupę śmietaną i podajemy z jajkiem ugotowanym na twardo."
)
LOOPING = (
    "Szczaw należy umyć i pokroić, a potem dodać do garnka, a potem dodać do garnka, a potem dodać do garnka, "
    "a potem dodać do garnka, a potem dodać do garnka, a potem dodać do garnka i i i i i"
)


def synthetic_comparison(seed: int = 0) -> dict[str, Any]:
    """Return a comparison as `qharness.results.comparison.compare` does: six configurations, 31 tasks, Polish text."""
    rng = random.Random(seed)
    tasks = _tasks(rng)
    return {
        "run": _run(),
        "runs": [_run()],
        "notice": NOTICE,
        "configurations": [_configuration(*row[:4]) for row in CONFIGURATIONS],
        "tasks": tasks,
        "other_metrics": [
            task | {"metric": "acc", "baseline": None, "is_official": False}
            for task in tasks if task["short"] == "dyk_mc"
        ],
        "averages": _averages(tasks),
        "retention": {name: _retention(rng, mc, gen) for name, _, _, _, mc, gen, *_ in CONFIGURATIONS[1:]},
        "summary": {name: _summary(mc, gen, bad) for name, _, _, _, mc, gen, bad, *_ in CONFIGURATIONS[1:]},
        "verdicts": [_verdict(row) for row in CONFIGURATIONS[1:]],
        "seeds": [],
        "matrix": [],
        "rules": [
            {"name": "inconclusive", "condition": "the baseline is at chance, or a retention may be anything",
             "thresholds": {"gone": 0.3, "healthy": 0.9}},
            {"name": "cache_path_fault", "condition": "the decode path disagrees with the prefill",
             "thresholds": {"agreement": 0.9, "gap": 0.1}},
            {"name": "collapsed", "condition": "upper bounds of both below `gone`", "thresholds": {"gone": 0.3}},
            {"name": "dissociated", "condition": "lower bound of index above `index`", "thresholds": {"index": 0.2}},
            {"name": "healthy", "condition": "lower bounds of both at least `healthy`", "thresholds": {"healthy": 0.9}},
            {"name": "uniform_damage", "condition": "none of the above", "thresholds": {}},
        ],
        "free": {name: _free(gen, bad) for name, _, _, _, _, gen, bad, *_ in CONFIGURATIONS},
        "generations": _generations(rng),
        "artifacts": [
            {"plugin": plugin, "path": f"artifacts/{plugin}", "nominal_bits": 2.0, "stored_bpw": bits,
             "model_bpw": bits + 1.37, "size_bytes": int(12e6 * (bits + 1.37) / 8)}
            for _, plugin, ablation, _, _, _, _, _, bits in CONFIGURATIONS[1:] if not ablation
        ],
        "kernels": [
            {"config": "rtn", "modules": "model.layers.*.mlp.down_proj", "part": "weight", "op": "int2",
             "kernel": "triton", "count": 8, "reason": ""},
            {"config": "rtn", "modules": "model.layers.*.mlp.down_proj", "part": "r4", "op": "hadamard",
             "kernel": "reference", "count": 8, "reason": "the Hadamard factor of order 924 is too large"},
        ],
        "failures": [{"config": "rtn", "evaluator": "gen", "task": "eq_bench",
                      "reason": "EQ-Bench-PL is private: give your own copy with --data FOLDER."}],
        "families": {name: "22 tests of polish22" for name, *_ in CONFIGURATIONS[1:]},
        "warnings": ["polish_ppc_regex: 3 documents have other prompts than in the baseline and were not compared."],
    }  # fmt: skip


def _run() -> dict[str, Any]:
    return {
        "schema_version": 1, "run_id": "20261122-191503-0a1b2c", "created": "2026-11-22T19:15:03+00:00",
        "notice": NOTICE,
        "configuration": {
            "plugins": [plugin for _, plugin, *_ in CONFIGURATIONS[1:]], "suites": ["polish22"], "model": "demo",
            "data": "embedded", "num_fewshot": None, "limit": 100, "seed": 0, "ablate": ["r4"],
        },
        "common": {"engine": "hf", "kernels": "reference", "dtype": "float32", "seed": 0},
        "environment": {
            "python": "3.11.2", "platform": "Linux-6.1-x86_64", "cpu_count": 2, "gpu": None,
            "packages": {"torch": "2.13.0", "transformers": "5.17.0", "lm-eval": "0.4.13"},
        },
        "digests": {"model": "sha256:0f5b", "data": "sha256:93ac"},
    }  # fmt: skip


def _configuration(name: str, plugin: str, ablation: tuple[str, ...], label: str) -> dict[str, Any]:
    return {
        "id": name, "label": label, "plugin": plugin, "ablation": list(ablation), "engine": "hf", "kv_bits": 16,
        "kv_prefill": "", "variant": "",
        "dtype": "float32", "kernels": "reference", "seed": 0, "calibration": "demo", "model": "demo",
        "artifact_digest": f"sha256:{name}", "run_id": "20261122-191503-0a1b2c", "template": "plain",
        "is_baseline": plugin == "fp16", "baseline_id": None if plugin == "fp16" else "fp16",
    }  # fmt: skip


def _verdict(row: tuple[Any, ...]) -> dict[str, Any]:
    name, plugin, ablation, _, mc, gen, bad, verdict, _ = row
    evidence = {
        "reason": f"Retention is {mc:.2f} in multiple choice and {gen:.2f} in generation.",
        "rules_that_hold": {verdict: True, "uniform_damage": True},
        "r_mc": {"estimate": mc, "low": mc - 0.05, "high": mc + 0.04},
        "free": {"texts": 20, "degenerate": round(20 * bad)},
    }
    return {
        "config": name, "plugin": plugin, "ablation": list(ablation), "engine": "hf", "kv_bits": 16,
        "kv_prefill": "", "variant": "", "seed": 0, "calibration": "", "verdict": verdict, "evidence": evidence,
    }  # fmt: skip


def _cell(
    rng: random.Random, base: float, constant: float, kept: float, kind: str, official: float | None
) -> dict[str, Any]:
    exact = kept == 1.0
    value = min(1.0, max(0.0, constant + (base - constant) * kept + (0 if exact else rng.gauss(0, 0.025))))
    delta, half = value - base, 0.0 if exact else 0.05 + 0.03 * rng.random()
    p = None if exact else min(1.0, 2.718 ** (-((abs(delta) / half * 1.96) ** 2) / 2))
    return {
        "value": value, "stderr": (value * (1 - value) / 100) ** 0.5,
        "normalized": None if official is None else (value - official) / (1 - official) * 100,
        "invalid_rate": None if kind == "mc" else round((1 - kept) * 0.3, 3), "n": 100, "n_paired": 100,
        "answer_token": None if kind == "mc" else 0.0,
        "delta": None if exact else delta, "low": None if exact else delta - half,
        "high": None if exact else delta + half,
        "p": p, "p_holm": None if p is None else min(1.0, p * 22), "test": "mcnemar", "mde": None if exact else 0.11,
        "flips": None if exact else abs(delta) + 0.04, "changed": None if exact else abs(delta) + 0.07,
        "no_evidence": value <= constant + 0.02, "failed": None,
    }  # fmt: skip


def _tasks(rng: random.Random) -> list[dict[str, Any]]:
    rows: list[tuple[Any, ...]] = []
    for short, (dataset, mc, gen, mc_metric, gen_metric, official) in PAIRED.items():
        rows.append((f"{short}_mc", dataset, "mc", mc, mc_metric, "none", gen, official, True))
        rows.append((f"{short}_g", dataset, "gen", gen, gen_metric, "score-first", mc, official, True))
        rows.append((f"{short}_text", dataset, "gen", f"{gen}_text", "exact_match", "none", mc, None, False))
    for short, dataset, kind, task, metric, official in ALONE:
        rows.append((short, dataset, kind, task, metric, "none", None, official, True))
    tasks = []
    for short, dataset, kind, task, metric, choice, sibling, official, is_official in rows:
        base, constant = 0.74 + 0.2 * rng.random(), 0.25 if official is None else official
        cells = {
            name: _cell(rng, base, constant, share[kind == "gen"], kind, official)
            for name, _, _, _, *share in CONFIGURATIONS
        }
        if task == "polish_polqa_closed_book":
            lost = {"failed": "The engine stopped.", "no_evidence": False, "n": 0, "n_paired": 0, "test": ""}
            cells["rtn"] = dict.fromkeys(cells["rtn"]) | lost
        tasks.append({
            "task": task, "short": short, "kind": kind, "evaluator": kind, "template": "plain",
            "metric": metric, "filter": choice, "dataset": dataset,
            "sibling": sibling, "is_official": is_official, "is_main": True, "baseline": official, "constant": constant,
            "num_fewshot": 5, "data": "embedded", "cells": cells,
        })  # fmt: skip
    return tasks


def _averages(tasks: list[dict[str, Any]]) -> dict[str, Any]:
    averages = {}
    for name, *_ in CONFIGURATIONS:
        rows = [(task["kind"], task["cells"][name]["normalized"]) for task in tasks if task["is_official"]]
        mean = {
            kind: sum(v or 0.0 for k, v in rows if k == kind) / sum(k == kind for k, _ in rows)
            for kind in ("mc", "gen")
        }
        missing = {kind: sum(v is None for k, v in rows if k == kind) for kind in ("mc", "gen")}
        averages[name] = {
            **mean, "all": sum(v or 0.0 for _, v in rows) / len(rows),
            "missing_mc": missing["mc"], "missing_gen": missing["gen"],
        }  # fmt: skip
    return averages


def _bounded(rng: random.Random, center: float, spread: float) -> tuple[float, float, float]:
    value = max(0.0, center + rng.gauss(0, spread))
    return value, max(0.0, value - 0.09), value + 0.09


def _retention(rng: random.Random, mc: float, gen: float) -> list[dict[str, Any]]:
    rows = []
    for index, short in enumerate(PAIRED):
        m, g = _bounded(rng, mc, 0.06), _bounded(rng, gen, 0.08)
        rows.append({
            "n": 100, "unpaired": 0, "mc_value": None, "gen_value": None, "mc_baseline": None, "gen_baseline": None,
            "mc_constant": None, "gen_constant": None, "dataset": short,
            "mc": m[0], "mc_low": m[1], "mc_high": m[2], "gen": g[0], "gen_low": g[1], "gen_high": g[2],
            "included": index != 4,
        })  # fmt: skip
    return rows


def _summary(mc: float, gen: float, bad: float) -> dict[str, Any]:
    return {
        "r_mc": mc, "r_mc_low": max(0.0, mc - 0.05), "r_mc_high": mc + 0.04,
        "r_gen": gen, "r_gen_low": max(0.0, gen - 0.06), "r_gen_high": gen + 0.05,
        "index": mc - gen, "index_low": mc - gen - 0.07, "index_high": mc - gen + 0.07,
        "decode_agreement": 0.995, "ll_gap": 0.0004, "seq_rep_4": bad * 0.7, "degenerate_rate": bad,
        "kl": 4 * bad,
    }  # fmt: skip


def _free(gen: float, bad: float) -> dict[str, Any]:
    text = FLUENT if gen > 0.5 else LOOPING if gen > 0.05 else "ę ę ę ę ą ó " * 24
    return {
        "metrics": {"degenerate": bad, "seq_rep_4": bad * 0.7, "distinct_2": 1 - bad * 0.8, "mean_tokens": 214.0},
        "examples": [
            {"id": i, "register": register, "prompt": prompt, "text": text} for i, register, prompt in PROMPTS
        ],
    }


def _generations(rng: random.Random) -> list[dict[str, Any]]:
    items = []
    for doc_id in range(6):
        responses = {
            name: {
                "text": " Kraków" if rng.random() < gen else " w w w roku roku roku",
                "prediction": "Kraków" if rng.random() < gen else "[invalid]",
                "value": 1.0 if rng.random() < gen else 0.0,
            }
            for name, _, _, _, _, gen, *_ in CONFIGURATIONS
        }
        items.append({"task": "polish_polqa_open_book", "doc_id": doc_id, "gold": "Kraków", "responses": responses})
        items.append({"task": "polish_8tags_text", "doc_id": doc_id, "gold": "motoryzacja", "responses": responses})
    return items
