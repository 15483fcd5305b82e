"""Installing and erasing for real: images over HTTP, unpacked by tar, and a loop device."""

import hashlib
import os
import random
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from app.agent import download, erase, install, install_plan
from app.agent.erase_plan import Span
from app.agent.errors import AgentError, CommandFailed
from app.agent.install_plan import Rootfs
from tests.daemons.requires import absent
from tests.factories.agent import TASK, changed, disk


class Images(ThreadingHTTPServer):
    """Serves one body; breaks each of the first `breaks` answers after half of what was asked for."""

    def __init__(self, body: bytes) -> None:
        super().__init__(("127.0.0.1", 0), ImageHandler)
        self.body = body
        self.breaks = 0
        self.ranges = True
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/rootfs.tar.zst"


class ImageHandler(BaseHTTPRequestHandler):
    server: Images

    def do_GET(self) -> None:
        asked = self.headers.get("Range")
        self.server.asked.append(asked)
        if not self.server.body:
            self.send_error(404)
            return
        start = int(asked.split("=")[1].rstrip("-")) if asked and self.server.ranges else 0
        part = self.server.body[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(part)))
        self.end_headers()
        if self.server.breaks:
            self.server.breaks -= 1
            part = part[: len(part) // 2]
        self.wfile.write(part)

    def log_message(self, format: str, *args: Any) -> None:
        pass


@pytest.fixture
def images(tmp_path: Path) -> Iterator[Images]:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    (tree / "boot").mkdir()
    (tree / "etc/os-release").write_text("ID=debian\n")
    (tree / "noise").write_bytes(random.Random(7).randbytes(2_000_000))
    body = subprocess.run(["tar", "--zstd", "-C", tree, "-cf", "-", "."], capture_output=True, check=True).stdout
    with Images(body) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def rootfs(images: Images) -> Rootfs:
    return Rootfs(images.url, hashlib.sha256(images.body).hexdigest(), len(images.body))


@pytest.mark.parametrize("ranges", [True, False])
def test_a_broken_download_goes_on_where_it_broke(images: Images, tmp_path: Path, ranges: bool) -> None:
    """Two broken connections cost two more requests, with and without ranges, and the archive is whole."""
    images.breaks, images.ranges = 2, ranges
    target = tmp_path / "target"
    target.mkdir()
    counts: list[int] = []

    download.unpack(rootfs(images), str(target), counts.append, sleep=lambda seconds: None)

    assert (target / "etc/os-release").read_text() == "ID=debian\n"
    assert (target / "noise").stat().st_size == 2_000_000
    assert len(images.asked) == 3
    assert images.asked[0] is None
    assert counts[-1] == len(images.body)


def test_a_wrong_digest_fails(images: Images, tmp_path: Path) -> None:
    """The error names both digests and says that the disk was not made bootable."""
    wrong = Rootfs(images.url, "0" * 64, len(images.body))

    with pytest.raises(AgentError, match=rf"sha256 is {rootfs(images).sha256}, .* 0{{64}}; .*not made bootable"):
        download.unpack(wrong, str(tmp_path), lambda count: None)


def test_the_cheaper_digest_is_the_one_that_counts(images: Images, tmp_path: Path) -> None:
    """With a BLAKE2b digest in the task it alone is made: a right one passes, a wrong one fails by name."""
    right = hashlib.blake2b(images.body, digest_size=32).hexdigest()
    target = tmp_path / "target"
    target.mkdir()

    download.unpack(Rootfs(images.url, "0" * 64, len(images.body), right), str(target), lambda count: None)

    assert (target / "etc/os-release").exists()
    wrong = Rootfs(images.url, rootfs(images).sha256, len(images.body), "f" * 64)
    with pytest.raises(AgentError, match=rf"blake2b is {right}, .* f{{64}}"):
        download.unpack(wrong, str(target), lambda count: None)


def test_an_archive_that_tar_cannot_read_fails(images: Images, tmp_path: Path) -> None:
    """With the right digest and the wrong content the failure is tar's."""
    images.body = b"this is not an archive" * 100_000

    with pytest.raises(CommandFailed, match="`tar` ended with 2"):
        download.unpack(rootfs(images), str(tmp_path), lambda count: None)


def test_a_size_that_the_manifest_does_not_say_fails(images: Images, tmp_path: Path) -> None:
    """More or less than announced is an error, not an endless wait."""
    for size, complaint in ((len(images.body) - 1, "more than"), (len(images.body) + 1, "it ends at")):
        with pytest.raises(AgentError, match=complaint):
            download.unpack(Rootfs(images.url, "0" * 64, size), str(tmp_path), lambda count: None)


def test_an_image_that_is_gone_fails_at_once(images: Images) -> None:
    """A 4xx is not tried again."""
    images.body = b""

    with pytest.raises(AgentError, match="the rack answered 404"):
        list(download.stream(images.url, 10))
    assert len(images.asked) == 1


class Silent:
    """Takes the place of progress reports."""

    def __init__(self) -> None:
        self.fractions: list[float] = []

    def step(self, name: str, message: str) -> None:
        pass

    def at(self, name: str, message: str, fraction: float) -> None:
        self.fractions.append(fraction)


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A 64 MiB loop device; skipped where there is none to be had, a failure under CI."""
    image = tmp_path / "disk.img"
    image.touch()
    os.truncate(image, 64 * 1024 * 1024)
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        absent(f"no loop device: {made.stderr.strip()}")
    path = made.stdout.strip()
    yield path
    subprocess.run(["losetup", "--detach", path], check=True)


def test_fill_and_erase_a_real_disk(loop: str, images: Images, tmp_path: Path) -> None:
    """A filesystem is made, filled, configured and unmounted, twice; afterwards an erase leaves no signature."""
    raw = changed("seed", value={"user-data": "#cloud-config\n"})
    raw["storage"]["partitions"] = [TASK["storage"]["partitions"][2] | {"number": 1, "type": "ef00"}]
    raw["files"] = [{"path": "/etc/muster/phone-home.json", "mode": "0600", "content": "{}"}]
    raw["rootfs"] |= {"url": images.url, "sha256": rootfs(images).sha256, "size_bytes": len(images.body)}
    plan, target = install_plan.parse(raw), str(tmp_path / "target")
    for _ in range(2):
        for command in install_plan.make_filesystems(plan.partitions, {1: loop}):
            subprocess.run(command, check=True)
        with install.Mounts(f"disk {loop}") as mounts:
            install.fill(plan, "node7", {1: loop}, mounts, Silent(), target)  # type: ignore[arg-type]
            found = {
                name: Path(target, name).read_text()
                for name in ("etc/hostname", "etc/os-release", "var/lib/cloud/seed/nocloud/user-data")
            }
            table = Path(target, "etc/fstab").read_text()
        assert not os.path.ismount(target)
    uuid = subprocess.run(
        ["blkid", "-p", "-o", "value", "-s", "UUID", loop], capture_output=True, text=True, check=True
    )

    assert found == {
        "etc/hostname": "node7\n",
        "etc/os-release": "ID=debian\n",
        "var/lib/cloud/seed/nocloud/user-data": "#cloud-config\n",
    }
    assert f"UUID={uuid.stdout.strip()} / ext4 errors=remount-ro 0 1\n" in table

    size = erase.device_size(loop)
    assert erase.erase_disks([disk(loop, size)], "quick", Silent()) == []  # type: ignore[arg-type]
    left = subprocess.run(["wipefs", "--noheadings", loop], capture_output=True, text=True, check=True)
    assert (size, left.stdout) == (64 * 1024 * 1024, "")


def test_a_full_erase_leaves_only_zeros(loop: str, tmp_path: Path) -> None:
    """Data in the middle of the disk survives a quick erase, as it says, and not a full one."""
    image, secret = tmp_path / "disk.img", b"secret" * 1000
    with open(loop, "r+b") as device:
        device.seek(30 * 1024 * 1024)
        device.write(secret)
        os.fsync(device.fileno())
    subprocess.run(["sgdisk", "--new=1:0:0", loop], capture_output=True, check=True)
    silent = Silent()

    assert erase.erase_disks([disk(loop, erase.device_size(loop))], "quick", silent) == []  # type: ignore[arg-type]
    assert secret in image.read_bytes()
    assert erase.erase_disks([disk(loop, erase.device_size(loop))], "full", silent) == []  # type: ignore[arg-type]
    assert image.read_bytes().strip(b"\0") == b""
    assert silent.fractions == [1.0]


def test_leftovers_are_noticed(loop: str) -> None:
    """The check after an erase finds a signature and bytes that are not zero."""
    subprocess.run(["mkswap", loop], capture_output=True, check=True)

    with pytest.raises(AgentError, match="signatures are left"):
        erase.verify_signatures(loop)
    with pytest.raises(AgentError, match="not zero"):
        erase.verify_zeros(loop, [Span(0, 1024 * 1024)])


def test_a_failure_names_the_disk_and_the_others_are_done(loop: str) -> None:
    """A disk that is not there fails by name, and the disk after it is erased."""
    subprocess.run(["mkswap", loop], capture_output=True, check=True)
    pair = [disk("/dev/nosuchdisk"), disk(loop, erase.device_size(loop))]

    failures = erase.erase_disks(pair, "quick", Silent())  # type: ignore[arg-type]

    assert len(failures) == 1
    assert failures[0].startswith("disk /dev/nosuchdisk: ")
    assert subprocess.run(["wipefs", "--noheadings", loop], capture_output=True, check=True).stdout == b""
