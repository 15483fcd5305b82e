"""A control plane for tests: a real store in a temporary file, a clock that can be moved, a bell that remembers.

`make_context(tmp_path)` gives an empty store; `seed(context)` puts in what a small rack has.  Functional tests use
these and the services; they never patch.
"""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import itertools
import tempfile
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from app.services import users
from app.services.context import Context
from app.store.models import (
    Base,
    Bmc,
    Counter,
    Disk,
    Domain,
    Fabric,
    Image,
    ImageFile,
    Interface,
    IpRange,
    Machine,
    Pool,
    Rack,
    Setting,
    SshKey,
    Subnet,
    Tag,
    User,
    Vlan,
    Zone,
)
from app.store.unit_of_work import Store, make_engine

BEGIN = dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC)
RACK_TOKEN = "rack-token-of-the-tests"
RELAY_TOKEN = "relay-token-of-the-tests"
_numbers = itertools.count(1)


@cache
def hash_of(password: str) -> str:
    """The password as it is kept; made once a process, as making one takes a quarter of a second on purpose."""
    return users.hash_password(password)


@dataclass
class MovableClock:
    """A clock that stands still until it is moved."""

    now: dt.datetime = BEGIN

    def __call__(self) -> dt.datetime:
        return self.now

    def move(self, seconds: float) -> None:
        """Let time pass."""
        self.now += dt.timedelta(seconds=seconds)


@dataclass
class FakeRing:
    """Remembers who was woken, in order: ("advance", machine id), ("reconcile", rack id), ("rack", rack name)."""

    calls: list[tuple[str, int | str]] = field(default_factory=list)
    broker_users_rung: int = 0

    def advance(self, machine_id: int) -> None:
        self.calls.append(("advance", machine_id))

    def reconcile(self, rack_id: int) -> None:
        self.calls.append(("reconcile", rack_id))

    def job(self, job_id: int) -> None:
        self.calls.append(("job", job_id))

    def rack(self, rack_name: str) -> None:
        self.calls.append(("rack", rack_name))

    def broker_users(self) -> None:
        self.broker_users_rung += 1

    def take(self) -> list[tuple[str, int | str]]:
        """What was rung since the last time."""
        calls, self.calls = self.calls, []
        return calls


class ReversibleBox:
    """A secret box whose text is not the secret but can be turned back; no protection at all."""

    def seal(self, plain: str) -> str:
        return "sealed:" + base64.b85encode(plain.encode()).decode()

    def open(self, sealed: str) -> str:
        if not sealed.startswith("sealed:"):
            raise ValueError("not sealed by this box")
        return base64.b85decode(sealed.removeprefix("sealed:")).decode()


def sha256(text: str) -> str:
    """How tokens are kept."""
    return hashlib.sha256(text.encode()).hexdigest()


def make_context(tmp_path: Path, url: str | None = None) -> Context:
    """A context over an empty store: SQLite in `tmp_path`, or the database at `url` (tables that it lacks are made)."""
    path = tmp_path / "muster.db"
    if url is None and not path.exists():
        path.write_bytes(_empty_database())
    engine = make_engine(url or f"sqlite:///{path}")
    if url is not None:
        Base.metadata.create_all(engine)
    return Context(Store(engine), MovableClock(), ReversibleBox(), FakeRing())


def add_tables(url: str) -> None:
    """Make the tables that the database at `url` lacks."""
    engine = make_engine(url)
    Base.metadata.create_all(engine)
    engine.dispose()


@cache
def _empty_database() -> bytes:
    """SQLite's file with our tables and nothing in them; made once a process, as that takes a tenth of a second."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "muster.db"
        add_tables(f"sqlite:///{path}")
        return path.read_bytes()


def clock_of(context: Context) -> MovableClock:
    """The context's clock, as what it is."""
    assert isinstance(context.clock, MovableClock)
    return context.clock


def ring_of(context: Context) -> FakeRing:
    """The context's bell, as what it is."""
    assert isinstance(context.ring, FakeRing)
    return context.ring


@dataclass(frozen=True)
class Seeded:
    """Row ids of what `seed` put in."""

    zone_id: int
    pool_id: int
    fabric_id: int
    vlan_id: int
    domain_id: int
    subnet_id: int
    range_id: int
    rack_id: int
    user_id: int
    image_id: int
    rack_name: str = "rack-1"
    relay_header: str = f"rack-1:{RELAY_TOKEN}"


IMAGE_FILES = (("kernel", "vmlinuz"), ("initrd", "initrd"), ("squashfs", "root.squashfs"), ("rootfs", "rootfs.tar.zst"))


