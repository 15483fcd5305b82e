"""Two Kea servers of one VLAN: the standby is silent and keeps the leases, takes over, and listens to nobody else."""

from __future__ import annotations

import os
import socket
import ssl
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from lab import dhcp_client, namespace
from lab.process import end_processes
from renderers import registry
from renderers.dhcp.kea_ha import PORTS
from renderers.intent import HaIntent, RackIntent
from tests.daemons.rack_root import at, eventually, rack_directory, running
from tests.daemons.requires import require
from tests.golden.case import load
from workers.rack import ha_keys
from workers.rack.channels.kea import KeaClient
from workers.rack.probes.base import ProbeResult
from workers.rack.probing import Prober

MAC = "52:54:00:20:00:0a"
TAKEOVER_SECONDS = 10.0
"""Kea's numbers ask for about 3; a busy host gets more."""


@contextmanager
def pair_network(name: str) -> Iterator[tuple[str, str, str]]:
    """Namespaces of two racks and a client, joined by a bridge in the client's; each rack's interface is lan0."""
    spaces = (f"{name}-a", f"{name}-b", f"{name}-c")
    for space in spaces:
        namespace.run(["ip", "netns", "add", space])
    try:
        client = spaces[2]
        namespace.batch(
            client,
            ["link set lo up", "link add end0 type bridge", f"link set end0 address {MAC}", "link set end0 up"],
        )
        for number, space in enumerate(spaces[:2]):
            namespace.batch(
                space,
                [
                    "link set lo up",
                    f"link add lan0 type veth peer name port{number} netns {client}",
                    "link set lan0 up",
                    f"addr add 10.20.0.{number + 1}/24 dev lan0",
                    f"addr add fd20::{number + 1}/64 dev lan0 nodad",
                ],
            )
            namespace.batch(client, [f"link set port{number} master end0", f"link set port{number} up"])
        namespace.batch(client, ["addr add 10.20.0.50/24 dev end0"])
        yield spaces
    finally:
        for space in spaces:
            end_processes(namespace.residents(space))
            namespace.run(["ip", "netns", "del", space])


def pair_of(roots: tuple[str, str], case: str = "standby") -> tuple[RackIntent, RackIntent]:
    """The golden standby and its primary, with keys that were made on them."""
    standby = load(case)
    assert standby.ha is not None
    certificates = [ha_keys.ensure(Path(root), peer.name) for root, peer in zip(roots, standby.ha.peers, strict=True)]
    peers = tuple(replace(peer, certificate=made) for peer, made in zip(standby.ha.peers, certificates, strict=True))
    vlan = standby.vlans[0]
    served = tuple(
        replace(subnet, rack_address="10.20.0.1" if subnet.family == 4 else "fd20::1") for subnet in vlan.subnets
    )
    alone = replace(served[0], subnet_id=7, cidr="10.27.0.0/24", gateway=None, rack_address="10.20.0.1", pools=())
    primary = replace(
        standby,
        rack_name="rack-1",
        vlans=(
            replace(vlan, secondary=False, subnets=served),
            replace(vlan, vlan_id=9, secondary=False, relayed=True, subnets=(alone,)),
        ),
        ha=HaIntent("rack-1", peers, dhcp6=standby.ha.dhcp6),
    )
    second = replace(standby, ha=replace(standby.ha, peers=peers))
    return at(primary, roots[0]), at(second, roots[1])


def kea(base: Path) -> KeaClient:
    """The control socket of a server."""
    return KeaClient(base / "run" / "kea4-ctrl-socket")


def state(base: Path) -> str:
    """What a server says that it is."""
    return str(kea(base).status()["high-availability"][0]["ha-servers"]["local"]["state"])


def are_paired(*bases: Path) -> None:
    """Both are where they stay."""
    assert ["hot-standby"] * len(bases) == [state(base) for base in bases]


def lease(client: str) -> dhcp_client.Lease:
    """An address, asked for by the machine and taken."""
    return namespace.inside(client, lambda: dhcp_client.discover_and_request("end0", MAC))


def probe(root: str, inside: str, intent: RackIntent) -> ProbeResult:
    """What the rack's own probe says of its server on the VLAN."""
    specs = registry.service("kea4").probes(intent)[:1]
    return namespace.inside(inside, lambda: Prober(Path(root), intent.rack_name).ask_once("kea4", specs))[0]


def stranger_is_let_in(client: str) -> bool:
    """Whether a machine of the VLAN without a certificate can speak to the listener of 10.20.0.1."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    with namespace.socket_in(client, socket.AF_INET) as plain:
        plain.settimeout(5)
        plain.connect(("10.20.0.1", PORTS["kea4"]))
        try:
            with context.wrap_socket(plain) as link:
                link.sendall(
                    b"POST / HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
                )
                return bool(link.recv(100))
        except OSError:
            return False


@pytest.mark.daemons
def test_the_standby_takes_over_with_the_leases() -> None:
    """It is silent and rightly so while the primary lives, and gives the machine its own address when it does not."""
    require("ip", "kea-dhcp4")
    service = registry.service("kea4")
    with (
        rack_directory() as first_root,
        rack_directory() as second_root,
        pair_network(f"mp-{os.getpid()}") as (first, second, client),
    ):
        primary, standby = pair_of((first_root, second_root))
        with running(service, standby, second) as standby_base:
            with running(service, primary, first) as primary_base:
                eventually(lambda: are_paired(primary_base, standby_base), 30)
                before = lease(client)
                silent = probe(second_root, second, standby)
                loud = probe(first_root, first, primary)
                kept = eventually(lambda: kea(standby_base).lease(before.address)["hw-address"])
                let_in = stranger_is_let_in(client)
            died = time.monotonic()
            after = eventually(lambda: lease(client), 30)
            took = time.monotonic() - died
            alone = probe(second_root, second, standby)

    assert ("10.20.0.1", "10.20.0.2") == (before.server, after.server)
    assert (before.address, MAC) == (after.address, kept)
    assert took < TAKEOVER_SECONDS
    assert (True, True, True) == (silent.ok, loud.ok, alone.ok), (silent, loud, alone)
    assert ("stands by" in silent.detail, "offers" in loud.detail, "offers" in alone.detail) == (True, True, True)
    assert not let_in
