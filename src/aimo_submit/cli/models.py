"""`aimo-submit models`: the cards, and what of them fits which machine."""

from __future__ import annotations

import argparse
import asyncio
import dataclasses
import datetime
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from rich import box
from rich.console import Console
from rich.table import Table

from aimo_submit.cards import Card, all_cards, config_for, engine_settings, find_card
from aimo_submit.cards.fit import fit, hardware_of
from aimo_submit.cli.options import Commands, at_least, notes, out
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.machines import GIB, HARDWARE, Hardware, Plan, detect, recognise, step_s
from aimo_submit.toml import parse_value
from aimo_submit.tune.profile import Profile, load_profile

WIDEST = 96
SPREAD = 0.25  # between repeats, beyond which something else took the machine's time


def add_models_command(commands: Commands) -> None:
    """Adds `models`."""
    models = commands.add_parser(
        "models",
        help="list the model cards, and what of them fits which machine",
        epilog="example: aimo-submit models --machine t4x2 --samples 48",
    )
    models.add_argument("card", nargs="?", metavar="CARD", help="all about this one")
    models.add_argument("--machine", metavar="NAME", help=f"one of {', '.join(HARDWARE)}")
    models.add_argument("-n", "--samples", type=int, default=48, metavar="N", help="at once (48)")
    models.set_defaults(run=_models)


def _machines() -> dict[str, Hardware]:
    """The machines that are known; the CPU is this machine's."""
    cpu = dataclasses.replace(detect.detect(), gpus=())
    return {**HARDWARE, "cpu": hardware_of(cpu) or HARDWARE["cpu"]}


def _models(args: argparse.Namespace) -> int:
    at_least(1, args, "samples")
    if args.card is not None:
        _say(out, _details(find_card(args.card)))
    elif args.machine is None:
        out.print(_overview(args.samples))
        _say(notes, ["details: aimo-submit models --machine t4x2, or aimo-submit models CARD"])
    elif args.machine in HARDWARE:
        hardware = _machines()[args.machine]
        out.print(_closely(hardware, args.samples))
        _say(out, _refused(hardware))
        _say(notes, ["tokens/s are estimates from data sheets: aimo-submit profile measures"])
    else:
        raise UserError(f"--machine {args.machine}: known are {', '.join(HARDWARE)}")
    return 0


def _say(console: Console, lines: Iterable[str]) -> None:
    for line in lines:
        console.print(line, soft_wrap=True, highlight=False, markup=False)


def _overview(samples: int) -> Table:
    """A row for each card, a column for each machine: how many samples run there together."""
    table = Table(box=box.SIMPLE, title=f"{samples} samples at once", pad_edge=False)
    table.add_column("model", no_wrap=True)
    for heading in ("GiB", *HARDWARE):
        table.add_column(heading, justify="right")
    for card in all_cards():
        gib = f"{card.size.weight_bytes / GIB:.1f}" if card.size else "?"
        found = [_verdict(card, hardware, samples) for hardware in _machines().values()]
        table.add_row(card.name, gib, *found)
    return table


def _verdict(card: Card, hardware: Hardware, samples: int) -> str:
    found = fit(card, hardware)
    if found.hindrance or found.plan is None:
        return "no" if card.size else "?"
    together = found.plan.at_once(card.sample_tokens)
    return "yes" if together >= samples else f"{together}/{samples}"


def _closely(hardware: Hardware, samples: int) -> Table:
    """A row for each card that fits: how it lies on the machine."""
    title = f"{samples} samples on {hardware.title}"
    table = Table(box=box.SIMPLE, title=title, pad_edge=False)
    table.add_column("model", no_wrap=True)
    table.add_column("spread", no_wrap=True)
    for heading in ("GiB", "KV tokens", "at once", "tok/s"):
        table.add_column(heading, justify="right")
    for card in all_cards():
        found = fit(card, hardware)
        if found.plan and not found.hindrance:
            table.add_row(card.name, *_cells(card, found.plan, hardware, samples))
    return table


