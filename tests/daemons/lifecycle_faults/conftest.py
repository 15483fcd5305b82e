"""One standing lab for all tests of this folder: starting one takes as long as many of them together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sqlalchemy import select

from app.services.addresses import reserve
from app.store.models import ChangeEvent, IpAddress, Subnet
from lab import demo
from lab.standing import Lab
from tests.daemons.lifecycle_faults.faults import context_of
from tests.daemons.lifecycle_faults.parted import PartedControlPlane
from tests.daemons.standing import tiny_lab


@pytest.fixture(scope="package")
def standing() -> Iterator[Lab]:
    """The lab; its control plane is in parts."""
    with tiny_lab(PartedControlPlane) as made:
        yield made


@pytest.fixture
def control(standing: Lab) -> PartedControlPlane:
    """The lab's control plane, as what it is."""
    assert isinstance(standing.control, PartedControlPlane)
    return standing.control


@pytest.fixture
def lab(standing: Lab, control: PartedControlPlane) -> Iterator[Lab]:
    """The lab, whole again after each test.

    Kea keeps the lease of an address that Muster has freed for its ten minutes, and gives it to no other machine
    meanwhile; so that tests do not meet each other's leases, addresses that were freed are reserved afterwards.
    """
    yield standing
    if control.web is None or control.web.poll() is not None:
        control.start_web()
    if control.region is None or control.region.poll() is not None:
        control.start_region()
    reserve_freed(standing)


def reserve_freed(lab: Lab) -> None:
    """Have no address given again that a machine of an earlier test may hold a lease for."""
    context = context_of(lab)
    with context.store.read() as session:
        freed = session.scalars(select(ChangeEvent).where(ChangeEvent.verb == "free", ChangeEvent.thing == "address"))
        addresses = sorted({str(row.detail["address"]) for row in freed})
        subnet_id = session.scalars(select(Subnet.id).where(Subnet.cidr == demo.SUBNET)).one()
        used = set(session.scalars(select(IpAddress.address)))
    for address in addresses:
        if address not in used:
            reserve(context, subnet_id, address)
    context.store.engine.dispose()
