"""`aimo-submit profile`: parses, measures, writes, prints."""

from __future__ import annotations

import argparse
import asyncio
import datetime
import time
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console

from aimo_submit import machine
from aimo_submit.cards import Card, config_for
from aimo_submit.config import Config, parse_value
from aimo_submit.console import notes, out
from aimo_submit.errors import UserError
from aimo_submit.hardware import recognise
from aimo_submit.offline.throughput import Profile, load_profile
from aimo_submit.options import Commands, at_least

if TYPE_CHECKING:
    from aimo_submit.offline.measure import Measured

WIDEST = 96
UNREST = 0.25  # between repeats, beyond which something else took the machine's time


def add_profile_command(commands: Commands) -> None:
    """Adds `profile`."""
    profile = commands.add_parser(
        "profile",
        help="measure how quickly an engine generates on this machine; the file travels",
        epilog="example: aimo-submit profile --engine vllm --out t4x2.toml",
    )
    profile.add_argument("--model", default="tiny-tir", metavar="CARD", help="its card (tiny-tir)")
    profile.add_argument("--engine", metavar="NAME", help="default: the card's for this machine")
    profile.add_argument("--weights", type=Path, metavar="DIR", help="where the model lies")
    profile.add_argument("--out", type=Path, required=True, metavar="FILE", help="a .toml")
    profile.add_argument(
        "--widest", type=int, default=WIDEST, metavar="B", help=f"most samples at once ({WIDEST})"
    )
    profile.add_argument(
        "--estimate", metavar="MACHINE", help="do not measure: t4x2, l4x4, ... from data sheets"
    )
    profile.add_argument(
        "-c", dest="settings", action="append", default=[], metavar="NAME=VALUE",
        help="any setting: -c engine_options={tensor_parallel_size=2}",
    )  # fmt: skip
    profile.set_defaults(run=_profile)


def _profile(args: argparse.Namespace) -> int:
    at_least(1, args, "widest")
    if args.out.suffix != ".toml":
        raise UserError(f"--out {args.out}: a profile is a .toml")
    try:  # before minutes of measuring
        args.out.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write {args.out}: {error.strerror}; choose another") from error
    profile = load_profile(args.estimate, args.model) if args.estimate else _measured(args)
    try:
        args.out.write_text(profile.to_toml(), encoding="utf-8")
    except OSError as error:
        raise UserError(f"cannot write {args.out}: {error.strerror}") from error
    pacing = profile.pacing
    how = "estimated" if profile.estimated else "measured"
    line = (
        f"{args.out}: {profile.model} on {profile.machine}, {profile.engine}, {how}: a step of b "
        f"samples takes {1e3 * pacing.s0:.2f} + {1e3 * pacing.s1:.3f} b ms, the cache holds "
        f"{profile.kv_tokens:,} tokens"
    )
    _say(out, line)
    return 0


def _measured(args: argparse.Namespace) -> Profile:
    given = dict(parse_value(setting) for setting in args.settings) | {"model": args.model}
    if args.engine:
        given["engine"] = args.engine
    here = machine.detect()
    name = recognise([gpu.name for gpu in here.gpus])
    config, card = config_for(given, args.weights, name)
    _say(notes, f"{card.name} on {config.engine}, {here}")
    return asyncio.run(_run(config, card, str(here), args))


async def _run(config: Config, card: Card, here: str, args: argparse.Namespace) -> Profile:
    from aimo_submit.offline.measure import lengths_for, measure
    from aimo_submit.start import start_engine

    begun = time.monotonic()
    engine = await start_engine(config, card)
    try:
        load_s = time.monotonic() - begun
        lengths = lengths_for(engine.context, card.sample_tokens)
        # Where an engine does not tell, as much as is about to be tried.
        kv_tokens = getattr(engine, "kv_tokens", 0) or args.widest * lengths.most
        widest = max(1, min(args.widest, kv_tokens // lengths.most))
        found = await measure(engine, lengths, widest, lambda line: _say(notes, line))
    finally:
        await engine.aclose()
    profile = Profile(
        name=args.out.stem,
        model=card.name,
        machine=here,
        engine=config.engine,
        date=datetime.date.today().isoformat(),
        estimated=False,
        steps=found.steps,
        prefill_s=found.prefill_s,
        load_s=round(load_s, 3),
        kv_tokens=kv_tokens,
        replicas=config.engine_options.get("replicas", 1),
        sample_tokens=lengths.held,
        turn_s=found.turn_s,
    )
    _check(profile, found, lengths.prompt)
    return profile


def _check(profile: Profile, found: Measured, prompt: int) -> None:
    """Says how well the profile foretells a batch, and how steady the machine was."""
    foretold_s = profile.batch_s(found.drawn) + found.prefill_s * prompt * len(found.drawn)
    line = (
        f"check: {len(found.drawn)} samples of {min(found.drawn)} to {max(found.drawn)} tokens "
        f"took {found.batch_s:.2f} s, foretold {foretold_s:.2f} s"
    )
    _say(notes, line)
    if found.unrest > UNREST:
        line = f"repeats differ by up to {found.unrest:.0%}: measure again when nothing else runs"
        _say(notes, line)


def _say(console: Console, line: str) -> None:
    console.print(line, soft_wrap=True, highlight=False, markup=False)
