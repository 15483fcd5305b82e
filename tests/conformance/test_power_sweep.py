"""The rack's power process asks many controllers at once, and one that hangs delays none of the others."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

import pytest

from tests.conformance.controllers import CONTROLLERS, Controller
from tests.factories.fake_control_plane import FakeControlPlane
from workers.rack.client import ControlPlane
from workers.rack.power import PowerRunner

# The first is the one that hangs; pyghmi would give it up by itself.
KINDS = ("redfish", "redfish", *("ipmi",) * 6, "webhook", "webhook")
PATIENCE = 120.0


@pytest.fixture(scope="module")
def controllers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Controller]]:
    """Ten real controllers."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(CONTROLLERS[name](tmp_path_factory.mktemp(f"{name}{number}")))
            for number, name in enumerate(KINDS)
        ]


@contextmanager
def swept(plane: FakeControlPlane, queries: int = len(KINDS)) -> Iterator[None]:
    """The rack's power process at work; a query may take longer than a loaded host needs for all the others."""
    stop = threading.Event()
    runner = PowerRunner(lambda: ControlPlane(plane.url, plane.token), queries=queries, query_seconds=PATIENCE)
    thread = threading.Thread(target=runner.run, args=(stop,))
    thread.start()
    try:
        yield
    finally:
        stop.set()
        runner.wake.set()
        thread.join(timeout=PATIENCE)


def test_a_hung_controller_delays_no_other_answer(controllers: list[Controller]) -> None:
    """Nine answers come while the tenth controller, asked first, is silent; its own comes when it speaks again."""
    hung, others = controllers[0], controllers[1:]
    for number, controller in enumerate(others):
        controller.machine.power = number % 2 == 0
    with FakeControlPlane() as plane:
        first, *rest = [
            plane.add_operation("query", one.driver, one.parameters, PATIENCE, f"m{number}")
            for number, one in enumerate(controllers)
        ]
        with swept(plane):
            with hung.hung():
                plane.wait_until(lambda: set(rest) <= set(plane.power_results), PATIENCE)
                was_open = first not in plane.power_results
            plane.wait_until(lambda: first in plane.power_results, PATIENCE)
    powers = [plane.power_results[number]["power"] for number in rest]
    seconds = {number: result["seconds"] for number, result in plane.power_results.items()}

    assert was_open
    assert ["on" if controller.machine.power else "off" for controller in others] == powers
    assert (True, "off") == (plane.power_results[first]["ok"], plane.power_results[first]["power"])
    assert max(seconds[number] for number in rest) < seconds[first]


def test_hung_controllers_that_are_asked_leave_room_for_orders(controllers: list[Controller]) -> None:
    """With as many queries hanging as may run at once, a machine is switched on without waiting for any of them."""
    hung, well = controllers[0], controllers[-1]
    well.machine.reset()
    with FakeControlPlane() as plane:
        for number in range(3):
            plane.add_operation("query", hung.driver, hung.parameters, PATIENCE, f"hung{number}")
        order = plane.add_operation("on", well.driver, well.parameters, PATIENCE, "well")
        with swept(plane, queries=2), hung.hung():
            plane.wait_until(lambda: order in plane.power_results, PATIENCE)
            hanging = [number for number in (1, 2, 3) if number not in plane.power_results]

    assert (True, "on") == (plane.power_results[order]["ok"], plane.power_results[order]["power"])
    assert well.machine.power
    assert [1, 2, 3] == hanging
