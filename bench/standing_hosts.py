"""Many hosts on a rack, for benchmarks of what one more costs."""

from __future__ import annotations

from collections.abc import Iterable

from tests.daemons.host_lab import SCOPE, SUBNET, HostLab, key_of, mac_of
from workers.rack.record_store import RecordChange


def stand(lab: HostLab, numbers: Iterable[int]) -> None:
    """Give machines their hosts all at once, as a rack that is new gets them."""
    made = [
        RecordChange(
            0, SCOPE, key_of(number), {"subnet_id": SUBNET, "mac": mac_of(number), "address": address_of(number)}
        )
        for number in numbers
    ]
    lab.store.commit(made)
    lab.store.advance(1)
    lab.sequence = max(lab.sequence, 1)
    lab.on_rack(lambda: lab.keeper.mend(lab.offer))


def address_of(number: int) -> str:
    """The n-th machine's address, from 10.20.2.0 on."""
    return f"10.20.{number >> 8}.{number & 255}"
