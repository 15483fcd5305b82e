"""The machine edge over IPv6: the rack is named in the script, and the kernel is told the address that asked."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import select

from app.services import subnets
from app.store.models import Event, Rack
from tests.factories.edge import Lab, make_lab

RACK, MACHINE = "fd20::1", "fd20::1:7"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """A rack with an address of each family on its interface; the IPv6 subnet's gateway is link-local."""
    made = make_lab(tmp_path)
    with made.context.store.write() as session:
        session.get_one(Rack, made.seeded.rack_id).interfaces = [
            {"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.20.0.1/24", f"{RACK}/64"]}
        ]
    four = subnets.get(made.context, made.seeded.subnet_id)
    values = {"cidr": "fd20::/64", "name": "six", "vlan_id": four.vlan_id, "domain_id": four.domain_id}
    subnets.create(made.context, **values, gateway="fe80::1")
    return made


def test_scripts_for_ipv6_hold_addresses_that_ipxe_does_not_know(lab: Lab) -> None:
    """The first script names the rack, the second one the address, its length, the gateway and the rack as DNS server."""
    machine = lab.machine()
    machine.address = MACHINE
    first = machine.client.get("/boot/v1/start.ipxe", headers=machine.headers()).text
    machine.address = "10.20.0.100"
    four = machine.client.get("/boot/v1/start.ipxe", headers=machine.headers()).text
    machine.address = MACHINE

    assert f"http://[{RACK}]:5248/boot/v1/script?mac=" in first
    assert "http://${next-server}:5248/boot/v1/script?mac=" in four
    assert "ephemeral" == machine.boot()
    assert f"muster.ip6={MACHINE}/64,fe80::1,{RACK} " in machine.script
    assert f"muster.url=http://[{RACK}]:5248/machine/v1" in machine.script


def test_a_token_is_bound_to_the_ipv6_address_that_fetched_it(lab: Lab) -> None:
    """The same machine may call from there, another address may not; it enlists into the subnet of its address."""
    machine = lab.machine()
    machine.address = MACHINE
    machine.boot()
    refused = machine.get("/task", address="fd20::1:8")

    assert (403, 200) == (refused.status_code, machine.get("/task").status_code)
    assert machine.enlist()["machine"]


def test_an_address_of_no_known_subnet_boots_the_disk(lab: Lab) -> None:
    """Its prefix is not known, so it could not be configured; the timeline says so."""
    machine = lab.machine()
    machine.address = "fd99::7"

    assert "local" == machine.boot()
    with lab.context.store.read() as session:
        said = session.scalars(select(Event.message).where(Event.level == "error")).one()
    assert "fd99::7 is in no subnet that Muster knows" in said
