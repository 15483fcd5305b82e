"""The whole product for a benchmark: `muster run`, a rack that has enrolled, real daemons, and a client on the rack's wire.

The control plane is gunicorn and the region worker over SQLite, started as `make run` does; the rack's agent and its
daemons run under a supervisor in a namespace of their own, with nothing but HTTP (and Redis) between the two.
"""

from __future__ import annotations

import contextlib
import io
import ipaddress
import json
import os
import select
import shutil
import socket
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab import demo, namespace
from lab.api import Api
from lab.control import ControlPlane
from lab.network import Uplink, VirtualSite, Vlan
from lab.process import end_processes, name_process
from lab.standing import listen_locally
from lab.supervise import Program, Supervisor, rack_programs
from workers.rack.probes.dhcp4 import build_discover, parse_mac, parse_offer

NETWORK = demo.DemoNetwork(
    (Vlan("lan", ("10.20.0.1/16",), ("10.20.0.254/16",)),),
    Uplink(),
    (demo.DemoSubnet("lan", "10.20.0.0/16", "10.20.0.254", ("10.20.255.1", "10.20.255.250")),),
    ("kea4",),
)
ASK_EVERY, DEADLINE = 0.004, 30.0
IMPORTED = 1000
"""Reservations in one request."""
DOORBELL = "muster-rack-doorbell"
BROKER, ADMIN = ("MUSTER_BROKER_URL", "MUSTER_BROKER_RACK_URL"), "MUSTER_BROKER_ADMIN_USER"
_IPV4 = 0x0800
_PACKET, _IGNORE_OUTGOING = 263, 23
"""packet(7) and linux/if_packet.h: what this socket sends is not read by it."""


class Slow(RuntimeError):
    """What was waited for has not come."""


@dataclass
class RackSite:
    """A control plane and its rack. redis: the broker's URL; None: no Redis on this host."""

    site: VirtualSite
    control: ControlPlane
    api: Api
    rack: demo.Enrolled
    supervisor: Supervisor
    wire: socket.socket
    redis: str | None
    hosts: int = 0

    def reserve(self, number: int) -> float:
        """Promise machine `number` its address; seconds from the API's answer to an OFFER with it on the rack's wire."""
        address, mac = address_of(number), mac_of(number)
        words = {"address": address, "mac": mac, "hostname": f"h{number}"}
        self.api.post("/reservations", words)
        begin = time.monotonic()
        transaction = int.from_bytes(os.urandom(4), "big") & 0x7FFFFFFF
        frame, hardware = build_discover(parse_mac(mac), transaction), parse_mac(mac)
        heard = "nothing"
        while time.monotonic() < begin + DEADLINE:
            self.wire.send(frame)
            again = time.monotonic() + ASK_EVERY
            while select.select([self.wire], [], [], max(0.0, again - time.monotonic()))[0]:
                found = parse_offer(self.wire.recv(2048), hardware, transaction)
                if found is not None and found.address == address:
                    return time.monotonic() - begin
                heard = found.address if found is not None else heard
        raise Slow(f"{mac} is offered {heard} and not {address} after {DEADLINE:g} s")

    def stand(self, count: int) -> float:
        """Have so many hosts more on the rack; seconds until it has them all."""
        begin = time.monotonic()
        for first in range(self.hosts, self.hosts + count, IMPORTED):
            numbers = range(first, min(first + IMPORTED, self.hosts + count))
            rows = [{"address": address_of(number), "mac": mac_of(number)} for number in numbers]
            self.api.post("/reservations/import", {"reservations": rows})
        self.hosts += count
        self.catch_up()
        return time.monotonic() - begin

    def catch_up(self) -> None:
        """Wait until the rack has read all records."""
        rack_has = -1
        end = time.monotonic() + 300
        while time.monotonic() < end:
            newest = self.rows("SELECT value FROM counter WHERE name = 'records'")[0][0]
            rack_has = self.rows("SELECT applied_records FROM rack")[0][0]
            if rack_has >= newest:
                return
            time.sleep(0.3)
        raise Slow(f"the rack has read up to {rack_has} after 300 s")

    def stages(self, count: int) -> dict[str, list[float]]:
        """Seconds of each stage of the newest single changes, from their apply rows."""
        rows = self.rows("SELECT seconds FROM record_apply WHERE count <= 4 ORDER BY id DESC LIMIT ?", count)
        found: dict[str, list[float]] = {}
        for (text,) in rows:
            for name, value in json.loads(text).items():
                found.setdefault(name, []).append(float(value))
        return found

    def rows(self, statement: str, *values: Any) -> list[tuple[Any, ...]]:
        """What the control plane's database says, read beside it."""
        with contextlib.closing(sqlite3.connect(self.control.state / "muster.db", timeout=30)) as database:
            return database.execute(statement, values).fetchall()

    def without_redis(self) -> None:
        """The control plane starts anew with its own broker of files, and nobody rings at the rack's host."""
        self.control.stop()
        for name in (*BROKER, ADMIN):
            self.control.environment.pop(name, None)
        self.supervisor.call("stopProcess", DOORBELL)
        self.control.start()
        time.sleep(3)  # The rack's long poll comes back.


