"""The network's rules: each refusal names the rule, both things in conflict and the remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services import addresses, domains, fabrics, rack_interfaces, racks, ranges, subnets, vlans
from app.services.changes import changing
from app.services.context import Actor, Context
from app.services.errors import Conflict, Forbidden, Invalid, NotFound, ServiceError
from app.store.models import ChangeEvent, IpAddress, Machine, Rack, RecordChange, Vlan
from tests.factories.control import Seeded, make_context, make_machine, seed


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """What a small rack has; the rack's own address has a row."""
    made = seed(context)
    with changing(context) as session:
        rack_interfaces.attach_all(session, context)
    return made


Ask = Callable[[Context, Seeded], Any]

REFUSALS: list[tuple[str, Ask, type[ServiceError], tuple[str, ...]]] = [
    (
        "a subnet inside another",
        lambda c, s: subnets.create(c, "10.20.0.0/25", s.vlan_id),
        Conflict,
        ("10.20.0.0/25", "10.20.0.0/24", "choose another"),
    ),
    (
        "a subnet around another",
        lambda c, s: subnets.create(c, "10.0.0.0/8", s.vlan_id),
        Conflict,
        ("10.0.0.0/8", "10.20.0.0/24"),
    ),
    (
        "host bits",
        lambda c, s: subnets.create(c, "10.21.0.1/24", s.vlan_id),
        Invalid,
        ("10.21.0.1", "write 10.21.0.0/24"),
    ),
    (
        "a gateway outside",
        lambda c, s: subnets.create(c, "10.21.0.0/24", s.vlan_id, gateway="10.22.0.1"),
        Invalid,
        ("10.22.0.1", "10.21.0.0/24", "inside"),
    ),
    (
        "the broadcast address as gateway",
        lambda c, s: subnets.update(c, s.subnet_id, gateway="10.20.0.255"),
        Invalid,
        ("10.20.0.255",),
    ),
    (
        "a gateway that DHCP leases",
        lambda c, s: subnets.update(c, s.subnet_id, gateway="10.20.0.150"),
        Conflict,
        ("10.20.0.150", "10.20.0.100-10.20.0.199"),
    ),
    (
        "a gateway that somebody has",
        lambda c, s: subnets.update(c, s.subnet_id, gateway="10.20.0.210"),
        Conflict,
        ("10.20.0.0/24", "gateway 10.20.0.210", "printer", "choose another"),
    ),
    (
        "the gateway as a reserved address",
        lambda c, s: addresses.reserve(c, s.subnet_id, "10.20.0.1"),
        Conflict,
        ("10.20.0.0/24", "10.20.0.1", "gateway"),
    ),
    (
        "a range outside",
        lambda c, s: ranges.create(c, s.subnet_id, "reserved", "10.20.0.250", "10.20.1.5"),
        Invalid,
        ("10.20.1.5", "10.20.0.0/24"),
    ),
    (
        "a range over another",
        lambda c, s: ranges.create(c, s.subnet_id, "reserved", "10.20.0.199", "10.20.0.210"),
        Conflict,
        ("10.20.0.199-10.20.0.210", "10.20.0.100-10.20.0.199", "shorten"),
    ),
    (
        "a range that ends before it starts",
        lambda c, s: ranges.create(c, s.subnet_id, "reserved", "10.20.0.60", "10.20.0.50"),
        Invalid,
        ("10.20.0.60-10.20.0.50", "swap"),
    ),
    (
        "a dynamic range over the gateway and the rack",
        lambda c, s: ranges.create(c, s.subnet_id, "dynamic", "10.20.0.1", "10.20.0.20"),
        Conflict,
        ("10.20.0.1", "gateway"),
    ),
    (
        "a dynamic range over a given address",
        lambda c, s: ranges.update(c, s.range_id, end="10.20.0.220"),
        Conflict,
        ("10.20.0.210", "printer"),
    ),
    (
        "a kind that is none",
        lambda c, s: ranges.create(c, s.subnet_id, "static", "10.20.0.50", "10.20.0.60"),
        Invalid,
        ("static", "dynamic or reserved"),
    ),
    (
        "DHCP without a rack",
        lambda c, s: vlans.update(c, vlans.create(c, s.fabric_id, 7).id, dhcp_on=True),
        Conflict,
        ("vlan-7", "no rack serves it"),
    ),
    (
        "DHCP where the rack has no address",
        lambda c, s: vlans.update(c, vlans.create(c, s.fabric_id, 7).id, dhcp_on=True, rack_id=s.rack_id),
        Conflict,
        ("vlan-7", "rack-1", "no address"),
    ),
    (
        "taking DHCP's rack away",
        lambda c, s: vlans.update(c, s.vlan_id, rack_id=None),
        Conflict,
        ("untagged", "no rack"),
    ),
    ("a tag twice", lambda c, s: vlans.create(c, s.fabric_id, 0), Conflict, ("vid 0", "untagged")),
    ("a tag too high", lambda c, s: vlans.create(c, s.fabric_id, 4095), Invalid, ("4095", "0 to 4094")),
    (
        "a subnet in use",
        lambda c, s: subnets.delete(c, s.subnet_id),
        Conflict,
        ("10.20.0.0/24", "10.20.0.210", "printer"),
    ),
    ("a VLAN in use", lambda c, s: vlans.delete(c, s.vlan_id), Conflict, ("untagged",)),
    ("a fabric in use", lambda c, s: fabrics.delete(c, s.fabric_id), Conflict, ("fabric-0", "10.20.0.0/24")),
    ("a domain in use", lambda c, s: domains.delete(c, s.domain_id), Conflict, ("lab.muster", "10.20.0.0/24")),
    ("a domain twice", lambda c, s: domains.create(c, "LAB.muster."), Conflict, ("lab.muster", "exists")),
    ("a domain that is no name", lambda c, s: domains.create(c, "lab..muster"), Invalid, ("lab..muster",)),
    ("a rack that serves DHCP", lambda c, s: racks.delete(c, s.rack_id), Conflict, ("rack-1", "DHCP")),
    ("no such subnet", lambda c, s: subnets.get(c, 999), NotFound, ("999",)),
    ("the network of a subnet", lambda c, s: subnets.update(c, s.subnet_id, cidr="10.9.0.0/24"), Invalid, ("cidr",)),
]


