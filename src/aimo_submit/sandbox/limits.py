"""What one block of code may use."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from aimo_submit.errors import UserError

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """Per block; memory counts from what the preloaded libraries already take."""

    memory_bytes: int = 2048 * MIB  # address space of each process, and all of them together
    stack_bytes: int = 112 * MIB  # more would need the limit raised before exec
    output_bytes: int = 32_000  # kept: half from the start, half from the end
    flood_bytes: int = 16 * MIB  # a block that prints more than this is killed
    file_bytes: int = 64 * MIB  # each file, and all files of the block together
    open_files: int = 256
    processes: int = 64  # threads too; ending a few hundred takes a second
    queue_s: float = 60.0  # a block that waited this long for a free worker does not run

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value <= 0:
                raise UserError(f"Limits.{name} is {value}: give a positive number")
