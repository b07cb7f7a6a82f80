"""A quick check of a demo checkpoint with plain torch: all tasks at 5 shots, also after 2-bit round-to-nearest.

``python -m qharness_demo.selfcheck --model DIR --limit 100 --rtn`` prints one table. It is a development aid: the
host's own evaluation goes through lm-eval.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import statistics
from pathlib import Path
from typing import Any, NamedTuple

from . import DATA_DIR, MODEL_DIR
from .tasks.prompts import TASKS, Row, Task

_SPLITS = ("train", "validation", "test")


class Score(NamedTuple):
    """A task's official metric, plain accuracy (hits of its per-document metric), normalised score and documents."""

    value: float
    accuracy: float
    normalized: float
    n: int


def read(folder: Path) -> dict[str, list[Row]]:
    """The splits of one data set."""
    out = {}
    for split in _SPLITS:
        path = folder / f"{split}.jsonl"
        if path.exists():
            out[split] = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    return out


def process(task: Task, rows: list[Row]) -> list[Row]:
    """Filtering and removal of duplicates as the official polqa tasks do."""
    if task.folder != "polqa":
        return rows
    seen: set[tuple[object, ...]] = set()
    out = []
    for r in rows:
        key = (r["question"],) if "closed" in task.name else (r["passage_text"], r["question"])
        if ("reranking" in task.name or r["relevant"]) and key not in seen:
            seen.add(key)
            out.append(r)
    return out


def prompts(task: Task, data: dict[str, list[Row]], limit: int, shots: int = 5) -> list[tuple[str, Row]]:
    """The prompts with worked examples, and their rows."""
    test = process(task, data["validation" if task.folder == "poquad" else "test"])
    pool = process(task, data["train"]) if "train" in data else test
    rng = random.Random(1234)
    out = []
    for row in test[:limit]:
        first = [r for r in pool[: shots + 1] if r is not row][:shots]
        examples = first if pool is test else rng.sample(pool, shots)
        context = "".join(f"{task.prompt(e)} {task.target(e)}\n\n" for e in examples)
        out.append((context + task.prompt(row), row))
    return out


def distance(a: str, b: str) -> int:
    """Levenshtein distance."""
    last = list(range(len(b) + 1))
    for i, x in enumerate(a, 1):
        row = [i]
        for j, y in enumerate(b, 1):
            row.append(min(last[j] + 1, row[-1] + 1, last[j - 1] + (x != y)))
        last = row
    return last[-1]


_NUMBER = re.compile(r"[-]?\d[\d,]*[\.\,]?[\d{2}]*")


def levenshtein_hit(gold: str, prediction: str) -> bool:
    """The official 0/1 hit: equal first numbers, or a distance below half the gold's length."""
    gold, prediction = gold.strip().lower(), prediction.strip().lower()
    number = _NUMBER.search(gold)
    if number:
        found = _NUMBER.search(prediction)
        return bool(found) and found.group(0).replace(",", ".") == number.group(0).replace(",", ".")
    return distance(gold, prediction) < len(gold) / 2


def f1(gold: list[int], predicted: list[int], label: int) -> float:
    """F1 of one label."""
    hit = sum(g == p == label for g, p in zip(gold, predicted, strict=True))
    total = gold.count(label) + predicted.count(label)
    return 2 * hit / total if total else 0.0


def summarise(task: Task, gold: list[int], predicted: list[int]) -> Score:
    """The task's metric over label indices."""
    n = len(gold)
    accuracy = sum(g == p for g, p in zip(gold, predicted, strict=True)) / n
    value = accuracy
    if task.metric == "f1":
        # The generative psc task counts label 0: "C" is its positive answer.
        value = f1(gold, [0 if p < 0 else p for p in predicted], 0 if task.name == "psc_gen" else 1)
    elif task.metric == "macro_f1":
        labels = sorted(set(gold) | {0 if p < 0 else p for p in predicted})
        value = sum(f1(gold, [0 if p < 0 else p for p in predicted], label) for label in labels) / len(labels)
    return Score(value, accuracy, 100 * (value - task.baseline) / (1 - task.baseline), n)


