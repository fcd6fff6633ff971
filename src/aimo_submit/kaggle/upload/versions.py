"""The requests by which Kaggle makes a dataset's or model's new version, and lists its files."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from aimo_submit.kaggle.client import sources
from aimo_submit.kaggle.client.api import KaggleFailed, asking, one_line
from aimo_submit.kaggle.upload.folder import File
from aimo_submit.kaggle.upload.transfer import UPLOADS

DATASET, MODEL = "dataset", "model"


@dataclass(frozen=True, slots=True)
class Target:
    """The dataset or model that the upload becomes."""

    kind: str  # DATASET or MODEL
    ref: str
    title: str
    license: str = ""  # needed where it is new
    public: bool = False

    @property
    def owner(self) -> str:
        """The Kaggle name of whom it belongs to."""
        return self.ref.split("/")[0]

    @property
    def slug(self) -> str:
        """The dataset's or the model's own name."""
        return self.ref.split("/")[1]

    @property
    def page(self) -> str:
        """The address of its page."""
        return f"https://www.kaggle.com/{self.kind}s/{self.ref}"

    @property
    def sources(self) -> str:
        """The list in kernel-metadata.json that it belongs into."""
        return f"{self.kind}_sources"


def make(api: Any, goal: Target, sent: Sequence[tuple[File, str]], *, note: str, new: bool) -> None:
    """Returns when Kaggle has taken the files, each with its token, as a version of the goal."""
    tree = _tree(sent)
    if goal.kind == MODEL and new:
        _ensure_model(api, goal)
    unsure = f"; it may have been made: look at {goal.page} before uploading again"
    with asking(f"upload as {goal.ref}", unsure=unsure), api.build_kaggle_client() as client:
        if goal.kind == DATASET:
            answer = _make_dataset(client.datasets.dataset_api_client, goal, tree, note, new)
        else:
            answer = _make_model(client.models.model_api_client, goal, tree, note, new)
    _taken(answer, goal)


def _taken(answer: Any, goal: Target) -> None:
    status = getattr(answer, "status", "")
    if answer.error or status.lower() not in ("", "ok"):
        reason = one_line(answer.error or status)
        raise KaggleFailed(
            f"Kaggle refused {goal.ref}: {reason}: mend that and repeat the command; if it is "
            f"about the files, rm {UPLOADS} sends them anew"
        )


def _tree(sent: Sequence[tuple[File, str]], depth: int = 0, name: str = "") -> Any:
    """The folder at that depth as Kaggle wants it: its files' tokens, and its subfolders."""
    from kagglesdk.datasets.types import dataset_api_service as types

    folder = types.ApiUploadDirectoryInfo()
    folder.name = name
    below: dict[str, list[tuple[File, str]]] = {}
    for file, token in sent:
        if len(file.parts) > depth + 1:
            below.setdefault(file.parts[depth], []).append((file, token))
        else:
            new = types.ApiDatasetNewFile()
            new.token = token
            folder.files.append(new)
    folder.directories = [_tree(inside, depth + 1, name) for name, inside in below.items()]
    return folder


def _make_dataset(kaggle: Any, goal: Target, tree: Any, note: str, new: bool) -> Any:
    from kagglesdk.datasets.types import dataset_api_service as types

    if not new:
        request = types.ApiCreateDatasetVersionRequest()
        request.owner_slug, request.dataset_slug = goal.owner, goal.slug
        request.body = _filled(types.ApiCreateDatasetVersionRequestBody(), tree)
        request.body.version_notes = note
        return kaggle.create_dataset_version(request)
    request = _filled(types.ApiCreateDatasetRequest(), tree)
    request.owner_slug, request.slug, request.title = goal.owner, goal.slug, goal.title
    request.license_name, request.is_private = goal.license, not goal.public
    return kaggle.create_dataset(request)


def _make_model(kaggle: Any, goal: Target, tree: Any, note: str, new: bool) -> Any:
    from kagglesdk.models.types import model_api_service as types

    if not new:
        request = sources.variation(types.ApiCreateModelInstanceVersionRequest(), goal.ref)
        request.body = _filled(types.ApiCreateModelInstanceVersionRequestBody(), tree)
        request.body.version_notes = note
        return kaggle.create_model_instance_version(request)
    request = types.ApiCreateModelInstanceRequest()
    request.owner_slug, request.model_slug, named, slug = goal.ref.split("/")
    body = _filled(types.ApiCreateModelInstanceRequestBody(), tree)
    body.framework, body.instance_slug = sources.framework(named), slug
    body.license_name = goal.license
    request.body = body
    return kaggle.create_model_instance(request)


def _filled(body: Any, tree: Any) -> Any:
    body.files, body.directories = tree.files, tree.directories
    return body


def _ensure_model(api: Any, goal: Target) -> None:
    """Creates the model that the variation belongs to, where there is none."""
    from kagglesdk.models.types import model_api_service as types

    request = types.ApiGetModelRequest()
    request.owner_slug, request.model_slug = goal.owner, goal.slug

    def ask() -> Any:
        with asking(f"model {goal.owner}/{goal.slug}"), api.build_kaggle_client() as client:
            return client.models.model_api_client.get_model(request)

    if sources.existing(ask, mine=True) is not None:
        return
    new = types.ApiCreateModelRequest()
    new.owner_slug, new.slug, new.title = goal.owner, goal.slug, goal.title
    new.is_private, new.description = not goal.public, ""
    with asking(f"new model {goal.ref}"), api.build_kaggle_client() as client:
        _taken(client.models.model_api_client.create_model(new), goal)


def files_listed(api: Any, goal: Target, version: int) -> int:
    """The number of files that Kaggle lists in that version."""
    from kagglesdk.datasets.types.dataset_api_service import ApiListDatasetFilesRequest
    from kagglesdk.models.types.model_api_service import ApiListModelInstanceVersionFilesRequest

    if goal.kind == MODEL:
        request = sources.variation(ApiListModelInstanceVersionFilesRequest(), goal.ref)
        request.version_number = version
    else:
        request = ApiListDatasetFilesRequest()
        request.owner_slug, request.dataset_slug = goal.owner, goal.slug
        request.dataset_version_number = version
    request.page_size = 200
    listed = 0
    while True:
        with asking(f"files of {goal.ref}"), api.build_kaggle_client() as client:
            if goal.kind == MODEL:
                page = client.models.model_api_client.list_model_instance_version_files(request)
                listed += len(page.files or [])
            else:
                page = client.datasets.dataset_api_client.list_dataset_files(request)
                listed += len(page.dataset_files or [])
        if not page.next_page_token:
            return listed
        request.page_token = page.next_page_token
