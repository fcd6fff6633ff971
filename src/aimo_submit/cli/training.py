"""`aimo-submit distil`: parses, calls, prints."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

from aimo_submit.cards import Card, card_file, fits_context, load_card
from aimo_submit.cli.options import Commands, add_run_options, at_least, notes, out, settings_of_run
from aimo_submit.competition import EDITIONS
from aimo_submit.config import Config
from aimo_submit.errors import UserError, need
from aimo_submit.training.calibration import HUB, TEXTS, texts_of
from aimo_submit.training.quantize import (
    TOOLS,
    Recipe,
    act_order_for,
    measure_fidelity,
    quantise,
    write_card,
)

if TYPE_CHECKING:
    from aimo_submit.journal import Journal
    from aimo_submit.training.distil import Dataset, Selection, TrainingRow

REPEATS, KEPT = 3, 4


PROMPTS = 200  # continued greedily by both models; none of them is calibrated on


def add_distil_command(commands: Commands) -> None:
    """Adds `distil`."""
    distil = commands.add_parser(
        "distil",
        help="make training data: a teacher's right solutions of a set; resumes when run again",
        epilog="example: aimo-submit distil train.jsonl --out data.parquet --against amc aime -n 8",
    )
    distil.add_argument("problems", metavar="SET", help="problems with answers, as for eval")
    distil.add_argument(
        "--out", type=Path, metavar="FILE", help="to write (default: runs/SET.parquet)"
    )
    distil.add_argument(
        "--against", nargs="+", default=[], metavar="SET",
        help="leave out what is in these sets; the bundled ones always count",
    )  # fmt: skip
    distil.add_argument(
        "--repeats", type=int, default=REPEATS, metavar="K",
        help=f"try what is unsolved so often again, with new seeds ({REPEATS})",
    )  # fmt: skip
    distil.add_argument(
        "--keep", type=int, default=KEPT, metavar="K", help=f"solutions of a problem ({KEPT})"
    )
    distil.add_argument("--limit", type=int, metavar="K", help="take the first K problems only")
    add_run_options(distil)
    distil.set_defaults(run=_distil)


def _distil(args: argparse.Namespace) -> int:
    from aimo_submit.evaluate.runner import settings_of
    from aimo_submit.journal import Journal
    from aimo_submit.training.distil import dataset_of

    config, card = settings_of_run(args)
    target = _target(args)
    _check(args, config, target)
    chosen = _chosen(args, config)
    fits_context(card, chosen.problems)
    journal = target.with_suffix(".samples.jsonl")  # SET may be FILE.jsonl
    with Journal(journal, settings_of(config)) as log:
        _sample(config, card, chosen, log, args.repeats)
    found = dataset_of(chosen.problems, journal, card.format, args.keep)
    _report(found, len(chosen.problems))
    _write(found.rows, target)
    out.print(f"{target}: {len(found.rows)} solutions; every sample is in {journal}")
    return 0


def _target(args: argparse.Namespace) -> Path:
    if args.out:
        return Path(args.out)
    name = args.problems.partition("=")[0]
    return Path("runs") / f"{Path(name).stem}.parquet"


def _check(args: argparse.Namespace, config: Config, target: Path) -> None:
    at_least(0, args, "repeats")
    at_least(1, args, "keep", "limit")
    if target.suffix != ".parquet":
        raise UserError(f"--out {target}: the data is written as Parquet; name it FILE.parquet")
    if config.total_time_s is not None:
        raise UserError("distil keeps no time budget: drop total_time_s")
    need("pandas", "data")
    need("pyarrow", "data")


def _chosen(args: argparse.Namespace, config: Config) -> Selection:
    from aimo_submit.evaluate.problem_sets import BUNDLED, load_problems
    from aimo_submit.training.distil import HeldOut, select_problems

    problems = load_problems(args.problems, EDITIONS[config.edition])[: args.limit]
    sets = list(dict.fromkeys((*BUNDLED, *args.against)))
    texts = {name: [p.text for p in load_problems(name, EDITIONS["any"])] for name in sets}
    chosen = select_problems(problems, HeldOut(texts))
    shared = ", ".join(f"{name} {chosen.held_out[name]}" for name in sets)
    out.print(
        f"{len(problems)} problems: {chosen.no_answer} without an answer, {chosen.repeated} "
        f"repeated, in the sets that are measured on: {shared}; {len(chosen.problems)} are left",
        soft_wrap=True,
    )
    if not chosen.problems:
        raise UserError(f"{args.problems}: no problem is left that may be trained on")
    return chosen


def _sample(config: Config, card: Card, chosen: Selection, journal: Journal, repeats: int) -> None:
    from aimo_submit import show, start_solver
    from aimo_submit.evaluate.runner import problems_at_once, remaining
    from aimo_submit.training.distil import sample, unsolved

    seeds = range(config.seed, config.seed + 1 + repeats)
    if not remaining(unsolved(chosen.problems, journal.path), seeds, journal):
        return  # nothing to do is no reason to load a model
    with notes.status(f"loading {card.name} on {config.engine}"):
        solver = start_solver(config, card).load()
    with solver:
        sample(
            solver,
            chosen.problems,
            journal,
            seeds,
            at_once=problems_at_once(config),
            report=lambda solution: notes.print(show.solution_line(solution)),
        )


def _report(found: Dataset, problems: int) -> None:
    out.print(
        f"{found.solved} of {problems} problems solved; {found.samples} samples: "
        f"{found.samples - found.right} wrong, {found.unsound} whose last code failed, "
        f"{found.alike} near-duplicates dropped",
        soft_wrap=True,
    )


def _write(rows: Sequence[TrainingRow], target: Path) -> None:
    """Writes the rows; a file of that name is replaced only by a whole one."""
    import pandas as pd

    if not rows:
        raise UserError("no solution is right: nothing is written; try a stronger teacher")
    part = target.with_name(target.name + ".part")
    pd.DataFrame(list(rows)).to_parquet(part, index=False)
    part.replace(target)


def add_quantize_command(commands: Commands) -> None:
    """Adds `quantize`."""
    quantize = commands.add_parser(
        "quantize",
        help="write a card's model in 8 or 4 bits (GPTQ), and compare it with the original",
        epilog="example: aimo-submit quantize numina-7b-tir --bits 8 --traces pool/",
    )
    quantize.add_argument("card", metavar="CARD", help="the original's card")
    quantize.add_argument("--bits", type=int, choices=(8, 4), default=8, help="a weight (8)")
    quantize.add_argument(
        "--traces", default=HUB, metavar="SOURCE",
        help="to calibrate on: a recorded pool, a file with problem and solution, a hub set "
        f"({HUB})",
    )  # fmt: skip
    quantize.add_argument(
        "--vllm", default="0.19", metavar="VERSION",
        help="that is to load it: from 0.30 on without act-order (0.19, Kaggle's)",
    )  # fmt: skip
    quantize.add_argument("--tool", choices=TOOLS, default=TOOLS[0], help="default: gptqmodel")
    quantize.add_argument(
        "--out", type=Path, metavar="FOLDER", help="default: beside the original, NAME-gptqBITS"
    )
    quantize.set_defaults(run=_quantize)


def _quantize(args: argparse.Namespace) -> int:
    card = load_card(args.card)
    recipe = Recipe(args.bits, act_order_for(args.vllm), args.tool)
    folder = args.out or card.path.parent / f"{card.name}-gptq{args.bits}"
    with notes.status(f"reading {args.traces}"):
        texts = texts_of(args.traces, card.format, TEXTS + PROMPTS)
    unseen = texts[: min(PROMPTS, 2 * len(texts) // 3)]
    calibration = texts[len(unseen) :][:TEXTS]
    if not unseen:
        raise UserError(f"{args.traces}: one solution is too few; 50 would do, {TEXTS} are better")
    notes.print(f"calibrating on {len(calibration)} traces of {args.traces}")
    with redirect_stdout(sys.stderr):  # gptqmodel's progress
        quantise(card, recipe, [text.whole for text in calibration], folder)
        seen = measure_fidelity(card.path, folder, unseen)
    file = write_card(card_file(args.card), recipe, folder, seen)
    out.print(
        f"{folder}: greedy tokens equal on {seen.equal:.1%} of {seen.prompts} prompts, perplexity "
        f"{seen.original:.3f} -> {seen.perplexity:.3f}; its card: {file}",
        soft_wrap=True,
    )
    return 0