def address_of(number: int) -> str:
    """The n-th machine's address, from 10.20.1.0 on; none ends in .0 or .255 of the subnet."""
    return str(ipaddress.IPv4Address("10.20.1.0") + number)


def mac_of(number: int) -> str:
    """The n-th machine's MAC."""
    return f"52:54:2f:{number >> 16 & 255:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"


@contextlib.contextmanager
def redis_server(folder: Path) -> Iterator[str | None]:
    """A Redis of its own on a socket file; None where it is not installed."""
    if shutil.which("redis-server") is None:
        yield None
        return
    place = folder / "redis.sock"
    argv = ["redis-server", "--port", "0", "--unixsocket", str(place), "--save", "", "--dir", str(folder)]
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stdin=subprocess.DEVNULL)
    name = name_process(process.pid)
    try:
        end = time.monotonic() + 15
        while not place.exists() and time.monotonic() < end:
            time.sleep(0.05)
        yield f"redis+socket://{place}"
    finally:
        end_processes([name] if name is not None else [])
        process.wait()


@contextlib.contextmanager
def rack_site(path: str = "", words: Iterable[str] = ()) -> Iterator[RackSite]:
    """Bring it up, in sync; everything ends and goes with it, also on failure.

    path: where the rack looks for its daemons first.  words: more arguments of `muster-rack enrol`.
    """
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="muster-bench-", dir="/var/tmp")))
        folder.chmod(0o755)  # Daemons of other users must pass.
        redis = stack.enter_context(redis_server(folder))
        sockets = listen_locally(0)
        for link in sockets:
            stack.callback(link.close)
        port = sockets[0].getsockname()[1]
        site = stack.enter_context(VirtualSite(folder / "site", vlans=NETWORK.vlans, uplink=NETWORK.uplink))
        sockets.append(site.listen_in(site.control, site.uplink.control_address, port))
        broker = {name: redis for name in BROKER if redis} | ({ADMIN: "default"} if redis else {})
        control = stack.enter_context(ControlPlane(folder / "control", sockets, f"http://127.0.0.1:{port}", broker))
        api = Api(control.url)
        api.sign_in("admin", str(control.password))
        demo.set_up_network(api, NETWORK)
        root = folder / "rack"
        rack = demo.enrol_rack(
            api, site, root, f"http://{site.uplink.control_address}:{port}", sys.executable, tuple(words)
        )
        demo.switch_dhcp_on(api)
        programs = rack_programs("--root", str(root))
        if redis:
            argv = (sys.executable, "-m", "workers.rack", "doorbell", "--root", str(root))
            programs += (Program(DOORBELL, argv),)
        environment = {"PATH": f"{path}:{os.environ['PATH']}"} if path else {}
        supervisor = stack.enter_context(Supervisor(site, root, programs, environment))
        with contextlib.redirect_stdout(io.StringIO()):
            demo.wait_in_sync(api, rack, NETWORK.services)
        wire = stack.enter_context(_wire(site))
        yield RackSite(site, control, api, rack, supervisor, wire, redis)


def _wire(site: VirtualSite) -> socket.socket:
    """A socket on the rack's network that hears all that the rack sends, as a machine's own port would."""
    bridge = site.vlans[0].bridge
    namespace.batch(site.lan, [f"link set {bridge} promisc on"])  # A bridge keeps to itself what is for others.
    wire = namespace.socket_in(site.lan, socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_IPV4))
    wire.setsockopt(_PACKET, _IGNORE_OUTGOING, 1)
    wire.bind((bridge, _IPV4))
    return wire
