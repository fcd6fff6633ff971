"""Rehearsals as the tests of two folders need them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

from aimo_submit.cards import load_card
from aimo_submit.competition import competition_named
from aimo_submit.evaluate.problem_sets import load_problems
from aimo_submit.kaggle.client.bundle import CONFIG, for_kaggle
from aimo_submit.kaggle.rehearsal.rehearsal import Rehearsal
from aimo_submit.kaggle.rehearsal.verdict import Result
from tests import ROOT

CARD = load_card("tiny-tir")


def built(folder: Path, *, readable: bool = False) -> Path:
    """The notebook that the tree builds, in that folder."""
    file = folder / "submission.ipynb"
    file.write_text(for_kaggle(ROOT, ROOT / CONFIG, readable=readable))
    return file


def rehearsal_of(
    notebook: Path, edition: str = "aimo-3", problems: int = 2, **other: object
) -> Rehearsal:
    chosen = load_problems("tiny", competition_named(edition))[:problems]
    rehearsal = Rehearsal(notebook, edition, chosen, CARD, settings={"samples": 2})
    return replace(rehearsal, **other)  # type: ignore[arg-type]


def notebook_of(folder: Path, *cells: str) -> Path:
    """A notebook of our own, with these cells."""
    file = folder / "small.ipynb"
    made = [
        {"cell_type": "code", "id": f"c{k}", "metadata": {}, "source": source, "outputs": [],
         "execution_count": None}
        for k, source in enumerate(cells)
    ]  # fmt: skip
    file.write_text(json.dumps({"cells": made, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}))
    return file


def passes(result: Result) -> Result:
    assert result.passed, result
    assert result.used_s < result.limit_s
    return result
