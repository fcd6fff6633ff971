"""The competition's call of the kit: thin adapters around `predict`."""

from __future__ import annotations

import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.kaggle.runtime.predictor import Predictor, plain


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
        _run(call(predict_function(predictor)), csv)


def _iterate(env: Any, predictor: Predictor) -> None:
    for test, submission in env.iter_test():
        submission["answer"] = predictor.predict(_cell(test, "id"), _cell(test, "problem"))
        env.predict(submission)


def _run(server: Any, csv: Path) -> None:
    if os.environ.get("KAGGLE_IS_COMPETITION_RERUN"):
        server.serve()
    else:
        server.run_local_gateway((str(csv),))


def predict_function(predictor: Predictor) -> Callable[..., Any]:
    """`predict` as AIMO-2 and AIMO-3 want it: a plain function named so, giving polars frames."""
    import polars as pl

    def predict(id: Any, problem: Any = None, answer: Any = None) -> Any:
        if isinstance(id, pl.DataFrame):  # a row in one piece, as a version of AIMO-3's has it
            id, problem = _cell(id, "id"), _cell(id, "problem")
        number = predictor.predict(id, problem)
        try:
            ids = id if isinstance(id, pl.Series) else pl.Series([id])
            return pl.DataFrame({"id": ids, "answer": [number]})
        except BaseException:  # the border of a Kaggle call: an id of no kind known to polars
            return pl.DataFrame({"id": [plain(id)], "answer": [number]})

    return predict


def _cell(frame: Any, column: str) -> Any:
    """A column of the frame; nothing where there is none, which `predict` can answer, too."""
    return frame[column] if column in frame else None


def _package(name: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise UserError(
            f"{name} cannot be imported ({error}): add the competition to the notebook's inputs "
            "and its folder to sys.path, or run aimo-submit rehearse, which has a fake of it"
        ) from error