def _cells(card: Card, plan: Plan, hardware: Hardware, samples: int) -> tuple[str, ...]:
    """Where the card lies, and the tokens that data sheets promise each second."""
    together = plan.at_once(card.sample_tokens)
    running = min(samples, together)
    per_s = ""
    if card.size and hardware.capability:
        held = card.sample_tokens
        per_s = f"{running / step_s(card.size, hardware, plan.layout, running, held):,.0f}"
    at_once = str(samples) if together >= samples else f"{together}/{samples}"
    return str(plan.layout), f"{plan.weights_gib:.1f}", f"{plan.kv_tokens:,}", at_once, per_s


def _refused(hardware: Hardware) -> Iterator[str]:
    """A line for each card that does not fit."""
    for card in all_cards():
        if hindrance := fit(card, hardware).hindrance:
            yield f"{card.name}: {hindrance}"


def _details(card: Card) -> Iterator[str]:
    """Lines about one card."""
    there = (card.path / "config.json").is_file()
    yield f"{card.name}: format {card.format_name}, context {card.context:,}, {card.licence}"
    yield f"weights: {card.path if there else card.fetch}"
    if card.size:
        token = card.size.kv_bytes(card.sample_tokens) / card.sample_tokens / 1024
        yield (
            f"{card.size.weight_bytes / GIB:.1f} GiB; a token keeps {token:.0f} KiB, a running "
            f"sample about {card.sample_tokens:,} tokens"
        )
    settings = ", ".join(f"{name} = {value}" for name, value in card.defaults.items())
    yield f"settings: {settings or 'the kit’s'}"
    for name, hardware in _machines().items():
        engine = engine_settings(card, name)
        options = ", ".join(f"{k}={v}" for k, v in engine.get("engine_options", {}).items())
        fits = fit(card, hardware).hindrance or f"{engine.get('engine', 'transformers')} {options}"
        yield f"{name}: {fits}"


if TYPE_CHECKING:
    from aimo_submit.tune.measure import Measured


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
    _say(out, [line])
    return 0


def _measured(args: argparse.Namespace) -> Profile:
    given = dict(parse_value(setting) for setting in args.settings) | {"model": args.model}
    if args.engine:
        given["engine"] = args.engine
    here = detect.detect()
    name = recognise([gpu.name for gpu in here.gpus])
    config, card = config_for(given, args.weights, name)
    _say(notes, [f"{card.name} on {config.engine}, {here}"])
    return asyncio.run(_run(config, card, str(here), args))


async def _run(config: Config, card: Card, here: str, args: argparse.Namespace) -> Profile:
    from aimo_submit.start import start_engine
    from aimo_submit.tune.measure import lane_lengths, measure

    begun = time.monotonic()
    engine = await start_engine(config, card)
    try:
        load_s = time.monotonic() - begun
        lengths = lane_lengths(engine.context, card.sample_tokens)
        # Where an engine does not tell, as much as is about to be tried.
        kv_tokens = getattr(engine, "kv_tokens", 0) or args.widest * lengths.most
        widest = max(1, min(args.widest, kv_tokens // lengths.most))
        found = await measure(engine, lengths, widest, lambda line: _say(notes, [line]))
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
    """Says how well the profile predicts a batch, and how steady the machine was."""
    foretold_s = profile.batch_s(found.drawn) + found.prefill_s * prompt * len(found.drawn)
    line = (
        f"check: {len(found.drawn)} samples of {min(found.drawn)} to {max(found.drawn)} tokens "
        f"took {found.batch_s:.2f} s, foretold {foretold_s:.2f} s"
    )
    _say(notes, [line])
    if found.spread > SPREAD:
        line = f"repeats differ by up to {found.spread:.0%}: measure again when nothing else runs"
        _say(notes, [line])
