"""The rack's power process asks many controllers at once, and one that hangs delays none of the others."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conformance.controllers import CONTROLLERS, Controller, kind_of
from tests.factories.fake_control_plane import FakeControlPlane
from workers.rack.client import ControlPlane
from workers.rack.power import QUERY_SECONDS, PowerRunner

CONTROLLERS_OF_EACH_KIND = {"ipmi": 6, "redfish": 2, "webhook": 2}


@pytest.fixture(scope="module")
def controllers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Controller]]:
    """Ten real controllers."""
    with ExitStack() as stack:
        yield [
            stack.enter_context(CONTROLLERS[name](Path(tmp_path_factory.mktemp(f"{name}{number}"))))
            for name, count in CONTROLLERS_OF_EACH_KIND.items()
            for number in range(count)
        ]


def test_a_hung_controller_delays_no_other_answer(controllers: list[Controller]) -> None:
    """Nine answers come while the tenth controller, asked first, is silent; it is left in its own time, and said so."""
    hung, others = controllers[0], controllers[1:]
    for number, controller in enumerate(others):
        controller.machine.power = number % 2 == 0
    stop = threading.Event()
    with FakeControlPlane() as plane, hung.hung():
        for number, controller in enumerate(controllers):
            plane.add_operation("query", controller.driver, controller.parameters, 60, f"m{number}")
        runner = PowerRunner(lambda: ControlPlane(plane.url, plane.token))
        thread = threading.Thread(target=runner.run, args=(stop,))
        begin = time.monotonic()
        thread.start()
        try:
            plane.wait_until(lambda: set(range(2, len(controllers) + 1)) <= set(plane.power_results), QUERY_SECONDS * 3)
            others_took = time.monotonic() - begin
            hung_was_open = 1 not in plane.power_results
            plane.wait_until(lambda: 1 in plane.power_results, QUERY_SECONDS * 3)
            hung_took = time.monotonic() - begin
        finally:
            stop.set()
            runner.wake.set()
            thread.join(timeout=60)
    powers = [plane.power_results[number]["power"] for number in range(2, len(controllers) + 1)]

    assert hung_was_open
    assert others_took < hung_took
    assert ["on" if controller.machine.power else "off" for controller in others] == powers
    assert kind_of(plane.power_results[1]) in ("timeout", "unreachable")
    assert hung_took < QUERY_SECONDS * 2


def test_hung_controllers_that_are_asked_leave_room_for_orders(controllers: list[Controller]) -> None:
    """With as many queries hanging as may run at once, a machine is switched on without waiting for any of them."""
    hung, well = controllers[0], controllers[-1]
    well.machine.reset()
    stop = threading.Event()
    with FakeControlPlane() as plane, hung.hung():
        for number in range(3):
            plane.add_operation("query", hung.driver, hung.parameters, 60, f"hung{number}")
        order = plane.add_operation("on", well.driver, well.parameters, 60, "well")
        runner = PowerRunner(lambda: ControlPlane(plane.url, plane.token), queries=2)
        thread = threading.Thread(target=runner.run, args=(stop,))
        thread.start()
        try:
            plane.wait_until(lambda: order in plane.power_results, QUERY_SECONDS * 3)
            still_hanging = [number for number in (1, 2, 3) if number not in plane.power_results]
        finally:
            stop.set()
            runner.wake.set()
            thread.join(timeout=120)

    assert (True, "on") == (plane.power_results[order]["ok"], plane.power_results[order]["power"])
    assert well.machine.power
    assert [1, 2, 3] == still_hanging
