"""A folder that looks like Kaggle to a notebook: its inputs, its working directory, its home.

Both layouts of mounts are known: that of 2026 and the flat one of older notebooks. Files of the
model are links, so that a model of any size costs nothing; what is to be broken is copied first.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from aimo_submit.cards import Card, load_card
from aimo_submit.competition import competition_named
from aimo_submit.kaggle.rehearsal import fake_gateway
from aimo_submit.kaggle.runtime.mounts import ROOT
from aimo_submit.kaggle.runtime.setup import OVERLAY, RERUN
from aimo_submit.toml import to_toml

LAYOUTS = ("new", "old")
_KEPT = ("LANG", "LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES", "CUDA_HOME", "TRITON_CACHE_DIR")
_STARTUP = Path(__file__).with_name("ipython_startup.py")  # not imported: it acts at once
_NOWHERE = "http://127.0.0.1:9"  # the port that discards

_MODULE = """from pathlib import Path

from .fake_gateway import open_gateway

{name} = open_gateway(Path(__file__).parent).{name}
"""

Question = tuple[str, str | None]  # id and problem; None: an empty cell


@dataclass(frozen=True, slots=True)
class Tree:
    """The paths of all that a rehearsal lays out."""

    root: Path
    edition: str
    layout: str
    card: Card
    python: Path = Path(sys.executable)  # of the notebook and of the gateway

    @property
    def inputs(self) -> Path:
        """The folder that stands for /kaggle/input."""
        return self.root / "input"

    @property
    def working(self) -> Path:
        """The directory in which the notebook runs."""
        return self.root / "working"

    @property
    def gateway(self) -> Path:
        """The directory of the gateway, which in a rerun is another container."""
        return self.root / "gateway"

    def output(self, *, rerun: bool) -> Path:
        """The directory in which a run leaves the submission."""
        package = competition_named(self.edition).package
        asked = package is not None and package.interface == "server"
        return self.gateway if rerun and asked else self.working

    @property
    def verdict(self) -> Path:
        """The file that the fake gateway leaves."""
        return self.root / "verdict.json"

    @property
    def jupyter(self) -> Path:
        """The folder with the notebook's kernel."""
        return self.root / "data"

    @property
    def startup(self) -> Path:
        """Files that IPython runs before the notebook, by their names."""
        return self.root / "home" / ".ipython" / "profile_default" / "startup"

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


def plant(tree: Tree, questions: Sequence[Question], package: Path | None, speed: float) -> None:
    """Makes the tree: the problems, the model, and the competition's package or its fake."""
    folders = (tree.working, tree.gateway, tree.root / "tmp", tree.competition, tree.model)
    kernel = tree.jupyter / "kernels" / "python3"
    for folder in (*folders, tree.startup, kernel):
        folder.mkdir(parents=True)
    launch = [str(tree.python), "-m", "ipykernel_launcher", "-f", "{connection_file}"]
    spec = {"argv": launch, "display_name": "rehearsal", "language": "python"}
    (kernel / "kernel.json").write_text(json.dumps(spec), encoding="utf-8")
    _write_csvs(tree, questions)
    for file in tree.card.path.iterdir():
        if file.is_file():
            (tree.model / file.name).symlink_to(file.resolve())
    if package:
        shutil.copytree(package, tree.competition / package.name)
    else:
        _fake_package(tree, speed)
    shutil.copy(_STARTUP, tree.startup / "00-kit.py")


def _fake_package(tree: Tree, speed: float) -> None:
    """Lays the fake gateway where the notebook finds the competition's own package."""
    package = competition_named(tree.edition).package
    assert package  # a rehearsal without one is refused before
    folder = tree.competition / package.folder
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / package.file).write_text(_MODULE.format(name=package.name), encoding="utf-8")
    shutil.copy(fake_gateway.__file__, folder / "fake_gateway.py")
    settings = {
        "edition": tree.edition,
        "csv": str(tree.csv),
        "folder": str(tree.gateway),
        "verdict": str(tree.verdict),
        "speed": speed,
    }
    (folder / fake_gateway.SETTINGS).write_text(json.dumps(settings), encoding="utf-8")


def at_home(model: str, texts: Sequence[str], edition: str = "aimo-1") -> None:
    """Makes a tree with these problems, and this process one that runs in it.

    For the notebook that is opened at home: the model's engine is the embedded one.
    """
    root = Path(tempfile.mkdtemp(prefix="aimo-submit-home-"))
    tree = Tree(root, edition, "new", load_card(model))
    plant(tree, [(f"home-{k}", text) for k, text in enumerate(texts, 1)], None, speed=1.0)
    settings = {"model": model, "edition": edition, "engine": "transformers", "engine_options": {}}
    os.environ.update({ROOT: str(tree.inputs), OVERLAY: to_toml(settings)})
    os.chdir(tree.working)
    print(f"at home: the inputs are in {tree.inputs}, the output goes to {tree.working}")


def _write_csvs(tree: Tree, questions: Sequence[Question]) -> None:
    """Writes problems and sample submission as Kaggle has them; an empty cell is no empty text."""
    import polars as pl

    package = competition_named(tree.edition).package
    ids = pl.Series("id", [id for id, _ in questions], pl.String)
    texts = pl.Series("problem", [text for _, text in questions], pl.String)
    test, sample = pl.DataFrame([ids, texts]), pl.DataFrame([ids]).with_columns(answer=0)
    if package and package.row_ids:
        test, sample = (table.with_row_index("row_id") for table in (test, sample))
    test.write_csv(tree.csv)
    sample.write_csv(tree.csv.with_name("sample_submission.csv"))


def environment(tree: Tree, *, rerun: bool) -> dict[str, str]:
    """The variables of the notebook: Kaggle's own, none of ours, and no way to the network."""
    home = tree.root / "home"
    made = {
        "PATH": f"{tree.python.parent}:{os.environ.get('PATH', os.defpath)}",
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
        ROOT: str(tree.inputs),
    }
    return made | ({RERUN: "1"} if rerun else {})
