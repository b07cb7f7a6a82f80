"""Log-likelihoods from vLLM: in prefill, and through its decode path."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from vllm import SamplingParams
from vllm.sampling_params import RequestOutputKind

from qharness.engines.base import Likelihood
from qharness.engines.decode_likelihood import tail_of
from qharness_vllm.forcing import FORCED

if TYPE_CHECKING:
    from vllm.logprobs import Logprob
    from vllm.outputs import RequestOutput

    from qharness.engines.prefixes import PrefixTree
    from qharness_vllm.session import Ask, Session

    Row = dict[int, Logprob]

MOST_TOKENS = 128
"""Most tokens whose log-probability one request may name in vLLM."""


def prefill_likelihood(session: Session, trees: Sequence[PrefixTree]) -> dict[int, Likelihood]:
    """Score all members of trees by one pass over each context, or over context and continuation.

    Continuations of one token after the same context share its pass; of a longer one vLLM reports the
    log-probabilities of the prompt's own tokens, the last token being named to the sampler.

    Returns:
        Likelihoods by the index of the request.
    """
    answers: dict[int, Likelihood] = {}
    # Apart, since vLLM's sampler answers one kind of question in a batch.
    _score_bare(session, [tree for tree in trees if tree.is_bare], answers)
    _score_long(session, [tree for tree in trees if not tree.is_bare], answers)
    return answers


def decode_likelihood(session: Session, trees: Sequence[PrefixTree]) -> dict[int, Likelihood]:
    """Score all members of trees through the key-value cache.

    The last tokens of the context and the continuation are written one by one by a logits processor that leaves no
    choice; the log-probabilities are those of the model's own logits.

    Returns:
        Likelihoods by the index of the request.
    """
    asks, scored = [], []
    for tree in trees:
        cut = tree.context - tail_of(tree)
        for index, members in tree.members.items():
            continuation = [token for _, token in members]
            forced = [*tree.tokens[cut : tree.context], *continuation]
            asks.append((tree.tokens[:cut], _greedy(max_tokens=len(forced), logprobs=1, extra_args={FORCED: forced})))
            scored.append((index, continuation))
    answers: dict[int, Likelihood] = {}

    def receive(place: int, output: RequestOutput) -> None:
        index, continuation = scored[place]
        found = _rows(output.outputs[0].logprobs)[-len(continuation) :]
        answers[index] = _sum(found, continuation)

    _run(session, asks, receive)
    return answers


def _score_bare(session: Session, trees: Sequence[PrefixTree], answers: dict[int, Likelihood]) -> None:
    asks: list[Ask] = []
    members: list[dict[int, int]] = []
    for tree in trees:
        tokens = {index: scored[-1].token for index, scored in tree.members.items()}
        distinct = list(dict.fromkeys(tokens.values()))
        for start in range(0, len(distinct), MOST_TOKENS):
            named = distinct[start : start + MOST_TOKENS]
            asks.append((tree.tokens, _greedy(max_tokens=1, logprob_token_ids=named)))
            members.append({index: token for index, token in tokens.items() if token in named})

    def receive(place: int, output: RequestOutput) -> None:
        best, found = output.outputs[0].token_ids[0], _rows(output.outputs[0].logprobs)[0]
        for index, token in members[place].items():
            answers[index] = Likelihood(found[token].logprob, token == best)

    _run(session, asks, receive)


def _score_long(session: Session, trees: Sequence[PrefixTree], answers: dict[int, Likelihood]) -> None:
    asks: list[Ask] = []
    scored: list[tuple[int, list[int]]] = []
    for tree in trees:
        for index, members in tree.members.items():
            continuation = [token for _, token in members]
            last = {FORCED: continuation[-1:]}
            params = _greedy(max_tokens=1, logprobs=1, prompt_logprobs=1, flat_logprobs=True, extra_args=last)
            asks.append(([*tree.tokens[: tree.context], *continuation[:-1]], params))
            scored.append((index, continuation))

    def receive(place: int, output: RequestOutput) -> None:
        index, continuation = scored[place]
        asked = _rows(output.prompt_logprobs)
        found = [asked[i] for i in range(len(asked) - len(continuation) + 1, len(asked))]
        answers[index] = _sum([*found, _rows(output.outputs[0].logprobs)[0]], continuation)

    _run(session, asks, receive)


def _greedy(**settings: Any) -> SamplingParams:
    return SamplingParams(
        temperature=0, detokenize=False, ignore_eos=True, output_kind=RequestOutputKind.FINAL_ONLY, **settings
    )


def _run(session: Session, asks: Sequence[Ask], receive: Callable[[int, RequestOutput], None]) -> None:
    def finished(place: int, output: RequestOutput) -> bool:
        receive(place, output)
        return True

    session.run(asks, finished)


def _rows(found: Sequence[Row | None] | None) -> Sequence[Row]:
    assert found is not None, "vLLM reported no log-probabilities"
    return found  # type: ignore[return-value]


def _sum(rows: Sequence[Row], tokens: Sequence[int]) -> Likelihood:
    chosen = [row[token] for row, token in zip(rows, tokens, strict=True)]
    return Likelihood(sum(entry.logprob for entry in chosen), all(entry.rank == 1 for entry in chosen))
