"""The data sets of the suite: where they are on the hub, and the columns that the tasks read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DataSet:
    """A data set.

    Attributes:
        hub_id: Its id on the Hugging Face hub; the last part names its folder.
        columns: Columns that every document must have.
        private: Whether most users cannot download it.
    """

    hub_id: str
    columns: tuple[str, ...]
    private: bool = False

    @property
    def name(self) -> str:
        """Name of its folder."""
        return self.hub_id.rpartition("/")[2]


DATA_SETS: dict[str, DataSet] = {
    data.hub_id: data
    for data in (
        DataSet("allegro/klej-polemo2-in", ("sentence", "target")),
        DataSet("allegro/klej-polemo2-out", ("sentence", "target")),
        DataSet("sdadas/8tags", ("sentence", "label")),
        DataSet(
            "facebook/belebele",
            (
                "flores_passage",
                "question",
                "mc_answer1",
                "mc_answer2",
                "mc_answer3",
                "mc_answer4",
                "correct_answer_num",
            ),
        ),
        DataSet("ptaszynski/PolishCyberbullyingDataset", ("TEXT", "CATEGORIES")),
        DataSet("allegro/klej-dyk", ("question", "answer", "target")),
        DataSet("allegro/klej-nkjp-ner", ("sentence", "target")),
        DataSet("sdadas/ppc", ("sentence_A", "sentence_B", "label")),
        DataSet("allegro/klej-psc", ("extract_text", "summary_text", "label")),
        DataSet("ipipan/polqa", ("question", "passage_text", "answers", "relevant")),
        DataSet("clarin-pl/poquad", ("title", "context", "question", "answers")),
        DataSet("speakleash/EQ-Bench-PL", ("prompt", "reference_answer", "reference_answer_fullscale"), private=True),
        DataSet("speakleash/EQ-Bench-PL-first-turn", ("prompt", "reference_answer"), private=True),
    )
}
