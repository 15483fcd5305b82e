"""Fabrics, VLANs and subnets appear by themselves, once, where they belong; neighbours are kept. On both databases."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from sqlalchemy import func, select

from app.services import discovery, fabrics, neighbours, racks, reports, retention, settings, subnets, vlans
from app.services.changes import changing
from app.services.context import Actor, Context
from app.services.errors import Invalid
from app.store.intent import load_intent
from app.store.models import Event, Fabric, Interface, IpAddress, Neighbour, Rack, Subnet, Vlan
from tests.factories.control import Seeded, clock_of, make_machine, seed


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


def nic(name: str, *addresses: str, kind: str = "physical", **about: Any) -> dict[str, Any]:
    """An interface as a rack reports it."""
    return {"name": name, "mac": "02:00:00:00:00:07", "addresses": list(addresses), "kind": kind, **about}


def enrol(context: Context, name: str, *interfaces: dict[str, Any]) -> Rack:
    """A rack with these interfaces."""
    code = racks.new_code(context, name)
    return racks.enrol(context, code, None, {}, {}, list(interfaces)).rack


def seen(context: Context) -> list[tuple[str, int, str, bool]]:
    """Fabric, tag and network of every subnet, and whether it was found; in the order in which they came."""
    with context.store.read() as session:
        rows = session.execute(
            select(Fabric.name, Vlan.vid, Subnet.cidr, Subnet.found)
            .join(Vlan, Vlan.fabric_id == Fabric.id)
            .join(Subnet, Subnet.vlan_id == Vlan.id)
            .order_by(Subnet.id)
        )
        return [tuple(row) for row in rows]  # type: ignore[misc]


KNOWN = ("fabric-0", 0, "10.20.0.0/24", False)


def test_what_a_rack_is_on_appears_where_it_belongs(context: Context, seeded: Seeded) -> None:
    """A card with a known subnet is on its fabric, tags and all; another card is on a new one; tunnels are nothing."""
    enrol(
        context,
        "edge",
        nic("eth0", "10.20.0.2/24", "fe80::2/64"),
        nic("eth0.30", "10.30.0.2/24", "2001:db8:30::2/64", kind="vlan", vid=30, parents=["eth0"]),
        nic("eth0.31", kind="vlan", vid=31, parents=["eth0"]),
        nic("br0", "10.32.0.2/24", kind="bridge", parents=["eth0.32"]),
        nic("eth0.32", kind="vlan", vid=32, parents=["eth0"]),
        nic("eth1", "10.40.0.2/16", "10.40.3.4/32"),
        nic("bond0", "10.50.0.2/24", kind="bond", parents=["eth2", "eth3"]),
        nic("docker0", "172.17.0.1/16", kind="bridge", parents=["veth1"]),
        nic("veth1", kind="other"),
        nic("wg0", "10.99.0.1/24", kind="other"),
    )
    with context.store.read() as session:
        vids = session.execute(
            select(Fabric.name, Vlan.vid).join(Vlan, Vlan.fabric_id == Fabric.id).order_by(Fabric.id, Vlan.vid)
        ).all()
        flags = session.execute(select(Fabric.name, Fabric.found).order_by(Fabric.id)).all()
        told = session.scalars(select(Event.message).where(Event.kind == "network.found")).one()

    assert sorted(
        [
            KNOWN,
            ("fabric-0", 30, "10.30.0.0/24", True),
            ("fabric-0", 30, "2001:db8:30::/64", True),
            ("fabric-0", 32, "10.32.0.0/24", True),
            ("fabric-1", 0, "10.50.0.0/24", True),
            ("fabric-2", 0, "10.40.0.0/16", True),
        ]
    ) == sorted(seen(context))
    assert [("fabric-0", vid) for vid in (0, 30, 31, 32)] == [tuple(row) for row in vids[:4]]
    assert [("fabric-0", False), ("fabric-1", True), ("fabric-2", True)] == [tuple(row) for row in flags]
    assert "subnet 10.30.0.0/24" in told


def test_the_first_thing_found_joins_the_empty_default_fabric(context: Context) -> None:
    """An installation whose fabric is empty does not get a second one for its first network."""
    seeded = seed(context)
    with context.store.write() as session:
        session.query(Interface).delete()
        for table in ("ip_range", "ip_address", "subnet"):
            session.execute(__import__("sqlalchemy").text(f"DELETE FROM {table}"))  # noqa: S608
    enrol(context, "edge", nic("eth0", "10.60.0.2/24"), nic("eth1", "10.61.0.2/24"))

    assert [("fabric-0", 0, "10.60.0.0/24", True), ("fabric-1", 0, "10.61.0.0/24", True)] == seen(context)
    assert seeded.fabric_id == 1


def test_what_is_found_is_served_by_nobody_until_it_is_adopted(context: Context, seeded: Seeded) -> None:
    """No rack, no address, no zone; a change by a person, the same subnet added, or a rack for its VLAN adopts it."""
    rack = enrol(context, "edge", nic("eth1", "10.40.0.2/24"), nic("eth2", "10.41.0.2/24"), nic("eth3", "10.42.0.2/24"))
    with context.store.read() as session:
        before = load_intent(session, rack.id)
        given = session.scalar(select(func.count()).select_from(IpAddress).where(IpAddress.rack_id == rack.id))
    ids = {row.cidr: row for row in subnets.find(context) if row.found}
    changed = subnets.update(context, ids["10.40.0.0/24"].id, name="office")
    added = subnets.create(context, "10.41.0.0/24", name="hall")
    served = vlans.update(context, ids["10.42.0.0/24"].vlan_id, rack_id=rack.id)
    with context.store.read() as session:
        after = load_intent(session, rack.id)

    assert ((), 0) == (before.vlans, given)
    assert not any(row.managed for row in ids.values())
    assert (False, True, ids["10.41.0.0/24"].id) == (changed.found, changed.managed, added.id)
    assert served.rack_id == rack.id
    assert ["10.40.0.0/24", "10.41.0.0/24", "10.42.0.0/24"] == [subnet.cidr for subnet in after.subnets]
    assert [False] * 4 == [row.found for row in subnets.find(context)]


def test_what_is_found_gives_way(context: Context, seeded: Seeded) -> None:
    """A subnet that a person adds replaces a found one that it would overlap."""
    enrol(context, "edge", nic("eth1", "10.40.0.2/16"))
    subnets.create(context, "10.40.1.0/24", fabric="hall")

    assert [KNOWN, ("hall", 0, "10.40.1.0/24", False)] == seen(context)


def test_it_can_be_switched_off_and_older_racks_show_nothing(context: Context, seeded: Seeded) -> None:
    """With the setting off nothing appears; a rack that does not tell kinds shows nothing; a later report may."""
    old = enrol(context, "older", {"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.70.0.2/24"]})
    settings.change(context, "network_discovery", {"on": False})
    rack = enrol(context, "edge", nic("eth1", "10.40.0.2/24"))
    off = seen(context)
    settings.change(context, "network_discovery", {"on": True})
    for rack_id, number in ((rack.id, 1), (old.id, 2)):
        found = [nic("eth1", "10.40.0.2/24"), nic("eth2", f"10.71.{number}.2/24")]
        reports.observation(context, rack_id, offer=0, records=0, services={}, interfaces=found)

    assert [KNOWN] == off
    # The second rack's eth1 is on a known network, so its other card is the only new one.
    assert [
        KNOWN,
        ("fabric-1", 0, "10.40.0.0/24", True),
        ("fabric-2", 0, "10.71.1.0/24", True),
        ("fabric-3", 0, "10.71.2.0/24", True),
    ] == seen(context)


def test_a_machine_shows_its_networks_and_the_switch_tells_the_vlan(context: Context, seeded: Seeded) -> None:
    """An unknown network of a card, a port of a known switch with another VLAN, and one with the same."""
    machine_id = make_machine(context, seeded, "m-one")
    macs = [f"52:54:00:77:00:0{number}" for number in range(4)]
    with context.store.write() as session:
        boot = session.scalars(select(Interface).where(Interface.machine_id == machine_id)).one()
        boot_mac = boot.mac
        for number, mac in enumerate(macs):
            session.add(Interface(machine_id=machine_id, name=f"eth{number + 1}", mac=mac, boot=False))
    nics = [{"name": "eth0", "mac": boot_mac, "addresses": ["10.20.0.60/24"]}] + [
        {"name": f"eth{number + 1}", "mac": mac, "addresses": []} for number, mac in enumerate(macs)
    ]
    nics[4]["addresses"] = ["10.80.0.9/24", "nonsense"]
    heard: list[Any] = [
        {"interface": "eth0", "chassis_id": "switch-a", "vlan": 100},
        {"interface": "eth1", "chassis_id": "switch-a", "vlan": 100},
        {"interface": "eth2", "chassis_id": "switch-a", "vlan": 200},
        {"interface": "eth3", "chassis_id": "switch-b", "vlan": 200},
        {"interface": "eth4", "chassis_id": ["odd"], "vlan": {"odd": 1}},
        "odd",
    ]
    for _ in range(2):
        discovery.of_machine(context, machine_id, nics, heard)
    with context.store.read() as session:
        found = {
            row.name: (row.vlan_id and session.get_one(Vlan, row.vlan_id).vid, row.subnet_id is not None)
            for row in session.scalars(select(Interface).where(Interface.machine_id == machine_id))
        }
        tagged = session.scalars(select(Vlan.fabric_id).where(Vlan.vid == 200)).all()

    assert {
        "eth0": (0, True),
        "eth1": (0, False),
        "eth2": (200, False),
        "eth3": (None, False),
        "eth4": (0, True),
    } == found
    assert [seeded.fabric_id] == list(tagged)
    assert [KNOWN, ("fabric-1", 0, "10.80.0.0/24", True)] == seen(context)


def test_nothing_is_found_twice(context: Context, seeded: Seeded) -> None:
    """Racks and machines that see the same networks at the same moment make one row of each."""
    ids = [enrol(context, name).id for name in ("aa", "bb", "cc", "dd")]
    machine_id = make_machine(context, seeded)
    failures: list[BaseException] = []

    def report(work: Any) -> None:
        try:
            work()
        except BaseException as error:
            failures.append(error)

    def of(rack_id: int) -> Any:
        interfaces = [
            nic("eth0", f"10.40.0.{rack_id}/24"),
            nic("eth0.7", f"10.47.0.{rack_id}/24", kind="vlan", vid=7, parents=["eth0"]),
        ]
        return lambda: reports.observation(context, rack_id, offer=0, records=0, services={}, interfaces=interfaces)

    with context.store.read() as session:
        mac = session.scalars(select(Interface.mac).where(Interface.machine_id == machine_id)).one()
    nics = [{"name": "eth0", "mac": mac, "addresses": ["10.40.0.99/24"]}]
    work = [*(of(rack_id) for rack_id in ids), lambda: discovery.of_machine(context, machine_id, nics, [])]
    threads = [threading.Thread(target=report, args=(one,)) for one in work]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert [] == failures
    assert [KNOWN, ("fabric-1", 0, "10.40.0.0/24", True), ("fabric-1", 7, "10.47.0.0/24", True)] == seen(context)
    assert 2 == len(fabrics.find(context))


def test_neighbours_are_kept_and_forgotten(context: Context, seeded: Seeded) -> None:
    """Seen again they are one row; the map knows those that nobody has given; those not seen for long go."""
    first = {"interface": "eth0", "address": "10.20.0.77", "mac": "52:54:00:00:00:AA"}
    neighbours.report(context, seeded.rack_id, [first, {**first, "address": "198.51.100.9"}])
    with changing(context) as session:
        key = f"{(10 << 24) + (20 << 16) + 1:032x}"
        session.add(IpAddress(subnet_id=seeded.subnet_id, address="10.20.0.1", address_key=key, kind="rack"))
    clock_of(context).move(60)
    again = [{**first, "mac": "52:54:00:00:00:ab"}, {**first, "address": "10.20.0.1"}]
    neighbours.report(context, seeded.rack_id, again)
    viewer = context.acting_as(Actor("vera", "viewer"))
    rows = neighbours.find(viewer, subnet_id=seeded.subnet_id)
    with context.store.read() as session:
        shown = neighbours.discovered(session, seeded.subnet_id, "0" * 32, "f" * 32, 10)
    kept = rows[0]

    assert [("10.20.0.77", "52:54:00:00:00:ab"), ("10.20.0.1", "52:54:00:00:00:aa")] == [
        (row.address, row.mac) for row in rows
    ]
    assert 60 == (kept.seen_at - kept.first_seen_at).total_seconds()
    assert [("10.20.0.77", "52:54:00:00:00:ab", "rack-1")] == [(one.address, one.mac, one.rack) for one in shown]
    assert ["198.51.100.9"] == [row.address for row in neighbours.find(viewer, address="198.51.100.9")]
    clock_of(context).move(31 * 86_400)
    neighbours.report(context, seeded.rack_id, [first])
    retention.prune(context)
    with context.store.read() as session:
        assert ["10.20.0.77"] == list(session.scalars(select(Neighbour.address)))


@pytest.mark.parametrize("wrong", [{"mac": "x"}, {"address": "10.20"}, {"interface": "a b"}], ids=str)
def test_malformed_neighbours_are_refused(context: Context, seeded: Seeded, wrong: dict[str, str]) -> None:
    """The first that is wrong is named, and nothing is kept."""
    good = {"interface": "eth0", "address": "10.20.0.77", "mac": "52:54:00:00:00:aa"}
    with pytest.raises(Invalid) as refused:
        neighbours.report(context, seeded.rack_id, [good, {**good, **wrong}])

    assert next(iter(wrong.values())) in refused.value.detail
    assert [] == neighbours.find(context)
