"""Rows of a transformers model that run together, a token each at every step."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from aimo_submit.engines import Sampling
from aimo_submit.engines.tokenizer import Tokens
from aimo_submit.engines.transformers.kv_cache import Slots
from aimo_submit.errors import EngineDied
from aimo_submit.records import Completion, Finish

_CHUNK = 512  # tokens of a prompt in one forward pass
_NUCLEUS = 64  # tokens that nearly always hold top_p of the probability


class Request:
    """A completion being made, and the caller who awaits it."""

    def __init__(self, prompt: Sequence[int], sampling: Sampling, limit: int) -> None:
        self.prompt = np.array(prompt, np.int64)
        self.sampling = sampling
        self.limit = limit
        # A number per position from the request's own seed: no other request has a part in it.
        self.noise = np.random.default_rng(sampling.seed).random(self.limit)
        self.tokens: list[int] = []
        self.logprob = 0.0
        self.cancelled = False
        self.future: asyncio.Future[Completion] = asyncio.get_running_loop().create_future()

    def resolve(self, outcome: Completion | EngineDied) -> None:
        """Tells the caller, from another thread than the caller's."""
        with suppress(RuntimeError):  # the caller's loop has ended
            self.future.get_loop().call_soon_threadsafe(self._set, outcome)

    def _set(self, outcome: Completion | EngineDied) -> None:
        if self.future.done():
            return
        if isinstance(outcome, EngineDied):
            self.future.set_exception(outcome)
        else:
            self.future.set_result(outcome)


class Batch:
    """The requests that run, row i in slot i, and those that wait for a row."""

    def __init__(self, model: Any, tokens: Tokens, max_batch: int) -> None:
        config = model.config.get_text_config()
        # Within its window, a sliding layer sees what a full one does.
        window = getattr(config, "sliding_window", None) or config.max_position_embeddings
        self.context = int(min(config.max_position_embeddings, window))
        self.waiting: deque[Request] = deque()
        self._rows: list[Request] = []
        self._slots = Slots(config.num_hidden_layers, max_batch, self.context)
        self._model, self._tokens, self._max = model, tokens, max_batch
        eos = model.generation_config.eos_token_id if model.generation_config else None
        self._eos = tokens.eos.union([eos] if isinstance(eos, int) else eos or [])

    @property
    def rows(self) -> int:
        """The requests that can run together."""
        return self._max

    @property
    def busy(self) -> bool:
        """True if a step has anything to do."""
        return bool(self._rows or self.waiting)

    def free(self) -> None:
        """Lets go of the model and of what it stored."""
        del self._model, self._slots
        self._rows, self.waiting = [], deque()

    def step(self) -> list[tuple[Request, Completion | None]]:
        """Draws a token for every row; returns the requests that ended, None for a cancelled."""
        ended: list[tuple[Request, Completion | None]] = []
        ended += [(request, None) for request in self.waiting if request.cancelled]
        self.waiting = deque(request for request in self.waiting if not request.cancelled)
        # From the last: a row that leaves gives its place to the last one.
        for row in reversed(range(len(self._rows))):
            if self._rows[row].cancelled:
                ended.append((self._leave(row), None))
        self._join()
        if self._rows:
            drawn, logprobs = self._draw()
            for row in reversed(range(len(self._rows))):
                finish = self._advance(self._rows[row], drawn[row], logprobs[row])
                if finish:
                    request = self._leave(row)
                    ended.append((request, self._completion(request, finish)))
        return ended

    def _join(self) -> None:
        """Gives waiting requests the free rows; of equal prompts only the first is computed."""
        first = len(self._rows)
        equal: list[Request] = []
        prompts: set[bytes] = set()
        while self.waiting and len(self._rows) + len(equal) < self._max:
            request = self.waiting.popleft()
            prompt = request.prompt.tobytes()
            if prompt in prompts:
                equal.append(request)
            else:
                prompts.add(prompt)
                self._enter(request)
        self._fill(first)
        for request in equal:
            self._enter(request)

    def _enter(self, request: Request) -> None:
        self._slots.place(request.prompt, len(self._rows))
        self._rows.append(request)

    def _leave(self, row: int) -> Request:
        self._slots.release(row, len(self._rows))
        self._rows[row], self._rows[-1] = self._rows[-1], self._rows[row]
        return self._rows.pop()

    def _fill(self, first: int) -> None:
        """Computes the prompts of the rows from `first` on, all but the last tokens."""
        slots, n = self._slots, len(self._rows)
        ends = np.array([len(request.prompt) - 1 for request in self._rows])
        while len(rows := first + np.flatnonzero(slots.length[first:n] < ends[first:])):
            begin = slots.length[rows]
            size = np.minimum(ends[rows] - begin, _CHUNK)
            # Shorter rows run on beyond their size; what is stored there is overwritten in time.
            at = begin[:, None] + np.arange(size.max())
            tokens = slots.tokens[rows[:, None], np.minimum(at, self.context - 1)]
            self._forward(torch.from_numpy(rows), tokens, at)
            slots.length[rows] += size

    def _draw(self) -> tuple[list[int], list[float]]:
        """The next token of every row and its log-probability."""
        slots, rows = self._slots, np.arange(len(self._rows))
        at = slots.length[: len(rows)]
        logits = self._forward(slice(0, len(rows)), slots.tokens[rows, at][:, None], at[:, None])
        each = [
            (r.sampling.temperature, r.sampling.top_p, r.noise[len(r.tokens)]) for r in self._rows
        ]
        how = torch.tensor(each, dtype=torch.float64, device=logits.device)
        drawn, logprobs = sample(logits, how[:, 0].float(), how[:, 1].float(), how[:, 2])
        tokens = drawn.cpu().numpy()
        at += 1
        room = at < self.context  # a row that fills the context ends now
        slots.tokens[rows[room], at[room]] = tokens[room]
        return tokens.tolist(), logprobs.tolist()

    def _forward(
        self, rows: slice | torch.Tensor, tokens: NDArray[np.int64], at: NDArray[np.int64]
    ) -> torch.Tensor:
        """The logits after the last of these tokens in each row, rows x vocabulary."""
        device = self._model.device
        positions, mask = self._slots.view(rows, at, device)
        out = self._model(
            input_ids=torch.from_numpy(tokens).to(device),
            position_ids=positions,
            attention_mask=mask,
            past_key_values=self._slots,
            use_cache=True,
            logits_to_keep=1,
        )
        logits: torch.Tensor = out.logits[:, -1]
        return logits

    def _advance(self, request: Request, token: int, logprob: float) -> Finish | None:
        """Takes the token drawn for a request; says whether that ends it."""
        request.logprob += logprob
        if token in self._eos or token in request.sampling.stop_token_ids:
            return Finish.EOS
        request.tokens.append(token)
        if self._tokens.stopped(request.tokens, request.sampling.stop):
            return Finish.STOP
        return Finish.LENGTH if len(request.tokens) == request.limit else None

    def _completion(self, request: Request, finish: Finish) -> Completion:
        drawn = len(request.tokens) + (finish is Finish.EOS)
        stop = request.sampling.stop if finish is Finish.STOP else ()
        text, tokens = self._tokens.cut(request.tokens, stop)
        return Completion(text, tokens, finish, request.logprob / drawn)


