"""chronyd as rendered, with no server in reach: racks serve at once, agree on one clock, and follow the control plane's."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path

from app.services import settings
from app.store.intent import load_intent
from app.store.models import Rack
from lab import namespace
from renderers import registry
from renderers.intent import RackIntent
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.factories.control import make_context, seed
from tests.golden.case import load

CLOCK = "10.20.0.9"


def _stratum(space: str, address: str) -> int:
    with namespace.socket_in(space, socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.settimeout(1)
        link.sendto(b"\x23" + bytes(39) + b"ABCDEFGH", (address, 123))
        return link.recv(512)[1]


def _heard(*racks: tuple[Path, str]) -> None:
    """That both have the other as a peer, and one has its answer: polls are a minute apart, and one is first.

    The sixth column is the register of the last eight polls, in octal.
    """
    reached = []
    for base, peer in racks:
        said = namespace.run(["chronyc", "-c", "-h", str(base / "run/command/chronyd.sock"), "sources"])
        (line,) = [line.split(",") for line in said.splitlines() if line.split(",")[2] == peer]
        assert "=" == line[0]
        reached.append(int(line[5], 8))
    assert any(reached)


def test_racks_serve_at_once_and_hear_each_other() -> None:
    """The server that they follow is away; each answers from the start, and they hear each other."""
    require("ip", "chronyd", "chronyc")
    one = replace(load("standby"), ntp_upstreams=("10.20.0.99",), disciplines_clock=False)
    with rack_directory() as first, rack_directory() as second, network_of(one, f"mt-{os.getpid()}") as inside:
        other = f"{inside}-c"
        namespace.batch(other, ["addr add 10.20.0.1/24 dev end0"])
        own = one.rack_addresses[0]
        racks = [replace(at(one, first), ntp_peers=("10.20.0.1",)), replace(at(_moved(one), second), ntp_peers=(own,))]
        spec = registry.service("chrony")
        with running(spec, racks[0], inside) as base_one, running(spec, racks[1], other) as base_two:
            strata = [eventually(lambda: _stratum(other, own), 5), eventually(lambda: _stratum(inside, "10.20.0.1"), 5)]
            eventually(lambda: _heard((base_one, "10.20.0.1"), (base_two, own)), 30)

    assert {10} <= set(strata) <= {10, 11}


def _moved(intent: RackIntent) -> RackIntent:
    """The same rack at 10.20.0.1."""
    vlan = intent.vlans[0]
    subnets = tuple(replace(one, rack_address="10.20.0.1") for one in vlan.subnets if one.family == 4)
    return replace(intent, vlans=(replace(vlan, subnets=subnets),))


def test_a_rack_follows_the_control_plane_host(tmp_path: Path) -> None:
    """Both serve from the start; the host's is the better clock, so the rack takes it, and machines get it from the rack."""
    require("ip", "chronyd", "chronyc")
    context = make_context(tmp_path)
    seeded = seed(context)
    settings.change(context, "ntp_upstreams", {"servers": ["192.0.2.9"]})
    with context.store.write() as session:
        session.get_one(Rack, seeded.rack_id).control_plane_host = CLOCK
        interfaces = [{"name": "end0", "mac": "02:00:00:00:00:09", "addresses": [f"{CLOCK}/24"]}]
        clock = Rack(name="control", token_hash="control", interfaces=interfaces, control_plane_host="localhost")
        session.add(clock)
        session.flush()
        number = clock.id
    with context.store.read() as session:
        rack, host = load_intent(session, seeded.rack_id), load_intent(session, number)
    spec = registry.service("chrony")
    with rack_directory() as first, rack_directory() as second, network_of(rack, f"mt-{os.getpid()}") as inside:
        other = f"{inside}-c"
        namespace.batch(other, [f"addr add {CLOCK}/24 dev end0"])
        with running(spec, at(host, second), other), running(spec, at(rack, first), inside) as base:
            stratum = eventually(lambda: _stratum(inside, CLOCK), 5)
            eventually(lambda: _follows(base), 40)
            served = eventually(lambda: _stratum(other, rack.rack_addresses[0]), 5)
            stranger = _silent(inside, rack.vlans[0].interface, "10.66.0.1")

    assert spec.wanted(host)
    assert (8, 9) == (stratum, served)
    assert stranger


def _follows(base: Path) -> None:
    said = namespace.run(["chronyc", "-c", "-h", str(base / "run/command/chronyd.sock"), "tracking"])
    assert CLOCK == said.split(",")[1]


def _silent(space: str, interface: str, source: str) -> bool:
    """That the host's clock says nothing to an address that is no rack's."""
    namespace.batch(space, [f"addr add {source}/32 dev {interface}"])
    namespace.batch(f"{space}-c", [f"route add {source}/32 dev end0"])
    with namespace.socket_in(space, socket.AF_INET, socket.SOCK_DGRAM) as link:
        link.bind((source, 0))
        link.settimeout(1)
        link.sendto(b"\x23" + bytes(39) + b"ABCDEFGH", (CLOCK, 123))
        try:
            return not link.recv(512)
        except TimeoutError:
            return True
