"""The folder in which the commands about Kaggle are run, against Kaggle's stub."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.kaggle.kaggle_stub import Stub
from tests.kaggle.kit import (
    DATASET,
    DATASET_STATUS,
    LISTED,
    MODEL,
    OUTPUT,
    SAVE,
    SIGN_IN,
    STATUS,
    SUBMIT,
    Kit,
)


@pytest.fixture
def kit(tmp_path: Path) -> Iterator[Kit]:
    with Stub() as stub:
        yield Kit(stub, tmp_path)
        strangers = {a.what for a in stub.asked} - {
            SAVE, STATUS, OUTPUT, SUBMIT, LISTED, SIGN_IN, DATASET, DATASET_STATUS, MODEL
        }  # fmt: skip
        assert all(what.startswith("files/") for what in strangers)
