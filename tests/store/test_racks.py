"""What several processes do to racks at once ends once, on both databases."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from app.services import plans, rack_interfaces, racks, reports, subnets, vlans
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Unauthorized
from app.store.models import Observation, Offer, Rack, Subnet
from tests.factories.control import seed
from workers.region.reconcile import Outcome, reconcile

INTERFACES = [{"name": "eth0", "mac": "02:00:00:00:00:0a", "addresses": ["10.20.0.9/24"]}]


def test_a_code_enrols_one_rack(context: Context) -> None:
    """Ten hosts that use one code at once: one gets in."""
    seed(context)
    code = racks.new_code(context)

    def enrol(number: int) -> str:
        try:
            return racks.enrol(context, code, f"node-{number}", {}, {}, INTERFACES).rack.name
        except Unauthorized:
            return "refused"

    with ThreadPoolExecutor(10) as pool:
        names = list(pool.map(enrol, range(10)))

    assert names.count("refused") == 9
    assert len(racks.find(context)) == 2


def test_reconcilers_at_once_make_one_offer(context: Context) -> None:
    """Six looks at the same change make one offer; a change while one looks is not lost."""
    seeded = seed(context)
    with changing(context) as session:
        session.get_one(Rack, seeded.rack_id).control_plane_host = "192.0.2.10"
        rack_interfaces.attach_all(session, context)
    with ThreadPoolExecutor(6) as pool:
        first = list(pool.map(lambda _: reconcile(context, seeded.rack_id), range(6)))
        changed = pool.submit(subnets.update, context, seeded.subnet_id, lease_seconds=900)
        list(pool.map(lambda _: reconcile(context, seeded.rack_id), range(6)))
        changed.result()
    last = reconcile(context, seeded.rack_id)
    with context.store.read() as session:
        numbers = list(session.scalars(select(Offer.number).order_by(Offer.number)))
        rack = session.get_one(Rack, seeded.rack_id)

    assert sorted(outcome.status for outcome in first) == ["current"] * 5 + ["offered"]
    assert numbers == [1, 2]
    assert last.offer_number == rack.offer_number == 2
    assert rack.planned_generation == rack.generation


def test_overlapping_subnets_made_at_once(context: Context) -> None:
    """Of eight overlapping subnets asked for at once, one is made."""
    seeded = seed(context)

    def make(length: int) -> bool:
        try:
            subnets.create(context, f"172.16.0.0/{length}", seeded.vlan_id)
        except Conflict:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(make, range(16, 24)))
    with context.store.read() as session:
        count = len(list(session.scalars(select(Subnet.id).where(Subnet.cidr.startswith("172.16.")))))

    assert made.count(True) == count == 1


def test_observations_of_one_rack_at_once(context: Context) -> None:
    """Reports that cross each other leave one row for each service."""
    seeded = seed(context)
    service = {"digest": "d", "running": True, "probes_ok": True, "detail": None}
    reports.observation(context, seeded.rack_id, offer=1, records=0, services={"kea4": service})

    def report(number: int) -> None:
        reports.observation(
            context, seeded.rack_id, offer=number, records=0, services={"kea4": service}, interfaces=INTERFACES
        )

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(report, range(6)))
    with context.store.read() as session:
        rows = list(session.scalars(select(Observation.service)))

    assert rows == ["kea4"]


def test_held_and_approved(context: Context) -> None:
    """A held plan is stored and approved on both databases."""
    seeded = seed(context)
    with changing(context) as session:
        session.get_one(Rack, seeded.rack_id).control_plane_host = "192.0.2.10"
        rack_interfaces.attach_all(session, context)
    reconcile(context, seeded.rack_id)
    vlans.update(context, seeded.vlan_id, dhcp_on=False)
    held = reconcile(context, seeded.rack_id)
    plans.approve(context, plans.held(context)[0].id)

    assert held == Outcome("held", 1, ("kea4",))
    assert reconcile(context, seeded.rack_id) == Outcome("offered", 2)
