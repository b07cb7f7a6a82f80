"""lm-eval task classes: data through `qharness_tasks_pl.data`, and answers written out as text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from datasets import Dataset
from lm_eval.api.task import ConfigurableTask

from qharness.errors import MissingData
from qharness_tasks_pl.data.splits import Splits


class PolishTask(ConfigurableTask):
    """A task of the suite: lm-eval's own, with its data from the hub or from a folder.

    The source is `data` in the task's metadata (`hub` or a folder), where `TaskManager(metadata=...)` puts it.
    A missing few-shot split is no error until examples are asked for, so that zero-shot runs do without it.

    Args:
        config: The merged YAML.

    Raises:
        MissingData: The evaluated split cannot be had.
    """

    def __init__(self, config: Mapping[str, Any]) -> None:
        self._evaluated: Dataset | None = None
        self._no_examples: MissingData | None = None
        super().__init__(config={key: value for key, value in config.items() if key != "class"})

    def download(self, dataset_kwargs: dict[str, Any] | None = None, **kwargs: Any) -> None:
        """Open the data set; splits are read when they are used."""
        source = (self.config.metadata or {}).get("data", "hub")
        self.dataset = Splits(self.config.task, self.config.dataset_path, self.config.dataset_name, source)

    def test_docs(self) -> Dataset:
        """Return the evaluated documents; lm-eval asks several times, they are processed once."""
        if self._evaluated is None:
            self._evaluated = super().test_docs()
        return self._evaluated

    def fewshot_docs(self) -> Dataset | list[dict[str, Any]]:
        """Return the pool of examples, empty if its split is missing."""
        try:
            return super().fewshot_docs()
        except MissingData as error:
            self._no_examples = error
            return []

    def fewshot_context(self, doc: dict[str, Any], num_fewshot: int, **kwargs: Any) -> str | list[str]:
        """Build the prompt as lm-eval does.

        Raises:
            MissingData: There are not enough documents to draw `num_fewshot` examples from.
        """
        if num_fewshot > 0:
            self._check_pool(num_fewshot)
        context: str | list[str] = super().fewshot_context(doc, num_fewshot=num_fewshot, **kwargs)
        return context

    def _check_pool(self, num_fewshot: int) -> None:
        if self._no_examples is not None:
            raise MissingData(f"{self._no_examples} Or take no examples: --num-fewshot 0.") from self._no_examples
        available = len(self.sampler.df)
        needed = num_fewshot + (self.fewshot_cfg.split == self.config.test_split)
        if available < needed:
            raise MissingData(
                f"Task {self.config.task} needs {needed} documents to draw {num_fewshot} examples from, and its "
                f"few-shot split has {available}; add documents or lower --num-fewshot."
            )


class TextAnswerTask(PolishTask):
    """The text-answer variant of an MC task: the model writes out one of the choices.

    Metrics get `references=[gold]`, `predictions=[response]` and `options=choices`.
    """

    def process_results(self, doc: dict[str, Any], results: Sequence[str]) -> dict[str, float]:
        """Score one response against the choices of its document."""
        options = self.doc_to_choice(doc)
        gold = options[self.doc_to_target(doc)]
        return {
            name: metric(references=[gold], predictions=[results[0]], options=options)
            for name, metric in self._metric_fn_list.items()
        }
