"""lm-eval's view of an engine: string requests in, tokenised exactly as lm-eval's own `hf` model does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from jinja2 import TemplateError
from lm_eval.api.model import TemplateLM
from lm_eval.models.utils import handle_stop_sequences, has_bos_prefix, normalize_gen_kwargs
from lm_eval.utils import get_rolling_token_windows, make_disjoint_window

from qharness.engines.base import Engine, Generation, GenerationRequest, LikelihoodRequest, Progress
from qharness.errors import UsageError

if TYPE_CHECKING:
    from lm_eval.api.instance import Instance

LikelihoodPath = Literal["prefill", "decode"]
MAX_GEN_TOKS = 256
"""lm-eval's limit for tasks that set none."""
UNDERSTOOD = {"until", "max_gen_toks", "do_sample", "temperature"}
AT_ONCE = 1024
"""Requests whose texts are tokenised together, by all cores."""


class RequestId(NamedTuple):
    """Which request of which document: lm-eval's task name, document index, index within the document."""

    task: str
    doc_id: int
    idx: int


class EngineLM(TemplateLM):
    """Answers lm-eval's requests with an engine.

    Args:
        engine: The engine.
        path: Whether log-likelihoods go through prefill or through the decode path.
        progress: Told (done, total) of the engine's requests.
        seed: Seed of sampled generation.

    Attributes:
        generations: What the engine generated, by request.
        scored: Number of scored tokens, by request.
    """

    def __init__(self, engine: Engine, path: LikelihoodPath, progress: Progress, seed: int = 0) -> None:
        super().__init__()
        self.engine = engine
        self.tokenizer = engine.tokenizer
        self.generations: dict[RequestId, Generation] = {}
        self.scored: dict[RequestId, int] = {}
        self._path = path
        self._progress = progress
        self._seed = seed
        self._encoded: dict[str, list[int]] = {}

    @property
    def eot_token_id(self) -> int:
        """Return the end-of-text token."""
        return int(self.tokenizer.eos_token_id)

    @property
    def prefix_token_id(self) -> int:
        """Return the token that stands for an empty context: beginning of text, else end of text."""
        bos = self.tokenizer.bos_token_id
        return self.eot_token_id if bos is None else int(bos)

    @property
    def tokenizer_name(self) -> str:
        """Return the tokenizer's name, which lm-eval puts in fingerprints."""
        return str(self.tokenizer.name_or_path).replace("/", "__")

    def tok_encode(self, string: str, add_special_tokens: bool | None = None, **kwargs: Any) -> list[int]:
        """Return token ids; special tokens are the tokenizer's default unless the text already opens with them."""
        if add_special_tokens is None and string in self._encoded:
            return self._encoded[string]
        return self._encode_all([string], add_special_tokens)[0]

    def _encode_all(self, strings: Sequence[str], add_special_tokens: bool | None = None) -> list[list[int]]:
        """Return the token ids of texts of which either all or none open with the prefix token."""
        if add_special_tokens is None and has_bos_prefix(strings[0], self.tokenizer.decode(self.prefix_token_id)):
            add_special_tokens = False
        return self._tokenise(strings, add_special_tokens)

    def _tokenise(self, strings: Sequence[str], add_special_tokens: bool | None) -> list[list[int]]:
        options = {} if add_special_tokens is None else {"add_special_tokens": add_special_tokens}
        ids: list[list[int]] = self.tokenizer(
            list(strings), return_attention_mask=False, return_token_type_ids=False, **options
        )["input_ids"]
        return ids

    def _remember(self, pairs: Sequence[tuple[str, str]]) -> None:
        """Tokenise the texts that scoring these contexts and continuations asks for; forget those before."""
        texts = dict.fromkeys(text for c, k in pairs if c for text in (c + k, c.rstrip()) if text)
        opening = self.tokenizer.decode(self.prefix_token_id)
        self._encoded = {}
        for opens in (True, False):
            chosen = [text for text in texts if has_bos_prefix(text, opening) == opens]
            if chosen:
                self._encoded.update(zip(chosen, self._encode_all(chosen), strict=True))

    def encode_prompts(self, strings: Sequence[str]) -> list[tuple[int, ...]]:
        """Return the token ids of prompts to continue; the opening token is not doubled."""
        found: dict[str, tuple[int, ...]] = {}
        for opens in (True, False):
            chosen = [s for s in dict.fromkeys(strings) if has_bos_prefix(s, self.tokenizer.bos_token) == opens]
            if chosen:
                ids = self._tokenise(chosen, False if opens else None)
                found.update((text, tuple(tokens)) for text, tokens in zip(chosen, ids, strict=True))
        return [found[string] for string in strings]

    def loglikelihood(self, requests: list[Instance], disable_tqdm: bool = True) -> list[tuple[float, bool]]:
        """Score (context, continuation) pairs."""
        asked: list[tuple[Any, list[int], list[int]]] = []
        for first in range(0, len(requests), AT_ONCE):
            pairs = [request.args for request in requests[first : first + AT_ONCE]]
            self._remember(pairs)
            asked += [(pair, *self._encode_scored(*pair)) for pair in pairs]
        for request, (_, _, continuation) in zip(requests, asked, strict=True):
            self.scored[RequestId(request.task_name, request.doc_id, request.idx)] = len(continuation)
        return self._loglikelihood_tokens(asked)

    def _encode_scored(self, context: str, continuation: str) -> tuple[list[int], list[int]]:
        """Return the tokens of both; the prefix token stands for an empty context."""
        if context:
            pair: tuple[list[int], list[int]] = self._encode_pair(context, continuation)
            return pair
        tokens = self.tok_encode(continuation, add_special_tokens=False)
        return (tokens[:1], tokens[1:]) if tokens[:1] == [self.prefix_token_id] else ([self.prefix_token_id], tokens)

    def _loglikelihood_tokens(
        self, requests: Sequence[tuple[Any, list[int], list[int]]], **kwargs: Any
    ) -> list[tuple[float, bool]]:
        asked = [LikelihoodRequest(tuple(context), tuple(continuation)) for _, context, continuation in requests]
        score = self.engine.loglikelihood if self._path == "prefill" else self.engine.decode_loglikelihood
        return [(answer.logprob, answer.is_greedy) for answer in score(asked, self._progress)]

    def loglikelihood_rolling(self, requests: list[Instance], disable_tqdm: bool = True) -> list[float]:
        """Score whole texts, cut into windows of the model's length with one token of context."""
        owners: list[int] = []
        windows: list[tuple[None, list[int], list[int]]] = []
        for place, request in enumerate(requests):
            cut = get_rolling_token_windows(
                token_list=self.tok_encode(request.args[0]),
                prefix_token=self.prefix_token_id,
                max_seq_len=self.engine.max_length,
                context_len=1,
            )
            for window in map(make_disjoint_window, cut):
                owners.append(place)
                windows.append((None, *window))
        totals = [0.0] * len(requests)
        for owner, (logprob, _) in zip(owners, self._loglikelihood_tokens(windows), strict=True):
            totals[owner] += logprob
        return totals

    def generate_until(self, requests: list[Instance], disable_tqdm: bool = True) -> list[str]:
        """Continue prompts until a stop string."""
        prompts = self.encode_prompts([request.args[0] for request in requests])
        asked = [
            self._generation_request(place, prompt, request.args[1])
            for place, (prompt, request) in enumerate(zip(prompts, requests, strict=True))
        ]
        answers = self.engine.generate(asked, self._progress)
        for request, answer in zip(requests, answers, strict=True):
            self.generations[RequestId(request.task_name, request.doc_id, request.idx)] = answer
        return [answer.text for answer in answers]

    def _generation_request(self, place: int, prompt: tuple[int, ...], settings: dict[str, Any]) -> GenerationRequest:
        kwargs = normalize_gen_kwargs(settings, MAX_GEN_TOKS)
        unknown = set(kwargs) - UNDERSTOOD
        if unknown:
            raise UsageError(
                f"The task asks for the generation setting '{min(unknown)}', which qharness does not have; "
                f"it has {', '.join(sorted(UNDERSTOOD))}."
            )
        eos = self.tokenizer.decode(self.eot_token_id, skip_special_tokens=False)
        until = handle_stop_sequences(kwargs["until"], eos=eos)
        temperature = float(kwargs.get("temperature", 1.0)) if kwargs["do_sample"] else 0.0
        seed = self._seed + place if temperature > 0 else 0
        return GenerationRequest(prompt, tuple(until), int(kwargs["max_gen_toks"]), temperature, seed)

    def apply_chat_template(self, chat_history: list[dict[str, str]], add_generation_prompt: bool = True) -> str:
        """Return the chat as a prompt; a template that knows no system role gets the chat without it."""
        options = {
            "tokenize": False,
            "add_generation_prompt": add_generation_prompt,
            "continue_final_message": not add_generation_prompt,
        }
        try:
            return str(self.tokenizer.apply_chat_template(chat_history, **options))
        except TemplateError:
            spoken = [message for message in chat_history if message["role"] != "system"]
            return str(self.tokenizer.apply_chat_template(spoken, **options))
