"""A folder that looks like Kaggle to a notebook: its inputs, its working directory, its home.

Both layouts of mounts are known: that of 2026 and the flat one of older notebooks. Files of the
model are links, so that a model of any size costs nothing; what is to be broken is copied first.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.cards import Card
from aimo_submit.competition import competition_named
from aimo_submit.kaggle.rehearsal import kernel_start
from aimo_submit.kaggle.rehearsal.fake_package import write_package

LAYOUTS = ("new", "old")
_KEPT = ("LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "TRITON_CACHE_DIR")
_NOWHERE = "http://127.0.0.1:9"  # the port that discards

Row = tuple[str, str | None]  # id and problem; None: an empty cell


@dataclass(frozen=True, slots=True)
class Tree:
    """Where everything lies."""

    root: Path
    edition: str
    layout: str
    card: Card

    @property
    def inputs(self) -> Path:
        """What is mounted at /kaggle/input."""
        return self.root / "input"

    @property
    def working(self) -> Path:
        """The directory in which the notebook runs."""
        return self.root / "working"

    @property
    def verdict(self) -> Path:
        """What the stand-in's gateway leaves."""
        return self.root / "verdict.json"

    @property
    def before(self) -> Path:
        """Modules that are found before the environment's own, where there are any."""
        return self.root / "before"

    @property
    def competition(self) -> Path:
        """The competition's own data."""
        home = self.inputs / "competitions" if self.layout == "new" else self.inputs
        return home / competition_named(self.edition).slug

    @property
    def csv(self) -> Path:
        """The problems."""
        return self.competition / "test.csv"

    @property
    def model(self) -> Path:
        """The model's folder."""
        name = self.card.name.lower()
        deep = self.inputs / "models" / "somebody" / name / "transformers" / "default" / "1"
        return deep if self.layout == "new" else self.inputs / name

    @property
    def wheels(self) -> Path:
        """The output of the kernel that downloads the wheels."""
        deep = self.inputs / "notebooks" / "somebody" / "aimo-wheels"
        return deep if self.layout == "new" else self.inputs / "aimo-wheels"


def plant(tree: Tree, rows: Sequence[Row], package: Path | None, speed: float) -> None:
    """Makes the tree: the problems, the model, and the competition's package or its stand-in."""
    for folder in (tree.working, tree.root / "tmp", tree.competition, tree.model):
        folder.mkdir(parents=True)
    write_csv(tree.csv, rows)
    for file in tree.card.path.iterdir():
        if file.is_file():
            (tree.model / file.name).symlink_to(file.resolve())
    if package:
        shutil.copytree(package, tree.competition / package.name)
    else:
        write_package(tree.competition, tree.edition, tree.csv, tree.verdict, speed)
    startup = tree.root / "home" / ".ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    shutil.copy(kernel_start.__file__, startup / "00-rehearsal.py")


def write_csv(path: Path, rows: Sequence[Row]) -> None:
    """Writes the problems as Kaggle has them; an empty cell is not an empty text."""
    import polars as pl

    columns = {"id": [id for id, _ in rows], "problem": [text for _, text in rows]}
    schema = {"id": pl.String, "problem": pl.String}
    pl.DataFrame(columns, schema=schema).write_csv(path)


def environment(
    tree: Tree, *, rerun: bool, config: str, chaos: Sequence[str] = ()
) -> dict[str, str]:
    """The variables of the notebook: Kaggle's own, none of ours, and no way to the network."""
    home = tree.root / "home"
    made = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ.get('PATH', os.defpath)}",
        "HOME": str(home),
        "IPYTHONDIR": str(home / ".ipython"),
        "TMPDIR": str(tree.root / "tmp"),
        "LANG": "C.UTF-8",
        "KAGGLE_KERNEL_RUN_TYPE": "Batch",
        "KAGGLE_DATA_PROXY_URL": _NOWHERE,
        "HF_HUB_OFFLINE": "1",
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,
        **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1,localhost"),  # gRPC minds proxies
        **dict.fromkeys(("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"), _NOWHERE),
        **{name: value for name, value in os.environ.items() if name in _KEPT},
        "AIMO_SUBMIT_INPUT": str(tree.inputs),
        "AIMO_SUBMIT_CONFIG": config,
        "AIMO_SUBMIT_CHAOS": " ".join(chaos),
    }
    if tree.before.exists():
        made["PYTHONPATH"] = str(tree.before)
    return made | {"KAGGLE_IS_COMPETITION_RERUN": "1"} if rerun else made


def as_toml(settings: Mapping[str, object]) -> str:
    """The settings as TOML, whose numbers and strings are JSON's."""
    return "\n".join(f"{name} = {_value(value)}" for name, value in settings.items())


def _value(value: object) -> str:
    if not isinstance(value, Mapping):
        return json.dumps(value)
    return "{ " + ", ".join(f"{k} = {_value(v)}" for k, v in value.items()) + " }"
