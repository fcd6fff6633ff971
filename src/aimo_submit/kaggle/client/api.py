"""The user's account: credentials, the official package signed in, its errors in words.

The `kaggle` package makes folders, signs in and prints when it is imported, and one of its errors
is `SystemExit`; so it is imported here only, after the credentials were found.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from functools import partialmethod
from pathlib import Path
from typing import Any

from aimo_submit.errors import Failed, UserError, install

SETTINGS = "https://www.kaggle.com/settings"
SILENCE_S = 120.0  # after which Kaggle is given up, in connecting and between two bytes
_REMEDIES = {
    401: f"the credentials are not accepted: make a new token at {SETTINGS}",
    403: "no access: check the owner and the slug, accept the competition's rules on its page, "
    "and verify your phone number",
    404: "no such thing on Kaggle: check the owner, the slug and the version",
    429: "too many requests: wait a few minutes, then repeat the command",
}
_KAGGLES_FAULT = "trouble at Kaggle: repeat the command later"


class KaggleFailed(Failed):
    """What went wrong on Kaggle, in one line that names the remedy; the CLI exits with code 1.

    `log_end` holds the last lines of the kernel's log where there is one; `passing` says that the
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
        super().__init__(message)
        self.log_end = tuple(log_end)
        self.passing = passing
        self.code = code


def credentials(environ: Mapping[str, str], home: Path) -> str | None:
    """Where the package will find credentials, in its own order; None: nowhere."""
    try:
        return _found(environ, home)
    except PermissionError as error:
        raise UserError(
            f"{error.filename} cannot be read: chmod u+rwX it, or chown it to yourself"
        ) from error


def _found(environ: Mapping[str, str], home: Path) -> str | None:
    if environ.get("KAGGLE_API_TOKEN"):
        return "KAGGLE_API_TOKEN"
    for name in ("access_token", "access_token.txt"):
        if _filled(home / ".kaggle" / name):
            return f"~/.kaggle/{name}"
    if environ.get("KAGGLE_USERNAME") and environ.get("KAGGLE_KEY"):
        return "KAGGLE_USERNAME and KAGGLE_KEY"
    for folder in _config_folders(environ, home):
        if _has_key(folder / "kaggle.json"):
            return str(folder / "kaggle.json")
    return "~/.kaggle/credentials.json" if _filled(home / ".kaggle/credentials.json") else None


def require_credentials(environ: Mapping[str, str], home: Path) -> str:
    """Where the package will find credentials; a `UserError` where there are none."""
    where = credentials(environ, home)
    if where is None:
        raise UserError(
            f"no Kaggle credentials: make a token at {SETTINGS} and put it into "
            "~/.kaggle/access_token, or into the variable KAGGLE_API_TOKEN"
        )
    return where


def connect(silence_s: float = SILENCE_S) -> Any:
    """The official package's `KaggleApi`, signed in; without credentials a `UserError`.

    A Kaggle that says nothing for so long is an error, which the package alone would wait out.
    """
    where = require_credentials(os.environ, Path.home())
    with asking("signing in"), redirect_stdout(io.StringIO()):
        try:
            _limit_silence(silence_s)
            from kaggle.api.kaggle_api_extended import KaggleApi

            api = KaggleApi()
            api.authenticate()
        except ImportError as error:
            raise UserError(f"{error}: {install('kaggle')}") from error
        except SystemExit as error:
            raise KaggleFailed(
                f"Kaggle does not accept the credentials in {where}: make a new token at {SETTINGS}"
            ) from error
    return api


def _limit_silence(silence_s: float) -> None:
    """Gives the package's requests the limit they lack; the first is sent by its very import."""
    from requests.adapters import HTTPAdapter

    limited: Any = partialmethod(HTTPAdapter.send, timeout=silence_s)
    HTTPAdapter.send = limited  # type: ignore[method-assign, unused-ignore]


@contextmanager
def asking(what: str, *, unsure: str = "") -> Iterator[None]:
    """Turns what the package raises into a `KaggleFailed`.

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
        raise _told(what, unsure, error) from error
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise KaggleFailed(
            f"{what}: {one_line(error)}; if that makes no sense, pip install -U kaggle{unsure}"
        ) from error


def _told(what: str, unsure: str, error: Any) -> KaggleFailed:
    code = getattr(error.response, "status_code", None)
    if code is None:
        words = f"no answer from Kaggle ({one_line(error)}): check the network and repeat"
    elif code in _REMEDIES:
        words = f"HTTP {code} ({one_line(error)}): {_REMEDIES[code]}"
    elif code >= 500:
        words = f"HTTP {code} ({one_line(error)}): {_KAGGLES_FAULT}"
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


def _config_folders(environ: Mapping[str, str], home: Path) -> list[Path]:
    given = environ.get("KAGGLE_CONFIG_DIR")
    if given:
        return [Path(given)]
    config = Path(environ.get("XDG_CONFIG_HOME") or home / ".config")
    # The package looks into ~/.kaggle alone where it exists.
    return [home / ".kaggle"] if (home / ".kaggle").exists() else [config / "kaggle"]


def _filled(file: Path) -> bool:
    return file.is_file() and bool(file.read_text(errors="replace").strip())


def _has_key(file: Path) -> bool:
    try:
        data = json.loads(file.read_text())
    except (OSError, ValueError):
        return False
    return isinstance(data, dict) and bool(data.get("username") and data.get("key"))
