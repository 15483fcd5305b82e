"""Two partners take a change one after the other: the standby first, and the primary first when the pair is formed."""

from __future__ import annotations

from pathlib import Path

from app.services import rack_interfaces, reports, subnets, vlans
from app.services.changes import changing
from app.services.context import Context
from app.store.models import Rack
from tests.factories.control import Seeded, clock_of, make_context, ring_of, seed
from tests.golden.case import load
from workers.region.reconcile import reconcile

HOOK = {"kea_lease_hook": "/usr/lib/x86_64-linux-gnu/kea/hooks/libdhcp_lease_cmds.so"}


def report(context: Context, rack_id: int, outcome: str = "kept") -> None:
    """The rack has dealt with its newest offer."""
    with context.store.read() as session:
        number = session.get_one(Rack, rack_id).offer_number
    reports.apply(context, rack_id, offer=number, service="kea4", outcome=outcome, stage="probe", reason="because")
    reports.observation(context, rack_id, offer=number, records=0, services={})


def two_racks(context: Context) -> tuple[Seeded, Rack]:
    """Two racks with an address in one subnet that are able to be partners, and are none yet."""
    seeded = seed(context)
    golden = load("standby").ha
    assert golden is not None
    first, second = golden.peers
    with changing(context) as session:
        primary = session.get_one(Rack, seeded.rack_id)
        primary.layout, primary.ha_certificate = {**primary.layout, **HOOK}, first.certificate
        nics = [{"name": "lan0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}]
        other = Rack(name="alpha", token_hash="a", layout=HOOK, interfaces=nics, ha_certificate=second.certificate)
        other.enrolled_at = context.clock()
        session.add(other)
        primary.control_plane_host = other.control_plane_host = "192.0.2.10"
        session.flush()
        rack_interfaces.attach_all(session, context)
    return seeded, other


def test_partners_go_one_after_the_other(tmp_path: Path) -> None:
    """Formed from the primary on, changed from the standby on; a refusal stops it, a silent partner does not."""
    context = make_context(tmp_path)
    seeded, other = two_racks(context)
    for rack_id in (seeded.rack_id, other.id):
        reconcile(context, rack_id)
        report(context, rack_id)
    vlans.update(context, seeded.vlan_id, secondary_rack_id=other.id)
    formed = [reconcile(context, rack_id).status for rack_id in (other.id, seeded.rack_id, other.id)]
    ring_of(context).take()
    report(context, seeded.rack_id)
    rung = ring_of(context).take()
    formed.append(reconcile(context, other.id).status)
    report(context, other.id)
    subnets.update(context, seeded.subnet_id, lease_seconds=1234)
    changed = [reconcile(context, rack_id).status for rack_id in (seeded.rack_id, other.id, seeded.rack_id)]
    report(context, other.id, "undone")
    changed.append(reconcile(context, seeded.rack_id).status)
    subnets.update(context, seeded.subnet_id, lease_seconds=1235)
    reconcile(context, other.id)
    report(context, other.id)
    mended = [reconcile(context, rack_id).status for rack_id in (seeded.rack_id, other.id)]
    report(context, seeded.rack_id)
    subnets.update(context, seeded.subnet_id, lease_seconds=1236)
    clock_of(context).move(100)
    reports.observation(context, seeded.rack_id, offer=0, records=0, services={})

    assert ["waits", "offered", "waits", "offered"] == formed
    assert ("reconcile", other.id) in rung
    assert ["waits", "offered", "waits", "waits"] == changed
    assert ["offered", "current"] == mended
    assert "offered" == reconcile(context, seeded.rack_id).status


def test_servers_of_dhcp6_become_partners_from_the_primary_on(tmp_path: Path) -> None:
    """Also where those of DHCPv4 are partners already: a standby that hears nobody would serve beside its primary."""
    context = make_context(tmp_path)
    seeded, other = two_racks(context)
    vlans.update(context, seeded.vlan_id, secondary_rack_id=other.id)
    for rack_id in (seeded.rack_id, other.id):
        reconcile(context, rack_id)
        report(context, rack_id)
    with changing(context) as session:
        for rack_id, address in ((seeded.rack_id, "fd20::1/64"), (other.id, "fd20::2/64")):
            rack = session.get_one(Rack, rack_id)
            nic = rack.interfaces[0]
            rack.interfaces = [{**nic, "addresses": [*nic["addresses"], address]}]
    subnets.create(context, "fd20::/64", seeded.vlan_id)
    formed = [reconcile(context, rack_id).status for rack_id in (other.id, seeded.rack_id, other.id)]
    report(context, seeded.rack_id)
    formed.append(reconcile(context, other.id).status)
    report(context, other.id)
    subnets.update(context, seeded.subnet_id, lease_seconds=1234)
    changed = [reconcile(context, rack_id).status for rack_id in (seeded.rack_id, other.id)]

    assert ["waits", "offered", "waits", "offered"] == formed
    assert ["waits", "offered"] == changed
