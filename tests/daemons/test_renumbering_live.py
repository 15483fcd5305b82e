"""A subnet of hundreds of hosts gets another network under a real rack: Kea and BIND answer for each the one address it has."""

from __future__ import annotations

import contextlib
import ipaddress
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import dns.exception
import dns.message
import dns.query
import dns.rdatatype
import dns.reversename
import pytest

from lab import demo, namespace
from lab.api import ApiRefused
from lab.dhcp_client import DhcpFailed, discover_and_request
from lab.simulated import SimulatedMachine
from lab.standing import Lab
from tests.daemons.standing import tiny_lab, wait_until

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(420)]

RACK = "10.20.0.1"
OLD, NEW = ipaddress.ip_network("10.40.0.0/22"), ipaddress.ip_network("10.50.0.0/22")
HOSTS = 500
WATCHED = (1, 250, HOSTS)
"""Hosts of the first batch, of one in the middle, and of the last."""
PATIENCE_SECONDS = 90.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    """The rack's interface has an address in the old network and already one in the new."""
    with tiny_lab() as made:
        interface = made.site.vlans[0].rack_interface
        namespace.batch(
            made.site.rack, [f"address add {network[-2]}/{network.prefixlen} dev {interface}" for network in (OLD, NEW)]
        )
        yield made


@pytest.fixture
def client(lab: Lab) -> Iterator[SimulatedMachine]:
    """A place on the wire from which every host's card speaks."""
    with SimulatedMachine(lab.site, "card", mac=mac_of(0)) as machine:
        machine.use_address("10.20.0.250/24")
        yield machine


def mac_of(number: int) -> str:
    return f"52:54:00:0d:{number >> 8:02x}:{number & 255:02x}"


def places(number: int) -> tuple[str, str]:
    """A host's old address and its new one."""
    return str(OLD[number]), str(NEW[number])


def ask(client: SimulatedMachine, questions: list[tuple[str, str]]) -> list[tuple[str, ...]]:
    """What the rack's BIND answers, one after the other."""

    def put() -> list[tuple[str, ...]]:
        found = []
        for name, kind in questions:
            answer = dns.query.udp(dns.message.make_query(name, kind), RACK, timeout=5)
            wanted = [rrset for rrset in answer.answer if rrset.rdtype == dns.rdatatype.from_text(kind)]
            found.append(tuple(sorted(rdata.to_text() for rrset in wanted for rdata in rrset)))
        return found

    return namespace.inside(client.space, put)


def leased(client: SimulatedMachine, number: int) -> str:
    """The address that a host takes by DHCP."""
    return namespace.inside(client.space, lambda: discover_and_request("eth0", mac_of(number))).address


def promised(lab: Lab) -> dict[int, str]:
    """Every host's address, as Muster says it."""
    found: dict[int, str] = {}
    after = 0
    while True:
        page = lab.api.get("/reservations", limit=500, after=after)
        found |= {int(one["hostname"][2:]): one["address"] for one in page["items"]}
        if page["next"] is None:
            return found
        after = page["next"]


def subnet_ids(lab: Lab) -> dict[str, int]:
    return {one["cidr"]: one["id"] for one in lab.api.get("/subnets")["items"] if not one["found"]}


def check_served(lab: Lab, client: SimulatedMachine) -> dict[int, str]:
    """Every host has the name, the pointer and (one in fifty is asked) the lease of its address, and none of its other one."""
    demo.wait_in_sync(lab.api, lab.rack)
    wanted = promised(lab)
    assert set(range(1, HOSTS + 1)) == wanted.keys()
    addresses = [(address,) for address in wanted.values()]
    forward = [(f"h-{number}.{demo.DOMAIN}", "A") for number in wanted]
    wait_until("names to be those of now", lambda: addresses == ask(client, forward), PATIENCE_SECONDS)
    others = [next(one for one in places(number) if one != address) for number, address in wanted.items()]
    back = [(dns.reversename.from_address(one).to_text(), "PTR") for one in wanted.values()]
    names = [(f"h-{number}.{demo.DOMAIN}.",) for number in wanted]
    gone = [(dns.reversename.from_address(one).to_text(), "PTR") for one in others]
    wait_until("pointers", lambda: [*names, *[()] * HOSTS] == ask(client, [*back, *gone]), PATIENCE_SECONDS)
    for number in (*WATCHED, *range(50, HOSTS, 50)):
        wait_until(f"h-{number} to lease", lambda number=number: wanted[number] == leased(client, number))
    return wanted


