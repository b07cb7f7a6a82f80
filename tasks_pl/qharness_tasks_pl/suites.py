"""The suites as tables: tasks in the leaderboard's order with metric, official baseline and partners.

Baselines are those of the leaderboard's `src/about.py`: majority-class scores of each task's own metric. For dyk and
psc that is the F1 of "always positive", not a majority accuracy.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from qharness.records import Kind, Suite, TaskSpec
from qharness_tasks_pl.constant_predictor import best_constant_score
from qharness_tasks_pl.data.sets import DATA_SETS
from qharness_tasks_pl.leaderboard import normalized
from qharness_tasks_pl.loading import load_tasks

LETTER_FILTER = "score-first"


@dataclass(frozen=True)
class Pair:
    """A data set with an MC task, a generative one and our text-answer variant.

    Attributes:
        short: Stem of the short names and of the text-answer variant's name.
        hub_id: Data set.
        mc: Name of the MC task.
        gen: Name of the generative task, which answers with a letter.
        baseline: Official baseline of both.
        is_f1: Whether the leaderboard takes F1 in place of accuracy and exact match.
        cluster: Column that groups dependent documents.
    """

    short: str
    hub_id: str
    mc: str
    gen: str
    baseline: float
    is_f1: bool = False
    cluster: str | None = None

    @property
    def text(self) -> str:
        """Name of the text-answer variant."""
        return f"paired_{self.short.replace('-', '_')}_text"

    def mc_spec(self) -> TaskSpec:
        """Return the MC task."""
        metric = "f1" if self.is_f1 else "acc"
        partners: dict[str, Any] = {"sibling": self.gen, "paired": self.text, "cluster": self.cluster}
        return _spec(self.mc, f"{self.short}_mc", "mc", self.hub_id, metric, baseline=self.baseline, **partners)

    def gen_spec(self) -> TaskSpec:
        """Return the generative task."""
        metric = "f1" if self.is_f1 else "exact_match"
        partners: dict[str, Any] = {"sibling": self.mc, "paired": self.text, "cluster": self.cluster}
        scoring: dict[str, Any] = {"filter": LETTER_FILTER, "baseline": self.baseline}
        return _spec(self.gen, f"{self.short}_g", "gen", self.hub_id, metric, **scoring, **partners)

    def text_spec(self) -> TaskSpec:
        """Return the text-answer variant, which is ours: no official baseline."""
        partners: dict[str, Any] = {"sibling": self.mc, "cluster": self.cluster}
        return _spec(self.text, f"{self.short}_text", "gen", self.hub_id, "exact_match", is_official=False, **partners)


def _spec(name: str, short: str, kind: Kind, hub_id: str, metric: str, **more: Any) -> TaskSpec:
    return TaskSpec(name, short, kind, DATA_SETS[hub_id].name, hub_id, metric, **more)


PAIRS = (
    Pair("polemo2-in", "allegro/klej-polemo2-in", "polemo2_in_multiple_choice", "polemo2_in", 0.416),
    Pair("polemo2-out", "allegro/klej-polemo2-out", "polemo2_out_multiple_choice", "polemo2_out", 0.368),
    Pair("8tags", "sdadas/8tags", "polish_8tags_multiple_choice", "polish_8tags_regex", 0.143),
    Pair(
        "belebele", "facebook/belebele", "polish_belebele_mc", "polish_belebele_regex", 0.279, cluster="flores_passage"
    ),
    Pair("dyk", "allegro/klej-dyk", "polish_dyk_multiple_choice", "polish_dyk_regex", 0.289, is_f1=True),
    Pair("ppc", "sdadas/ppc", "polish_ppc_multiple_choice", "polish_ppc_regex", 0.419),
    Pair("psc", "allegro/klej-psc", "polish_psc_multiple_choice", "polish_psc_regex", 0.466, is_f1=True),
    Pair(
        "cbd",
        "ptaszynski/PolishCyberbullyingDataset",
        "polish_cbd_multiple_choice",
        "polish_cbd_regex",
        0.149,
        is_f1=True,
    ),
    Pair("klej_ner", "allegro/klej-nkjp-ner", "polish_klej_ner_multiple_choice", "polish_klej_ner_regex", 0.343),
)

POLQA: dict[str, Any] = {"hub_id": "ipipan/polqa", "cluster": "question"}
RERANKING = _spec(
    "polish_polqa_reranking_multiple_choice",
    "polqa_reranking_mc",
    "mc",
    metric="acc",
    baseline=0.5335588952710677,
    **POLQA,
)
EDIT: dict[str, Any] = {"metric": "levenshtein", "baseline": 0.0}
OPEN_QA = (
    _spec("polish_polqa_closed_book", "polqa_closed_book_g", "gen", **POLQA, **EDIT),
    _spec("polish_polqa_open_book", "polqa_open_book_g", "gen", **POLQA, **EDIT),
    _spec("polish_poquad_open_book", "poquad_open_book", "gen", "clarin-pl/poquad", cluster="title", **EDIT),
)
OWN_PERCENT: dict[str, Any] = {"baseline": 0.0, "scale": 100.0, "needs_own_data": True}
EQ_BENCH = _spec("polish_eq_bench", "eq_bench", "gen", "speakleash/EQ-Bench-PL", "average_eqbench", **OWN_PERCENT)
EQ_BENCH_FIRST_TURN = _spec(
    "polish_eq_bench_first_turn",
    "eq_bench_first_turn",
    "gen",
    "speakleash/EQ-Bench-PL-first-turn",
    "first_eqbench",
    **OWN_PERCENT,
)

MC_TASKS = (*(pair.mc_spec() for pair in PAIRS), RERANKING)
GEN_TASKS = (*(pair.gen_spec() for pair in PAIRS), *OPEN_QA)
TEXT_TASKS = tuple(pair.text_spec() for pair in PAIRS)


def _suite(name: str, summary: str, tasks: tuple[TaskSpec, ...], companions: tuple[TaskSpec, ...] = ()) -> Suite:
    return Suite(name, summary, tasks, load_tasks, best_constant_score, companions, normalized=normalized)


SUITES = (
    _suite(
        "polish22", "Open Polish LLM Leaderboard: 10 multiple-choice, 12 generative", MC_TASKS + GEN_TASKS, TEXT_TASKS
    ),
    _suite("polish22-mc", "its 10 multiple-choice tasks", MC_TASKS),
    _suite("polish22-gen", "its 12 generative tasks", GEN_TASKS, TEXT_TASKS),
    _suite("polish23", "polish22 and EQ-Bench (your own copy)", (*MC_TASKS, *GEN_TASKS, EQ_BENCH), TEXT_TASKS),
    _suite("eq_bench_first_turn", "the live leaderboard's 23rd task (your own copy)", (EQ_BENCH_FIRST_TURN,)),
    _suite(
        "polish22-paired",
        "nine data sets, each as multiple choice and with the answer written out",
        tuple(spec for pair in PAIRS for spec in (pair.mc_spec(), pair.text_spec())),
    ),
)