class Runner:
    """Runs a causal language model on the tasks."""

    def __init__(self, model: Any, tokenizer: Any, device: str, batch: int = 100) -> None:
        self.model, self.tokenizer, self.device, self.batch = model, tokenizer, device, batch

    def choices(self, contexts: list[str], options: tuple[str, ...]) -> list[int]:
        """Index of the most likely continuation " " + option of each context."""
        import torch

        encode = self.tokenizer
        items = []
        for c in contexts:
            ids = encode(c, add_special_tokens=False)["input_ids"]
            items += [(ids, encode(" " + o, add_special_tokens=False)["input_ids"]) for o in options]
        scores: list[float] = []
        for at in range(0, len(items), self.batch):
            part = items[at : at + self.batch]
            width = max(len(c) + len(o) for c, o in part)
            ids = torch.ones((len(part), width), dtype=torch.long)
            for i, (c, o) in enumerate(part):
                ids[i, : len(c) + len(o)] = torch.tensor(c + o)
            with torch.no_grad():
                logits = self.model(ids.to(self.device)).logits.float().log_softmax(-1).cpu()
            for i, (c, o) in enumerate(part):
                where = torch.arange(len(c) - 1, len(c) + len(o) - 1)
                scores.append(float(logits[i, where, torch.tensor(o)].sum()))
        k = len(options)
        return [max(range(k), key=lambda j, i=i: scores[i * k + j]) for i in range(len(contexts))]  # type: ignore[misc]

    def write(self, contexts: list[str], tokens: int) -> list[str]:
        """Greedy continuations."""
        import torch

        out: list[str] = []
        for at in range(0, len(contexts), self.batch):
            enc = self.tokenizer(
                contexts[at : at + self.batch],
                return_tensors="pt",
                padding=True,
                padding_side="left",
                add_special_tokens=False,
            )
            ids, mask = enc["input_ids"].to(self.device), enc["attention_mask"].to(self.device)
            with torch.no_grad():
                made = self.model.generate(ids, attention_mask=mask, max_new_tokens=tokens, do_sample=False)
            out += self.tokenizer.batch_decode(made[:, ids.shape[1] :], skip_special_tokens=True)
        return out

    def score(self, task: Task, data: dict[str, list[Row]], limit: int) -> Score:
        """One task."""
        posed = prompts(task, data, limit)
        contexts, rows = [p for p, _ in posed], [r for _, r in posed]
        if task.kind == "mc":
            return summarise(
                task, [task.choices.index(task.target(r)) for r in rows], self.choices(contexts, task.choices)
            )
        if task.kind == "gen":
            pattern = re.compile(r"\b[A-H]\b")
            found = [pattern.search(t) for t in self.write(contexts, 3)]
            letters = [m.group(0) if m else "" for m in found]
            predicted = [task.choices.index(x) if x in task.choices else -1 for x in letters]
            return summarise(task, [task.choices.index(task.target(r)) for r in rows], predicted)
        texts = [t.split("\n")[0] for t in self.write(contexts, 24)]
        if task.kind == "text":
            hits = [t.strip() == task.target(r) for t, r in zip(texts, rows, strict=True)]
        else:
            cut = [t[:-1] if task.name == "poquad_gen" else t for t in texts]
            hits = [levenshtein_hit(task.target(r), t) for t, r in zip(cut, rows, strict=True)]
        value = sum(hits) / len(hits)
        return Score(value, value, 100 * value, len(hits))


def round_to_nearest(model: Any, bits: int = 2, group: int = 64) -> None:
    """Asymmetric min-max rounding of all linears but the head, in place."""
    import torch

    for name, module in model.named_modules():
        if isinstance(module, torch.nn.Linear) and "lm_head" not in name:
            w = module.weight.data
            g = w.float().reshape(w.shape[0], -1, group)
            low, high = g.amin(-1, keepdim=True), g.amax(-1, keepdim=True)
            scale = (high - low).clamp_min(1e-8) / (2**bits - 1)
            module.weight.data = (((g - low) / scale).round() * scale + low).reshape(w.shape).to(w.dtype)


def check(
    model_dir: Path, data_dir: Path, limit: int, rtn: int = 0, device: str = "cpu", tasks: list[str] | None = None
) -> dict[str, Score]:
    """Scores of the tasks; rtn > 0 rounds the linears to that many bits first."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    dtype = torch.bfloat16 if device == "cuda" else torch.float32
    model = AutoModelForCausalLM.from_pretrained(str(model_dir), dtype=dtype).to(device).eval()
    if rtn:
        round_to_nearest(model, rtn)
    runner = Runner(model, AutoTokenizer.from_pretrained(str(model_dir)), device)
    return {name: runner.score(TASKS[name], read(data_dir / TASKS[name].folder), limit) for name in tasks or TASKS}


SAMPLES = (
    "Dawno temu", "Pewnego dnia Anna", "Jesienią w lesie", "Opowiedz mi bajkę.\n", "Mój najlepszy przyjaciel",
    "Jak ugotować zupę?\n",
    "<|im_start|>user\nNapisz krótkie opowiadanie.<|im_end|>\n<|im_start|>assistant\n",
)  # fmt: skip


def main() -> None:
    """Command line."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--data", type=Path, default=DATA_DIR)
    parser.add_argument("--limit", type=int, default=100)
    parser.add_argument("--rtn", type=int, nargs="*", default=[], help="bit widths to round to")
    parser.add_argument("--samples", action="store_true")
    args = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    columns = {"base": check(args.model, args.data, args.limit, 0, device)}
    columns |= {f"rtn{b}": check(args.model, args.data, args.limit, b, device) for b in args.rtn}
    print(f"{'task':22}" + "".join(f"{c + ' acc':>10}{'norm':>8}" for c in columns))
    for name in TASKS:
        print(f"{name:22}" + "".join(f"{s[name].accuracy:10.3f}{s[name].normalized:8.1f}" for s in columns.values()))
    kinds = {"mc": ("mc",), "gen": ("gen", "qa"), "text": ("text",)}
    for kind, members in kinds.items():
        names = [n for n, t in TASKS.items() if t.kind in members]
        print(
            f"mean {kind:17}"
            + "".join(
                f"{statistics.fmean(s[n].accuracy for n in names):10.3f}"
                f"{statistics.fmean(s[n].normalized for n in names):8.1f}"
                for s in columns.values()
            )
        )
    if args.samples:
        for bits in (0, *args.rtn):
            model = AutoModelForCausalLM.from_pretrained(str(args.model), dtype=torch.float32).to(device).eval()
            if bits:
                round_to_nearest(model, bits)
            runner = Runner(model, AutoTokenizer.from_pretrained(str(args.model)), device)
            for start, text in zip(SAMPLES, runner.write(list(SAMPLES), 256), strict=True):
                print(f"--- {bits} bits | {start!r}\n{text}")


if __name__ == "__main__":
    main()