@dataclass
class Watch:
    """Looks at a few hosts all the time, as clients and as resolvers do."""

    client: SimulatedMachine
    leases: dict[int, list[str]] = field(default_factory=lambda: {number: [] for number in WATCHED})
    names: dict[int, list[tuple[str, ...]]] = field(default_factory=lambda: {number: [] for number in WATCHED})
    failures: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *ignored: object) -> None:
        self.over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self.over.wait(0.1):
            for number in WATCHED:
                try:
                    self.leases[number].append(leased(self.client, number))
                    self.names[number] += ask(self.client, [(f"h-{number}.{demo.DOMAIN}", "A")])
                except (DhcpFailed, dns.exception.DNSException) as error:
                    if "DHCPNAK" not in str(error):  # The host moved between the OFFER and the REQUEST.
                        self.failures.append(f"h-{number}: {error!r}")

    def check(self) -> None:
        """Never without an answer, never another address, never back."""
        assert [] == self.failures
        for number in WATCHED:
            for seen in (self.leases[number], [one for (one,) in self.names[number]]):
                assert seen
                turns = [one for at, one in enumerate(seen) if at == 0 or one != seen[at - 1]]
                assert turns in [[places(number)[0]], [places(number)[1]], list(places(number))], (number, turns)


def wait_job(lab: Lab, job: dict[str, Any], status: str) -> dict[str, Any]:
    found = job

    def ended() -> bool:
        nonlocal found
        found = lab.api.get(f"/jobs/{job['id']}")
        return found["finished_at"] is not None

    wait_until(f"job {job['id']} to end", ended, PATIENCE_SECONDS)
    assert (status, []) == (found["status"], found["errors"])
    return found


def test_every_host_is_right_before_in_the_middle_and_afterwards(lab: Lab, client: SimulatedMachine) -> None:
    """Ended in the middle each host is whole in one network; gone on with, all are in the new one and the old one is gone."""
    api = lab.api
    vlan = next(one for one in api.get("/vlans")["items"] if one["vid"] == 0)
    domain = next(one for one in api.get("/domains")["items"] if one["name"] == demo.DOMAIN)
    words = {"vlan_id": vlan["id"], "domain_id": domain["id"], "gateway": str(OLD[-3])}
    old_id = api.post("/subnets", {"cidr": str(OLD), **words})["id"]
    told = {address.split("/")[0] for address in (f"{OLD[-2]}", f"{NEW[-2]}")}
    wait_until("the rack to tell its addresses", lambda: told <= rack_addresses(lab), PATIENCE_SECONDS)
    wanted = [
        {"address": str(OLD[number]), "mac": mac_of(number), "hostname": f"h-{number}"}
        for number in range(1, HOSTS + 1)
    ]
    wait_job(lab, api.post("/reservations/bulk", {"reservations": wanted}), "succeeded")
    assert {number: str(OLD[number]) for number in range(1, HOSTS + 1)} == check_served(lab, client)

    # While it goes, and when it is ended after some batches.
    with Watch(client) as watch:
        job = api.post(f"/subnets/{old_id}/renumber", {"cidr": str(NEW)})
        wait_until("the first batch", lambda: api.get(f"/jobs/{job['id']}")["done"] > 0, PATIENCE_SECONDS)
        api.post(f"/jobs/{job['id']}/cancel")
        done = wait_job(lab, job, "cancelled")["done"]
        between = check_served(lab, client)
        time.sleep(0.5)
    watch.check()
    moved = {number for number, address in between.items() if address == str(NEW[number])}
    assert (done, True) == (len(moved), 0 < done < HOSTS)
    assert {str(OLD), str(NEW)} <= subnet_ids(lab).keys()

    # Asked again, it goes on to the end.
    with Watch(client) as watch:
        job = api.post(f"/subnets/{old_id}/renumber", {"cidr": str(NEW)})
        wait_job(lab, job, "succeeded")
        approve_the_end(lab)
        assert {number: str(NEW[number]) for number in range(1, HOSTS + 1)} == check_served(lab, client)
    watch.check()
    assert str(OLD) not in subnet_ids(lab)
    assert [()] == ask(client, [("0.40.10.in-addr.arpa", "SOA")])
    given = namespace.inside(
        client.space, lambda: discover_and_request("eth0", mac_of(WATCHED[1]), wanted=places(WATCHED[1])[0])
    )
    assert (places(WATCHED[1])[1], (str(NEW[-3]),), NEW.prefixlen) == (
        given.address, given.addresses(3), given.prefix_length,
    )  # fmt: skip


def approve_the_end(lab: Lab) -> None:
    """What goes is a third of the rack's zones and IPv4 subnets, so it waits for approval, as after any deletion."""
    gone: set[str] = set()

    def agreed() -> bool:
        shown = lab.api.get(f"/racks/{lab.rack.rack_id}")
        for plan in shown["held"]:
            gone.update(item for danger in plan["dangers"] for item in danger["items"])
            with contextlib.suppress(ApiRefused):  # A newer plan may be held by now.
                lab.api.post(f"/plans/{plan['id']}/approve")
        return bool(shown["in_sync"] and gone)

    wait_until("the rack to have let the old network go", agreed, PATIENCE_SECONDS)
    assert all("10.40." in item or ".40.10.in-addr.arpa" in item for item in gone), gone


def rack_addresses(lab: Lab) -> set[str]:
    """The rack's own addresses, as it has told them."""
    shown = lab.api.get(f"/racks/{lab.rack.rack_id}")["rack"]
    return {text.partition("/")[0] for one in shown["interfaces"] for text in one["addresses"]}
