"""The competition's package: whether it can be imported, and its call of the kit.

Thin adapters around `predict`. The package is Python as it lies beside the competition's data: what
it needs may be missing, and an older one may lie earlier on the path or be loaded already.
"""

from __future__ import annotations

import importlib
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from aimo_submit.competition import Competition, Package
from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime.mounts import Mounts, import_failure
from aimo_submit.kaggle.runtime.predictor import Predictor, plain
from aimo_submit.kaggle.runtime.setup import Fault

IDS, TEXTS, GOLD = ("id", "row_id"), ("problem", "question"), "answer"  # columns of a test.csv


def serve(predictor: Predictor, csv: Path, package: Any = None) -> None:
    """Answers all problems of the competition's gateway; at home, those of the csv.

    `package` is used in place of the competition's own.
    """
    facts = predictor.competition.package
    if facts is None:
        raise UserError(f"{predictor.competition.name} has no package that asks for answers")
    call = getattr(package or _package(facts.module), facts.name)
    if facts.interface == "environment":
        _iterate(call(), predictor)
    else:
        _run(_listening(call, predict_function(predictor)), csv)


def _listening(call: Callable[..., Any], predict: Callable[..., Any]) -> Any:
    try:
        return call(predict)
    except RuntimeError as error:  # AIMO-2's knows one port, AIMO-3's goes to another
        raise UserError(
            f"{call.__name__} cannot listen ({error}): restart the kernel, so that what an earlier "
            "cell started lets go of the port"
        ) from error


def _iterate(env: Any, predictor: Predictor) -> None:
    for test, submission in env.iter_test():
        id, text = _asked([test[name] for name in test])
        submission["answer"] = predictor.predict(id, text)
        env.predict(submission)


def _run(server: Any, csv: Path) -> None:
    if os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
        server.serve()
    else:
        server.run_local_gateway((str(csv),))


def predict_function(predictor: Predictor) -> Callable[..., Any]:
    """`predict` as AIMO-2 and AIMO-3 want it: a plain function named so, giving polars frames."""
    import polars as pl

    def predict(*columns: Any, **named: Any) -> Any:
        columns = (*columns, *named.values())
        try:
            if isinstance(columns[0], pl.DataFrame):  # a row in one piece, as a version of AIMO-3's
                columns = tuple(columns[0].get_columns())
            id, text = _asked(columns)
        except BaseException:  # the border of a Kaggle call: things of no kind known to us
            id, text = (*columns, None, None)[:2]
        number = predictor.predict(id, text)
        try:
            ids = id if isinstance(id, pl.Series) else pl.Series([id])
            return pl.DataFrame({"id": ids, "answer": [number]})
        except BaseException:  # likewise: an id of no kind known to polars
            return pl.DataFrame({"id": [plain(id)], "answer": [number]})

    return predict


def _asked(columns: Sequence[Any]) -> tuple[Any, Any]:
    """Id and text of a problem, by the columns' names, else by their place; None: not there."""
    named = {getattr(column, "name", None): column for column in columns}
    others = [c for c in columns if getattr(c, "name", None) not in (*IDS, *TEXTS, GOLD)]
    ids = [named[name] for name in IDS if name in named] or others[:1]
    rest = [column for column in others if column is not ids[0]]
    texts = [named[name] for name in TEXTS if name in named] or rest
    return ids[0] if ids else None, texts[0] if texts else None


def package_faults(competition: Competition, mounts: Mounts) -> Iterator[Fault]:
    """No package of the competition, or one that this Python cannot import."""
    package, folders = competition.package, mounts.packages(competition.name)
    if package is None:
        return
    if not folders:
        yield Fault(
            f"no {package.module} is mounted below {mounts.root}: name the competition "
            f"{competition.slug or competition.name} in kernel-metadata.json, under "
            "competition_sources"
        )
    elif failure := import_failure(package.module, first=folders[0]):
        why = _built_for_another(folders[0] / package.folder) or _needs(failure)
        yield Fault(f"{package.module} is mounted at {folders[0]}, {why}")


def _built_for_another(folder: Path) -> str:
    """Words for a compiled package of another Python; empty where it is for this one or none."""
    names = [re.search(r"\.cpython-3(\d+)-", file.name) for file in folder.rglob("*.so")]
    minors = sorted({int(match[1]) for match in names if match})
    here = sys.version_info.minor
    if not minors or here in minors:
        return ""
    return (
        f"the package is built for Python 3.{minors[-1]}, here is 3.{here}: name an image with "
        f"Python 3.{minors[-1]} as docker_image in kernel-metadata.json"
    )


def _needs(failure: str) -> str:
    missing = re.fullmatch(r"ModuleNotFoundError: No module named '(.+)'", failure)
    if missing:
        return f"its import needs {missing[1]}: attach a wheel of it, or choose a newer image"
    return f"its import fails ({failure}): fetch the competition's data anew, or another image"


def put_first(folder: Path, package: Package) -> None:
    """Makes the folder's package the one that is imported, whatever is on the path or loaded."""
    sys.path.insert(0, str(folder))
    loaded = sys.modules.get(package.folder)
    others = [Path(place) for place in getattr(loaded, "__path__", ())]
    if folder / package.folder in others:
        return
    for name, module in list(sys.modules.items()):
        file = Path(getattr(module, "__file__", None) or os.devnull)
        if name.partition(".")[0] == package.folder or any(p in file.parents for p in others):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if Path(entry) not in others]


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except BaseException as error:  # a package ends the interpreter where a part of it is missing
        raise UserError(
            f"{name} cannot be imported ({type(error).__name__}: {error}): add the competition to "
            "the notebook's inputs, or run aimo-submit rehearse, which has a fake of it"
        ) from error
