"""Reconciling makes exactly the offers that desired state asks for, signs them, and holds what takes much away."""

from __future__ import annotations

import base64
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from sqlalchemy import select

from app.services import offers, plans, rack_interfaces, racks, ranges, records, reports, subnets, vlans
from app.services.changes import changing, touch_racks
from app.services.context import Context
from app.services.errors import Conflict
from app.store.models import Event, Offer, Plan, Rack
from renderers.bundle import Bundle
from tests.factories.control import Seeded, make_context, ring_of, seed
from workers.region.reconcile import Outcome, reconcile, reconcile_all


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """A rack with DHCP on one VLAN."""
    made = seed(context)
    with changing(context) as session:
        session.get_one(Rack, made.rack_id).control_plane_host = "192.0.2.10"
        rack_interfaces.attach_all(session, context)
    return made


def content(context: Context, seeded: Seeded) -> dict[str, Any]:
    """Content of the newest offer."""
    offer = racks.current_offer(context, seeded.rack_id)
    assert offer is not None
    found: dict[str, Any] = json.loads(offer.content)
    return found


def touch(context: Context, seeded: Seeded) -> None:
    """Raise the rack's generation without changing anything that it serves."""
    with changing(context) as session:
        touch_racks(session, [seeded.rack_id])


def events(context: Context, kind: str) -> list[str]:
    """Messages of one kind, oldest first."""
    with context.store.read() as session:
        return list(session.scalars(select(Event.message).where(Event.kind == kind).order_by(Event.id)))


def test_the_first_offer_is_whole_and_signed(context: Context, seeded: Seeded) -> None:
    """The first look makes offer 1: bundles that check, probes, scopes, zones, subnets, and a signature that holds."""
    ring_of(context).take()
    outcome = reconcile(context, seeded.rack_id)
    rung = ring_of(context).take()
    offer = racks.current_offer(context, seeded.rack_id)
    assert offer is not None
    data = json.loads(offer.content)
    bundles = {item["service"]: Bundle.from_data(item) for item in data["bundles"]}
    with changing(context) as session:
        public = offers.ensure_key(session, context)
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public))
    key.verify(base64.b64decode(offer.signature), b"1\nrack-1\n" + offer.content.encode())

    assert outcome == Outcome("offered", 1)
    assert rung == [("rack", "rack-1")]
    assert "10.20.0.100" in "".join(file.text for file in bundles["kea4"].files)
    assert set(data["probes"]) == set(data["units"]) == set(bundles)
    assert set(bundles).isdisjoint(data["absent"])
    zones = ["lab.muster", "muster-internal", "0.20.10.in-addr.arpa"]
    assert data["scopes"] == sorted([f"vlan:{seeded.vlan_id}", *(f"zone:{name}" for name in zones)])
    assert [zone["name"] for zone in data["zones"]] == zones
    assert data["subnets"] == [
        {
            "subnet_id": seeded.subnet_id,
            "vlan_id": seeded.vlan_id,
            "cidr": "10.20.0.0/24",
            "interface": "eth0",
            "rack_address": "10.20.0.1",
        }
    ]
    assert offer.digests == {name: bundle.digest for name, bundle in bundles.items()}


def test_nothing_new_makes_no_offer(context: Context, seeded: Seeded) -> None:
    """A second look, and one after a change that the rack does not see, leave the offer alone."""
    reconcile(context, seeded.rack_id)
    first = reconcile(context, seeded.rack_id)
    touch(context, seeded)
    second = reconcile(context, seeded.rack_id)
    with context.store.read() as session:
        rack = session.get_one(Rack, seeded.rack_id)

    assert first == second == Outcome("current", 1)
    assert rack.planned_generation == rack.generation


def test_a_change_makes_the_next_offer(context: Context, seeded: Seeded) -> None:
    """A new range shows up in the next offer, and only DHCP's bundle differs."""
    reconcile(context, seeded.rack_id)
    before = {item["service"]: item["digest"] for item in content(context, seeded)["bundles"]}
    ranges.create(context, seeded.subnet_id, "dynamic", "10.20.0.210", "10.20.0.220")
    outcome = reconcile(context, seeded.rack_id)
    after = {item["service"]: item["digest"] for item in content(context, seeded)["bundles"]}

    assert outcome == Outcome("offered", 2)
    assert [name for name in after if after[name] != before.get(name)] == ["kea4"]


def test_two_reconcilers_make_one_offer(context: Context, seeded: Seeded) -> None:
    """Six looks at once end with one offer."""
    with ThreadPoolExecutor(6) as pool:
        outcomes = list(pool.map(lambda _: reconcile(context, seeded.rack_id), range(6)))
    with context.store.read() as session:
        numbers = list(session.scalars(select(Offer.number)))

    assert numbers == [1]
    assert sorted(outcome.status for outcome in outcomes) == ["current"] * 5 + ["offered"]


