"""The run that all samples share: settings, model, engine, sandbox, seeds."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace

from aimo_submit.competition import Competition
from aimo_submit.config import Config
from aimo_submit.engines import Engine, Sampling
from aimo_submit.formats import Format
from aimo_submit.formats.families import format_named
from aimo_submit.records import Problem, Trace
from aimo_submit.sandbox import Sandbox


@dataclass(frozen=True, slots=True)
class Run:
    """Settings, model, engine and sandbox of a run."""

    config: Config
    format: Format
    competition: Competition
    engine: Engine
    sandbox: Sandbox
    watch: Callable[[Problem, Trace], None] = lambda problem, trace: None  # after every change

    def for_sample(self, sample: int) -> Run:
        """Returns the run for that sample: with several formats, in the one whose turn it is."""
        names = self.config.formats
        return replace(self, format=format_named(names[sample % len(names)])) if names else self

    def sampling(self, problem: Problem, trace: Trace, n_prompt: int) -> Sampling:
        """Returns how the trace is sampled next, after a prompt of `n_prompt` tokens."""
        return Sampling(
            temperature=self.config.temperature,
            top_p=self.config.top_p,
            max_new_tokens=min(self.config.max_new_tokens, self.engine.context - n_prompt),
            stop=self.format.stop,
            stop_token_ids=self.format.stop_token_ids,
            seed=seed_of(self.config.seed, problem.text, trace.sample, len(trace.rounds)),
            sample=seed_of(self.config.seed, problem.text, trace.sample),
        )


def seed_of(*parts: object) -> int:
    """Returns a seed of 63 bits that depends on nothing but the parts."""
    digest = hashlib.sha256(repr(parts).encode()).digest()
    return int.from_bytes(digest[:8], "big") >> 1
