"""The kernel's neighbour table as a rack tells it."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from lab import namespace
from tests.daemons.requires import require
from workers.rack.sensors import neighbours

ENTRIES = [
    {"dst": "10.20.0.7", "dev": "eth0", "lladdr": "52:54:00:00:00:07", "state": ["STALE"]},
    {"dst": "10.20.0.6", "dev": "eth0", "lladdr": "52:54:00:00:00:06", "state": ["REACHABLE"]},
    {"dst": "10.20.0.8", "dev": "eth0", "state": ["FAILED"]},
    {"dst": "10.20.0.9", "dev": "eth0", "lladdr": "52:54:00:00:00:09", "state": ["INCOMPLETE"]},
    {"dst": "fe80::1", "dev": "eth0", "lladdr": "52:54:00:00:00:01", "router": None, "state": ["REACHABLE"]},
    {"dst": "2001:db8::5", "dev": "eth1", "lladdr": "52:54:00:00:00:0A", "state": ["PERMANENT"]},
    {"dst": "ff02::1", "dev": "eth1", "lladdr": "33:33:00:00:00:01", "state": ["NOARP"]},
    {"dst": "nonsense", "dev": "eth1", "lladdr": "52:54:00:00:00:0b", "state": ["REACHABLE"]},
]


def test_the_surest_come_first_and_what_is_not_there_is_left_out() -> None:
    """Failed, incomplete, link-local and malformed entries are none."""
    assert [
        {"interface": "eth0", "address": "10.20.0.6", "mac": "52:54:00:00:00:06"},
        {"interface": "eth0", "address": "10.20.0.7", "mac": "52:54:00:00:00:07"},
        {"interface": "eth1", "address": "2001:db8::5", "mac": "52:54:00:00:00:0a"},
    ] == neighbours.parse(ENTRIES)


def test_a_report_is_bounded() -> None:
    """However large the table is."""
    many = [
        {"dst": f"10.{n >> 8}.{n & 255}.1", "dev": "eth0", "lladdr": "52:54:00:00:00:06", "state": ["STALE"]}
        for n in range(2000)
    ]

    assert neighbours.MOST == len(neighbours.parse(many))


@pytest.mark.skipif(os.geteuid() != 0, reason="network namespaces need root")
def test_a_real_neighbour_is_seen(tmp_path: Path) -> None:
    """Whoever a host has spoken to on its network is in its table, with its MAC."""
    require("ip")
    here, there = f"mn-{os.getpid()}", f"mn-{os.getpid()}-c"
    for space in (here, there):
        namespace.run(["ip", "netns", "add", space])
    try:
        namespace.batch(
            here,
            [
                f"link add lan0 type veth peer name end0 netns {there}",
                "link set lan0 up",
                "addr add 10.20.0.1/24 dev lan0",
            ],
        )
        namespace.batch(
            there, ["link set end0 address 52:54:00:20:00:0a", "link set end0 up", "addr add 10.20.0.50/24 dev end0"]
        )
        with namespace.socket_in(here, socket.AF_INET, socket.SOCK_STREAM) as link:
            link.settimeout(2)
            with pytest.raises(OSError, match=r"refused|timed out"):
                link.connect(("10.20.0.50", 9))
        found = namespace.inside(here, neighbours.read)
    finally:
        for space in (here, there):
            namespace.run(["ip", "netns", "del", space])

    assert {"interface": "lan0", "address": "10.20.0.50", "mac": "52:54:00:20:00:0a"} in found
