"""`aimo-submit models | profile`: which model fits which machine, and how quickly it runs there."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich import box
from rich.table import Table

from aimo_submit.cards import Card, all_cards, config_for, engine_settings, find_card, fit
from aimo_submit.cli.options import Count, Settings, note, say, values, write
from aimo_submit.errors import UserError
from aimo_submit.machines import (
    GIB,
    HARDWARE,
    Hardware,
    MemoryPlan,
    detect,
    recognise,
    step_s,
)
from aimo_submit.start import start_engine
from aimo_submit.tune.measure import lane_lengths, measure
from aimo_submit.tune.profile import Profile, load_profile

SPREAD = 0.25  # between repeats, beyond which something else took the machine's time


def models(
    card: str | None = None,
    /,
    *,
    machine: str | None = None,
    samples: Annotated[Count, Parameter(alias="-n")] = 48,
) -> None:
    """Prints which model fits which machine, or all about one model or one machine.

    Args:
        card: all about this model
        machine: all about this machine: t4x2, l4x4, h100, rtx6000, cpu
        samples: how many are to run at once
    """
    if card is not None:
        for line in _details(find_card(card)):
            say(line)
    elif machine is None:
        say(_overview(samples))
        note("details: aimo-submit models --machine t4x2, or aimo-submit models CARD")
    elif machine in HARDWARE:
        hardware = _machines()[machine]
        say(_closely(hardware, samples))
        for line in _refused(hardware):
            say(line)
        note("tokens/s are estimates from data sheets: aimo-submit profile measures")
    else:
        raise UserError(f"--machine {machine}: known are {', '.join(HARDWARE)}")


def _machines() -> dict[str, Hardware]:
    """The machines that are known; the CPU is this machine's."""
    cpu = dataclasses.replace(detect.detect(), gpus=())
    return {**HARDWARE, "cpu": detect.hardware_of(cpu) or HARDWARE["cpu"]}


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


def _cells(card: Card, plan: MemoryPlan, hardware: Hardware, samples: int) -> tuple[str, ...]:
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


@Parameter(name="*")
@dataclass(frozen=True, slots=True)
class Subject:
    """The engine that is measured.

    Args:
        model: card: a name that `models` lists, or a .toml
        engine: transformers, vllm or openai [default: the card's, for this machine]
        weights: folder of the model, where it is not the card's
        widest: samples at once, at most
        settings: NAME=VALUE, any setting: -c engine_options={tensor_parallel_size=2}; may be
            repeated
    """

    model: str = "tiny-tir"
    engine: str | None = None
    weights: Path | None = None
    widest: Count = 96
    settings: Settings = ()


USUAL = Subject()


def profile(*, subject: Subject = USUAL, out: Path, estimate: str | None = None) -> None:
    """Writes how quickly an engine generates.

    Args:
        out: the .toml to write
        estimate: do not measure: this machine from data sheets: t4x2, l4x4, h100, rtx6000
    """
    if out.suffix != ".toml":
        raise UserError(f"--out {out}: a profile is a .toml")
    write(out)  # before minutes of measuring
    if estimate:
        found = load_profile(estimate, subject.model)
    else:
        found = asyncio.run(_measured(subject, out.stem))
    write(out, found.to_toml())
    pacing = found.pacing
    how = "estimated" if found.estimated else "measured"
    say(
        f"{out}: {found.model} on {found.machine}, {found.engine}, {how}: a step of b "
        f"samples takes {1e3 * pacing.s0:.2f} + {1e3 * pacing.s1:.3f} b ms, the cache holds "
        f"{found.kv_tokens:,} tokens"
    )


async def _measured(subject: Subject, name: str) -> Profile:
    given = values(subject.settings) | {"model": subject.model}
    if subject.engine:
        given["engine"] = subject.engine
    here = detect.detect()
    machine = recognise([gpu.name for gpu in here.gpus])
    config, card = config_for(given, subject.weights, machine)
    note(f"{card.name} on {config.engine}, {here}")
    begun = time.monotonic()
    engine = await start_engine(config, card)
    try:
        load_s = time.monotonic() - begun
        lengths = lane_lengths(engine.context, card.sample_tokens)
        # Where an engine does not tell, as much as is about to be tried.
        kv_tokens = getattr(engine, "kv_tokens", 0) or subject.widest * lengths.most
        widest = max(1, min(subject.widest, kv_tokens // lengths.most))
        found = await measure(engine, lengths, widest, note)
    finally:
        await engine.aclose()
    profile = Profile(
        name=name,
        model=card.name,
        machine=str(here),
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
    predicted_s = profile.batch_s(found.drawn) + found.prefill_s * lengths.prompt * len(found.drawn)
    note(
        f"check: {len(found.drawn)} samples of {min(found.drawn)} to {max(found.drawn)} tokens "
        f"took {found.batch_s:.2f} s, foretold {predicted_s:.2f} s"
    )
    if found.spread > SPREAD:
        note(f"repeats differ by up to {found.spread:.0%}: measure again when nothing else runs")
    return profile