@pytest.mark.parametrize(("ask", "kind", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refused(context: Context, seeded: Seeded, ask: Ask, kind: type[ServiceError], words: tuple[str, ...]) -> None:
    """What breaks a rule is refused in words that name the things in conflict, and nothing is changed."""
    addresses.reserve(context, seeded.subnet_id, "10.20.0.210", "printer")
    with pytest.raises(kind) as refused:
        ask(context, seeded)

    assert type(refused.value) is kind
    assert [word for word in words if word not in refused.value.detail] == []


def test_only_administrators_change_the_network(context: Context, seeded: Seeded) -> None:
    """An operator may look and not change."""
    operator = context.acting_as(Actor("olga", "operator"))
    asks: list[Callable[[], Any]] = [
        lambda: fabrics.create(operator, "f"),
        lambda: vlans.update(operator, seeded.vlan_id, mtu=9000),
        lambda: subnets.create(operator, "10.21.0.0/24", seeded.vlan_id),
        lambda: ranges.delete(operator, seeded.range_id),
        lambda: domains.create(operator, "x.example"),
        lambda: racks.new_code(operator),
    ]
    for ask in asks:
        with pytest.raises(Forbidden):
            ask()

    assert [subnet.cidr for subnet in subnets.find(operator)] == ["10.20.0.0/24"]


def test_a_network_is_built_and_taken_down(context: Context, seeded: Seeded) -> None:
    """Fabric, VLAN, subnet and range can be made, changed and deleted in order; each change is audited."""
    fabric = fabrics.create(context, "edge")
    vlan = vlans.create(context, fabric.id, 30, "storage", mtu=9000)
    subnet = subnets.create(
        context, "2001:DB8:30::/64", vlan.id, gateway="2001:db8:30::1", dns_servers=["2001:db8::53"]
    )
    drawn = ranges.create(context, subnet.id, "dynamic", "2001:db8:30::1000", "2001:db8:30::1FFF")
    drawn = ranges.update(context, drawn.id, end="2001:db8:30::2fff", comment="guests")
    subnet = subnets.update(context, subnet.id, name="storage", lease_seconds=3600, gateway="fe80::1")

    assert (subnet.cidr, subnet.gateway, subnet.vlan.fabric.name) == ("2001:db8:30::/64", "fe80::1", "edge")
    assert (drawn.start, drawn.end) == ("2001:db8:30::1000", "2001:db8:30::2fff")

    ranges.delete(context, drawn.id)
    subnets.delete(context, subnet.id)
    vlans.delete(context, vlan.id)
    fabrics.delete(context, fabric.id)
    with context.store.read() as session:
        verbs = [f"{row.verb} {row.thing}" for row in session.scalars(select(ChangeEvent).order_by(ChangeEvent.id))]

    assert [one.name for one in fabrics.find(context)] == ["fabric-0"]
    assert verbs == [
        "create fabric", "create vlan", "create subnet", "create range", "update range", "update subnet",
        "delete range", "delete subnet", "delete vlan", "delete fabric",
    ]  # fmt: skip


def test_a_new_subnet_around_a_racks_address_is_served_by_it(context: Context, seeded: Seeded) -> None:
    """A rack's interface that falls into a new subnet gives the VLAN its rack and the rack its name there."""
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [
            *rack.interfaces,
            {"name": "eth1", "mac": "02:00:00:00:00:02", "addresses": ["10.50.0.1/24", "fe80::1/64"]},
        ]
    vlan = vlans.create(context, seeded.fabric_id, 50)
    subnet = subnets.create(context, "10.50.0.0/24", vlan.id)
    vlans.update(context, vlan.id, dhcp_on=True)
    with context.store.read() as session:
        served = session.get_one(Vlan, vlan.id)
        address = session.scalar(select(IpAddress).where(IpAddress.subnet_id == subnet.id))
        names = session.scalars(
            select(RecordChange.value).where(RecordChange.key == "rrset:rack-1.lab.muster.:A")
        ).all()

    assert (served.rack_id, served.dhcp_on) == (seeded.rack_id, True)
    assert address is not None
    assert (address.address, address.kind) == ("10.50.0.1", "rack")
    assert names[-1] is not None
    assert names[-1]["rdatas"] == ["10.20.0.1", "10.50.0.1"]


def test_a_renamed_machine_moves_its_records(context: Context, seeded: Seeded) -> None:
    """The old name is taken away, the new one and the pointer are written."""
    machine_id = make_machine(context, seeded, "old")
    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine_id))
    with changing(context) as session:
        machine = session.get_one(Machine, machine_id)
        machine.hostname = "new"
        session.flush()
        addresses.renamed(session, context, machine, "old")
    with context.store.read() as session:
        newest = {row.key: row.value for row in session.scalars(select(RecordChange).order_by(RecordChange.sequence))}
    new, pointer = newest["rrset:new.lab.muster.:A"], newest["rrset:2.0.20.10.in-addr.arpa.:PTR"]

    assert newest["rrset:old.lab.muster.:A"] is None
    assert new is not None
    assert new["rdatas"] == ["10.20.0.2"]
    assert pointer is not None
    assert pointer["rdatas"] == ["new.lab.muster."]


def test_a_deleted_domain_takes_its_records_away(context: Context, seeded: Seeded) -> None:
    """A domain that nobody uses can go, and its zone is empty if it comes back."""
    domain = domains.create(context, "old.example")
    domains.delete(context, domain.id)
    with context.store.read() as session:
        rows = session.scalars(
            select(RecordChange).where(RecordChange.scope == "zone:old.example").order_by(RecordChange.sequence)
        ).all()
    newest = {row.key: row.value for row in rows}

    assert set(newest) == {"rrset:old.example.:NS", "rrset:rack-1.old.example.:A"}
    assert set(newest.values()) == {None}
