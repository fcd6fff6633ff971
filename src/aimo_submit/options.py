"""The options by which every command that samples takes its settings."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aimo_submit.cards import Card, config_for
from aimo_submit.config import Config, parse_value, read_toml
from aimo_submit.hardware import recognise
from aimo_submit.machine import detect


def add_run_options(parser: argparse.ArgumentParser) -> None:
    """Adds --config, the settings that are changed most, and -c for all others."""
    parser.add_argument("--config", type=Path, metavar="FILE", help="settings as TOML")
    parser.add_argument("--model", metavar="CARD", help="model card (default: tiny-tir)")
    parser.add_argument("--engine", metavar="NAME", help="transformers (default) or vllm")
    parser.add_argument("--edition", metavar="NAME", help="aimo-1 (default), aimo-2, aimo-3, any")
    parser.add_argument("-n", "--samples", type=int, metavar="N", help="samples a problem (48)")
    parser.add_argument("-m", "--rounds", type=int, metavar="M", help="rounds a sample (4)")
    parser.add_argument("--seed", type=int, metavar="K", help="first seed (0)")
    parser.add_argument(
        "-c", dest="settings", action="append", default=[], metavar="NAME=VALUE",
        help="any other setting, as in TOML: -c temperature=0.6",
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
