"""
Erasing every disk of the machine, quick or full (see erase_plan), and checking that it worked.

Disks are done side by side in a full erase, because each one takes as long as it takes. A failure names the disk; the
other disks are still done, so that one broken drive does not keep the data on the rest.
"""

import fcntl
import os
import random
import struct
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from . import disks, erase_plan
from .disks import Disk
from .edge import Edge
from .erase_plan import Span
from .errors import AgentError
from .install import release
from .probe import Probe
from .progress import Progress
from .runner import check, run, say

# _IO(0x12, 127) in linux/fs.h: the kernel zeroes a range, with the drive's help where it can, so that it reads as
# zeros afterwards. This is what `blkdiscard --zeroout` calls.
_BLKZEROOUT = 0x127F
_BLKGETSIZE64 = 0x80081272
_WRITE_BYTES = 4 * erase_plan.MIB
_SIDE_BY_SIDE = 8


def device_size(path: str) -> int:
    """The size of a block device in bytes."""
    handle = os.open(path, os.O_RDONLY)
    try:
        return int(struct.unpack("Q", fcntl.ioctl(handle, _BLKGETSIZE64, b"\0" * 8))[0])
    finally:
        os.close(handle)


def write_zeros(handle: int, span: Span) -> None:
    """Zero a span of an open block device; plain writing where the kernel cannot do it by itself."""
    try:
        fcntl.ioctl(handle, _BLKZEROOUT, struct.pack("QQ", span.start, span.length))
        return
    except OSError:
        pass
    zeros = memoryview(bytes(min(_WRITE_BYTES, span.length)))
    position, end = span.start, span.start + span.length
    while position < end:
        position += os.pwrite(handle, zeros[: end - position], position)


def zero(path: str, spans: list[Span], on_bytes: Callable[[int], None] = lambda count: None) -> None:
    """Zero spans of a device and wait until they are on it; `on_bytes` hears how many bytes are done."""
    done = 0
    try:
        handle = os.open(path, os.O_WRONLY | os.O_EXCL)
    except OSError as error:
        raise AgentError(
            f"disk {path}: cannot be opened for erasing: {error.strerror}; something still holds it"
        ) from error
    try:
        for span in spans:
            write_zeros(handle, span)
            done += span.length
            on_bytes(done)
        os.fsync(handle)
    except OSError as error:
        raise AgentError(
            f"disk {path}: writing zeros failed after {done} bytes: {error.strerror}; replace it"
        ) from error
    finally:
        os.close(handle)


def verify_zeros(path: str, spans: list[Span]) -> None:
    """AgentError if any of the spans reads as anything but zeros; what is cached in memory is not believed."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        for span in spans:
            if os.pread(handle, span.length, span.start).strip(b"\0"):
                raise AgentError(f"disk {path}: not zero within {span.length} bytes at {span.start} after erasing it")
    except OSError as error:
        raise AgentError(f"disk {path}: cannot be read back after erasing: {error.strerror}; replace it") from error
    finally:
        os.close(handle)


def verify_signatures(path: str) -> None:
    """AgentError if wipefs still finds anything."""
    left = check(["wipefs", "--noheadings", path], f"disk {path}", log=False).text.strip()
    if left:
        raise AgentError(f"disk {path}: signatures are left after erasing it: {left[:200]}")


def quick(disk: Disk) -> None:
    """Remove signatures, tables and superblocks, and check that they are gone."""
    sizes = {path: device_size(path) for path in erase_plan.partitions(disk)}
    for command, allowed in erase_plan.signatures(disk)[: len(sizes)]:
        check(command, f"disk {disk.path}", allowed=allowed)
    for path, size in sizes.items():
        # An extended partition of an old table is a device of two sectors; its edges are all of it.
        zero(path, erase_plan.edges(size))
    for command, allowed in erase_plan.signatures(disk)[len(sizes) :]:
        check(command, f"disk {disk.path}", allowed=allowed)
    edges = erase_plan.edges(disk.size_bytes)
    zero(disk.path, edges)
    run(["blockdev", "--rereadpt", disk.path], 30)
    verify_zeros(disk.path, edges)
    verify_signatures(disk.path)


def full(disk: Disk, on_bytes: Callable[[int], None]) -> None:
    """Write zeros over the whole disk, and read some of it back."""
    zero(disk.path, erase_plan.steps(disk.size_bytes), on_bytes)
    run(["blockdev", "--rereadpt", disk.path], 30)
    verify_zeros(disk.path, erase_plan.samples(disk.size_bytes, disk.block_size, random.SystemRandom()))
    verify_signatures(disk.path)


def refuse_read_only(found: list[Disk]) -> None:
    """AgentError if a disk cannot be written to: an erase that leaves one out would be a lie."""
    locked = [disk.describe() for disk in found if disk.read_only]
    if locked:
        raise AgentError(f"erase: read-only: {'; '.join(locked)}; lift the write protection or remove the disk")


def release_all(found: list[Disk]) -> None:
    """Take everything apart that stands on the disks; an array over several disks is stopped once."""
    for disk in found:
        current = next((now for now in disks.read(Probe()) if now.path == disk.path), disk)
        release(current)


def erase_disks(found: list[Disk], mode: str, progress: Progress) -> list[str]:
    """Erase the disks; the failures as sentences."""
    total = sum(disk.size_bytes for disk in found) or 1
    done = dict.fromkeys((disk.path for disk in found), 0)

    def one(disk: Disk) -> str | None:
        def on_bytes(count: int) -> None:
            done[disk.path] = count
            sum_done = sum(done.values())
            message = f"{sum_done // erase_plan.MIB} of {total // erase_plan.MIB} MiB zeroed"
            progress.at("erase", message, sum_done / total)

        try:
            quick(disk)
            if mode == "full":
                full(disk, on_bytes)
        except (AgentError, OSError) as error:
            return str(error) if disk.path in str(error) else f"disk {disk.path}: {error}"
        say(f"disk {disk.path}: erased ({mode})")
        return None

    with ThreadPoolExecutor(_SIDE_BY_SIDE if mode == "full" else 1) as pool:
        return [failure for failure in pool.map(one, found) if failure]


def erase(edge: Edge, raw: dict[str, Any] | None) -> str:
    """Carry out the task's erase; the sentence that ends the run."""
    mode = erase_plan.parse(raw)
    progress = Progress(edge)
    found = disks.read(Probe())
    if not found:
        return "no disks in this machine, so nothing to erase"
    refuse_read_only(found)
    progress.step("erase", f"{mode} erase of {', '.join(disk.describe() for disk in found)}")
    release_all(found)
    failures = erase_disks(found, mode, progress)
    if failures:
        raise AgentError(f"erase: {len(failures)} of {len(found)} disks failed: {'; '.join(failures)}")
    return (
        f"erased {len(found)} disk{'s' if len(found) != 1 else ''} ({mode}): {', '.join(disk.path for disk in found)}"
    )
