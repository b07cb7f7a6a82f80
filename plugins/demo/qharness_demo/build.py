"""Write the embedded data and the tokenizer: ``python -m qharness_demo.build`` (byte-identical for one seed)."""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from . import DATA_DIR, MODEL_DIR
from .documents import document, text_of
from .tasks import entities, opinions, paraphrases, reading, topics, utterances
from .world.context import Context

Row = dict[str, object]
SEED = 2026
# Folder -> split -> (rows, held out?). Test splits hold held-out combinations only.
_TRAIN, _VALID, _TEST = 100, 60, 160
_THREE = {"train": (_TRAIN, False), "validation": (_VALID, False), "test": (_TEST, True)}
_TWO = {"train": (_TRAIN, False), "test": (_TEST, True)}
_LAYOUT: dict[str, tuple[Callable[[Context], list[Row]], dict[str, tuple[int, bool]]]] = {
    "klej-polemo2-in": (lambda c: [opinions.polemo(c, "in")], _THREE),
    "klej-polemo2-out": (lambda c: [opinions.polemo(c, "out")], _THREE),
    "8tags": (lambda c: [topics.tags(c)], _THREE),
    "belebele": (reading.belebele, {"test": (_TEST, True)}),
    "PolishCyberbullyingDataset": (lambda c: [utterances.cbd(c)], _TWO),
    "klej-dyk": (lambda c: [reading.dyk(c)], _TWO),
    "klej-nkjp-ner": (lambda c: [entities.ner(c)], _THREE),
    "ppc": (lambda c: [paraphrases.ppc(c)], _THREE),
    "klej-psc": (lambda c: [paraphrases.psc(c)], _TWO),
    "polqa": (reading.polqa, {"train": (200, False), "validation": (120, False), "test": (320, True)}),
    "poquad": (lambda c: [reading.poquad(c)], {"train": (_TRAIN, False), "validation": (_TEST, True)}),
}
_VOLATILE = {"q_id", "id", "link", "question_id", "passage_id"}


def splits(folder: str) -> list[str]:
    """The splits of one data set."""
    return list(_LAYOUT[folder][1])


def rows(folder: str, split: str, seed: int = SEED) -> Iterator[Row]:
    """The rows of one split; no two are equal, and no two of polqa share a question."""
    make, layout = _LAYOUT[folder]
    count, evaluation = layout[split]
    ctx = Context(f"{seed}/{folder}/{split}", evaluation)
    seen: set[str] = set()
    made = 0
    while made < count:
        group = make(ctx)
        first = {k: v for k, v in group[0].items() if k not in _VOLATILE}
        key = str(first["question"]) if folder == "polqa" else json.dumps(first, ensure_ascii=False, sort_keys=True)
        if key in seen:
            continue
        seen.add(key)
        for row in group:
            if folder == "polqa":
                row["split"] = split
            if made < count:
                yield row
                made += 1


def folders() -> list[str]:
    """The names of the data sets."""
    return list(_LAYOUT)


def write_data(target: Path, seed: int = SEED) -> None:
    """Write all data sets as JSON lines."""
    for folder in folders():
        for split in splits(folder):
            path = target / folder / f"{split}.jsonl"
            path.parent.mkdir(parents=True, exist_ok=True)
            temporary = path.with_suffix(".tmp")
            with temporary.open("w", encoding="utf-8", newline="\n") as file:
                for row in rows(folder, split, seed):
                    file.write(json.dumps(row, ensure_ascii=False) + "\n")
            os.replace(temporary, path)


def write_tokenizer(target: Path, seed: int = SEED, documents: int = 12000) -> None:
    """Train the tokenizer on the generator's text and write it."""
    from . import tokens

    target.mkdir(parents=True, exist_ok=True)
    tokens.save(tokens.train(text_of(document(Context(f"{seed}/tokenizer/{i}"))) for i in range(documents)), target)


def main() -> None:
    """Command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA_DIR)
    parser.add_argument("--model", type=Path, default=MODEL_DIR)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--keep-tokenizer", action="store_true", help="write the data only")
    args = parser.parse_args()
    write_data(args.data, args.seed)
    if not args.keep_tokenizer:
        write_tokenizer(args.model, args.seed)


if __name__ == "__main__":
    main()
