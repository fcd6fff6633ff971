"""`kernel-metadata.json`, checked before anything is sent.

The rules are Kaggle's and those of the official package (2.2.4 and 2.2.5), which ignores unknown
keys, passes on accelerators that do not exist, and answers null with a bare TypeError.
"""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from aimo_submit.errors import UserError

FILE = "kernel-metadata.json"
PLACEHOLDER = "your-kaggle-name"

NAME = r"[A-Za-z0-9][\w.-]*"
_SOURCES = {
    "dataset_sources": (rf"{NAME}/{NAME}(/\d+)?", "owner/slug or owner/slug/version"),
    "kernel_sources": (
        rf"{NAME}/[A-Za-z0-9][\w.-]{{4,}}(/\d+)?",
        "owner/slug or owner/slug/version, the slug of at least 5 characters",
    ),
    "model_sources": (rf"({NAME}/){{4}}\d+", "owner/model/framework/variation/version"),
    "competition_sources": (NAME, "the competition's slug alone"),
}
_TEXT, _SWITCH, _LIST = "a string", "true or false", "a list of strings"
_KINDS = {
    **dict.fromkeys(("id", "title", "code_file", "language", "kernel_type"), _TEXT),
    **dict.fromkeys(("docker_image", "docker_image_pinning_type", "machine_shape"), _TEXT),
    **dict.fromkeys(("is_private", "enable_gpu", "enable_tpu", "enable_internet"), _SWITCH),
    **dict.fromkeys(("keywords", *_SOURCES), _LIST),
}
_NEEDED = {  # with what to do where it is missing
    "id": ': add "owner/slug"',
    "title": ": add one of 5 to 50 characters",
    "code_file": ": add it",
    "language": ": add it",
    "kernel_type": ": add it",
    "enable_internet": ", and Kaggle's default is true: set false to be able to submit",
}
_CHOICES = {
    "language": ("python", "r", "rmarkdown"),
    "kernel_type": ("script", "notebook"),
    "docker_image_pinning_type": ("original", "latest"),
}

# `kaggle kernels pull -m` writes it in front, and push rejects it.
_PREFIX = re.compile(r"^(https://www\.kaggle\.com/)?(datasets|code|c|competitions|models)/")

# https://github.com/Kaggle/kaggle-cli/blob/main/docs/kernels.md; T4 means two of them.
_MACHINE_SHAPES = ("NvidiaTeslaT4", "NvidiaL4", "NvidiaH100", "NvidiaRtxPro6000")
_RARE = ("NvidiaL4X1", "NvidiaTeslaA100", "TpuV5E8", "TpuV6E8", "None")
_RESERVED = "NvidiaTeslaT4Highmem"  # for Kaggle's administrators
# What people write, most often after other tools' or the API's own names.
_MEANT = {
    **dict.fromkeys(("accelerator", "gpu_type", "gpu", "machine_type"), "machine_shape"),
    **dict.fromkeys(("internet", "enableInternet"), "enable_internet"),
    **dict.fromkeys(("private", "isPrivate"), "is_private"),
    "enableGpu": "enable_gpu",
    "enableTpu": "machine_shape",
}
_PARTS = ("owner", "model", "framework", "variation", "version")  # of a model's source
_RETIRED = {
    "nvidiateslap100": "NvidiaTeslaT4",
    **dict.fromkeys(("tpuv38", "tpu1vmv38", "tpuv232", "tpuv2256"), "TpuV5E8"),
}


@dataclass(frozen=True, slots=True)
class Metadata:
    """A kernel's metadata that passed every check."""

    folder: Path
    id: str  # owner/slug
    sources: Mapping[str, tuple[str, ...]]  # each of the `..._sources`

    @property
    def competition(self) -> str | None:
        """The one to submit to: the first of `competition_sources`."""
        return next(iter(self.sources["competition_sources"]), None)

    @property
    def slug(self) -> str:
        """The kernel's name without its owner."""
        return self.id.split("/")[1]


