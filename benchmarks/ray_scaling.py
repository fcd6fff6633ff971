"""One Ray actor against two, each with a core of its own: tiny-tir on transformers.

Models are loaded before the clock starts. Both runs solve the same problems with the same seed, so
their answers must agree. Wants a machine on which two cores are free.

    python benchmarks/ray_scaling.py --problems 40 --samples 32
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import ray

from aimo_submit.cards import config_for
from aimo_submit.competition import competition_named
from aimo_submit.config import Config
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.evaluate.ray import Actors
from aimo_submit.evaluate.runner import evaluate, problems_at_once, settings_of
from aimo_submit.journal import Journal, read_journal
from aimo_submit.records import Problem, Solution


@dataclass(frozen=True, slots=True)
class Timed:
    """A run: its seconds, what it solved."""

    seconds: float
    solutions: list[Solution]

    @property
    def tokens(self) -> int:
        """Tokens that all samples generated."""
        return sum(trace.n_tokens for s in self.solutions for trace in s.traces)


def timed(config: Config, problems: list[Problem], actors: int) -> Timed:
    """The problems solved by that many actors of one core each."""
    jobs, at_once = [(problem, 0) for problem in problems], problems_at_once(config)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "run.jsonl"
        with (
            Journal(path, settings_of(config)) as journal,
            Actors(config, actors=actors, at_once=at_once) as crew,
        ):
            while not all(place.pid for place in crew.places):
                time.sleep(0.1)
            start = time.monotonic()
            evaluate(crew, jobs, journal, at_once=at_once * actors)
            seconds = time.monotonic() - start
        return Timed(seconds, sorted(read_journal(path)[1], key=lambda s: s.problem.id))


def main() -> None:
    """Prints seconds, tokens a second, and how much of the second actor arrives."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--problems", type=int, default=40)
    parser.add_argument("--samples", type=int, default=32)
    given = parser.parse_args()
    config, _ = config_for({"samples": given.samples, "edition": "aimo-2"})
    problems = load_problems("tiny", competition_named("aimo-2"))[: given.problems]
    runs = {}
    for actors in (1, 2):
        ray.init(address="local", num_cpus=actors, log_to_driver=False, logging_level="ERROR")
        runs[actors] = run = timed(config, problems, actors)
        ray.shutdown()
        rate = run.tokens / run.seconds
        print(f"{actors} actor(s): {run.seconds:6.1f} s, {rate:7.0f} tokens/s", flush=True)
    pairs = list(zip(runs[1].solutions, runs[2].solutions, strict=True))
    texts = [a.text == b.text for x, y in pairs for a, b in zip(x.traces, y.traces, strict=True)]
    print(f"speed-up: {runs[1].seconds / runs[2].seconds:.2f}")
    print(f"same answers: {sum(x.answer == y.answer for x, y in pairs)} of {len(pairs)}")
    print(f"same samples: {sum(texts) / len(texts):.2%}")


if __name__ == "__main__":
    main()
