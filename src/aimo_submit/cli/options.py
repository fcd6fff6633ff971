"""What commands share: the options by which those that sample take their settings, and checks."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeAlias

from rich.console import Console

from aimo_submit.cards import Card, config_for
from aimo_submit.config import Config
from aimo_submit.errors import UserError
from aimo_submit.machines import recognise
from aimo_submit.machines.detect import detect
from aimo_submit.toml import parse_value, read_toml

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"


out = Console()
notes = Console(stderr=True)


def at_least(least: int, args: argparse.Namespace, *names: str) -> None:
    """Refuses a number that is given and smaller."""
    for name in names:
        value = getattr(args, name)
        if value is not None and value < least:
            raise UserError(f"--{name} {value}: must be at least {least}")


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds --config, the settings that are changed most, and -c for all others."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="TOML file of settings")
    parser.add_argument("--model", metavar="CARD", help="name in `models`, or a .toml (tiny-tir)")
    parser.add_argument(
        "--engine", metavar="NAME", help="transformers, vllm, openai (the card's, for this machine)"
    )
    parser.add_argument(
        "--edition", metavar="NAME", help="rule for answers: aimo-1, aimo-2, aimo-3, any (aimo-1)"
    )
    parser.add_argument(
        "-n", "--samples", type=int, metavar="N", help="samples of each problem (48, or the card's)"
    )
    parser.add_argument(
        "-m", "--rounds", type=int, metavar="M", help="rounds of each sample (4, or the card's)"
    )
    parser.add_argument("--seed", type=int, metavar="K", help="seed of the first run (0)")
    parser.add_argument(
        "-c", dest="settings", action="append", default=[], metavar="NAME=VALUE",
        help="any setting of config.py: -c temperature=0.6; may be repeated",
    )  # fmt: skip


def settings_of_run(args: argparse.Namespace) -> tuple[Config, Card]:
    """The settings named, over those of the model's card for this machine; and the card."""
    here = recognise([gpu.name for gpu in detect().gpus])
    return config_for(given(args), machine=here)


def given(args: argparse.Namespace) -> Mapping[str, Any]:
    """The settings named on the command line, over those of --config."""
    found = read_toml(args.config) if args.config else {}
    for name in ("model", "engine", "edition", "samples", "rounds", "seed"):
        if getattr(args, name) is not None:
            found[name] = getattr(args, name)
    return found | dict(parse_value(setting) for setting in args.settings)
