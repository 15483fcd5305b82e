"""A rack's intent says what the rack should serve, and costs the same number of queries whatever its size."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import event

from app.services import domains, rack_interfaces, rack_serving, ranges, records, subnets, vlans
from app.services.changes import changing
from app.services.context import Context
from app.store.intent import load_intent
from app.store.models import Rack, Setting
from renderers.intent import PoolIntent, SubnetIntent, VlanIntent
from tests.factories.control import Seeded, make_context, make_machine, seed


@contextmanager
def counting(context: Context) -> Iterator[list[str]]:
    """The statements that are executed meanwhile."""
    statements: list[str] = []

    def note(connection: object, cursor: object, statement: str, *_: object) -> None:
        statements.append(statement)

    event.listen(context.store.engine, "before_cursor_execute", note)
    yield statements
    event.remove(context.store.engine, "before_cursor_execute", note)


def grow(context: Context, seeded: Seeded, first: int, last: int) -> None:
    """Machines, and VLANs with a subnet, a range and a rack address each."""
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        added = [
            {"name": f"eth{number}", "mac": "02:00:00:00:00:ff", "addresses": [f"10.{number}.0.1/24"]}
            for number in range(first, last)
        ]
        rack.interfaces = [*rack.interfaces, *added]
    for number in range(first, last):
        make_machine(context, seeded)
        vlan = vlans.create(context, seeded.fabric_id, number)
        subnet = subnets.create(context, f"10.{number}.0.0/24", vlan.id)
        ranges.create(context, subnet.id, "dynamic", f"10.{number}.0.100", f"10.{number}.0.200")


def test_the_intent_of_a_small_rack(tmp_path: Path) -> None:
    """Interface and rack address come from the rack's own interfaces; servers default to the rack."""
    context = make_context(tmp_path)
    seeded = seed(context)
    with context.store.write() as session:
        session.add(Setting(name="dns_forwarders", value={"servers": ["9.9.9.9"]}))
    with context.store.read() as session:
        intent = load_intent(session, seeded.rack_id)
    subnet = SubnetIntent(
        subnet_id=seeded.subnet_id,
        cidr="10.20.0.0/24",
        gateway="10.20.0.1",
        rack_address="10.20.0.1",
        dns_servers=("10.20.0.1",),
        ntp_servers=("10.20.0.1",),
        domain="lab.muster",
        pools=(PoolIntent(seeded.range_id, "10.20.0.100", "10.20.0.199"),),
    )

    assert intent.vlans == (VlanIntent(seeded.vlan_id, "untagged", "eth0", 1500, True, False, (subnet,)),)
    assert intent.dns_forwarders == ("9.9.9.9",)
    assert [(zone.name, zone.role, zone.nameserver, zone.nameserver_addresses) for zone in intent.zones] == [
        ("lab.muster", "primary", "rack-1.lab.muster.", ("10.20.0.1",)),
        ("muster-internal", "primary", "rack-1.muster-internal.", ("10.20.0.1",)),
        ("0.20.10.in-addr.arpa", "primary", "rack-1.lab.muster.", ("10.20.0.1",)),
    ]


def test_another_rack_is_secondary(tmp_path: Path) -> None:
    """The second rack gets every zone from the first, and the first knows whom to notify."""
    context = make_context(tmp_path)
    seeded = seed(context)
    domains.create(context, "second.example")
    with context.store.write() as session:
        second = Rack(
            name="alpha",
            token_hash="t",
            enrolled_at=context.clock(),
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["127.0.0.1/8", "10.60.0.1/24"]}],
        )
        session.add(second)
    with context.store.read() as session:
        first_intent, second_intent = load_intent(session, seeded.rack_id), load_intent(session, second.id)

    assert {zone.secondaries for zone in first_intent.zones} == {("10.60.0.1",)}
    assert [(zone.name, zone.role, zone.primary_address) for zone in second_intent.zones] == [
        ("lab.muster", "secondary", "10.20.0.1"),
        ("second.example", "secondary", "10.20.0.1"),
        ("muster-internal", "secondary", "10.20.0.1"),
        ("0.20.10.in-addr.arpa", "secondary", "10.20.0.1"),
    ]
    assert len({zone.zone_id for zone in first_intent.zones}) == 4
    assert (("10.60.0.1",), ("10.20.0.1",)) == (first_intent.dns_peers, second_intent.dns_peers)


