"""Files on their way to Kaggle's store: sent in pieces of a resumable upload, and remembered.

The official package leaves out a file that could not be sent and makes the dataset without it,
waits for ever on a dead connection, and asks nobody. So the transfer itself is the kit's own;
how a break is mended: https://cloud.google.com/storage/docs/performing-resumable-uploads.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.filesize import decimal

from aimo_submit.journal import replace_text
from aimo_submit.kaggle.client.api import KaggleFailed, Polling, asking, one_line
from aimo_submit.kaggle.upload.folder import File

UPLOADS = Path("runs/uploads.json")
KEPT_S = 6 * 24 * 3600  # an upload that was begun ends by itself after a week
PIECE = 1 << 20  # bytes
TIMEOUT_S = (30, 300)  # to connect, and between two signs of life


@dataclass(slots=True)
class StartedUpload:
    """An upload that Kaggle knows: where the bytes go, and the token that stands for them."""

    url: str
    token: str
    sent: bool = False
    time: float = field(default_factory=time.time)  # seconds since 1970


class StartedUploads:
    """The uploads that were begun, so that a repeated command goes on where it stopped."""

    def __init__(self, path: Path = UPLOADS) -> None:
        self._path = path
        self._started: dict[str, StartedUpload] = {}
        try:
            for key, data in json.loads(path.read_text(encoding="utf-8")).items():
                self._started[key] = StartedUpload(**data)
        except (OSError, ValueError, TypeError, AttributeError):
            pass  # nothing to go on with: everything is sent

    def get(self, file: File, kind: str) -> StartedUpload | None:
        """The upload of exactly this file that was begun, if it is young enough."""
        begun = self._started.get(_key(file, kind))
        return begun if begun and time.time() - begun.time < KEPT_S else None

    def put(self, file: File, kind: str, begun: StartedUpload) -> None:
        """Remembers the upload as it is now."""
        self._started[_key(file, kind)] = begun
        self._save()

    def forget(self, files: Sequence[File], kind: str) -> None:
        """Forgets the uploads of these files: they are used up, or of no use."""
        for file in files:
            self._started.pop(_key(file, kind), None)
        self._save()

    def _save(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        text = json.dumps({key: asdict(begun) for key, begun in self._started.items()})
        replace_text(self._path, text, mode=0o600)  # whoever has such a url can write to it


def _key(file: File, kind: str) -> str:
    return f"{kind} {file.size} {file.changed} {file.path}"


def send(api: Any, file: File, kind: str, uploads: StartedUploads, polling: Polling) -> str:
    """The token of the file, once Kaggle's store has all of it; `kind` is dataset or model."""
    begun = uploads.get(file, kind)
    fresh = begun is None
    if begun is None:
        begun = polling.until(bool, lambda: _begin(api, file, kind), str)
        uploads.put(file, kind, begun)
    if not begun.sent:
        transfer = _Transfer(file, begun.url, polling.report, held=0 if fresh else None)
        try:
            polling.until(bool, transfer.go_on, lambda done: f"{file.name}: going on")
        except KaggleFailed as error:
            if not error.passing:
                uploads.forget([file], kind)
            raise
        begun.sent = True
        uploads.put(file, kind, begun)
    return begun.token


def _begin(api: Any, file: File, kind: str) -> StartedUpload:
    from kagglesdk.blobs.types.blob_api_service import ApiBlobType, ApiStartBlobUploadRequest

    request = ApiStartBlobUploadRequest()
    request.type = ApiBlobType[kind.upper()]
    request.name = file.parts[-1]
    request.content_length = file.size
    request.last_modified_epoch_seconds = file.changed
    with asking(f"upload of {file.name}"), api.build_kaggle_client() as client:
        answer = client.blobs.blob_api_client.start_blob_upload(request)
    if not (answer.create_url and answer.token):
        raise KaggleFailed(
            f"upload of {file.name}: Kaggle named no place for it: repeat the command"
        )
    return StartedUpload(answer.create_url, answer.token)


@dataclass(slots=True)
class _Transfer:
    """The bytes of one file on their way."""

    file: File
    url: str
    report: Callable[[str], None]
    held: int | None  # bytes that the store has; None: it has to be asked
    start: int = 0  # what it had before the last piece

    def go_on(self) -> bool:
        """True if the store has all of it; False if it has more than before."""
        if self.held is None:
            self.held = self._held_after({"Content-Range": f"bytes */{self.file.size}"}, b"")
            if self.held > self.start:  # a break after some way is no miss
                self.start = self.held
                return self.held == self.file.size
        self.start, self.held = self.held, None
        self.held = self._put(self.start)
        if self.held <= self.start:
            raise KaggleFailed(f"upload of {self.file.name}: the store took nothing", passing=True)
        return self.held == self.file.size

    def _put(self, start: int) -> int:
        last = self.file.size - 1
        part = {"Content-Range": f"bytes {start}-{last}/{self.file.size}"} if start else {}
        with self.file.path.open("rb") as source:
            source.seek(start)
            return self._held_after(part, _Body(self, source, self.file.size - start))

    def _held_after(self, headers: dict[str, str], data: Any) -> int:
        """The number of bytes that the store has after this request."""
        import requests

        with asking(f"upload of {self.file.name}"):
            answer = requests.put(
                self.url, data=data, headers=headers, timeout=TIMEOUT_S, allow_redirects=False
            )
        if answer.status_code in (200, 201):
            return self.file.size
        if answer.status_code == 308:  # incomplete: "bytes=0-1023", or no such header
            return int(answer.headers.get("Range", "bytes=0-").rpartition("-")[2] or -1) + 1
        raise KaggleFailed(
            f"upload of {self.file.name}: HTTP {answer.status_code} ({one_line(answer.text, 80)}): "
            "repeat the command",
            passing=answer.status_code >= 500 or answer.status_code == 429,
        )


@dataclass(slots=True)
class _Body:
    """The rest of a file in pieces, told as they leave."""

    transfer: _Transfer
    source: Any
    size: int

    def __len__(self) -> int:
        return self.size

    def __iter__(self) -> Iterator[bytes]:
        file, report, piece = self.transfer.file, self.transfer.report, b"-"
        while piece:
            report(f"{file.name} ({self.source.tell() / file.size:.0%} of {decimal(file.size)})")
            piece = self.source.read(PIECE)
            yield piece