def read_metadata(folder: Path) -> Metadata:
    """The folder's metadata; raises a `UserError` that names everything wrong with it."""
    data = load(folder / FILE)
    problems = list(problems_in(data, folder))
    if problems:
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        raise UserError("\n  ".join([f"{folder / FILE} has {count}:", *problems]))
    return Metadata(
        folder=folder,
        id=data["id"],
        sources={key: tuple(data.get(key, [])) for key in _SOURCES},
    )


def load(file: Path) -> dict[str, Any]:
    """The file's JSON object, unchecked; raises `UserError` where there is none."""
    try:
        data = json.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise UserError(
            f"cannot read {file}: {error.strerror}; push from the folder that holds it"
        ) from error
    except ValueError as error:
        raise UserError(f"{file} is not valid JSON: {error}") from error
    if not isinstance(data, dict):
        raise UserError(f"{file}: it must hold one JSON object, {{...}}")
    return data


def problems_in(data: Mapping[str, Any], folder: Path) -> Iterator[str]:
    """Everything that is wrong with the metadata, each with its remedy."""
    yield from _keys(data)
    sound = {k: v for k, v in data.items() if k in _KINDS and _fits(_KINDS[k], v)}
    yield from _id(sound)
    yield from _title(sound)
    yield from _code_file(sound, folder)
    yield from _choices(sound)
    yield from _internet(sound)
    yield from _machine_shape(sound)
    yield from _sources(sound)


def _keys(data: Mapping[str, Any]) -> Iterator[str]:
    for key, value in data.items():
        if key == "id_no":
            continue
        if key not in _KINDS:
            near = [_MEANT[key]] if key in _MEANT else get_close_matches(key, _KINDS, 1)
            hint = f"did you mean {near[0]}?" if near else "take it out"
            yield f"{key}: Kaggle ignores this key: {hint}"
        elif not _fits(_KINDS[key], value):
            yield f"{key} = {json.dumps(value)}: must be {_KINDS[key]}; drop it for the default"
    for key, remedy in _NEEDED.items():
        if key not in data:
            yield f"{key} is missing{remedy}"


def _fits(kind: str, value: Any) -> bool:
    if kind is _TEXT:
        return isinstance(value, str)
    if kind is _SWITCH:  # `kaggle kernels init` writes "true"
        return isinstance(value, bool) or str(value).lower() in ("true", "false")
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _id(data: Mapping[str, Any]) -> Iterator[str]:
    given = data.get("id")
    if given is None:
        return
    owner, slash, slug = given.partition("/")
    if not re.fullmatch(rf"{NAME}/{NAME}", given):
        yield f"id = {given!r}: must be owner/slug, without a version"
    elif owner == PLACEHOLDER:
        yield f"id = {given!r}: put your Kaggle name in place of {PLACEHOLDER}"
    if slash and "/" not in slug and len(slug) < 5:
        yield f"id = {given!r}: lengthen the slug to at least 5 characters"


def _title(data: Mapping[str, Any]) -> Iterator[str]:
    title, slug = data.get("title"), "".join(data.get("id", "").split("/")[1:2])
    if title is None:
        return
    if not 5 <= len(title) <= 50:
        yield f"title has {len(title)} characters: must have 5 to 50"
    if slug and slugify(title) != slug.lower():
        yield f"title {title!r} becomes the slug {slugify(title)!r}, not {slug!r}: make them agree"


def slugify(title: str) -> str:
    """The slug that Kaggle makes of a title."""
    plain = unicodedata.normalize("NFKD", title).encode("ascii", "ignore").decode().lower()
    plain = re.sub(r"(?<=\d),(?=\d)", "", plain)
    return re.sub(r"[^a-z0-9]+", "-", plain).strip("-")