def test_a_vlan_without_an_interface_of_the_rack_is_left_out(tmp_path: Path) -> None:
    """What the rack has no interface in, it cannot serve."""
    context = make_context(tmp_path)
    seeded = seed(context)
    with context.store.write() as session:
        session.get_one(Rack, seeded.rack_id).interfaces = []
    with context.store.read() as session:
        intent = load_intent(session, seeded.rack_id)

    assert intent.vlans == ()


def test_queries_do_not_grow(tmp_path: Path) -> None:
    """Loading an intent and fetching records take as many queries with 50 subnets and machines as with one."""
    context = make_context(tmp_path)
    seeded = seed(context)
    with changing(context) as session:
        rack_interfaces.attach_all(session, context)
    grow(context, seeded, 100, 101)
    with counting(context) as small, context.store.read() as session:
        load_intent(session, seeded.rack_id)
    with counting(context) as small_fetch:
        records.after(context, seeded.rack_id, 0)
    grow(context, seeded, 101, 150)
    with counting(context) as large, context.store.read() as session:
        intent = load_intent(session, seeded.rack_id)
    with counting(context) as large_fetch:
        records.after(context, seeded.rack_id, 0)

    assert len(intent.subnets) == 51
    assert len(large) == len(small)
    assert len(small) <= 16
    assert len(large_fetch) == len(small_fetch)


def test_an_unknown_rack_is_named(tmp_path: Path) -> None:
    """There is no intent of a rack that does not exist."""
    context = make_context(tmp_path)
    with context.store.read() as session, pytest.raises(KeyError, match="77"):
        load_intent(session, 77)


