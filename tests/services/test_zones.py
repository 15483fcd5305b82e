"""Zones: reverse ones, the internal one, primaries and secondaries, and the end of a domain."""

from __future__ import annotations

import pytest
from sqlalchemy import delete, select

from app.services import (
    addresses,
    census,
    dns_records,
    dns_secondaries,
    domains,
    internal_names,
    overview,
    rack_interfaces,
    rack_overview,
    reports,
    subnets,
    vlans,
    zone_reports,
)
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, NotFound
from app.store.intent import load_intent
from app.store.models import Device, Domain, IpAddress, Machine, Rack, Subnet
from tests.factories.control import Seeded, clock_of, make_machine
from tests.services.conftest import live


def test_the_internal_domain_is_not_edited(context: Context, seeded: Seeded) -> None:
    """Nobody adds it or something below it."""
    for name in ("muster-internal", "x.muster-internal"):
        with pytest.raises(Conflict, match="muster-internal"):
            domains.create(context, name)


def test_the_internal_domain_names_the_racks_that_live(context: Context, seeded: Seeded) -> None:
    """A rack that stops is taken out within its window, comes back with its report, and the last answer stays."""
    name = "10-20-0-0--24.muster-internal."
    with changing(context) as session:
        second = Rack(
            name="other",
            token_hash="t",
            enrolled_at=context.clock(),
            seen_at=context.clock(),
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}],
        )
        session.add(second)
        session.flush()

        rack_interfaces.attach(session, context, second)
    both = live(context, "muster-internal")[f"{name} A"]
    clock_of(context).move(60)
    reports.observation(context, seeded.rack_id, offer=0, records=0, services={})
    clock_of(context).move(60)
    internal_names.refresh(context)
    one = live(context, "muster-internal")[f"{name} A"]
    clock_of(context).move(600)
    internal_names.refresh(context)
    kept = live(context, "muster-internal")[f"{name} A"]
    reports.observation(context, second.id, offer=0, records=0, services={})
    back = live(context, "muster-internal")[f"{name} A"]

    assert ["10.20.0.1", "10.20.0.2"] == both
    assert ["10.20.0.1"] == one == kept
    assert ["10.20.0.2"] == back
    assert 0 == internal_names.refresh(context)
    assert "fd20----64.muster-internal" == internal_names.subnet_name("fd20::/64")


def test_small_networks_have_a_zone_of_their_own(context: Context, seeded: Seeded) -> None:
    """RFC 2317: the pointer is in `a-b`, the private /24 above is served with the CNAME and the delegation."""
    vlan = vlans.create(context, seeded.fabric_id, 7)
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [
            *rack.interfaces,
            {"name": "eth7", "mac": "02:00:00:00:00:17", "addresses": ["10.30.0.65/26"]},
        ]
    subnet = subnets.create(context, "10.30.0.64/26", vlan.id)

    machine_id = make_machine(context, seeded)
    with changing(context) as session:
        machine = session.get_one(Machine, machine_id)
        machine.interfaces[0].subnet_id, machine.interfaces[0].vlan_id = subnet.id, vlan.id
        session.flush()
        address = addresses.claim(session, context, machine)
        owner = f"{machine.hostname}.lab.muster."
    small, above = live(context, "64-127.0.30.10.in-addr.arpa"), live(context, "0.30.10.in-addr.arpa")
    with context.store.read() as session:
        names = [zone.name for zone in load_intent(session, seeded.rack_id).zones]

    assert "10.30.0.66" == address
    assert [owner] == small["66.64-127.0.30.10.in-addr.arpa. PTR"]
    assert ["66.64-127.0.30.10.in-addr.arpa."] == above["66.0.30.10.in-addr.arpa. CNAME"]
    assert ["rack-1.lab.muster."] == above["64-127.0.30.10.in-addr.arpa. NS"]
    assert {"64-127.0.30.10.in-addr.arpa", "0.30.10.in-addr.arpa"} <= set(names)


def test_pointers_move_with_the_mode_of_their_subnet(context: Context, seeded: Seeded) -> None:
    """Off: none; on: in the /24's zone; rfc2317: in a zone of their own, and the CNAME leads there."""
    vlan = vlans.create(context, seeded.fabric_id, 7)
    subnet = subnets.create(context, "10.30.0.64/26", vlan.id, reverse_dns="off")
    machine_id = make_machine(context, seeded, hostname="web7")
    with changing(context) as session:
        machine = session.get_one(Machine, machine_id)
        machine.interfaces[0].subnet_id, machine.interfaces[0].vlan_id = subnet.id, vlan.id
        session.flush()
        addresses.claim(session, context, machine)
    small, above = "64-127.0.30.10.in-addr.arpa", "0.30.10.in-addr.arpa"
    found = {}
    for mode in ("off", "on", "rfc2317", "on", "off"):
        subnets.update(context, subnet.id, reverse_dns=mode)
        mine = {
            key: data for zone in (small, above) for key, data in live(context, zone).items() if not key.endswith(" NS")
        }
        found.setdefault(mode, []).append(mine)

    assert found == {
        "off": [{}, {}],
        "on": [{f"65.{above}. PTR": ["web7.lab.muster."]}] * 2,
        "rfc2317": [
            {
                f"65.{small}. PTR": ["web7.lab.muster."],
                f"65.{above}. CNAME": [f"65.{small}."],
            }
        ],
    }


