"""Uploads: a folder becomes a Kaggle dataset or model, new or in a new version, and is waited for.

Runs at home. Every request is the official package's; its own commands leave out what they could
not send and do not wait. A success here is: every file is in the store, Kaggle took the version,
has processed it, and lists no fewer files than were sent.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any

from aimo_submit.errors import UserError
from aimo_submit.kaggle.client import sources
from aimo_submit.kaggle.client.api import KaggleFailed, Polling
from aimo_submit.kaggle.client.metadata import NAME, PLACEHOLDER
from aimo_submit.kaggle.client.sources import SourceStatus
from aimo_submit.kaggle.upload.folder import File
from aimo_submit.kaggle.upload.transfer import StartedUploads, send
from aimo_submit.kaggle.upload.versions import DATASET, MODEL, Target, files_listed, make

_FORMS = {DATASET: "owner/slug", MODEL: "owner/model/framework/variation"}
_SLUG = r"[a-z0-9]+(-[a-z0-9]+)*"
_LENGTHS = {DATASET: (6, 50), MODEL: (2, 50)}


def target(name: str, kind: str | None = None, title: str | None = None, **others: Any) -> Target:
    """The dataset or model of that name; raises `UserError` for what Kaggle would not take."""
    parts = name.split("/")
    kind = kind or (MODEL if len(parts) == 4 else DATASET)
    if len(parts) != _FORMS[kind].count("/") + 1:
        raise UserError(f"--name {name!r}: a {kind} is named {_FORMS[kind]}, without a version")
    if parts[0] == PLACEHOLDER:
        raise UserError(f"--name {name!r}: put your Kaggle name in place of {PLACEHOLDER}")
    low, high = _LENGTHS[kind]
    if not (re.fullmatch(_SLUG, parts[1]) and low <= len(parts[1]) <= high):
        raise UserError(
            f"--name {name!r}: the slug must have {low} to {high} lower-case letters, digits and "
            "single hyphens"
        )
    if not all(re.fullmatch(NAME, part) for part in parts):
        raise UserError(f"--name {name!r}: write it {_FORMS[kind]}, in plain letters")
    if kind == MODEL:
        sources.framework(parts[2])
    title = title or parts[1]
    if not low <= len(title) <= high:
        raise UserError(f"--title has {len(title)} characters: must have {low} to {high}")
    return Target(kind, name, title, **others)


def newest(api: Any, goal: Target) -> SourceStatus | None:
    """The newest version on Kaggle; None where it has to be created."""
    mine = goal.owner.lower() == str(api.config_values.get("username", "")).lower()
    ask = sources.dataset if goal.kind == DATASET else sources.model
    return sources.existing(lambda: ask(api, goal.ref), mine=mine)


def needs_license(goal: Target, before: SourceStatus | None) -> None:
    """Raises `UserError` where something new would go to Kaggle without a word on its licence."""
    if before is None and not goal.license:
        example = "other" if goal.kind == DATASET else "'Apache 2.0'"
        raise UserError(
            f"{goal.ref} is new: name the licence of what you upload, as in --license {example}"
        )


def upload(
    api: Any,
    files: Sequence[File],
    goal: Target,
    before: SourceStatus | None,
    *,
    note: str,
    polling: Polling,
) -> None:
    """Returns when Kaggle has taken the files as a new version; it is not ready by then."""
    uploads = StartedUploads()
    sent = [(file, send(api, file, goal.kind, uploads, polling)) for file in files]
    make(api, goal, sent, note=note, new=before is None)
    uploads.forget(files, goal.kind)


def wait_until_ready(
    api: Any, goal: Target, before: SourceStatus | None, files: Sequence[File], polling: Polling
) -> str:
    """The reference for kernel-metadata.json, once the new version is ready and complete."""
    version = ready_version(lambda: newest(api, goal), goal, before, polling)
    wanted = sum(not file.unpacked for file in files)
    listed = files_listed(api, goal, version)
    if listed < wanted:
        raise KaggleFailed(
            f"{goal.ref} version {version} holds {listed} of {wanted} files: look at {goal.page}, "
            "and upload them anew"
        )
    return f"{goal.ref}/{version}"


def ready_version(
    ask: Callable[[], SourceStatus | None],
    goal: Target,
    before: SourceStatus | None,
    polling: Polling,
) -> int:
    """The first version after `before`, once it is ready; raises `KaggleFailed` if it never is."""
    old = before.version if before else 0

    def done(seen: SourceStatus | None) -> bool:
        if seen is None or seen == before:
            return False
        return seen.status == sources.FAILED or (
            seen.version > old and seen.status == sources.READY
        )

    def words(seen: SourceStatus | None) -> str:
        status = seen.status if seen and seen.version > old else "being made"
        return f"{goal.ref} version {old + 1}: {status}"

    found = polling.until(done, ask, words)
    if found is None or found.status == sources.FAILED:
        raise KaggleFailed(f"Kaggle could not process {goal.ref}: see why at {goal.page}")
    return found.version