def test_a_rack_with_several_vlans_interfaces_and_roles(tmp_path: Path) -> None:
    """Own VLANs, one as secondary, one through a relay agent; each on the interface that the rule chooses."""
    context = make_context(tmp_path)
    seeded = seed(context)
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [
            {"name": "bond0", "mac": "02:00:00:00:00:02", "addresses": ["10.20.0.2/24", "fd20::2/64"], "kind": "bond"},
            *rack.interfaces,
            {"name": "eth0.30", "mac": "02:00:00:00:00:01", "addresses": ["10.30.0.1/24"], "kind": "vlan"},
        ]
        session.add(
            Rack(
                name="alpha",
                token_hash="another",
                interfaces=[{"name": "en1", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.3/24", "10.30.0.3/24"]}],
            )
        )
    six = subnets.create(context, "fd20::/64", seeded.vlan_id)
    second = vlans.create(context, seeded.fabric_id, 30)
    subnets.create(context, "10.30.0.0/24", second.id)
    relayed = vlans.create(context, seeded.fabric_id, 40, relay_vlan_id=seeded.vlan_id)
    far = subnets.create(context, "10.40.0.0/24", relayed.id)
    vlans.update(context, relayed.id, dhcp_on=True)
    with context.store.read() as session:
        other = session.query(Rack).filter_by(name="alpha").one().id
    vlans.update(context, second.id, rack_id=seeded.rack_id, secondary_rack_id=other)
    with context.store.read() as session:
        first, standby = load_intent(session, seeded.rack_id), load_intent(session, other)
    seen = {vlan.vlan_id: vlan for vlan in first.vlans}

    assert {seeded.vlan_id: "eth0", second.id: "eth0.30", relayed.id: "eth0"} == {
        vlan_id: vlan.interface for vlan_id, vlan in seen.items()
    }
    assert {"10.20.0.0/24": "10.20.0.1", "fd20::/64": "fd20::2"} == {
        subnet.cidr: subnet.rack_address for subnet in seen[seeded.vlan_id].subnets
    }
    assert (True, True, False) == (
        seen[relayed.id].relayed,
        seen[relayed.id].dhcp_on,
        seen[relayed.id].router_advertisements,
    )
    assert [(far.id, "10.20.0.1", ("10.20.0.1",))] == [
        (subnet.subnet_id, subnet.rack_address, subnet.dns_servers) for subnet in seen[relayed.id].subnets
    ]
    assert six.id in {subnet.subnet_id for subnet in seen[seeded.vlan_id].subnets}
    assert [(second.id, "en1", True)] == [(vlan.vlan_id, vlan.interface, vlan.secondary) for vlan in standby.vlans]
    assert not seen[second.id].secondary


def test_partners_are_told_of_each_other_when_both_can(tmp_path: Path) -> None:
    """A pair has peers, certificates and the primary's other subnets; while one lacks something the secondary is silent."""
    context = make_context(tmp_path)
    seeded = seed(context)
    hook = {"kea_lease_hook": "/usr/lib/kea/hooks/libdhcp_lease_cmds.so"}
    with context.store.write() as session:
        first = session.get_one(Rack, seeded.rack_id)
        first.layout = {**first.layout, **hook}
        first.ha_certificate = "first"
        first.interfaces = [
            *first.interfaces,
            {"name": "eth1", "mac": "02:00:00:00:00:02", "addresses": ["10.30.0.1/24"]},
        ]
        nics = [{"name": "en1", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.3/24"]}]
        other = Rack(name="alpha", token_hash="another", layout=hook, interfaces=nics)
        session.add(other)
    alone = subnets.create(context, "10.30.0.0/24", vlans.create(context, seeded.fabric_id, 30).id)
    vlans.update(context, alone.vlan_id, dhcp_on=True)
    relayed = vlans.create(context, seeded.fabric_id, 40, relay_vlan_id=seeded.vlan_id)
    subnets.create(context, "10.40.0.0/24", relayed.id)
    vlans.update(context, relayed.id, dhcp_on=True)
    vlans.update(context, seeded.vlan_id, secondary_rack_id=other.id)
    with context.store.read() as session:
        lonely, silent = load_intent(session, seeded.rack_id), load_intent(session, other.id)
        told = rack_serving.of_rack(session, session.get_one(Rack, other.id))
    with context.store.write() as session:
        session.get_one(Rack, other.id).ha_certificate = "second"
    with context.store.read() as session:
        primary, standby = load_intent(session, seeded.rack_id), load_intent(session, other.id)

    assert (None, None) == (lonely.ha, silent.ha)
    assert {True} == {vlan.dhcp_on for vlan in lonely.vlans}
    assert [(False, True), (False, True)] == [(vlan.dhcp_on, vlan.secondary) for vlan in silent.vlans]
    assert [("secondary", "en1", "rack-1"), ("relay", "en1", "rack-1")] == [
        (one.role, one.interface, one.partner) for one in told
    ]
    assert "it serves no DHCP there, because rack alpha has not told its certificate yet" in told[0].reason
    assert primary.ha is not None
    assert standby.ha is not None
    assert primary.ha.peers == standby.ha.peers
    assert [("rack-1", "10.20.0.1", True, "first"), ("alpha", "10.20.0.3", False, "second")] == [
        (peer.name, peer.address, peer.primary, peer.certificate) for peer in primary.ha.peers
    ]
    assert ("rack-1", (), "alpha", ((alone.id, "10.30.0.0/24"),)) == (
        primary.ha.name, primary.ha.lease_only, standby.ha.name, standby.ha.lease_only,
    )  # fmt: skip
    assert [True, True] == [vlan.dhcp_on for vlan in standby.vlans]

    # DHCPv6 is the primary's alone until both racks have an address in a subnet of the pair's VLAN.
    subnets.create(context, "fd20::/64", seeded.vlan_id)
    only = subnets.create(context, "fd30::/64", alone.vlan_id)
    with context.store.read() as session:
        four = load_intent(session, other.id)
    with context.store.write() as session:
        for rack_id, added in ((seeded.rack_id, ("fd20::1/64", "fd30::1/64")), (other.id, ("fd20::3/64",))):
            row = session.get_one(Rack, rack_id)
            nics = [
                {**nic, "addresses": [*nic["addresses"], *more]}
                for nic, more in zip(row.interfaces, ([one] for one in added), strict=True)
            ]
            row.interfaces = nics
    with context.store.read() as session:
        both = load_intent(session, other.id)

    assert four.ha is not None
    assert both.ha is not None
    assert [(True, False), (True, True)] == [(ha.dhcp4, ha.dhcp6) for ha in (four.ha, both.ha)]
    assert ((alone.id, "10.30.0.0/24"), (only.id, "fd30::/64")) == both.ha.lease_only
    assert both.ha.peers == primary.ha.peers
