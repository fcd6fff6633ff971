"""A folder with a kernel, a home with credentials, and the commands about Kaggle run there."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from aimo_submit.kaggle.client import ledger
from aimo_submit.kaggle.client.ledger import Entry
from tests.kaggle.kaggle_stub import KEY, USER, Done, Stub, run_apart, run_here
from tests.kaggle.test_metadata import write_kernel

SAVE = "kernels.KernelsApiService/SaveKernel"
STATUS = "kernels.KernelsApiService/GetKernelSessionStatus"
OUTPUT = "kernels.KernelsApiService/ListKernelSessionOutput"
SUBMIT = "competitions.CompetitionApiService/CreateCodeSubmission"
LISTED = "competitions.CompetitionApiService/ListSubmissions"
SIGN_IN = "security.OAuthService/IntrospectToken"
DATASET = "datasets.DatasetApiService/GetDataset"
DATASET_STATUS = "datasets.DatasetApiService/GetDatasetStatus"
MODEL = "models.ModelApiService/GetModelInstance"

PAGE = "https://www.kaggle.com/code/ada/aimo-submit"
SAVED = {"ref": "/ada/aimo-submit", "url": PAGE, "versionNumber": 3}
COMPLETE = {"status": "COMPLETE"}
TAKEN = {"message": "Successfully submitted to AIMO", "ref": 41}
LOG = json.dumps(
    [
        {"stream_name": "stdout", "time": 1.5, "data": "hello\n"},
        {"stream_name": "stderr", "time": 2.5, "data": "world\nthe last line\n"},
    ]
)


class Kit:
    """A folder with a kernel, a home with credentials, and the commands run there.

    They run in this process; once `apart` is set, each runs in one of its own, as at a user's.
    """

    def __init__(self, stub: Stub, folder: Path) -> None:
        self.stub = stub
        self.apart = False
        self.folder = write_kernel(folder / "work")
        self.home = folder / "home"
        self.environ = stub.environ(self.home)
        (self.home / ".kaggle").mkdir()
        self.key = self.home / ".kaggle" / "kaggle.json"
        self.key.write_text(json.dumps({"username": USER, "key": KEY}))
        self.key.chmod(0o600)
        stub.script(DATASET, {"currentVersionNumber": 3})
        stub.script(DATASET_STATUS, {"status": "READY"})
        stub.script(MODEL, {"versionNumber": 1})
        stub.script(f"{STATUS} wheels", COMPLETE)

    def run(
        self, *words: str, silence_s: float = 60.0, until: Callable[[], None] | None = None
    ) -> Done:
        """The outcome of a command; see `run_apart` for `until`, which always runs it apart."""
        if self.apart or until:
            return run_apart(words, self.environ, self.folder, silence_s=silence_s, until=until)
        # The package has looked for kaggle.json when it was imported, in another test's home.
        key = {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": KEY} if self.key.is_file() else {}
        return run_here(words, {**key, **self.environ}, self.folder, silence_s=silence_s)

    def good(self, *words: str) -> str:
        """What a command that must succeed prints."""
        done = self.run(*words)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def bad(self, *words: str, code: int = 1) -> str:
        """The line that a command ends with that must fail; what stands above it is the log."""
        done = self.run(*words)
        assert done.returncode == code, done.stdout + done.stderr
        assert "Traceback" not in done.stderr
        return done.stderr

    def watched(self) -> list[Any]:
        """The questions where the pushed kernel stands."""
        asked = self.stub.bodies(STATUS)
        return [body for body in asked if body["kernelSlug"] == "aimo-submit"]

    def entries(self) -> list[Entry]:
        """The ledger."""
        return ledger.read(self.folder / ledger.LEDGER)

    def pushed(self, git: str = "abc", competition: str = "") -> None:
        """Version 3 stands in the ledger as pushed."""
        config = {"samples": 48, "seed": 1}
        entry = Entry("ada/aimo-submit", 3, git=git, config=config, competition=competition)
        ledger.append(entry, self.folder / ledger.LEDGER)

    def fetched(self, git: str = "abc", competition: str = "") -> None:
        """The output of version 3 has been fetched and checked."""
        self.pushed(git, competition)
        self.stub.script(STATUS, COMPLETE)
        self.put_output(parquet([7, 9]))
        self.good("output")

    def put_output(self, content: bytes, **others: bytes) -> None:
        """The kernel's output: submission.parquet, other files, and the log."""
        files = {"submission.parquet": content, **others}
        self.stub.script(OUTPUT, {"files": [link(name) for name in files], "log": LOG})
        for name, data in files.items():
            self.stub.script(f"files/{name}", data)


def link(name: str) -> dict[str, str]:
    """A file as Kaggle lists it."""
    return {"url": f"http://localhost/files/{name}", "fileName": name}


def parquet(answers: Any, ids: list[str] | None = None, **others: Any) -> bytes:
    """A submission file with these answers."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    ids = ids or [f"p{k}" for k in range(len(answers))]
    sink = pa.BufferOutputStream()
    pq.write_table(pa.table({"id": ids, "answer": answers, **others}), sink)
    return bytes(sink.getvalue().to_pybytes())
