"""What the agent finds wrong while it installs: its sentence reaches the machine's reason, and the next try works."""

import hashlib
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select

from app.store.models import ImageFile
from lab.api import ApiRefused
from lab.simulated import Hardware, SimulatedMachine
from lab.standing import Lab
from tests.daemons.lifecycle_faults.agent import AgentProcess, disk
from tests.daemons.lifecycle_faults.faults import boot_for, commissioned, context_of, redeploy, wait_running
from tests.daemons.requires import absent, require
from tests.daemons.standing import ask, wait_state

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(300)]

GIB = 2**30
SERIAL = Hardware().serial


@pytest.fixture
def loop(tmp_path: Path) -> Iterator[str]:
    """A sparse loop device of 4 GiB, with partitions."""
    require("losetup", "sgdisk", "mkfs.vfat", "mkfs.ext4", "zstd")
    backing = tmp_path / "disk.img"
    with backing.open("wb") as file:
        file.truncate(4 * GIB)
    made = subprocess.run(["losetup", "-fP", "--show", str(backing)], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        absent(f"no loop device: {made.stderr.strip()}")
    path = made.stdout.strip()
    yield path
    subprocess.run(["losetup", "-d", path], check=True)


@pytest.fixture
def rootfs(lab: Lab) -> Iterator[tuple[Path, str]]:
    """The archive on the control plane and its digest; whole again afterwards."""
    context = context_of(lab)
    with context.store.read() as session:
        row = session.scalars(select(ImageFile).where(ImageFile.kind == "rootfs")).one()
    context.store.engine.dispose()
    path = Path(row.path)
    whole = path.read_bytes()
    yield path, row.sha256
    path.write_bytes(whole)


def test_a_damaged_image_is_not_made_bootable(lab: Lab, loop: str, rootfs: tuple[Path, str]) -> None:
    """Both digests are named, and whose copy is damaged; past a cache that keeps the bad one comes the good one."""
    path, digest = rootfs
    whole = path.read_bytes()
    with SimulatedMachine(lab.site, "corrupt", mac="52:54:00:0d:01:01") as machine:
        commissioned(lab, machine)
        ask(lab, machine, "deploy")
        wait_running(lab, machine, "boot")
        path.write_bytes(bytes(len(whole)))
        with AgentProcess(lab, machine, [disk(loop, 4 * GIB, SERIAL)]) as agent:
            code = agent.run()
        failed = wait_state(lab, machine, "FAILED_DEPLOYMENT")
        path.write_bytes(whole)
        url = f"http://10.20.0.1:5248/images/{digest}/{path.name}"
        cached = machine.request("GET", url)[1]
        renewed = machine.request("GET", f"{url}?fresh=1", headers={"Cache-Control": "no-cache"})[1]
        redeploy(lab, machine)
    boot_code = subprocess.run(["blkid", "--probe", loop], capture_output=True, text=True, check=False).stdout

    reason = failed["state_reason"]
    assert (1, []) == (code, agent.ordered()), agent.said()
    assert "deploy failed at step install: the machine reports: download http://10.20.0.1:5248/images/" in reason
    assert f"the manifest says {hashlib.blake2b(whole, digest_size=32).hexdigest()}" in reason
    assert "past the rack's cache it is damaged too, so the control plane's own copy is" in reason
    assert "the disk was not made bootable; build or import the image again" in reason
    assert (bytes(len(whole)), whole) == (cached, renewed)
    assert "PTTYPE" in boot_code  # It did get as far as writing to the disk.


def test_a_disk_that_is_too_small_is_refused_before_the_boot(lab: Lab) -> None:
    """The request is refused with both sizes, and the machine stays what it was."""
    with SimulatedMachine(lab.site, "small", mac="52:54:00:0d:02:01", hardware=Hardware(disk_gib=2)) as machine:
        commissioned(lab, machine)
        with pytest.raises(ApiRefused) as refused:
            ask(lab, machine, "deploy")
        wait_state(lab, machine, "READY")
        machine.hardware = Hardware(disk_gib=8)
        boot_for(lab, machine, "commission")
        wait_state(lab, machine, "READY")
        redeploy(lab, machine)

    assert "has 2048 MiB, the flat layout needs 2563 MiB" in str(refused.value)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        pytest.param(
            [disk("/dev/nonexistent", GIB, SERIAL)],
            f"/dev/nonexistent (serial {SERIAL}, 1024 MiB) is too small: the layout needs 2563 MiB",
            id="smaller",
        ),
        pytest.param([disk("/dev/nonexistent", 8 * GIB, "OTHER")], "this machine has /dev/nonexistent", id="another"),
        pytest.param([], "this machine has no disk at all; commission it again", id="none"),
    ],
)
def test_a_disk_that_was_changed_since_commissioning(lab: Lab, found: list[dict[str, object]], words: str) -> None:
    """The agent touches none, and says what it wanted and what there is."""
    with SimulatedMachine(lab.site, "swapped", mac=f"52:54:00:0d:03:{len(words):02x}") as machine:
        commissioned(lab, machine)
        ask(lab, machine, "deploy")
        wait_running(lab, machine, "boot")
        with AgentProcess(lab, machine, found) as agent:
            code = agent.run()
        failed = wait_state(lab, machine, "FAILED_DEPLOYMENT")
        redeploy(lab, machine)

    assert (1, []) == (code, agent.ordered()), agent.said()
    assert "deploy failed at step install: the machine reports: install disk: " in failed["state_reason"]
    assert words in failed["state_reason"]
