"""Racks that tell of their zones at once: each says since when the other is behind, and neither waits for the other's end."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

from sqlalchemy import select

from app.services import domains, zone_reports
from app.services.context import Context
from app.store.models import Rack, ZoneObservation
from tests.factories.control import clock_of, seed

ROUNDS = 6


def test_two_primaries_report_at_once(context: Context) -> None:
    """Each is primary of one zone and secondary of the other's."""
    first = seed(context).rack_id
    with context.store.write() as session:
        session.add(other := Rack(name="other", token_hash="t", enrolled_at=context.clock()))
        session.flush()
        second = other.id
    names = {rack_id: f"of-{rack_id}.example" for rack_id in (first, second)}
    for rack_id, name in names.items():
        domains.create(context, name, primary_rack_id=rack_id)
    start = Barrier(2)

    def report(rack_id: int, serial: int) -> None:
        copies = {name: serial if rack_id == owner else serial - 1 for owner, name in names.items()}
        start.wait(30)
        zone_reports.observe(context, rack_id, copies, [])

    with ThreadPoolExecutor(2) as pool:
        for serial in range(2, 2 + ROUNDS):
            for rack_id in names:
                zone_reports.observe(context, rack_id, dict.fromkeys(names.values(), serial - 1), [])
            clock_of(context).move(1)
            for one in [pool.submit(report, rack_id, serial) for rack_id in names]:
                one.result()
    with context.store.read() as session:
        rows = session.scalars(select(ZoneObservation)).all()

    late = {(row.rack_id, row.zone) for row in rows if row.behind_since is not None}
    assert {(first, names[second]), (second, names[first])} == late
