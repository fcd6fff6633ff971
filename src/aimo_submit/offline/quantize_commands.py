"""`aimo-submit quantize`: parses, calls, prints."""

from __future__ import annotations

import argparse
import sys
from contextlib import redirect_stdout
from pathlib import Path

from aimo_submit.cards import card_file, load_card
from aimo_submit.console import notes, out
from aimo_submit.errors import UserError
from aimo_submit.offline.calibration import HUB, TEXTS, texts_of
from aimo_submit.offline.fidelity import compare
from aimo_submit.offline.quantize import (
    TOOLS,
    Recipe,
    act_order_for,
    quantise,
    write_card,
)
from aimo_submit.options import Commands

PROMPTS = 200  # continued greedily by both models; none of them is calibrated on


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
        seen = compare(card.path, folder, unseen)
    file = write_card(card_file(args.card), recipe, folder, seen)
    out.print(
        f"{folder}: greedy tokens equal on {seen.equal:.1%} of {seen.prompts} prompts, perplexity "
        f"{seen.original:.3f} -> {seen.perplexity:.3f}; its card: {file}",
        soft_wrap=True,
    )
    return 0
