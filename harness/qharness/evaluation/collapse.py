"""Collapse of freely written texts: loops, word salad, another language, no end.

The texts are those of `free`. Loops are seen in the text itself; word salad is not, so the unquantized model reads
every text and its perplexity is compared with two of its own: a band, from the lowest of its greedy texts to the
highest of texts that it samples at temperature 1, and noise, the lowest of its greedy texts with their tokens shuffled.
A text is word salad, and degenerate, if it is nearer to the noise than to the band, in the logarithm of the perplexity.
Leaving the band alone is damage and is reported: text above it is worse than the model's own, text below it is often a
loop.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from functools import cache
from typing import Any, NamedTuple

from qharness.engines.base import Engine, Generation, LikelihoodRequest
from qharness.evaluation.base import Evaluation, EvaluationContext
from qharness.evaluation.degeneration import distinct
from qharness.evaluation.divergence import baseline_of
from qharness.evaluation.free import metrics_of
from qharness.evaluation.openings import Opening, openings, row, score, scores, tokens_of, write_texts

TASK = "collapse"
LANGUAGE = "pl"
WINDOW = 50
"""Tokens of the windows whose language is told."""
LARGEST = 700.0
"""Nats a token above which the exponential would overflow."""


class Band(NamedTuple):
    """Perplexities of texts that the unquantized model itself writes."""

    low: float
    high: float
    noise: float

    @property
    def salad(self) -> float:
        """Perplexity from which a text is nearer to noise than to the band."""
        return math.sqrt(self.high * max(self.high, self.noise))


def run_collapse(context: EvaluationContext) -> Evaluation:
    """Judge the texts of `free` with the unquantized model as the reader.

    Metrics beside those of `free`: `distinct_1` and `distinct_3` (Li et al. 2016) of each text, `length_ratio` to the
    unquantized model's text, `language_drift` (share of 50-token windows in another language than the prompt's),
    `teacher_perplexity`, `above_band`, `below_band` and `salad`; `degenerate` counts salad, too. Over the whole set:
    `set_distinct_1` to `3`, the band and the noise.

    Raises:
        UsageError: There is no baseline.
    """
    baseline = baseline_of(context)
    chosen = openings(context)
    own = write_texts(baseline, chosen, context, f"{TASK}: baseline")
    sampled = write_texts(baseline, chosen, context, f"{TASK}: baseline, sampled", temperature=1.0)
    noise = [shuffled(text, opening.place) for opening, text in zip(chosen, own, strict=True)]
    band = band_of(*(perplexities(baseline, chosen, texts, context) for texts in (own, sampled, noise)))
    texts = write_texts(context.engine, chosen, context, TASK)
    read = perplexities(baseline, chosen, texts, context)
    samples = []
    for opening, text, reference, perplexity in zip(chosen, texts, own, read, strict=True):
        values = judge_text(text, reference, perplexity, band)
        values["language_drift"] = language_drift(text, context.engine.tokenizer)
        samples += [row(opening, TASK, TASK, name, value, text) for name, value in values.items()]
    whole = [token for text in texts for token in tokens_of(text)]
    summary = {f"set_distinct_{n}": distinct(whole, n) for n in (1, 2, 3)}
    summary |= {"band_low": band.low, "band_high": band.high, "noise": band.noise}
    results = scores(samples, context) + [score(TASK, TASK, name, [value], context) for name, value in summary.items()]
    context.task_done(TASK, samples, results)
    return Evaluation(samples, results)


def perplexities(
    reader: Engine, chosen: Sequence[Opening], texts: Sequence[Generation], context: EvaluationContext
) -> list[float | None]:
    """Return the reader's perplexity of each text behind its opening, end of text included; None for no text."""
    asked = [LikelihoodRequest(o.tokens, t.tokens) for o, t in zip(chosen, texts, strict=True) if t.tokens]
    answers = iter(
        reader.loglikelihood(asked, lambda done, total: context.progress(done, total, f"{TASK}: baseline reads"))
    )
    return [math.exp(min(-next(answers).logprob / len(t.tokens), LARGEST)) if t.tokens else None for t in texts]


def shuffled(text: Generation, seed: int) -> Generation:
    """Return a text with its tokens in another order."""
    tokens = list(text.tokens)
    random.Random(seed).shuffle(tokens)
    return text._replace(tokens=tuple(tokens))


def band_of(greedy: Sequence[float | None], sampled: Sequence[float | None], noise: Sequence[float | None]) -> Band:
    """Return the band of a model's own texts, lowest greedy to highest sampled perplexity, and the lowest of noise."""
    low = min((value for value in greedy if value is not None), default=0.0)
    high = max((value for value in (*sampled, *greedy) if value is not None), default=math.inf)
    return Band(low, high, min((value for value in noise if value is not None), default=math.inf))


def judge_text(
    text: Generation, reference: Generation, perplexity: float | None, band: Band
) -> dict[str, float | None]:
    """Return the metrics of one text but its language."""
    tokens = tokens_of(text)
    found = metrics_of(text)
    above = perplexity is not None and perplexity > band.high
    salad = perplexity is not None and perplexity > band.salad
    found |= {
        "distinct_1": distinct(tokens, 1),
        "distinct_3": distinct(tokens, 3),
        "length_ratio": len(text.tokens) / max(1, len(reference.tokens)),
        "teacher_perplexity": perplexity,
        "above_band": float(above),
        "below_band": float(perplexity is not None and perplexity < band.low),
        "salad": float(salad),
        "degenerate": float(bool(found["degenerate"]) or salad),
    }
    return found


def language_drift(text: Generation, tokenizer: Any, language: str = LANGUAGE) -> float | None:
    """Return the share of 50-token windows in another language; None for texts without letters.

    A last window of less than half the size is left out, unless it is the only one.
    """
    tokens = tokens_of(text)
    windows = [tokens[i : i + WINDOW] for i in range(0, len(tokens), WINDOW)]
    if len(windows) > 1 and len(windows[-1]) < WINDOW // 2:
        windows.pop()
    texts = [str(tokenizer.decode(list(window), skip_special_tokens=True)) for window in windows]
    told = [_identify()(text) for text in texts if any(c.isalpha() for c in text)]
    return sum(found != language for found in told) / len(told) if told else None


@cache
def _identify() -> Any:
    """Return a function from text to language code; its model is part of the package."""
    from py3langid import classify

    return lambda text: classify(text)[0]
