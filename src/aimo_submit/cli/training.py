"""`aimo-submit distil | quantize`: training data from a teacher, and its model in fewer bits."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import Parameter

from aimo_submit import show
from aimo_submit.cards import Card, card_file, fits_context, load_card
from aimo_submit.cli.options import NONE_GIVEN, Count, RunOptions, at_least, note, notes, say
from aimo_submit.competition import competition_named
from aimo_submit.config import Config, settings_of
from aimo_submit.errors import UserError, need
from aimo_submit.evaluate.problem_sets import BUNDLED, load_problems
from aimo_submit.evaluate.runner import problems_at_once, remaining
from aimo_submit.journal import Journal
from aimo_submit.records import Problem
from aimo_submit.start import start_solver
from aimo_submit.training.distil import (
    HeldOut,
    dataset_of,
    sample,
    select_problems,
    unsolved,
)
from aimo_submit.training.quantize import (
    HUB,
    TEXTS,
    TOOLS,
    Recipe,
    act_order_for,
    measure_fidelity,
    quantise,
    texts_of,
    write_card,
)

PROMPTS = 200  # continued greedily by both models; none of them is calibrated on


def distil(
    problems: str,
    /,
    *,
    out: Path | None = None,
    against: Annotated[tuple[str, ...], Parameter(consume_multiple=(1, None))] = (),
    repeats: Annotated[int, Parameter(validator=at_least(0))] = 3,
    keep: Count = 4,
    limit: Count | None = None,
    run: RunOptions = NONE_GIVEN,
) -> None:
    """Writes a teacher's right solutions of a set as Parquet, and goes on where it was stopped.

    Args:
        problems: problems with answers, a set as for eval
        out: the .parquet to write [default: runs/SET.parquet]
        against: leave out what is in these sets; the bundled ones always count
        repeats: how often what is unsolved is tried again, with new seeds
        keep: solutions of a problem, at most
        limit: take the first K problems only
    """
    config, card = run.resolved()
    target = out or Path("runs") / f"{Path(problems.partition('=')[0]).stem}.parquet"
    if target.suffix != ".parquet":
        raise UserError(f"--out {target}: the data is written as Parquet; name it FILE.parquet")
    if config.total_time_s is not None:
        raise UserError("distil keeps no time budget: drop total_time_s")
    need("pyarrow", "data")
    pandas = need("pandas", "data")
    chosen = _chosen(problems, limit, against, config)
    fits_context(card, chosen)
    journal = target.with_suffix(".samples.jsonl")  # SET may be FILE.jsonl
    with Journal(journal, settings_of(config)) as log:
        _sample(config, card, chosen, log, repeats)
    found = dataset_of(chosen, journal, card.format, keep)
    say(
        f"{found.solved} of {len(chosen)} problems solved; {found.samples} samples: "
        f"{found.samples - found.right} wrong, {found.unsound} whose last code failed, "
        f"{found.alike} near-duplicates dropped"
    )
    if not found.rows:
        raise UserError("no solution is right: nothing is written; try a stronger teacher")
    part = target.with_name(target.name + ".part")
    pandas.DataFrame(found.rows).to_parquet(part, index=False)
    part.replace(target)  # only by a whole file
    say(f"{target}: {len(found.rows)} solutions; every sample is in {journal}")


def _chosen(
    source: str, limit: int | None, against: Sequence[str], config: Config
) -> list[Problem]:
    """The set's problems that may be trained on, after a line on the others."""
    problems = load_problems(source, competition_named(config.edition))[:limit]
    sets = list(dict.fromkeys((*BUNDLED, *against)))
    anything = competition_named("any")
    texts = {name: [p.text for p in load_problems(name, anything)] for name in sets}
    chosen = select_problems(problems, HeldOut(texts))
    shared = ", ".join(f"{name} {chosen.held_out[name]}" for name in sets)
    say(
        f"{len(problems)} problems: {chosen.no_answer} without an answer, {chosen.repeated} "
        f"repeated, in the sets that are measured on: {shared}; {len(chosen.problems)} are left"
    )
    if not chosen.problems:
        raise UserError(f"{source}: no problem is left that may be trained on")
    return chosen.problems


def _sample(
    config: Config, card: Card, problems: list[Problem], journal: Journal, repeats: int
) -> None:
    seeds = range(config.seed, config.seed + 1 + repeats)
    if not remaining(unsolved(problems, journal.path), seeds, journal):
        return  # nothing to do is no reason to load a model
    with notes.status(f"loading {card.name} on {config.engine}"):
        solver = start_solver(config, card).load()
    with solver:
        sample(
            solver,
            problems,
            journal,
            seeds,
            at_once=problems_at_once(config),
            report=lambda solution: notes.print(show.solution_line(solution)),
        )


def quantize(
    original: str,
    /,
    *,
    bits: Literal[8, 4] = 8,
    traces: str = HUB,
    vllm: str = "0.19",
    tool: Annotated[str, Parameter(choices=TOOLS)] = TOOLS[0],
    out: Path | None = None,
) -> None:
    """Writes a card's model in fewer bits, and how far its answers are the original's.

    Args:
        original: its card: a name that `models` lists, or a .toml
        bits: of a weight
        traces: to calibrate on: a recorded pool, a file with problem and solution, a hub set
        vllm: the version that is to load it: from 0.30 on without act-order; 0.19 is Kaggle's
        tool: that writes the weights
        out: folder to write to [default: beside the original, NAME-gptqBITS]
    """
    card = load_card(original)
    recipe = Recipe(bits, act_order_for(vllm), tool)
    folder = out or card.path.parent / f"{card.name}-gptq{bits}"
    with notes.status(f"reading {traces}"):
        texts = texts_of(traces, card.format, TEXTS + PROMPTS)
    unseen = texts[: min(PROMPTS, 2 * len(texts) // 3)]
    calibrating = texts[len(unseen) :][:TEXTS]
    if not unseen:
        raise UserError(f"{traces}: one solution is too few; 50 would do, {TEXTS} are better")
    note(f"calibrating on {len(calibrating)} traces of {traces}")
    with redirect_stdout(sys.stderr):  # gptqmodel's progress
        quantise(card, recipe, [text.whole for text in calibrating], folder)
        seen = measure_fidelity(card.path, folder, unseen)
    file = write_card(card_file(original), recipe, folder, seen)
    say(
        f"{folder}: greedy tokens equal on {seen.equal:.1%} of {seen.prompts} prompts, perplexity "
        f"{seen.original:.3f} -> {seen.perplexity:.3f}; its card: {file}"
    )
