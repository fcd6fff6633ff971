"""`aimo-submit models`: the cards, and what of them fits which machine."""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Iterable, Iterator

from rich import box
from rich.console import Console
from rich.table import Table

from aimo_submit import machine
from aimo_submit.cards import Card, all_cards, engine_settings, find_card
from aimo_submit.console import notes, out
from aimo_submit.errors import UserError
from aimo_submit.fitting import fit, hardware_of
from aimo_submit.hardware import GIB, HARDWARE, Hardware, Plan, step_s
from aimo_submit.options import Commands, at_least


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
    cpu = dataclasses.replace(machine.detect(), gpus=())
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
