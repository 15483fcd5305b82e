"""The region worker's own timer: it runs what no message has asked for, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from workers.region.watch import PATIENCE, Watch


class Clock:
    """Seconds that are moved by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def counting(ran: list[str], name: str) -> Callable[[], None]:
    return lambda: ran.append(name)


def test_only_what_no_message_asked_for_is_run() -> None:
    """A task whose messages come is left to them; one without is run after its patience, then at its interval."""
    ran: list[str] = []
    clock = Clock()
    watch = Watch({name: counting(ran, name) for name in ("a", "b")}, {"a": 2.0, "b": 2.0}, clock)
    for _ in range(PATIENCE * 2 - 1):
        clock.now += 1
        watch.ran("a")
        assert [] == watch.look()
    clock.now += 1
    watch.ran("a")
    assert ["b"] == watch.look()
    clock.now += 2
    watch.ran("a")
    assert ["b"] == watch.look()
    watch.ran("b")
    clock.now += 3
    watch.ran("a")
    assert [] == watch.look()

    assert ["b", "b"] == ran


def test_a_failing_task_does_not_end_the_watch() -> None:
    """It is tried again after its interval, and the other tasks are run all the same."""
    ran: list[str] = []
    clock = Clock()

    def broken() -> None:
        ran.append("broken")
        raise RuntimeError("no database")

    watch = Watch({"broken": broken, "well": counting(ran, "well")}, {"broken": 2.0, "well": 2.0}, clock)
    clock.now += 2 * PATIENCE
    watch.look()
    clock.now += 2
    watch.look()

    assert ["broken", "well", "broken", "well"] == ran
