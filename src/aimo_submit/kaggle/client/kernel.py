"""A kernel on Kaggle: pushed, watched, its log and its output fetched.

The official package answers a push that went wrong as one that went right, and 2.2.4 ignores the
version that is asked for; here every such answer is a `KaggleFailed`, and the version is always
sent along.
"""

from __future__ import annotations

import io
import json
import re
import shutil
from codecs import BOM_UTF8
from collections.abc import Iterator
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.journal import replace_text
from aimo_submit.kaggle.client.api import KaggleFailed, Polling, asking, one_line
from aimo_submit.kaggle.client.metadata import FILE, Metadata

RUNS = Path("runs/kernels")
LOG_END = 30  # lines
_BETWEEN = re.compile(r"[\s,\[\]]*(?=\{)")  # the objects of a log
_FAILED = {"ERROR", "CANCEL_REQUESTED", "CANCEL_ACKNOWLEDGED"}
_SOURCES = {
    "dataset": "check owner and slug, that the dataset is ready, and that you may read it",
    "kernel": "check owner and slug, and that the kernel has run to its end",
    "competition": "check the slug, and accept the competition's rules on its page",
    "model": "check owner/model/framework/variation/version, and accept the model's licence",
}


@dataclass(frozen=True, slots=True)
class Pushed:
    """A version that Kaggle took: it is queued, or running already."""

    version: int
    url: str
    ref: str  # owner/slug


def push(api: Any, metadata: Metadata) -> Pushed:
    """The new version, once Kaggle has taken it with everything it needs."""
    _drop_mark(metadata.folder / FILE)
    page = f"https://www.kaggle.com/code/{metadata.id}"
    unsure = f"; a version may have been made: look at {page} before pushing again"
    with asking(f"push of {metadata.id}", unsure=unsure), redirect_stdout(io.StringIO()):
        answer = api.kernels_push(str(metadata.folder))
    if answer is None or answer.error:
        reason = one_line(answer.error) if answer else "no answer"
        raise KaggleFailed(f"Kaggle refused the push: {reason}: mend that and push again")
    url = answer.url or page
    left_out = [
        f"{kind}_sources {', '.join(names)} could not be added: {remedy}"
        for kind, remedy in _SOURCES.items()
        if (names := getattr(answer, f"invalid_{kind}_sources"))
    ]
    if left_out:
        raise KaggleFailed(
            f"version {answer.version_number} runs without what it needs, stop it at {url}: "
            f"{'; '.join(left_out)}"
        )
    if not answer.version_number:
        raise KaggleFailed(f"Kaggle named no version: look at {url} before pushing again")
    ref = "/".join((answer.ref or metadata.id).strip("/").split("/")[-2:])
    if ref.lower() != metadata.id.lower():
        raise KaggleFailed(
            f"pushed as {ref} and not as {metadata.id}: set id and title to what they are there"
        )
    return Pushed(answer.version_number, url, metadata.id)


def _drop_mark(file: Path) -> None:
    """Takes away the byte order mark of Windows' editors, over which the package stumbles."""
    content = file.read_bytes()
    if content.startswith(BOM_UTF8):
        replace_text(file, content.removeprefix(BOM_UTF8).decode())


def status_of(api: Any, ref: str, version: int) -> str:
    """The version's status in Kaggle's word; raises `KaggleFailed` with its log if it failed."""
    status, why = ask_status(api, ref, version)
    if status not in _FAILED:
        return status
    try:
        end = log_lines(api, ref, version)[-LOG_END:]
    except KaggleFailed:
        end = []
    remedy = "push again" if status.startswith("CANCEL") else "mend what its log ends with"
    told = f"{status} ({why})" if why else status
    raise KaggleFailed(f"{_named(ref, version)} ended with {told}: {remedy}", log_end=end)


