"""Signing in and asking: credentials, errors in words, and waits that have an end."""

from __future__ import annotations

import json
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path

import pytest

from aimo_submit.kaggle.client.api import KaggleFailed, Polling, asking, credentials
from tests.kaggle.kaggle_stub import HANGS, TOKEN, USER
from tests.kaggle.kit import OUTPUT, SAVE, SIGN_IN, STATUS, SUBMIT, Kit
from tests.kaggle.test_metadata import write_kernel

pytestmark = pytest.mark.slow

# Looked for and not imported: the package signs in with whatever credentials it finds.
if find_spec("kaggle") is None:
    pytest.skip("needs the kaggle package", allow_module_level=True)

# credentials


def test_missing_credentials_are_said_first_and_nothing_is_sent(kit: Kit) -> None:
    (kit.home / ".kaggle" / "kaggle.json").unlink()
    write_kernel(kit.folder, title=None)
    for command in ("push", "status", "logs", "output", "submit"):
        assert kit.bad(command, code=2).startswith("aimo-submit: no Kaggle credentials: make a tok")
    assert kit.stub.asked == []


def test_a_token_that_kaggle_does_not_know_is_named(kit: Kit) -> None:
    kit.apart = True
    (kit.home / ".kaggle" / "kaggle.json").unlink()
    kit.environ["KAGGLE_API_TOKEN"] = TOKEN
    kit.stub.script(SIGN_IN, {"active": False})
    assert "does not accept the credentials in KAGGLE_API_TOKEN" in kit.bad("push")


@pytest.mark.slow
def test_a_token_signs_in(kit: Kit) -> None:
    kit.apart = True
    kit.environ["KAGGLE_API_TOKEN"] = TOKEN
    kit.stub.script(SIGN_IN, {"active": True, "username": USER})
    kit.stub.script(STATUS, {"status": "RUNNING"})
    assert kit.good("status", "--version", "3") == "version 3: RUNNING\n"
    assert kit.stub.asked[-1].authorization == f"Bearer {TOKEN}"


def test_a_wrong_key_is_named(kit: Kit) -> None:
    kit.environ |= {"KAGGLE_USERNAME": USER, "KAGGLE_KEY": "wrong"}
    assert "the credentials are not accepted" in kit.bad("logs", "--version", "3")


SECRET = "KGAT_0123456789abcdef0123"


@pytest.mark.parametrize(
    ("environ", "file", "content"),
    [
        ({"KAGGLE_API_TOKEN": f"{SECRET}\nrest-of-the-token"}, "", ""),
        ({"KAGGLE_API_TOKEN": f"{SECRET} pasted-twice"}, "", ""),
        ({"KAGGLE_USERNAME": USER, "KAGGLE_KEY": f"{SECRET}\u200bx"}, "", ""),
        ({}, "access_token", f"{SECRET}\nrest-of-the-token\n"),
        ({}, "kaggle.json", json.dumps({"username": USER, "key": f"{SECRET}\nrest"})),
    ],
)
def test_a_torn_credential_is_refused_before_anything_is_sent_and_never_shown(
    kit: Kit, environ: Mapping[str, str], file: str, content: str
) -> None:
    kit.environ |= environ
    if file:
        (kit.home / ".kaggle" / file).write_text(content)
    said = kit.bad("status", "--version", "3", code=2)
    assert "copy them anew" in said
    assert not any(part in said for part in (SECRET, "rest-of", "pasted", SECRET[5:]))
    assert kit.stub.asked == []


def test_no_message_holds_a_credential_or_a_signed_link(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAGGLE_API_TOKEN", SECRET)
    link = "https://storage.example/file?X-Signature=5ecret&Expires=9"
    with pytest.raises(KaggleFailed) as failed, asking("output"):
        raise ValueError(f"invalid header b'Bearer {SECRET}' for {link}")
    said = str(failed.value)
    assert "https://storage.example/file?..." in said
    assert not any(part in said for part in (SECRET, "5ecret", "Expires"))


@pytest.mark.parametrize(
    ("environ", "files", "found"),
    [
        ({}, {}, None),
        ({"KAGGLE_API_TOKEN": "x"}, {}, "KAGGLE_API_TOKEN"),
        ({"KAGGLE_USERNAME": "x"}, {}, None),
        ({"KAGGLE_USERNAME": "x", "KAGGLE_KEY": "y"}, {}, "KAGGLE_USERNAME and KAGGLE_KEY"),
        ({}, {".kaggle/access_token": "x"}, "~/.kaggle/access_token"),
        ({}, {".kaggle/access_token": " \n"}, None),
        ({}, {".kaggle/kaggle.json": '{"username": "x", "key": "y"}'}, "kaggle.json"),
        ({}, {".kaggle/kaggle.json": '{"username": "x"}'}, None),
        ({}, {".kaggle/kaggle.json": "{"}, None),
        ({}, {".config/kaggle/kaggle.json": '{"username": "x", "key": "y"}'}, "kaggle.json"),
        ({}, {".kaggle/credentials.json": "{}"}, "~/.kaggle/credentials.json"),
    ],
)
def test_credentials_are_found_where_the_package_looks(
    tmp_path: Path, environ: Mapping[str, str], files: Mapping[str, str], found: str | None
) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    where = credentials(environ, tmp_path)
    assert where == found or (found and where and where.endswith(found))


# a Kaggle that takes the connection and says nothing


@pytest.mark.parametrize(
    ("what", "words"),
    [
        (SAVE, ("push",)),
        (STATUS, ("status", "--version", "3")),
        (OUTPUT, ("logs", "--version", "3")),
        (SUBMIT, ("submit", "-m", "x")),
    ],
)
def test_a_kaggle_that_never_answers_is_given_up_with_a_line(
    kit: Kit, what: str, words: tuple[str, ...]
) -> None:
    """The package alone would wait for ever."""
    kit.fetched()
    kit.stub.script(what, HANGS)
    done = kit.run(*words, silence_s=0.5)
    assert done.returncode == 1, done.stderr
    said = done.stderr.splitlines()[-1]
    assert "no answer from Kaggle" in said
    assert "Read timed out" in said
    assert said.startswith("aimo-submit: ")


@pytest.mark.slow
def test_a_sign_in_that_is_never_answered_is_given_up(kit: Kit) -> None:
    kit.apart = True
    kit.environ["KAGGLE_API_TOKEN"] = TOKEN
    kit.stub.script(SIGN_IN, HANGS)
    done = kit.run("logs", silence_s=0.5)
    assert "signing in: no answer from Kaggle" in done.stderr
    assert done.returncode == 1


# errors and waits


def test_an_error_of_this_machine_is_not_laid_at_kaggles_door() -> None:
    with pytest.raises(KaggleFailed, match="fetching: .*No space left.*: mend that"):
        with asking("fetching"):
            raise OSError(28, "No space left on device")


def test_a_wait_has_an_end() -> None:
    now = [0.0]
    polling = Polling(
        lambda line: None, sleep=lambda s: now.append(now.pop() + s), clock=lambda: now[0]
    )
    with pytest.raises(KaggleFailed, match=r"no end after 12\.5 h"):
        polling.until(lambda seen: False, lambda: "RUNNING", str)
