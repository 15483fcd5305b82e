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

CHUNK = 256 * 1024
TIMEOUT_SECONDS = 60.0
# How often in a row a connection may bring no byte before we give up.
FRUITLESS_TRIES = 6
_PAUSE_SECONDS = 3.0


def _read_once(url: str, offset: int, fresh: bool = False) -> Iterator[bytes]:
    """The bytes from `offset` on, over one connection; fresh: caches on the way must fetch them anew."""
    headers = {"Range": f"bytes={offset}-"} if offset else {}
    if fresh:
        headers["Cache-Control"] = "no-cache"  # RFC 9111, 5.2.1.4
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


def stream(url: str, size_bytes: int, sleep: Callable[[float], None] = time.sleep) -> Iterator[bytes]:
    """The archive in chunks; AgentError if the server refuses, is away, or sends more or less than `size_bytes`."""
    offset, fruitless = 0, 0
    while offset < size_bytes:
        before = offset
        try:
            for chunk in _read_once(url, offset):
                offset += len(chunk)
                if offset > size_bytes:
                    raise AgentError(f"download {url}: more than the {size_bytes} bytes that the manifest says")
                yield chunk
            if offset < size_bytes:
                raise AgentError(f"download {url}: it ends at {offset} of {size_bytes} bytes; build the image again")
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


def renew(rootfs: Rootfs) -> str:
    """Have the rack's cache fetch the archive anew, since it may be the cache that is damaged; what to do then."""
    digest = hashlib.sha256()
    try:
        for chunk in _read_once(rootfs.url, 0, fresh=True):
            digest.update(chunk)
    except (OSError, http.client.HTTPException) as error:
        return f"asking for it past the rack's cache failed too ({error}); clear that cache and deploy again"
    if digest.hexdigest() == rootfs.sha256:
        return "the rack's cache held a damaged copy, which has been replaced now: deploy again"
    return "the control plane's own copy is damaged too: build or import the image again"


def tar_command(folder: str) -> list[str]:
    """Unpack as root, with owners by number and with extended attributes (file capabilities are among them)."""
    return [
        "tar",
        "--extract",
        "--zstd",
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

    AgentError if the digest is not the manifest's, CommandFailed if tar fails.
    """
    digest = hashlib.sha256()
    received = 0
    with tempfile.TemporaryFile() as complaints:
        tar = subprocess.Popen(tar_command(folder), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=complaints)
        pipe = tar.stdin
        if pipe is None:
            raise AssertionError("stdin=PIPE gives a pipe")
        listening = True
        try:
            for chunk in stream(rootfs.url, rootfs.size_bytes, sleep):
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
    if digest.hexdigest() != rootfs.sha256:
        raise AgentError(
            f"download {rootfs.url}: sha256 is {digest.hexdigest()}, the manifest says {rootfs.sha256};"
            f" the disk was not made bootable; {renew(rootfs)}"
        )
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
