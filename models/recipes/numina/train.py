"""Fine-tunes a model by a stage's file, on as many devices as accelerate launches.

On one node of eight GPUs, sharded with DeepSpeed's ZeRO-3:

    accelerate launch --config_file models/recipes/numina/zero3.yaml -m numina.train \
        models/recipes/numina/stage-1-cot.toml --out models/mine-cot

The same command resumes a run that was killed. `--check` tells what does not hold together, and
needs no GPU. On one CPU: `python -m numina.train models/recipes/tiny/iterate.toml --data FILE`.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

from aimo_submit.cards import card_file
from aimo_submit.errors import UserError
from aimo_submit.toml import parse_value, read_toml, to_toml
from numina.check import check
from numina.data import chat_template, encode_row, load_rows
from numina.stage import Stage, read_stage

NOT_CARRIED = ("source", "measured", "training", "quantisation")

log = logging.getLogger(__name__)


def train(stage: Stage, out: Path) -> None:
    """Trains the model and writes it with its tokenizer and its card; goes on where it was."""
    from transformers.trainer_utils import get_last_checkpoint
    from trl import SFTTrainer  # type: ignore[attr-defined]

    states = out / "checkpoints"
    given = {**stage.sft, "gradient_accumulation_steps": stage.accumulation(devices())}
    # Made before the model is loaded, so that ZeRO-3 can load it in shards.
    settings = sft_config(given, states)
    tokenizer = load_tokenizer(stage)
    data = _encoded(stage, tokenizer, settings)
    trainer: Any = SFTTrainer(
        stage.base, args=settings, train_dataset=data, processing_class=tokenizer
    )
    last = get_last_checkpoint(str(states)) if states.is_dir() else None
    trainer.train(resume_from_checkpoint=last)
    trainer.model.config.use_cache = True  # training turns it off
    trainer.save_model(str(out))
    if trainer.is_world_process_zero():
        log.info("%s; its card: %s", out, write_card(stage.card, out))


def devices() -> int:
    """The processes that train together, as accelerate or torchrun started them."""
    import torch

    world, seen = int(os.environ.get("WORLD_SIZE", "1")), torch.cuda.device_count()
    if world == 1 and seen > 1:  # the trainer would copy the model onto all of them
        raise UserError(
            f"{seen} GPUs, but one process: start it with `accelerate launch --config_file "
            "models/recipes/numina/zero3.yaml -m numina.train`, or set CUDA_VISIBLE_DEVICES=0"
        )
    return world


def _encoded(stage: Stage, tokenizer: Any, settings: Any) -> Any:
    """The stage's data as tokens and masks; the first process makes them for all."""
    encode = partial(encode_row, tokenizer=tokenizer, format=stage.model.format)
    with settings.main_process_first(desc="tokenising"):
        rows = load_rows(stage.data)
        return rows.map(
            encode,
            remove_columns=rows.column_names,
            num_proc=settings.dataset_num_proc,
            desc="tokenising",
        )


def sft_config(given: Mapping[str, Any], folder: Path) -> Any:
    """TRL's settings, with what every stage has in common; a name it lacks is a `UserError`."""
    import torch
    from trl import SFTConfig  # type: ignore[attr-defined]

    common = {
        "packing": True,
        "packing_strategy": "wrapped",  # what TRL did in 2024: blocks cut from one long text
        "completion_only_loss": True,
        "use_cpu": not torch.cuda.is_available(),
        "report_to": "none",
    }
    try:
        return SFTConfig(output_dir=str(folder), **{**common, **given})
    except TypeError as error:
        raise UserError(f"[sft]: {error}: it takes the names of TRL's SFTConfig") from error


def load_tokenizer(stage: Stage) -> Any:
    """The base's tokenizer with the stage's template, able to pad."""
    from transformers import AutoTokenizer

    try:
        tokenizer = AutoTokenizer.from_pretrained(stage.base)
    except (OSError, ValueError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"cannot load the tokenizer of {stage.base}: {reason}") from error
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    tokenizer.chat_template = chat_template(stage.model.format)
    return tokenizer


def write_card(original: str, folder: Path) -> Path:
    """The card of the new model, beside its folder: the stage's, with its own name and place."""
    data = read_toml(card_file(original))
    kept = {name: value for name, value in data.items() if name not in NOT_CARRIED}
    path = folder.parent / f"{folder.name}.toml"
    text = to_toml(kept | {"name": folder.name, "source": folder.name})
    path.write_text(text, encoding="utf-8")
    return path


def main() -> int:
    """The exit code: 0 done, 1 a check that does not hold, 2 misuse."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("stage", type=Path, metavar="STAGE", help="a stage's .toml")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="default: runs/STAGE")
    parser.add_argument("--base", metavar="MODEL", help="instead of the stage's: a folder, or hub")
    parser.add_argument("--data", metavar="FILE", help="instead of the stage's: a file, or hub")
    parser.add_argument("--gpus", type=int, metavar="K", help="to check for (the stage's)")
    parser.add_argument("--check", action="store_true", help="train nothing; needs no GPU")
    parser.add_argument(
        "-c", dest="sft", action="append", default=[], metavar="NAME=VALUE",
        help="any setting of TRL's SFTConfig: -c max_steps=100",
    )  # fmt: skip
    args = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    for client in ("httpx", "huggingface_hub"):  # they tell every retry
        logging.getLogger(client).setLevel(logging.CRITICAL)
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")  # read when torch is first imported
    try:
        return _run(args)
    except UserError as error:
        print(f"numina.train: {error}", file=sys.stderr)
        return 2


def _run(args: argparse.Namespace) -> int:
    names = ("base", "data", "gpus")
    given = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    stage = read_stage(args.stage, given, dict(map(parse_value, args.sft)))
    if args.check:
        found = check(stage, args.stage.parent, load_tokenizer)
        print(*found, sep="\n")
        return int(any(finding.ok is False for finding in found))
    train(stage, args.out or Path("runs") / args.stage.stem)
    return 0


if __name__ == "__main__":
    sys.exit(main())