def seed(context: Context, *, image_folder: Path | None = None, enrolment: bool = True) -> Seeded:
    """A zone, a pool, a VLAN with DHCP and 10.20.0.0/24, the rack 10.20.0.1 that serves it, alice with a key, an image.

    The image's files are written to `image_folder` when one is given, with their own names as content.
    """
    now = context.clock()
    with context.store.write() as session:
        zone, pool = Zone(name="default"), Pool(name="default")
        fabric, domain = Fabric(name="fabric-0"), Domain(name="lab.muster")
        rack = Rack(
            name="rack-1",
            token_hash=sha256(RACK_TOKEN),
            relay_token_hash=sha256(RELAY_TOKEN),
            layout={"root": "/var/lib/muster-rack", "boot_files": "/usr/lib/ipxe"},
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.20.0.1/24"]}],
            enrolled_at=now,
        )
        user = User(name="alice", role="operator", created_at=now)
        session.add_all([zone, pool, fabric, domain, rack, user, Counter(name="records", value=0)])
        session.add(Setting(name="enrolment_policy", value={"on": enrolment}))
        session.flush()
        vlan = Vlan(fabric_id=fabric.id, vid=0, dhcp_on=True, rack_id=rack.id)
        session.add(vlan)
        session.flush()
        subnet = Subnet(
            cidr="10.20.0.0/24",
            name="machines",
            vlan_id=vlan.id,
            domain_id=domain.id,
            gateway="10.20.0.1",
        )
        session.add(subnet)
        session.add(SshKey(user_id=user.id, public_key="ssh-ed25519 AAAAC3Nz alice@desk", fingerprint="SHA256:a"))
        image = Image(name="debian-12-amd64", os="debian", release="12", architecture="amd64", recipe="r1")
        for kind, name in IMAGE_FILES:
            content = name.encode()
            path = (image_folder or Path("/nonexistent")) / name
            if image_folder is not None:
                path.write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            image.files.append(ImageFile(kind=kind, name=name, sha256=digest, size_bytes=len(content), path=str(path)))
        session.add(image)
        session.flush()
        dynamic = IpRange(
            subnet_id=subnet.id,
            kind="dynamic",
            start="10.20.0.100",
            end="10.20.0.199",
            start_key=f"{(10 << 24) + (20 << 16) + 100:032x}",
            end_key=f"{(10 << 24) + (20 << 16) + 199:032x}",
        )
        session.add(dynamic)
        session.flush()
        return Seeded(
            zone_id=zone.id,
            pool_id=pool.id,
            fabric_id=fabric.id,
            vlan_id=vlan.id,
            domain_id=domain.id,
            subnet_id=subnet.id,
            range_id=dynamic.id,
            rack_id=rack.id,
            user_id=user.id,
            image_id=image.id,
        )


def make_machine(
    context: Context,
    seeded: Seeded,
    hostname: str | None = None,
    *,
    bmc: bool = True,
    tags: tuple[str, ...] = (),
    disk_bytes: int | None = 8 * 1024**3,
    **values: Any,
) -> int:
    """A machine (READY unless told) with one boot interface, an IPMI controller and a disk; its id."""
    number = next(_numbers)
    with context.store.write() as session:
        row: dict[str, Any] = {
            "hostname": hostname or f"m-{number}",
            "domain_id": seeded.domain_id,
            "state": "READY",
            "zone_id": seeded.zone_id,
            "pool_id": seeded.pool_id,
            "rack_id": seeded.rack_id,
            "cpu_count": 2,
            "memory_mib": 2048,
            "storage_bytes": disk_bytes or 0,
            "power_state": "off",
            "created_at": context.clock(),
            "state_since": context.clock(),
        }
        machine = Machine(**(row | values))
        mac = f"52:54:00:00:{number >> 8:02x}:{number & 255:02x}"
        machine.interfaces = [
            Interface(name="eth0", mac=mac, boot=True, vlan_id=seeded.vlan_id, subnet_id=seeded.subnet_id)
        ]
        if bmc:
            machine.bmc = Bmc(
                driver="ipmi",
                address=f"10.20.1.{number % 250}",
                parameters={"address": f"10.20.1.{number % 250}", "username": "muster"},
                secrets=context.secrets.seal('{"password": "hidden"}'),
            )
        session.add(machine)
        session.flush()
        for name in tags:
            tag = session.query(Tag).filter_by(name=name).one_or_none() or Tag(name=name)
            machine.tags.append(tag)
        if disk_bytes:
            session.add(
                Disk(machine_id=machine.id, name="vda", path="/dev/vda", size_bytes=disk_bytes, serial="disk-1")
            )
        return machine.id
