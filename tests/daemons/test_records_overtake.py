"""A rack that was away catches up with ten thousand hosts; a reservation made meanwhile does not wait for them."""

from __future__ import annotations

import threading
import time

from renderers.record_digest import BUCKETS
from tests.daemons.host_lab import SCOPE, SUBNET, HostLab, host_lab, key_of, mac_of
from tests.factories.fake_control_plane import FakeControlPlane
from workers.rack.channels.bind import BindUpdater
from workers.rack.client import ControlPlane
from workers.rack.record_flow import RecordFlow
from workers.rack.records import RecordKeeper

BACKLOG, FIRST, NEW = 10_000, 512, 3


def promise(plane: FakeControlPlane, number: int, address: str) -> int:
    """A reservation as the control plane writes it; its sequence."""
    value = {"subnet_id": SUBNET, "mac": mac_of(number), "address": address}
    return plane.add_record(SCOPE, key_of(number), value)


def address_of(number: int) -> str:
    """The n-th machine's address."""
    return f"10.20.{number >> 8}.{number & 255}"


def offered_by(lab: HostLab, number: int, address: str, deadline: float) -> float:
    """The moment at which a machine is offered this address."""
    while lab.offer_or_nothing(number) != address:
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return time.monotonic()


def test_a_new_reservation_does_not_wait_for_the_backlog() -> None:
    """By Kea's own answer on the wire it is there in well under the time of the whole; all of it is there at the end."""
    with host_lab("hosts-database") as lab, FakeControlPlane() as plane:
        for number in range(FIRST, FIRST + BACKLOG):
            promise(plane, number, address_of(number))
        lab.store.have(SCOPE, BUCKETS - 1, 0)  # A rack that has been in step before.
        keeper = RecordKeeper(lab.store, lab.keeper, lambda: BindUpdater("c2VjcmV0"), lambda name: name == "kea4")
        flow = RecordFlow(keeper, ControlPlane(plane.url, plane.token), lambda name: name == "kea4")
        ends: list[float] = []

        def catch_up() -> None:
            flow.take(lab.offer)
            ends.append(time.monotonic())

        thread = threading.Thread(target=catch_up)
        began = time.monotonic()
        thread.start()
        try:
            plane.wait_until(lambda: plane.record_reports, 120)
            made = time.monotonic()
            promise(plane, NEW, "10.20.0.7")
            live = offered_by(lab, NEW, "10.20.0.7", made + 120)
            place = lab.store.sequence
        finally:
            thread.join(300)
        (end,) = ends

        assert live - made < (end - began) / 3
        assert place < BACKLOG * 2 / 3
        assert (BACKLOG + 1, {}) == (lab.store.sequence, lab.store.ahead())
        assert len(lab.present()) == BACKLOG + 1
        assert lab.offered(NEW).address == "10.20.0.7"
