"""Perplexity of text in windows of equal length, as GPTQ's authors measure it (arXiv 2210.17323, section 5).

Texts are joined, tokenised as one, and cut into windows of 2,048 tokens, or of the model's maximum length; what is left
over at the end is dropped. A window is scored without the ones before it, from its second token on. Figures compare
only under one protocol, which therefore stands in each row as its filter.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from qharness.engines.base import LikelihoodRequest
from qharness.errors import MissingData, UsageError
from qharness.evaluation.base import Evaluation, EvaluationContext
from qharness.results.schema import Result, Sample
from qharness.statistics.intervals import standard_error

if TYPE_CHECKING:
    from qharness.host import Host

NAME = "perplexity"
WINDOW = 2048
EMBEDDED_WINDOWS, EMBEDDED_WINDOW = 32, 512
"""Windows of the embedded model's own text: enough for two digits, in seconds on two cores."""
HELD_OUT_SEED = 1_000_007
"""Seed of text that a generator makes for measuring; calibration uses the seed of the run."""


@dataclass(frozen=True)
class Protocol:
    """How a text is read.

    Attributes:
        source: Text source, as for `--text`.
        joint: What stands between texts.
        texts: Most texts that are read, or None.
        windows: Most windows, or None.
        window: Tokens of a window.
    """

    source: str
    joint: str = "\n\n"
    texts: int | None = None
    windows: int | None = None
    window: int = WINDOW


PROTOCOLS = {
    "wikitext2": Protocol("hub:Salesforce/wikitext/wikitext-2-raw-v1:test"),
    "c4": Protocol("hub:allenai/c4/en:validation", joint=" ", texts=1100, windows=256),
    "wikipedia_pl": Protocol("hub:wikimedia/wikipedia/20231101.pl:train", texts=400, windows=128),
}
"""Named texts: the two of GPTQ (test of WikiText-2; the first 1,100 texts of C4's validation, 256 windows), and the
first 400 articles of the Polish Wikipedia, held out unless a method was calibrated with them."""


def protocol_of(name: str) -> Protocol:
    """Return the protocol of a name or of any text source."""
    if name in PROTOCOLS:
        return PROTOCOLS[name]
    if ":" in name:
        return Protocol(name)
    return Protocol(name, windows=EMBEDDED_WINDOWS, window=EMBEDDED_WINDOW)


def run_perplexity(context: EvaluationContext) -> Evaluation:
    """Measure the perplexity of every text that the context names, or of one; `limit` bounds the windows.

    Raises:
        UsageError: No text is named.
        MissingData: A text cannot be read, or is shorter than a window.
    """
    if not context.perplexity or context.host is None:
        raise UsageError(
            "Perplexity needs text: name some with --perplexity wikitext2, c4, wikipedia_pl, file:PATH or hub:ID."
        )
    found = Evaluation()
    for name in (name for name in context.perplexity if context.part in ("", name)):
        samples, results = measure(name, protocol_of(name), context, context.host)
        context.task_done(name, samples, results)
        found.samples += samples
        found.results += results
    return found


def measure(name: str, protocol: Protocol, context: EvaluationContext, host: Host) -> tuple[list[Sample], list[Result]]:
    """Return a row for each window with its mean negative log-likelihood in nats, and the results."""
    from qharness.calibration.sources import texts_of

    length = min(protocol.window, context.engine.max_length)
    read = texts_of(protocol.source, host, HELD_OUT_SEED)
    most = min((n for n in (protocol.windows, context.limit) if n is not None), default=None)
    windows = cut(read, protocol, context.engine.tokenizer, length, most)
    if not windows:
        raise MissingData(f"The text '{protocol.source}' has less than {length} tokens, one window; give more text.")
    requests = [LikelihoodRequest(window[:1], window[1:]) for window in windows]
    answers = context.engine.loglikelihood(requests, lambda done, total: context.progress(done, total, name))
    losses = [-answer.logprob / (length - 1) for answer in answers]
    label = f"windows of {length}"
    samples = [
        Sample(
            evaluator=NAME, task=name, kind="mc", doc_id=place, doc_hash=_sha256(window), prompt_hash=_sha256(window),
            cluster=str(place), filter=label, metric="nll", value=loss, gold="", prediction="", tokens=length - 1,
        )
        for place, (window, loss) in enumerate(zip(windows, losses, strict=True))
    ]  # fmt: skip
    mean = sum(losses) / len(losses)
    stderr = standard_error(losses)
    perplexity = math.exp(min(mean, 700.0))

    def result(metric: str, value: float, error: float | None) -> Result:
        return Result(
            evaluator=NAME, suite=context.suite.name, task=name, kind="mc", metric=metric, filter=label,
            num_fewshot=0, n=len(losses), value=value, stderr=error, data=protocol.source,
        )  # fmt: skip

    error = None if stderr is None else perplexity * stderr
    return samples, [result("perplexity", perplexity, error), result("nll", mean, stderr)]


def cut(
    read: Callable[[], Iterator[str]], protocol: Protocol, tokenizer: Any, length: int, most: int | None
) -> list[tuple[int, ...]]:
    """Return the windows of a joined text; an endless source is read no further than needed."""
    texts: list[str] = []
    size = 0
    for text in islice(read(), protocol.texts):
        texts.append(text)
        size += len(text)
        # A token has more than one character on average, but never less; twice the need is read, then counted.
        if most is not None and size > 2 * most * length and len(_tokens(tokenizer, texts, protocol)) >= most * length:
            break
    tokens = _tokens(tokenizer, texts, protocol)
    count = len(tokens) // length
    return [tuple(tokens[i * length : (i + 1) * length]) for i in range(count if most is None else min(count, most))]


def _tokens(tokenizer: Any, texts: list[str], protocol: Protocol) -> list[int]:
    ids: list[int] = tokenizer(protocol.joint.join(texts), verbose=False)["input_ids"]
    return ids


def _sha256(tokens: tuple[int, ...]) -> str:
    return hashlib.sha256(repr(tokens).encode()).hexdigest()
