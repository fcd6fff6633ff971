"""Kaggle's API: credentials, the official package signed in, errors in words, waiting.

The `kaggle` package makes folders, signs in and prints when it is imported, and one of its errors
is `SystemExit`; so it is imported here only, after the credentials were found.
"""

from __future__ import annotations

import io
import json
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout, suppress
from dataclasses import dataclass
from functools import partialmethod
from pathlib import Path
from typing import Any, TypeVar

from aimo_submit.errors import Failed, UserError, need

T = TypeVar("T")

SETTINGS = "https://www.kaggle.com/settings"
SILENCE_S = 120.0  # after which Kaggle is given up, in connecting and between two bytes
EVERY_S = 15.0  # between two questions
SHORTEST = 8  # characters of a credential's part that no message may hold
_FILES, _KEYS = ("kaggle.json", "credentials.json"), ("key", "refresh_token", "access_token")
_REMEDIES = {
    401: f"the credentials are not accepted: make a new token at {SETTINGS}",
    403: "no access: check the owner and the slug, accept the competition's rules on its page, "
    "and verify your phone number",
    404: "no such thing on Kaggle: check the owner, the slug and the version",
    429: "too many requests: wait a few minutes, then repeat the command",
}


class KaggleFailed(Failed):
    """What went wrong on Kaggle, in one line that names the remedy; the CLI exits with code 1.

    No message holds a credential or what signs a link. `log_end` holds the last lines of the
    kernel's log where there is one; `passing` says that the
    same question may well be answered a moment later; `code` is HTTP's where one was sent.
    """

    def __init__(
        self,
        message: str,
        *,
        log_end: Sequence[str] = (),
        passing: bool = False,
        code: int | None = None,
    ) -> None:
        super().__init__(without_secrets(message))
        self.log_end = tuple(log_end)
        self.passing = passing
        self.code = code


def credentials(environ: Mapping[str, str], home: Path) -> str | None:
    """Where the package will find credentials; None: nowhere."""
    try:
        return next(_places(environ, home), None)
    except PermissionError as error:
        raise UserError(
            f"{error.filename} cannot be read: chmod u+rwX it, or chown it to yourself"
        ) from error


def _places(environ: Mapping[str, str], home: Path) -> Iterator[str]:
    """All places that hold credentials, in the package's own order."""
    if environ.get("KAGGLE_API_TOKEN"):
        yield "KAGGLE_API_TOKEN"
    for name in ("access_token", "access_token.txt"):
        if _filled(home / ".kaggle" / name):
            yield f"~/.kaggle/{name}"
    if environ.get("KAGGLE_USERNAME") and environ.get("KAGGLE_KEY"):
        yield "KAGGLE_USERNAME and KAGGLE_KEY"
    folder = home / ".kaggle"
    if environ.get("KAGGLE_CONFIG_DIR"):
        folder = Path(environ["KAGGLE_CONFIG_DIR"])
    elif not folder.exists():  # the package looks into it alone where it exists
        folder = Path(environ.get("XDG_CONFIG_HOME") or home / ".config") / "kaggle"
    if _has_key(folder / "kaggle.json"):
        yield str(folder / "kaggle.json")
    if _filled(home / ".kaggle/credentials.json"):
        yield "~/.kaggle/credentials.json"


def _filled(file: Path) -> bool:
    return file.is_file() and bool(file.read_text(errors="replace").strip())


def _has_key(file: Path) -> bool:
    try:
        data = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and bool(data.get("username") and data.get("key"))


def require_credentials(environ: Mapping[str, str], home: Path) -> str:
    """Where the package will find credentials; raises `UserError` where there are none to be used.

    One with a line break in it is refused here: the package would print it.
    """
    where = credentials(environ, home)
    if where is None:
        raise UserError(
            f"no Kaggle credentials: make a token at {SETTINGS} and put it into "
            "~/.kaggle/access_token, or into the variable KAGGLE_API_TOKEN"
        )
    for place, secret in _secrets(environ, home):
        if secret and not re.fullmatch(r"[\x21-\x7e]+", secret):
            raise UserError(
                f"the credentials in {place} have a space, a line break or a strange letter in "
                f"them: copy them anew from {SETTINGS}"
            )
    return where


def _secrets(environ: Mapping[str, str], home: Path) -> Iterator[tuple[str, str]]:
    """Where a credential lies, and the credential, wherever the package may find one."""
    for name in ("KAGGLE_API_TOKEN", "KAGGLE_KEY"):
        given = environ.get(name, "").strip()
        yield name, _text(Path(given)) or given
    for name in ("access_token", "access_token.txt"):
        yield f"~/.kaggle/{name}", _text(home / ".kaggle" / name)
    folders = {home / ".kaggle", home / ".config" / "kaggle"}
    for variable, below in (("KAGGLE_CONFIG_DIR", "."), ("XDG_CONFIG_HOME", "kaggle")):
        folders |= {Path(environ[variable]) / below} if environ.get(variable) else set()
    for file in (folder / name for folder in folders for name in _FILES):
        with suppress(ValueError, AttributeError):
            held = json.loads(_text(file) or "{}")
            yield from ((str(file), str(v)) for k, v in held.items() if k in _KEYS and v)