def test_another_rack_becomes_primary_above_all_serials(context: Context, seeded: Seeded) -> None:
    """The promoted rack has the role in its intent, applies the zone's records, and knows which serial to be above."""
    with changing(context) as session:
        second = Rack(
            name="other",
            token_hash="t",
            enrolled_at=context.clock(),
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}],
        )
        session.add(second)
    zone_reports.observe(context, seeded.rack_id, {"lab.muster": 2_000_000_100}, [])
    zone_reports.observe(context, second.id, {"lab.muster": 2_000_000_090}, [])
    before = [(one.rack, one.role, one.in_sync) for one in zone_reports.servers(context, seeded.domain_id)]
    domains.update(context, seeded.domain_id, primary_rack_id=second.id)
    with context.store.read() as session:
        zones = {zone.name: zone for zone in load_intent(session, second.id).zones}
        old = {zone.name: zone for zone in load_intent(session, seeded.rack_id).zones}
    zone_reports.observe(context, second.id, {"lab.muster": 2_000_000_101}, [])
    after = [(one.rack, one.role, one.in_sync) for one in zone_reports.servers(context, seeded.domain_id)]

    assert [("rack-1", "primary", True), ("other", "secondary", False)] == before
    assert ("primary", 2_000_000_100) == (zones["lab.muster"].role, zones["lab.muster"].serial_above)
    assert ("secondary", "10.20.0.2") == (old["lab.muster"].role, old["lab.muster"].primary_address)
    assert "secondary" == zones["muster-internal"].role
    assert [("other", "primary", True), ("rack-1", "secondary", False)] == after
    with pytest.raises(NotFound):
        domains.update(context, seeded.domain_id, primary_rack_id=999)


def test_a_zone_that_stays_behind_makes_its_rack_not_in_sync(context: Context, seeded: Seeded) -> None:
    """After a moment's patience, counted from when it fell behind, however often the primary goes on; said in words."""
    with context.store.write() as session:
        interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}]
        second = Rack(name="other", token_hash="x", interfaces=interfaces, seen_at=context.clock())
        session.add(second)
    domains.create(context, "gone.example")
    for zone in ("lab.muster", "gone.example"):
        zone_reports.observe(context, seeded.rack_id, {zone: 100}, [])
        zone_reports.observe(context, second.id, {zone: 100}, [])

    def zones_of(rack_id: int) -> list[str]:
        return [one for one in rack_overview.of_rack(context, rack_id).reasons if one.startswith("zone ")]

    said = []
    for serial in (101, 102, 103):
        zone_reports.observe(context, seeded.rack_id, {"lab.muster": serial, "gone.example": serial}, [])
        clock_of(context).move(15)
        said.append(len(zones_of(second.id)))
    gone = domains.find(context, name="gone.example")[0]
    domains.delete(context, gone.id)
    (reason,) = zones_of(second.id)
    numbers = {rack.name: rack.in_sync for rack in census.take(context).racks}
    home = {one.name: one.reasons for one in overview.look(context).troubles}
    zone_reports.observe(context, second.id, {"lab.muster": 102}, [])
    still = zones_of(second.id)
    zone_reports.observe(context, second.id, {"lab.muster": 103}, [])

    assert [0, 2, 2] == said
    assert reason.startswith(
        "zone lab.muster is behind its primary rack-1 for 45 s (serial 100, there 103): look whether"
    )
    assert not numbers["other"]
    assert ("zone lab.muster is behind its primary rack-1",) == home["other"]
    assert 1 == len(still)
    assert [] == zones_of(second.id) == zones_of(seeded.rack_id)


def test_serials_wrap_around() -> None:
    """RFC 1982: half of the numbers come after each."""
    assert zone_reports.not_behind(5, (1 << 32) - 5)
    assert not zone_reports.not_behind((1 << 32) - 5, 5)


def test_an_outside_secondary_gets_its_key_once(context: Context, seeded: Seeded) -> None:
    """The key is sealed, racks fetch it by a name that changes with it, and bundles hold the name only."""
    made = dns_secondaries.create(context, "office", "198.51.100.9")
    with context.store.read() as session:
        (outside,) = load_intent(session, seeded.rack_id).dns_secondaries
    again = dns_secondaries.new_key(context, made.secondary.id)
    with context.store.read() as session:
        (newer,) = load_intent(session, seeded.rack_id).dns_secondaries

    assert made.secret != again.secret
    assert made.secret not in made.secondary.secret
    assert f"dns-secondary-{made.secondary.id}-1" == outside.secret
    assert f"dns-secondary-{made.secondary.id}-2" == newer.secret
    assert again.secret == dns_secondaries.secret_for_rack(context, newer.secret)
    for name in (outside.secret, "offer_key", "dns-secondary-9-1"):
        with pytest.raises(NotFound):
            dns_secondaries.secret_for_rack(context, name)


def test_a_domain_in_use_stays(context: Context, seeded: Seeded) -> None:
    """A device keeps its domain; one that nobody uses goes with its records."""
    domain = domains.create(context, "gear.example", description="Switches", primary_rack_id=seeded.rack_id)
    dns_records.create(context, domain.id, name="www", type="A", data="192.0.2.1")
    with context.store.write() as session:
        session.add(Device(hostname="pdu", domain_id=domain.id, zone_id=seeded.zone_id))
    with pytest.raises(Conflict, match="device pdu"):
        domains.delete(context, domain.id)
    with context.store.write() as session:
        session.delete(session.scalars(select(Device)).one())
    domains.delete(context, domain.id)
    with context.store.write() as session:
        session.execute(delete(IpAddress))
        session.execute(delete(Subnet))
    with pytest.raises(Conflict, match="it is the only one"):
        domains.delete(context, seeded.domain_id)

    assert {} == live(context, "gear.example")
    with context.store.read() as session:
        assert session.get(Domain, domain.id) is None
