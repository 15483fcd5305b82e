"""DHCP servers that are not ours, from a rack's report to what people are told, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import select

from app.services import events, foreign_dhcp, lifecycle, overview, power, rack_overview
from app.services.context import Context
from app.services.errors import Invalid
from app.store.models import Interface, Machine, Rack, Vlan
from tests.factories.control import Seeded, clock_of, make_machine, seed
from workers.region.lifecycle import runner

HEARD = {"interface": "eth0", "server": "10.20.0.66", "mac": "52:54:00:20:00:0B", "offered": "10.20.0.150"}
WORDS = "10.20.0.66 (52:54:00:20:00:0b) offers 10.20.0.150"


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """A rack that serves the VLAN on eth0, and its partner's address."""
    found = seed(context)
    with context.store.write() as session:
        rack = session.get_one(Rack, found.rack_id)
        rack.interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.20.0.1/24"]}]
        rack.seen_at = context.clock()
        other = {"name": "eth0", "mac": "02:00:00:00:00:02", "addresses": ["10.20.0.2/24"]}
        session.add(Rack(name="partner", token_hash="p", interfaces=[other], seen_at=context.clock()))
    return found


def kinds(context: Context, seeded: Seeded) -> list[str]:
    return sorted(one.kind for one in events.newest(context, 10, rack_id=seeded.rack_id) if "foreign" in one.kind)


def test_it_comes_stays_and_goes(context: Context, seeded: Seeded) -> None:
    """One event when it comes and one when it is gone; a partner is ours; what was not looked at stays as it was."""
    partner = {**HEARD, "server": "10.20.0.2"}
    elsewhere = {**HEARD, "interface": "eth7"}
    foreign_dhcp.report(context, seeded.rack_id, ["eth0", "eth7"], [HEARD, partner, elsewhere])
    clock_of(context).move(120)
    foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [{**HEARD, "offered": "10.20.0.151"}, partner])
    (row, other) = foreign_dhcp.find(context, rack_id=seeded.rack_id)

    assert [row.id] == [one.id for one in foreign_dhcp.find(context, vlan_id=seeded.vlan_id)]
    assert ("10.20.0.66", "52:54:00:20:00:0b", "10.20.0.151") == (row.server, row.mac, row.offered)
    assert 120 == (row.seen_at - row.first_seen_at).total_seconds()
    assert ("eth7", None) == (other.interface, other.vlan_id)
    assert ["rack.dhcp.foreign"] * 2 == kinds(context, seeded)
    assert [row.id, other.id] == [one.id for one in rack_overview.of_rack(context, seeded.rack_id).foreign_dhcp]

    foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [partner])
    assert [other.id] == [one.id for one in foreign_dhcp.find(context)]
    assert [*["rack.dhcp.foreign"] * 2, "rack.dhcp.foreign_gone"] == kinds(context, seeded)


def test_it_is_said_where_people_look(context: Context, seeded: Seeded) -> None:
    """On the overview with its rack, and in the reason why a machine on its network did not boot; not of one elsewhere."""
    machines = [make_machine(context, seeded, name, state="READY") for name in ("near", "far")]
    with context.store.write() as session:
        far = session.scalars(select(Interface).where(Interface.machine_id == machines[1])).one()
        far.vlan_id = None
    foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [HEARD])
    troubles = {one.id: one.reasons for one in overview.look(context).troubles}
    assert f"a DHCP server that is not ours answers on eth0: {WORDS}" in troubles[seeded.rack_id]

    for machine in machines:
        lifecycle.request(context, machine, "commission")
    for _ in range(60):
        clock_of(context).move(60)
        for machine in machines:
            runner.advance(context, machine)
        foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [HEARD])
        for order in power.waiting(context, seeded.rack_id):
            power.finish(context, seeded.rack_id, order["id"], True, "on", None, 0.1)
    with context.store.read() as session:
        near, far_off = (session.get_one(Machine, machine).state_reason or "" for machine in machines)
    assert "a DHCP server that is not ours answers" not in far_off
    assert f"a DHCP server that is not ours answers on its network: {WORDS}" in near


def test_what_was_heard_long_ago_is_not_said_to_be_there(context: Context, seeded: Seeded) -> None:
    """Of a rack that is silent, or does not look there any more: it is in the list with its time, and nowhere else."""
    machine = make_machine(context, seeded, state="READY")
    foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [HEARD])
    with context.store.read() as session:
        assert foreign_dhcp.why(context, session, machine) is not None
    clock_of(context).move(601)
    with context.store.read() as session:
        assert foreign_dhcp.why(context, session, machine) is None
    assert [] == rack_overview.of_rack(context, seeded.rack_id).foreign_dhcp
    assert not [one for one in overview.look(context).troubles if "not ours" in str(one.reasons)]
    assert 1 == len(foreign_dhcp.find(context))


def test_the_vlan_is_that_of_the_interface_and_not_a_relayed_one(context: Context, seeded: Seeded) -> None:
    """A relay agent's VLAN is served on the same interface of the rack."""
    with context.store.write() as session:
        session.add(Vlan(vid=300, fabric_id=seeded.fabric_id, relay_vlan_id=seeded.vlan_id))
    foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [HEARD])
    assert [seeded.vlan_id] == [one.vlan_id for one in foreign_dhcp.find(context)]


@pytest.mark.parametrize(
    "item", [{}, {**HEARD, "server": "2001:db8::1"}, {**HEARD, "mac": "x"}, {**HEARD, "interface": "a b"}, 7]
)
def test_what_makes_no_sense_is_refused(context: Context, seeded: Seeded, item: Any) -> None:
    """Nothing of such a report is kept."""
    with pytest.raises(Invalid, match="is malformed"):
        foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [HEARD, item])
    with pytest.raises(Invalid, match="no name of an interface"):
        foreign_dhcp.report(context, seeded.rack_id, [item], [])
    with pytest.raises(Invalid, match="at most 64"):
        foreign_dhcp.report(context, seeded.rack_id, ["eth0"], [HEARD] * 65)
    assert [] == foreign_dhcp.find(context)