def ask_status(api: Any, ref: str, version: int | None = None) -> tuple[str, str]:
    """The status of that version, or of the newest one, and Kaggle's reason where it failed."""
    from kagglesdk.kernels.types.kernels_api_service import ApiGetKernelSessionStatusRequest

    request = _about(ApiGetKernelSessionStatusRequest(), ref, version)
    with asking(f"status of {_named(ref, version)}"), api.build_kaggle_client() as client:
        answer = client.kernels.kernels_api_client.get_kernel_session_status(request)
        return answer.status.name, one_line(answer.failure_message or "")


def wait_for_run(api: Any, ref: str, version: int, polling: Polling) -> None:
    """Returns when that version is complete; raises `KaggleFailed` with its log if it fails."""
    polling.until(
        lambda status: status == "COMPLETE",
        lambda: status_of(api, ref, version),
        lambda status: f"{_named(ref, version)}: {status}",
    )


def log_lines(api: Any, ref: str, version: int) -> list[str]:
    """All lines that the version has printed."""
    return [line for event in log_events(next(_pages(api, ref, version)).log) for line in event[1]]


def log_events(log: str) -> Iterator[tuple[str, list[str]]]:
    """The pieces of a kernel's log: the stream ("stdout", "stderr", ""), and its lines."""
    plain = [{"data": log}] if log.strip(" []\n") else []
    for event in _objects(log) or plain:
        if isinstance(event, dict):
            yield str(event.get("stream_name", "")), str(event.get("data", "")).splitlines()


def _objects(log: str) -> list[Any]:
    """The JSON values in a list, in lines, or in a list that was cut off; none in plain text."""
    decoder, found, place = json.JSONDecoder(), [], 0
    while more := _BETWEEN.match(log, place):
        try:
            value, place = decoder.raw_decode(log, more.end())
        except ValueError:  # cut off
            break
        found.append(value)
    return found


def fetch(api: Any, ref: str, version: int, home: Path = RUNS) -> Path:
    """The folder below `home` that now holds that version's output and its log."""
    folder = home / ref.split("/")[1] / str(version)
    with asking(f"output of {_named(ref, version)}"):
        shutil.rmtree(folder, ignore_errors=True)  # with it the mark of an earlier check
        folder.mkdir(parents=True)
        log = ""
        for page in _pages(api, ref, version):
            log = log or page.log or ""
            for file in page.files or []:
                path = folder / file.file_name
                if not path.resolve().is_relative_to(folder.resolve()):
                    raise KaggleFailed(
                        f"the output holds a file named {file.file_name!r}: rename it in the kernel"
                    )
                _download(file.url, path)
        # Last: the kernel may have left a file of that name.
        (folder / "kernel.log").write_text(log, encoding="utf-8")
    return folder


def _download(url: str, path: Path) -> None:
    import requests

    path.parent.mkdir(parents=True, exist_ok=True)
    with asking(f"download of {path.name}"), requests.get(url, stream=True, timeout=60) as answer:
        answer.raise_for_status()
        with path.open("wb") as file:
            for chunk in answer.iter_content(1 << 20):
                file.write(chunk)


def _pages(api: Any, ref: str, version: int) -> Iterator[Any]:
    from kagglesdk.kernels.types.kernels_api_service import ApiListKernelSessionOutputRequest

    request = _about(ApiListKernelSessionOutputRequest(), ref, version)
    request.page_size = 100
    while True:
        with asking(f"output of {_named(ref, version)}"), api.build_kaggle_client() as client:
            page = client.kernels.kernels_api_client.list_kernel_session_output(request)
        yield page
        if not page.next_page_token:
            return
        request.page_token = page.next_page_token


def _about(request: Any, ref: str, version: int | None) -> Any:
    request.user_name, request.kernel_slug = ref.split("/")
    if version is not None:  # the bare number is answered with 404
        request.version_label = f"v{version}"
    return request


def _named(ref: str, version: int | None) -> str:
    return ref if version is None else f"{ref} version {version}"
