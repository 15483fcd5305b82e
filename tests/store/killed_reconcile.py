"""`python -m tests.store.killed_reconcile URL RACK_ID POINT`: a region worker's look at a rack, killed (SIGKILL) at a point.

Points: `plan` and `offer` (rows are being written), `sign`, `ring` (committed, and the rack not yet told), `never`.
What kills is what a worker is given to work with: its clock, its secret box, its bell.
"""

from __future__ import annotations

import datetime as dt
import os
import signal
import sys

from app.services.context import Context
from app.store.models import utc_now
from app.store.unit_of_work import Store, make_engine
from tests.factories.control import FakeRing, ReversibleBox
from workers.region.reconcile import reconcile

POINTS = ("plan", "sign", "offer", "ring")
_TELLING_THE_TIME = {"plan": 1, "offer": 2}


def die() -> None:
    """As the kernel's out-of-memory killer does it."""
    os.kill(os.getpid(), signal.SIGKILL)


class Clock:
    """Dies the n-th time it is looked at."""

    def __init__(self, point: str) -> None:
        self.left = _TELLING_THE_TIME.get(point, 0)

    def __call__(self) -> dt.datetime:
        self.left -= 1
        if self.left == 0:
            die()
        return utc_now()


class Box(ReversibleBox):
    """Dies when the key that signs offers is opened."""

    def __init__(self, point: str) -> None:
        self.point = point

    def open(self, sealed: str) -> str:
        if self.point == "sign":
            die()
        return super().open(sealed)


class Ring(FakeRing):
    """Dies when a rack is to be told."""

    point = ""

    def rack(self, rack_name: str) -> None:
        if self.point == "ring":
            die()


def main(url: str, rack_id: int, point: str) -> None:
    """Look once; the outcome's status."""
    ring = Ring()
    ring.point = point
    print(reconcile(Context(Store(make_engine(url)), Clock(point), Box(point), ring), rack_id).status)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