def sample(
    logits: torch.Tensor, temperature: torch.Tensor, top_p: torch.Tensor, noise: torch.Tensor
) -> tuple[torch.Tensor, torch.Tensor]:
    """A token for every row of logits and its log-probability in what it was drawn from.

    The noise, 0 to 1, picks from the cumulated probability in the order of the vocabulary:
    sorted by probability, the rounding of another batch could swap near-equal tokens.
    """
    greedy = temperature == 0
    logits = logits.float()
    probs = (logits / torch.where(greedy, 1.0, temperature)[:, None]).softmax(-1)
    probs = _nucleus(probs, torch.where(greedy, 1.0, top_p))
    total = probs.cumsum(-1, dtype=torch.float64)
    drawn = torch.searchsorted(total, noise[:, None] * total[:, -1:], right=True)[:, 0]
    drawn = torch.where(greedy, logits.argmax(-1), drawn)
    return drawn, (probs.gather(-1, drawn[:, None])[:, 0] / total[:, -1]).log()


def _nucleus(probs: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The probabilities with those outside the likeliest `top_p` set to 0."""
    every = top_p >= 1
    if every.all():
        return probs
    top = probs.topk(min(_NUCLEUS, probs.shape[-1])).values
    least = _least(top, top_p)
    if (short := (top.sum(-1) < top_p) & ~every).any():
        least[short] = _least(probs[short].sort(-1, descending=True).values, top_p[short])
    return probs.masked_fill(probs < least.masked_fill(every, 0.0)[:, None], 0.0)


def _least(top: torch.Tensor, top_p: torch.Tensor) -> torch.Tensor:
    """The least of these descending probabilities that is needed to reach `top_p`."""
    outside = top.cumsum(-1) - top >= top_p[:, None]
    return top.masked_fill(outside, 1.0).amin(-1)
