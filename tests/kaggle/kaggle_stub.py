"""A stand-in for Kaggle's API on the loopback, and a command line that waits less.

The real package is run against it, as `KAGGLE_API_ENVIRONMENT=LOCALHOST` and a proxy make it
possible. It answers as scripted, notes every request, and refuses what carries no credentials.
`run_here` and `run_apart` are `aimo-submit` with hardly a pause between two questions.
"""

from __future__ import annotations

import base64
import contextlib
import io
import json
import multiprocessing
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from unittest import mock

USER, KEY = "ada", "0123456789abcdef"
BASIC = "Basic " + base64.b64encode(f"{USER}:{KEY}".encode()).decode()
TOKEN = "KGAT_0123456789"
API = "http://localhost/api/v1/"


@dataclass(frozen=True, slots=True)
class Refusal:
    """An HTTP error, in Kaggle's form; `held` is what a store says that it has of a file."""

    status: int
    message: str = "refused"
    held: str = ""


LOST = Refusal(0, "the connection breaks")
HANGS = Refusal(0, "no answer ever comes")
Answer = Mapping[str, Any] | bytes | Refusal


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came in: `what` is `Service/Method`, or a file's path."""

    what: str
    body: Any
    authorization: str
    part: str = ""  # Content-Range


class Stub:
    """Kaggle on the loopback; the last answer scripted for a request is given again and again."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._script: dict[str, list[Answer]] = {}
        self._released = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                stub._serve(self)

            def do_GET(self) -> None:
                stub._serve(self)

            def do_PUT(self) -> None:
                stub._serve(self)

            def log_message(self, *words: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Stub:
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def close(self) -> None:
        self._released.set()
        self._server.shutdown()
        self._server.server_close()

    def script(self, what: str, *answers: Answer) -> None:
        """Gives these answers to that request, one after the other; `what` may name a kernel."""
        self._script[what] = list(answers)

    def wait_for(self, what: str, times: int = 1) -> None:
        """Returns once that request has come in so often."""
        deadline = time.monotonic() + 300
        while len(self.bodies(what)) < times:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what} never came")
            time.sleep(0.01)

    def bodies(self, what: str) -> list[Any]:
        """The bodies of all such requests so far."""
        return [asked.body for asked in self.asked if asked.what == what]

    def environ(self, home: Path) -> dict[str, str]:
        """The variables that lead the package here, with a home and a temp folder of its own."""
        temp = home / "tmp"
        temp.mkdir(parents=True, exist_ok=True)
        bare = {k: v for k, v in os.environ.items() if not k.startswith("KAGGLE_")}
        for name in ("http_proxy", "no_proxy", "XDG_CONFIG_HOME", "VERBOSE"):
            bare.pop(name, None)
        return bare | {
            "HOME": str(home),
            "TMPDIR": str(temp),
            "KAGGLE_API_ENVIRONMENT": "LOCALHOST",
            "HTTP_PROXY": f"http://127.0.0.1:{self._server.server_port}",
            "NO_PROXY": "127.0.0.1",
            "COLUMNS": "200",
        }

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        raw: Any = handler.rfile.read(int(handler.headers.get("Content-Length", 0)))
        what = handler.path.removeprefix(API).removeprefix("http://localhost/")
        authorization = handler.headers.get("Authorization", "")
        body = raw if handler.command == "PUT" else json.loads(raw) if raw else None
        part = handler.headers.get("Content-Range", "")
        self.asked.append(Asked(what, body, authorization, part))
        about = body.get("kernelSlug", "") if isinstance(body, dict) else ""
        answer = self._answer(handler, what, about, authorization)
        if answer is HANGS:
            self._released.wait(200)
        if answer is LOST or answer is HANGS:
            handler.close_connection = True
            return
        status = answer.status if isinstance(answer, Refusal) else 200
        held = answer.held if isinstance(answer, Refusal) else ""
        if isinstance(answer, Refusal):
            answer = {"code": answer.status, "message": answer.message}
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        handler.send_response(status)
        if held:
            handler.send_header("Range", held)
        page = content.startswith(b"<")
        handler.send_header("Content-Type", "text/html" if page else "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    def _answer(
        self, handler: BaseHTTPRequestHandler, what: str, about: str, authorization: str
    ) -> Answer:
        signed = authorization in (BASIC, f"Bearer {TOKEN}")
        if handler.path.startswith(API) and not signed:
            return Refusal(401, "Unauthenticated")
        answers = self._script.get(f"{what} {about}") or self._script.get(what)
        if not answers:
            return Refusal(418, f"{what} is not scripted")
        return answers.pop(0) if len(answers) > 1 else answers[0]


@dataclass(frozen=True, slots=True)
class Done:
    """How a command ended."""

    returncode: int
    stdout: str
    stderr: str


def run_here(
    words: Sequence[str], environ: Mapping[str, str], folder: Path, *, silence_s: float = 60.0
) -> Done:
    """The command line's outcome, run in this process: the package is imported once for all.

    What it looks up when it is imported, the home's kaggle.json above all, it looks up then only.
    """
    out, err = io.StringIO(), io.StringIO()
    with (
        mock.patch.dict(os.environ, environ, clear=True),
        contextlib.chdir(folder),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        code = _main(words, silence_s)
    return Done(code, out.getvalue(), err.getvalue())


# What the package needs and what does not look at the environment when it is imported.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "requests",
        "kagglesdk.kaggle_client",
        "jupytext",
        "slugify",
        "bleach",
        "tqdm",
        "rich.console",
        "pyarrow.parquet",
    ]
)


def run_apart(
    words: Sequence[str],
    environ: Mapping[str, str],
    folder: Path,
    *,
    until: Callable[[], None] | None = None,
    silence_s: float = 60.0,
) -> Done:
    """The command line's outcome, run as users do, in a process that imports the package.

    With `until`, Ctrl-C is pressed as soon as that returns. Kaggle may be silent for `silence_s`.
    """
    temp = Path(environ["TMPDIR"])
    work = (list(words), dict(environ), str(folder), str(temp), silence_s)
    process = _PROCESSES.Process(target=_child, args=work)
    process.start()
    if until is not None:
        until()
        os.kill(process.pid or 0, signal.SIGINT)
    process.join(300)
    if process.exitcode is None:
        process.kill()
        raise TimeoutError(f"{words} did not end")
    return Done(process.exitcode, (temp / "stdout").read_text(), (temp / "stderr").read_text())


def _child(
    words: list[str], environ: dict[str, str], folder: str, temp: str, silence_s: float
) -> None:
    os.environ.clear()
    os.environ.update(environ)
    os.chdir(folder)
    tempfile.tempdir = None
    assert "kaggle" not in sys.modules
    for number, name in ((1, "stdout"), (2, "stderr")):
        file = os.open(f"{temp}/{name}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        os.dup2(file, number)
    sys.exit(_main(words, silence_s))


def _main(words: Sequence[str], silence_s: float) -> int:
    """The command's exit code, with hardly a pause between two questions."""
    from aimo_submit.cli import main
    from aimo_submit.cli.kaggle import Times

    return main(words, times=Times(every_s=0.01, silence_s=silence_s))
