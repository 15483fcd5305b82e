"""
What an erase does to one disk, as pure values.

Quick removes every signature and the places where tables, superblocks and boot code live: the first and last MiB of
the disk and of each partition. The data in between stays and can be recovered with effort; that is what quick means.
Full writes zeros over the whole disk. (The drives' own secure erase is not used.)
"""

import random
from dataclasses import dataclass
from typing import Any

from .disks import Disk
from .errors import AgentError

MIB = 1024 * 1024
EDGE_BYTES = MIB
FULL_STEP_BYTES = 256 * MIB
SAMPLE_BYTES = 64 * 1024
SAMPLES = 128
MODES = ("quick", "full")


@dataclass(frozen=True)
class Span:
    """A stretch of a device, in bytes."""

    start: int
    length: int


def parse(raw: dict[str, Any] | None) -> str:
    """The mode of a task's `erase`; AgentError if it is none we know."""
    mode = (raw or {}).get("mode")
    if mode not in MODES:
        raise AgentError(f"erase: mode {mode!r} is unknown to this agent; it knows {', '.join(MODES)}")
    return str(mode)


def partitions(disk: Disk) -> list[str]:
    """The devices of the disk's own partitions."""
    return [holder.path for holder in disk.holders if holder.kind == "part" and holder.depth == 1]


def signatures(disk: Disk) -> list[tuple[list[str], tuple[int, ...]]]:
    """
    The commands that remove signatures, partitions first, each with the exit codes that it may end with.

    sgdisk ends with 2 when the table it is to destroy is damaged already, which is what we want it to be.
    """
    commands: list[tuple[list[str], tuple[int, ...]]] = [
        (["wipefs", "--all", "--force", path], (0,)) for path in partitions(disk)
    ]
    commands.append((["sgdisk", "--zap-all", disk.path], (0, 2)))
    commands.append((["wipefs", "--all", "--force", disk.path], (0,)))
    return commands


def edges(size_bytes: int) -> list[Span]:
    """The first and the last MiB of a device; one span if they would meet."""
    if size_bytes <= 2 * EDGE_BYTES:
        return [Span(0, size_bytes)]
    return [Span(0, EDGE_BYTES), Span(size_bytes - EDGE_BYTES, EDGE_BYTES)]


def steps(size_bytes: int, step_bytes: int = FULL_STEP_BYTES) -> list[Span]:
    """The whole device in steps, for progress."""
    return [Span(start, min(step_bytes, size_bytes - start)) for start in range(0, size_bytes, step_bytes)]


def samples(size_bytes: int, block_size: int, chance: random.Random) -> list[Span]:
    """Where to look whether a disk is empty: both edges and random places, aligned to blocks, in ascending order."""
    spans = edges(size_bytes)
    if size_bytes > 2 * EDGE_BYTES + SAMPLE_BYTES:
        blocks = (size_bytes - SAMPLE_BYTES) // block_size
        spans += [Span(chance.randrange(blocks) * block_size, SAMPLE_BYTES) for _ in range(SAMPLES)]
    return sorted(spans, key=lambda span: span.start)