def test_a_failed_offer_waits_for_a_change(context: Context, seeded: Seeded) -> None:
    """After a rack has failed, looking again offers nothing; a change of desired state does."""
    reconcile(context, seeded.rack_id)
    reports.apply(
        context, seeded.rack_id, offer=1, service="kea4", outcome="undone", stage="probe", reason="no answer", digest="x",
        undone_ok=True,
    )  # fmt: skip
    again = reconcile(context, seeded.rack_id)
    subnets.update(context, seeded.subnet_id, lease_seconds=900)

    assert again == Outcome("current", 1)
    assert reconcile(context, seeded.rack_id) == Outcome("offered", 2)
    assert "no answer" in events(context, "rack.apply.failed")[0]


def test_what_takes_a_service_away_is_held_until_approved(context: Context, seeded: Seeded) -> None:
    """Switching DHCP off is held; other changes go on meanwhile; the approval lets it through, once."""
    reconcile(context, seeded.rack_id)
    vlans.update(context, seeded.vlan_id, dhcp_on=False)
    held = reconcile(context, seeded.rack_id)
    again = reconcile(context, seeded.rack_id)
    still = {item["service"] for item in content(context, seeded)["bundles"]}
    waiting = plans.held(context)
    subnets.create(context, "10.21.0.0/24", seeded.vlan_id)
    meanwhile = reconcile(context, seeded.rack_id)
    during = content(context, seeded)
    plans.approve(context, plans.held(context)[0].id)
    approved = reconcile(context, seeded.rack_id)
    after = content(context, seeded)
    with context.store.read() as session:
        statuses = list(session.scalars(select(Plan.status).order_by(Plan.id)))

    assert (held.status, held.held, again.status) == ("held", ("kea4",), "held")
    assert "kea4" in still
    assert len(waiting) == 1
    assert "kea4" in waiting[0].dangers[0]["sentence"]
    assert len(events(context, "plan.held")) == 1
    assert (meanwhile.status, meanwhile.held) == ("offered", ("kea4",))
    assert "zone:0.21.10.in-addr.arpa" in during["scopes"]
    assert "kea4" in {item["service"] for item in during["bundles"]}
    assert (approved.status, approved.held) == ("offered", ())
    assert "kea4" in after["absent"]
    assert "held" not in statuses
    assert "approved" not in statuses


def test_a_plan_is_approved_once(context: Context, seeded: Seeded) -> None:
    """A plan that is not held any more cannot be approved."""
    reconcile(context, seeded.rack_id)
    vlans.update(context, seeded.vlan_id, dhcp_on=False)
    reconcile(context, seeded.rack_id)
    (plan,) = plans.held(context)
    plans.approve(context, plan.id)
    with pytest.raises(Conflict) as refused:
        plans.approve(context, plan.id)

    assert "approved, not held" in refused.value.detail


def test_a_failure_is_written_to_the_rack(context: Context, seeded: Seeded) -> None:
    """What keeps a configuration from being made is an event of the rack, once, and other racks still get theirs."""
    with context.store.write() as session:
        broken = Rack(name="broken", token_hash="b", enrolled_at=context.clock(), layout={"root": "/bad\nroot"})
        broken.interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:07", "addresses": ["10.99.0.1/24"]}]
        session.add(broken)
    outcomes = reconcile_all(context)
    reconcile_all(context)
    with context.store.read() as session:
        failures = list(session.scalars(select(Event).where(Event.kind == "rack.reconcile.failed")))

    assert outcomes == {seeded.rack_id: Outcome("offered", 1)}
    assert [event.rack_id for event in failures] == [broken.id]


def test_numbers_rise_above_what_a_rack_knows(context: Context, seeded: Seeded) -> None:
    """After a restore, a rack that has seen offer 41 and record 99 gets offer 42 and records from 100 on."""
    reconcile(context, seeded.rack_id)
    reports.observation(context, seeded.rack_id, offer=41, records=99, services={})
    outcome = reconcile(context, seeded.rack_id)
    numbers = reports.newest(context, seeded.rack_id)
    sent = records.after(context, seeded.rack_id, 99)["records"]

    assert outcome == Outcome("offered", 42)
    assert reconcile(context, seeded.rack_id) == Outcome("current", 42)
    assert [row["sequence"] for row in sent] == list(range(100, numbers["records"] + 1))
    assert {"rrset:rack-1.lab.muster.:A", "rrset:10-20-0-0--24.muster-internal.:A"} <= {row["key"] for row in sent}
    assert len(events(context, "rack.numbers.raised")) == 1


def test_a_rack_that_is_gone_is_nothing(context: Context) -> None:
    """A late ring for a deleted rack does no harm."""
    assert reconcile(context, 12345) == Outcome("gone")
