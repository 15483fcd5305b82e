"""A change that many racks are to take breaks the first of them, a real one: it is put back there, and goes nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from app.services import rack_interfaces, racks, reports, rollouts, settings
from app.services.changes import changing, touch_racks
from app.store.models import Offer, Rack, Rollout, utc_now
from renderers import registry
from renderers.spec import ServiceSpec
from tests.daemons.push_lab import PATIENCE, PushLab, edited
from tests.daemons.rack_root import eventually
from workers.region.reconcile import reconcile

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]
MARK = "// takes no names\n"
OTHERS = {"b-rack": "10.88.0.1", "c-rack": "10.89.0.1"}


class Fleet:
    """The real rack, and others that say of every offer that they have kept it."""

    def __init__(self, lab: PushLab) -> None:
        self.lab = lab
        with changing(lab.context) as session:
            rows = [
                Rack(
                    name=name,
                    token_hash=name,
                    interfaces=[{"name": "eth0", "mac": mac, "addresses": [f"{address}/24"]}],
                )
                for (name, address), mac in zip(OTHERS.items(), ("02:00:00:00:08:01", "02:00:00:00:08:02"), strict=True)
            ]
            for row in rows:
                row.control_plane_host, row.enrolled_at, row.seen_at = "192.0.2.10", utc_now(), utc_now()
            session.add_all(rows)
            session.flush()
            rack_interfaces.attach_all(session, lab.context)
            touch_racks(session, [lab.seeded.rack_id, *(row.id for row in rows)])
        self.ids = [row.id for row in rows]

    def turn(self, *variants: ServiceSpec) -> None:
        """Every rack is looked at, and the others report."""
        specs = {spec.name: spec for spec in registry.services()} | {spec.name: spec for spec in variants}
        for rack_id in (self.lab.seeded.rack_id, *self.ids):
            reconcile(self.lab.context, rack_id, tuple(specs[name] for name in sorted(specs)))
        for rack_id in self.ids:
            newest = racks.current_offer(self.lab.context, rack_id)
            if newest is not None:
                reports.observation(self.lab.context, rack_id, offer=newest.number, records=0, services={})

    def settle(self) -> None:
        """Everybody has everything, and no rollout is open."""

        def look() -> None:
            self.turn()
            assert [] == [one.id for one in rollouts.find(self.lab.context) if one.status in ("running", "halted")]
            assert self.lab.api("GET", self.lab.path)["in_sync"]

        eventually(look, PATIENCE)

    def with_text(self, text: str) -> set[int]:
        """The racks that were ever offered this."""
        with self.lab.context.store.read() as session:
            return set(session.scalars(select(Offer.rack_id).where(Offer.content.contains(text))))


@pytest.fixture
def fleet(lab: PushLab) -> Iterator[Fleet]:
    """Three racks, of which the real one is the canary; only it is left afterwards."""
    settings.change(lab.admin, "rollout", {"wave_percent": 10, "wave_racks": 0, "pause_seconds": 0})
    lab.muster("rack", "set", "rack-1", "--canary")
    made = Fleet(lab)
    made.settle()
    yield made
    with changing(lab.context) as session:
        for rack_id in made.ids:
            session.delete(session.get_one(Rack, rack_id))
        session.query(Rollout).delete()
        touch_racks(session, [lab.seeded.rack_id])


def test_what_breaks_the_canary_reaches_nobody_else(fleet: Fleet) -> None:
    """A zone that takes no names passes every checker: the canary's probe tells, and all who ask are told the same."""
    lab = fleet.lab
    closed = edited(
        "bind", lambda text: text.replace('allow-update { key "muster-update"; };', "allow-update { none; };") + MARK
    )
    settings.change(lab.admin, "dns_forwarders", {"servers": ["192.0.2.66"]})
    bind = lab.push(closed)["bind"]
    for _ in range(3):
        fleet.turn(closed)
    (halted,) = rollouts.find(lab.context, status="halted")
    shown = lab.muster("rack", "show", "rack-1"), lab.muster("rollout", "show", str(halted.id)), lab.page()
    waits = lab.muster("rack", "show", "b-rack")

    assert ("undone", "probe", True) == (bind.outcome, bind.stage, bind.undone_ok)
    assert {lab.seeded.rack_id} == fleet.with_text("192.0.2.66") == fleet.with_text(MARK.strip())
    for text in shown:
        for words in (
            "zone lab.muster. takes no records",
            "root: change setting (name dns_forwarders",
            "b-rack, c-rack",
        ):
            assert words in text
    assert f"it waits for wave 2 of 3 of rollout {halted.id}, which has stopped at rack rack-1" in waits
    lab.assert_serves()

    settings.change(lab.admin, "dns_forwarders", {"servers": []})
    fleet.settle()

    assert {lab.seeded.rack_id} == fleet.with_text("192.0.2.66")
    assert "superseded" == rollouts.get(lab.context, halted.id).status