def _code_file(data: Mapping[str, Any], folder: Path) -> Iterator[str]:
    given = data.get("code_file")
    if given is None:
        return
    file = folder / given
    if Path(given).is_absolute():
        yield f"code_file = {given!r}: give it relative to {FILE}"
    elif not file.is_file():
        yield f"code_file: no file {file}: build it, or mend the path"
    elif data.get("kernel_type") == "notebook" and not _is_notebook(file):
        yield f"code_file: {file} is not a notebook: build it, or set kernel_type to script"
    elif data.get("kernel_type") == "script" and file.suffix == ".ipynb":
        yield f"code_file: {file} is a notebook: set kernel_type to notebook"


def _is_notebook(file: Path) -> bool:
    try:
        return isinstance(json.loads(file.read_text(encoding="utf-8"))["cells"], list)
    except (ValueError, KeyError, TypeError):
        return False


def _choices(data: Mapping[str, Any]) -> Iterator[str]:
    for key, allowed in _CHOICES.items():
        if key in data and data[key] not in allowed:
            yield f"{key} = {data[key]!r}: must be one of {', '.join(allowed)}"


def _internet(data: Mapping[str, Any]) -> Iterator[str]:
    if data.get("competition_sources") and is_on(data, "enable_internet"):
        yield "enable_internet = true: a submission must run without internet: set false"


def _machine_shape(data: Mapping[str, Any]) -> Iterator[str]:
    """Names that Kaggle would not know; one that it may have added since passes."""
    if is_on(data, "enable_tpu"):
        yield "enable_tpu is deprecated: drop it and name the TPU in machine_shape"
    shape = data.get("machine_shape", "")
    known = {name.lower(): name for name in (*_MACHINE_SHAPES, *_RARE)}
    near = get_close_matches(shape.lower(), known, 1, 0.8)
    if shape.lower() == _RESERVED.lower():
        yield f"machine_shape = {shape!r} is for Kaggle's administrators: set NvidiaTeslaT4"
    elif shape.lower() in _RETIRED:
        yield f"machine_shape = {shape!r} is retired: set {_RETIRED[shape.lower()]}"
    elif near and shape != known[near[0]]:
        yield f"machine_shape = {shape!r}: write it {known[near[0]]}"
    elif shape and not shape.startswith(("Nvidia", "Tpu", "None")):
        names = ", ".join(_MACHINE_SHAPES)
        yield f"machine_shape = {shape!r}: no such machine; known are {names}"
    if shape.startswith("Nvidia") and "enable_gpu" in data and not is_on(data, "enable_gpu"):
        yield f"enable_gpu = false against machine_shape = {shape!r}: set it true"


def is_on(data: Mapping[str, Any], key: str) -> bool:
    """True for a switch that is set to true, be it as a word."""
    return str(data.get(key, "")).lower() == "true"


def _sources(data: Mapping[str, Any]) -> Iterator[str]:
    for key, (pattern, form) in _SOURCES.items():
        for source in data.get(key, []):
            bare = _PREFIX.sub("", source)
            if bare.startswith(PLACEHOLDER):
                yield f"{key}: {source!r}: put your Kaggle name in place of {PLACEHOLDER}"
            elif not re.fullmatch(pattern, source):
                hint = f"write {bare!r}" if re.fullmatch(pattern, bare) else f"must be {form}"
                if key == "model_sources" and not re.fullmatch(pattern, bare):
                    hint += _wrong_part(bare)
                yield f"{key}: {source!r}: {hint}"


def _wrong_part(source: str) -> str:
    """Names the first part of a model's source that is missing or cannot be one."""
    parts = source.split("/")
    for number, part in enumerate(_PARTS):
        pattern = r"\d+" if part == "version" else NAME
        given = parts[number] if number < len(parts) else ""
        if not re.fullmatch(pattern, given):
            return f"; its {part} is {given!r}" if given else f"; its {part} is missing"
    return f"; {'/'.join(parts[len(_PARTS) :])!r} is too much"
