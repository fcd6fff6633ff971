"""One stage of fine-tuning, as its file describes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aimo_submit.cards import Card, find_card
from aimo_submit.errors import UserError
from aimo_submit.toml import checked, read_toml


@dataclass(frozen=True, slots=True)
class Stage:
    """A base, the data, and the settings of the training."""

    base: str  # a model of the hub, or a folder seen from the file
    card: str  # of the model that comes out: its format, and its size for the check
    data: str  # a set of the hub, or a file
    batch: int  # rows of a step, over all devices
    gpus: int = 1
    gpu: str = "h100"  # a machine of the kit, whose device's memory is to suffice
    sft: dict[str, Any] = field(default_factory=dict)  # TRL's SFTConfig, by its own names

    @property
    def model(self) -> Card:
        """The card of the model that comes out; its weights need not be there yet."""
        return find_card(self.card)

    @property
    def rows(self) -> int:
        """Rows of a step that one device has in memory at a time."""
        return int(self.sft.get("per_device_train_batch_size", 8))  # TRL's own default

    def accumulation(self, devices: int) -> int:
        """Passes that make a step of the batch on so many devices."""
        if devices < 1 or self.batch % (self.rows * devices):
            raise UserError(
                f"a batch of {self.batch} rows does not divide into {self.rows} rows on each of "
                f"{devices} devices: change per_device_train_batch_size or the number of devices"
            )
        return self.batch // (self.rows * devices)


def read_stage(file: Path, given: Mapping[str, Any], sft: Mapping[str, Any]) -> Stage:
    """The stage in that file, with what is given, and settings of `[sft]`, in place of its own."""
    stage = checked(Stage, str(file), read_toml(file))
    base = file.parent / stage.base
    settings = {"base": str(base.resolve()) if base.is_dir() else stage.base, **given}
    return dataclasses.replace(stage, **settings, sft={**stage.sft, **sft})
