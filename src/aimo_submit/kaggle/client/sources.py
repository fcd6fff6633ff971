"""What a kernel is to run with: which version stands on Kaggle, and whether it is ready.

A kernel that starts before a dataset's version is ready runs with the one before it, or with none.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimo_submit.errors import UserError, install
from aimo_submit.kaggle.client.api import KaggleFailed, asking
from aimo_submit.kaggle.client.kernel import run_of
from aimo_submit.kaggle.client.metadata import FILE, Metadata, load

READY, FAILED = "READY", "FAILED"
_UPLOAD = "upload it again with aimo-submit upload"
_NOT_THERE = (403, 404)  # Kaggle answers 403 for what does not exist, too


@dataclass(frozen=True, slots=True)
class Standing:
    """The newest version of a dataset or model, and in Kaggle's word where it stands."""

    version: int
    status: str


def dataset(api: Any, ref: str) -> Standing:
    """Where the dataset `owner/slug` stands."""
    from kagglesdk.datasets.types.dataset_api_service import (
        ApiGetDatasetRequest,
        ApiGetDatasetStatusRequest,
    )

    requests = ApiGetDatasetStatusRequest(), ApiGetDatasetRequest()
    for request in requests:
        request.owner_slug, request.dataset_slug = ref.split("/")
    with asking(f"dataset {ref}"), api.build_kaggle_client() as client:
        kaggle = client.datasets.dataset_api_client
        status = kaggle.get_dataset_status(requests[0]).status.name
        return Standing(kaggle.get_dataset(requests[1]).current_version_number, status)


def model(api: Any, ref: str) -> Standing:
    """Where the variation `owner/model/framework/variation` stands; only ready ones are told."""
    from kagglesdk.models.types.model_api_service import ApiGetModelInstanceRequest

    request = variation(ApiGetModelInstanceRequest(), ref)
    with asking(f"model {ref}"), api.build_kaggle_client() as client:
        return Standing(
            client.models.model_api_client.get_model_instance(request).version_number, READY
        )


def variation(request: Any, ref: str) -> Any:
    """The request, now about the variation `owner/model/framework/variation`."""
    request.owner_slug, request.model_slug, named, request.instance_slug = ref.split("/")
    request.framework = framework(named)
    return request


def framework(name: str) -> Any:
    """Kaggle's word for a framework, whatever its case; a `UserError` for one it has not."""
    try:
        from kagglesdk.models.types.model_enums import ModelFramework
    except ImportError as error:
        raise UserError(f"{error}: {install('kaggle')}") from error
    known = {f.name.removeprefix("MODEL_FRAMEWORK_").replace("_", ""): f for f in ModelFramework}
    known.pop("UNSPECIFIED")
    found = known.get(name.replace("_", "").replace("-", "").upper())
    if found is None:
        raise UserError(
            f"no framework {name!r} on Kaggle: known are {', '.join(n.lower() for n in known)}"
        )
    return found


def newest(look: Callable[[], Standing], *, mine: bool) -> Standing | None:
    """What `look` finds; None where there is no such thing (`mine`: and nobody else's)."""
    try:
        return look()
    except KaggleFailed as error:
        if error.code == 404 or (mine and error.code in _NOT_THERE):
            return None
        raise


def problems(api: Any, metadata: Metadata, note: Callable[[str], None]) -> Iterator[str]:
    """Why the kernel would run without what it needs; what cannot be found out goes to `note`."""
    for kind, look in _LOOKS.items():
        for ref in metadata.sources[kind]:
            mine = ref.split("/")[0] == metadata.id.split("/")[0]
            try:
                wrong = look(api, ref)
            except KaggleFailed as error:
                if error.code == 404 or (mine and error.code in _NOT_THERE):
                    wrong = "is not on Kaggle: check its name, or upload it"
                else:
                    note(f"{kind} {ref} could not be looked at before the push: {error}")
                    continue
            if wrong:
                yield f"{kind} {ref} {wrong}"


def _look_at_dataset(api: Any, ref: str) -> str:
    owner, slug, *version = ref.split("/")
    found = dataset(api, f"{owner}/{slug}")
    if found.status == FAILED:
        return f"could not be processed by Kaggle: {_UPLOAD}"
    if found.status != READY:
        return f"is not ready ({found.status}): push again in a few minutes"
    return _too_new(found, version)


def _look_at_model(api: Any, ref: str) -> str:
    *names, version = ref.split("/")
    return _too_new(model(api, "/".join(names)), [version])


def _too_new(found: Standing, version: list[str]) -> str:
    if not version or int(version[0]) <= found.version:
        return ""
    return f"does not exist yet, the newest version is {found.version}: name that, or wait for it"


def _look_at_kernel(api: Any, ref: str) -> str:
    owner, slug, *version = ref.split("/")
    run = run_of(api, f"{owner}/{slug}", int(version[0]) if version else None)
    if run.status == "COMPLETE":
        return ""
    return f"has no output ({run.status}): let it run to its end, or name a version that has"


_LOOKS = {
    "dataset_sources": _look_at_dataset,
    "model_sources": _look_at_model,
    "kernel_sources": _look_at_kernel,
}


def attach(folder: Path, key: str, source: str) -> None:
    """Puts the source into that list of the folder's metadata, in place of other versions of it."""
    data = load(folder / FILE)
    bare = source.rpartition("/")[0]
    listed = data.get(key) if isinstance(data.get(key), list) else []
    others = [s for s in listed or [] if s != bare and str(s).rpartition("/")[0] != bare]
    data[key] = [*others, source]
    whole = folder / f"{FILE}.new"
    whole.write_text(json.dumps(data, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    whole.replace(folder / FILE)
