"""The sources of a kernel: which version of each stands on Kaggle, and whether it is ready.

A kernel that starts before a dataset's version is ready runs with the one before it, or with none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from aimo_submit.errors import UserError, need
from aimo_submit.journal import replace_text
from aimo_submit.kaggle.client.api import KaggleFailed, asking
from aimo_submit.kaggle.client.kernel import ask_status
from aimo_submit.kaggle.client.metadata import FILE, Metadata, load

T = TypeVar("T")

READY, FAILED = "READY", "FAILED"


@dataclass(frozen=True, slots=True)
class SourceStatus:
    """The newest version of a dataset or model, and its status in Kaggle's word."""

    version: int
    status: str


def dataset(api: Any, ref: str) -> SourceStatus:
    """The status of the dataset `owner/slug`."""
    from kagglesdk.datasets.types import dataset_api_service as types

    requests = types.ApiGetDatasetStatusRequest(), types.ApiGetDatasetRequest()
    for request in requests:
        request.owner_slug, request.dataset_slug = ref.split("/")
    with asking(f"dataset {ref}"), api.build_kaggle_client() as client:
        kaggle = client.datasets.dataset_api_client
        status = kaggle.get_dataset_status(requests[0]).status.name
        return SourceStatus(kaggle.get_dataset(requests[1]).current_version_number, status)


def model(api: Any, ref: str) -> SourceStatus:
    """The status of `owner/model/framework/variation`; Kaggle names ready versions only."""
    from kagglesdk.models.types.model_api_service import ApiGetModelInstanceRequest

    request = variation(ApiGetModelInstanceRequest(), ref)
    with asking(f"model {ref}"), api.build_kaggle_client() as client:
        found = client.models.model_api_client.get_model_instance(request)
        return SourceStatus(found.version_number, READY)


def variation(request: Any, ref: str) -> Any:
    """The request, now about the variation `owner/model/framework/variation`."""
    request.owner_slug, request.model_slug, named, request.instance_slug = ref.split("/")
    request.framework = framework(named)
    return request


def framework(name: str) -> Any:
    """Kaggle's member for a framework, whatever its case; raises `UserError` for others."""
    frameworks = need("kagglesdk.models.types.model_enums", "kaggle").ModelFramework
    known = {f.name.removeprefix("MODEL_FRAMEWORK_").replace("_", ""): f for f in frameworks}
    known.pop("UNSPECIFIED")
    found = known.get(name.replace("_", "").replace("-", "").upper())
    if found is None:
        raise UserError(
            f"no framework {name!r} on Kaggle: known are {', '.join(n.lower() for n in known)}"
        )
    return found


def existing(ask: Callable[[], T], *, mine: bool) -> T | None:
    """The answer, or None if there is no such thing. With `mine`, a 403 also means that."""
    try:
        return ask()
    except KaggleFailed as error:
        if error.code == 404 or (mine and error.code == 403):
            return None
        raise


def not_ready(api: Any, metadata: Metadata, note: Callable[[str], None]) -> Iterator[str]:
    """Why the kernel would run without its sources; those that cannot be judged go to `note`."""
    for kind, problem in _PROBLEMS.items():
        for ref in metadata.sources[kind]:
            mine = ref.split("/")[0] == metadata.id.split("/")[0]
            try:
                wrong = existing(partial(problem, api, ref), mine=mine)
            except KaggleFailed as error:
                note(f"{kind} {ref} could not be looked at before the push: {error}")
                continue
            if wrong is None:
                wrong = "is not on Kaggle: check its name, or upload it"
            if wrong:
                yield f"{kind} {ref} {wrong}"


def _dataset_problem(api: Any, ref: str) -> str:
    owner, slug, *version = ref.split("/")
    found = dataset(api, f"{owner}/{slug}")
    if found.status == FAILED:
        return "could not be processed by Kaggle: upload it again with aimo-submit upload"
    if found.status != READY:
        return f"is not ready ({found.status}): push again in a few minutes"
    return _too_new(found, version)


def _model_problem(api: Any, ref: str) -> str:
    *names, version = ref.split("/")
    return _too_new(model(api, "/".join(names)), [version])


def _too_new(found: SourceStatus, version: list[str]) -> str:
    if not version or int(version[0]) <= found.version:
        return ""
    return f"does not exist yet, the newest version is {found.version}: name that, or wait for it"


def _kernel_problem(api: Any, ref: str) -> str:
    owner, slug, *version = ref.split("/")
    status, _ = ask_status(api, f"{owner}/{slug}", int(version[0]) if version else None)
    if status == "COMPLETE":
        return ""
    return f"has no output ({status}): let it run to its end, or name a version that has"


_PROBLEMS = {
    "dataset_sources": _dataset_problem,
    "model_sources": _model_problem,
    "kernel_sources": _kernel_problem,
}


def attach(folder: Path, key: str, source: str) -> None:
    """Puts the source into that list of the folder's metadata, in place of other versions of it."""
    data = load(folder / FILE)
    bare = source.rpartition("/")[0]
    listed = data.get(key) if isinstance(data.get(key), list) else []
    others = [s for s in listed or [] if s != bare and str(s).rpartition("/")[0] != bare]
    data[key] = [*others, source]
    replace_text(folder / FILE, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
