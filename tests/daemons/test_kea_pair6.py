"""Two kea-dhcp6 of one VLAN: the standby keeps the leases, answers when the primary is gone, and tells it when it is back."""

from __future__ import annotations

import os
import struct
import time
from pathlib import Path

import pytest

from lab import namespace
from lab.dhcp6_client import Client6, Lease6
from renderers import registry
from renderers.intent import RackIntent
from tests.daemons.rack_root import daemon, eventually, install, rack_directory
from tests.daemons.requires import require
from tests.daemons.test_kea_pair import pair_network, pair_of
from workers.rack.channels.kea import KeaClient
from workers.rack.probes.base import ProbeResult
from workers.rack.probing import Prober

TAKEOVER_SECONDS = 12.0
"""Kea's numbers ask for about 3, and the client asks again after 1.5; a busy host gets more."""
SPEC = registry.service("kea6")
FIRST, SECOND = (Client6("end0", duid=struct.pack("!HH", 3, 1) + bytes([2, 0, 0, 0, 9, n])) for n in (1, 2))


def kea(base: Path) -> KeaClient:
    """The control socket of a server."""
    return KeaClient(base / "run" / "kea6-ctrl-socket", family=6)


def are_paired(*bases: Path) -> None:
    """Both are where they stay."""
    states = [kea(base).status()["high-availability"][0]["ha-servers"]["local"]["state"] for base in bases]

    assert ["hot-standby"] * len(bases) == states


def probe(root: str, inside: str, intent: RackIntent) -> ProbeResult:
    """What the rack's own probe says of its server on the VLAN."""
    specs = SPEC.probes(intent)[:1]
    return namespace.inside(inside, lambda: Prober(Path(root), intent.rack_name).ask_once("kea6", specs))[0]


@pytest.mark.daemons
def test_addresses_outlive_the_primary() -> None:
    """Known to the standby, which is rightly silent; given by it while the primary is dead; known to that one afterwards."""
    require("ip", "kea-dhcp6")
    with (
        rack_directory() as first_root,
        rack_directory() as second_root,
        pair_network(f"m6p-{os.getpid()}") as (first, second, client),
    ):
        namespace.batch(client, ["addr add fd20::50/64 dev end0 nodad"])
        primary, standby = pair_of((first_root, second_root), "standby6")
        one, other = install(SPEC, primary), install(SPEC, standby)

        def take(who: Client6) -> Lease6:
            return namespace.inside(client, who.solicit_and_request)

        with daemon(SPEC, standby, second, other):
            with daemon(SPEC, primary, first, one):
                eventually(lambda: are_paired(one, other), 30)
                before = eventually(lambda: take(FIRST), 20)
                silent, loud = probe(second_root, second, standby), probe(first_root, first, primary)
                kept = eventually(lambda: kea(other).lease(before.address)["duid"])
            died = time.monotonic()
            after = eventually(lambda: take(FIRST), 30)
            took = time.monotonic() - died
            rebound = namespace.inside(client, lambda: FIRST.rebind(before))
            alone = probe(second_root, second, standby)
            given = take(SECOND)
            with daemon(SPEC, primary, first, one):
                eventually(lambda: are_paired(one, other), 40)
                learned = eventually(lambda: kea(one).lease(given.address)["duid"])
                back = eventually(lambda: take(FIRST), 20)

    assert (FIRST.duid.hex(), SECOND.duid.hex()) == (kept.replace(":", ""), learned.replace(":", ""))
    assert {before.address} == {after.address, rebound.address, back.address}
    assert given.address not in ("", before.address)
    assert (before.server, after.server) == (back.server, rebound.server)
    assert before.server != after.server
    assert took < TAKEOVER_SECONDS
    assert (True, True, True) == (silent.ok, loud.ok, alone.ok), (silent, loud, alone)
    assert ("stands by" in silent.detail, "stands by" in loud.detail, "stands by" in alone.detail) == (
        True,
        False,
        False,
    )
