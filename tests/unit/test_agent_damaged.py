"""A damaged archive: fetched once more past the cache, unpacked whole if that is right, and named if it is not."""

from __future__ import annotations

import hashlib
import io
import subprocess
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from app.agent import download
from app.agent.errors import AgentError
from app.agent.install_plan import Rootfs


def archive(name: str) -> bytes:
    """A tar.zst with one file of that name."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(name)
        tar.addfile(entry, io.BytesIO(name.encode()))
    return subprocess.run(["zstd", "-q", "-c"], input=made.getvalue(), capture_output=True, check=True).stdout


@dataclass
class Cache:
    """A rack's cache: what it holds, and what the control plane has, which `no-cache` brings in."""

    held: bytes
    original: bytes
    asked: list[str] = field(default_factory=list)
    url: str = ""

    def answer(self, control: str) -> bytes:
        self.asked.append(control)
        if control == "no-cache":
            self.held = self.original
        return self.held


@pytest.fixture
def cache() -> Iterator[Cache]:
    whole = archive("good")
    made = Cache(whole, whole)

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = made.answer(self.headers.get("Cache-Control", ""))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
    made.url = f"http://127.0.0.1:{server.server_address[1]}/rootfs"
    yield made
    server.shutdown()
    server.server_close()


def unpack(cache: Cache, folder: Path) -> None:
    whole = archive("good")
    rootfs = Rootfs(cache.url, hashlib.sha256(whole).hexdigest(), len(whole))
    download.unpack(rootfs, str(folder), lambda count: None, sleep=lambda seconds: None)


@pytest.mark.parametrize("damage", ["bytes", "short", "another"])
def test_a_damaged_copy_in_the_cache_is_replaced(cache: Cache, tmp_path: Path, damage: str) -> None:
    """The install goes on with the good copy, fetched past the cache, and nothing of the bad one is left."""
    cache.held = {
        "bytes": bytes(len(cache.original)), "short": cache.original[:-9], "another": archive("evil")
    }[damage]  # fmt: skip
    (tmp_path / "boot").mkdir()
    unpack(cache, tmp_path)

    assert ["", "no-cache"] == cache.asked
    assert ["good"] == [path.name for path in tmp_path.iterdir()]
    assert cache.original == cache.held


def test_a_damaged_original_is_named(cache: Cache, tmp_path: Path) -> None:
    """Then the control plane's own copy is the one to look at; the disk is not made bootable."""
    cache.original = cache.held = bytes(len(cache.original))
    with pytest.raises(AgentError, match="the control plane's own copy is; the disk was not made bootable"):
        unpack(cache, tmp_path)

    assert ["", "no-cache"] == cache.asked


def test_a_good_copy_is_fetched_once(cache: Cache, tmp_path: Path) -> None:
    """No word to the cache when nothing is wrong."""
    unpack(cache, tmp_path)

    assert [""] == cache.asked
