"""One standing lab for all tests of this folder: starting one takes as long as many of them together."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from lab.standing import Lab
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
    """The lab, whole again after each test."""
    yield standing
    if control.web is None or control.web.poll() is not None:
        control.start_web()
    if control.region is None or control.region.poll() is not None:
        control.start_region()