def _text(file: Path) -> str:
    try:
        return file.read_text(errors="replace").strip()
    except (OSError, ValueError):
        return ""


def without_secrets(text: str) -> str:
    """The text without credentials, whole or in parts, and without what signs a link."""
    text = re.sub(r"(https?://[^\s?'\"]+)\?[^\s'\"]*", r"\1?...", text)
    for _, secret in _secrets(os.environ, Path.home()):
        for part in re.split(r"[^\x21-\x7e]+", secret):
            if len(part) >= SHORTEST:
                text = text.replace(part, "***")
    return text


def connect(silence_s: float = SILENCE_S) -> Any:
    """The official package's `KaggleApi`, signed in; raises `UserError` without credentials.

    A Kaggle that says nothing for so long is an error, which the package alone would wait out.
    """
    where = require_credentials(os.environ, Path.home())
    # The limit that the package's requests lack; the first is sent by its very import.
    adapter = need("requests.adapters", "kaggle").HTTPAdapter
    adapter.send = partialmethod(vars(adapter)["send"], timeout=silence_s)
    with asking("signing in"), redirect_stdout(io.StringIO()):
        try:
            api = need("kaggle.api.kaggle_api_extended", "kaggle").KaggleApi()
            api.authenticate()
        except SystemExit as error:
            raise KaggleFailed(
                f"Kaggle does not accept the credentials in {where}: make a new token at {SETTINGS}"
            ) from error
    return api


@contextmanager
def asking(what: str, *, unsure: str = "") -> Iterator[None]:
    """Turns all that the package raises into a `KaggleFailed`.

    `unsure` is added where Kaggle may have done what it was asked although no answer came.
    """
    try:
        yield
    except KeyboardInterrupt as error:
        if not unsure:
            raise
        raise KaggleFailed(f"{what}: stopped{unsure}") from error
    except json.JSONDecodeError as error:
        raise KaggleFailed(
            f"{what}: what came is no answer of Kaggle's API: check the network (a page to sign "
            f"in, maintenance?) and repeat{unsure}",
            passing=True,
        ) from error
    except OSError as error:  # requests' exceptions among them
        if not hasattr(error, "response"):
            raise KaggleFailed(f"{what}: {one_line(error)}: mend that and repeat") from error
        raise _unanswered(what, unsure, error) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KaggleFailed(
            f"{what}: {one_line(error)}; if that makes no sense, pip install -U kaggle{unsure}"
        ) from error


def _unanswered(what: str, unsure: str, error: Any) -> KaggleFailed:
    """The failure of a request that HTTP or the network refused."""
    code = getattr(error.response, "status_code", None)
    if code is None:
        words = f"no answer from Kaggle ({one_line(error)}): check the network and repeat"
    elif code in _REMEDIES:
        words = f"HTTP {code} ({one_line(error)}): {_REMEDIES[code]}"
    elif code >= 500:
        words = f"HTTP {code} ({one_line(error)}): trouble at Kaggle: repeat the command later"
    else:
        words = f"HTTP {code}: {one_line(error)}: mend what it names and repeat the command"
    lost = code is None or code >= 500
    # A version or a submission that was just made may not be found for a moment.
    passing = lost or code in (404, 429)
    return KaggleFailed(f"{what}: {words}{unsure if lost else ''}", passing=passing, code=code)


def one_line(text: object, most: int = 300) -> str:
    """The text in one line of bounded length."""
    words = " ".join(str(text).split())
    return words if len(words) <= most else f"{words[: most - 3]}..."


@dataclass(frozen=True, slots=True)
class Polling:
    """Repeated questions: whom to tell, how often to ask, for how long, how many misses."""

    report: Callable[[str], None]
    sleep: Callable[[float], None] = time.sleep
    clock: Callable[[], float] = time.monotonic
    every_s: float = EVERY_S
    limit_s: float = 12.5 * 3600  # Kaggle's longest session, and the queue before it
    misses: int = 8  # in a row: Kaggle out of reach for two minutes

    def until(
        self, done: Callable[[T], bool], ask: Callable[[], T], words: Callable[[T], str]
    ) -> T:
        """The first answer that is `done`; raises `KaggleFailed` for lasting trouble or no end."""
        start, missed = self.clock(), 0
        while (waited_s := self.clock() - start) <= self.limit_s:
            try:
                answer = ask()
                if done(answer):
                    return answer
                missed, line = 0, words(answer)
            except KaggleFailed as error:
                missed, line = missed + 1, str(error)
                if not error.passing or missed == self.misses:
                    raise
            self.report(f"{line} ({waited_s / 60:.0f} min)")
            self.sleep(self.every_s)
        raise KaggleFailed(f"no end after {self.limit_s / 3600:.1f} h: look at its page on Kaggle")
