"""
Streaming an archive from the rack into `tar`, with its digest computed on the way.

Nothing is stored in between: memory is short in the ephemeral system and the disk is being written. A connection that
breaks is taken up again at the byte where it broke (RFC 9110, 14.2), or by reading away what we already have when the
server does not do ranges. The digest is known only at the end, so the caller must not make the target bootable before
`unpack` has returned.
"""

import contextlib
import hashlib
import http.client
import os
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from typing import IO

from .edge import opener
from .errors import AgentError, CommandFailed
from .install_plan import Rootfs
from .runner import say

CHUNK = 256 * 1024
TIMEOUT_SECONDS = 60.0
# How often in a row a connection may bring no byte before we give up.
FRUITLESS_TRIES = 6
# Of 512 bytes each (tar(1), -b): tar's own 20 make it change places with zstd for every 10 KiB, which is half of the work.
_RECORD_BLOCKS = 2048
_PAUSE_SECONDS = 3.0


class Damaged(AgentError):
    """What came is not what the manifest says."""


def _read_once(url: str, offset: int, fresh: bool = False) -> Iterator[bytes]:
    """The bytes from `offset` on, over one connection; fresh: not from a cache on the way.

    A cache may answer `no-cache` (RFC 9111, 5.2.1.4) by asking whether its copy is of the same digest, which it is by
    its name; so a query that nobody has asked before goes along.
    """
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if fresh:
        headers["Cache-Control"] = "no-cache"
        url = f"{url}?fresh={time.time_ns()}"
    request = urllib.request.Request(url, headers=headers)  # noqa: S310 - install_plan allows http(s) only
    with opener().open(request, timeout=TIMEOUT_SECONDS) as response:
        skip = offset if offset and response.status != 206 else 0
        while chunk := response.read(CHUNK):
            if skip >= len(chunk):
                skip -= len(chunk)
                continue
            yield chunk[skip:]
            skip = 0
        # read(n) does not complain about a body that ends early; what is missing is what was announced.
        if response.length:
            raise http.client.IncompleteRead(b"", response.length)


def stream(
    url: str, size_bytes: int, sleep: Callable[[float], None] = time.sleep, fresh: bool = False
) -> Iterator[bytes]:
    """The archive in chunks; AgentError if the server refuses or is away, Damaged if it sends more or less."""
    offset, fruitless = 0, 0
    while offset < size_bytes:
        before = offset
        try:
            for chunk in _read_once(url, offset, fresh):
                offset += len(chunk)
                if offset > size_bytes:
                    raise Damaged(f"download {url}: more than the {size_bytes} bytes that the manifest says")
                yield chunk
            if offset < size_bytes:
                raise Damaged(f"download {url}: it ends at {offset} of {size_bytes} bytes")
            return
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise AgentError(
                    f"download {url}: the rack answered {error.code}; is the image still there?"
                ) from error
            reason = f"the rack answered {error.code}"
        except (OSError, http.client.HTTPException) as error:
            reason = str(error)
        fruitless = 0 if offset > before else fruitless + 1
        if fruitless >= FRUITLESS_TRIES:
            raise AgentError(f"download {url}: gave up at byte {offset} of {size_bytes}: {reason}")
        sleep(_PAUSE_SECONDS)


def tar_command(folder: str) -> list[str]:
    """Unpack as root, with owners by number and with extended attributes (file capabilities are among them)."""
    return [
        "tar",
        "--extract",
        "--zstd",
        f"--blocking-factor={_RECORD_BLOCKS}",
        "--preserve-permissions",
        "--same-owner",
        "--numeric-owner",
        "--xattrs",
        "--xattrs-include=*",
        f"--directory={folder}",
        "--file=-",
    ]


def unpack(
    rootfs: Rootfs, folder: str, on_bytes: Callable[[int], None], sleep: Callable[[float], None] = time.sleep
) -> None:
    """
    Download and unpack into `folder`; `on_bytes` hears how many bytes have come so far.

    What is damaged is fetched once more past the rack's cache, whose copy may be what is damaged. AgentError if that is
    not what the manifest says either, CommandFailed if tar fails.
    """
    try:
        _unpack(rootfs, folder, on_bytes, sleep)
        return
    except Damaged as error:
        say(f"{error}; fetching it past the rack's cache")
        first = str(error)
    empty(folder)
    try:
        _unpack(rootfs, folder, on_bytes, sleep, fresh=True)
    except Damaged as error:
        raise AgentError(
            f"{first}; past the rack's cache it is damaged too, so the control plane's own copy is;"
            " the disk was not made bootable; build or import the image again"
        ) from error


def empty(folder: str) -> None:
    """Take everything out of a folder; folders that are mount points stay, empty."""
    for place, folders, files in os.walk(folder, topdown=False):
        for name in files:
            os.unlink(os.path.join(place, name))
        for name in folders:
            path = os.path.join(place, name)
            if os.path.islink(path):
                os.unlink(path)
            else:
                with contextlib.suppress(OSError):  # Mounted on.
                    os.rmdir(path)


def _unpack(
    rootfs: Rootfs,
    folder: str,
    on_bytes: Callable[[int], None],
    sleep: Callable[[float], None],
    fresh: bool = False,
) -> None:
    name, wanted = ("sha256", rootfs.sha256) if rootfs.blake2b is None else ("blake2b", rootfs.blake2b)
    digest = hashlib.sha256() if rootfs.blake2b is None else hashlib.blake2b(digest_size=32)
    received = 0
    with tempfile.TemporaryFile() as complaints:
        tar = subprocess.Popen(tar_command(folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints)
        pipe = tar.stdin
        if pipe is None:
            raise AssertionError("stdin=PIPE gives a pipe")
        listening = True
        try:
            for chunk in stream(rootfs.url, rootfs.size_bytes, sleep, fresh):
                digest.update(chunk)
                received += len(chunk)
                # When tar has given up, the rest is read all the same: a wrong digest is the better explanation.
                listening = listening and _feed(pipe, chunk)
                on_bytes(received)
            _close(pipe)
            code = tar.wait()
        finally:
            if tar.poll() is None:
                tar.kill()
                tar.wait()
            _close(pipe)
        complaints.seek(0)
        said = complaints.read(4096).decode("utf-8", "replace").strip()
    if digest.hexdigest() != wanted:
        raise Damaged(f"download {rootfs.url}: {name} is {digest.hexdigest()}, the manifest says {wanted}")
    if code != 0 or not listening:
        raise CommandFailed(f"unpack {rootfs.url}: `tar` ended with {code}: {said[-600:] or '(it said nothing)'}", code)


def _feed(pipe: IO[bytes], chunk: bytes) -> bool:
    """Write a chunk; False if nobody reads any more."""
    try:
        pipe.write(chunk)
    except BrokenPipeError:
        return False
    return True


def _close(pipe: IO[bytes]) -> None:
    """Close, which flushes, and which a reader that has gone does not make an error."""
    with contextlib.suppress(BrokenPipeError):
        pipe.close()
