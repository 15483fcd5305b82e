"""What the control plane's long poll wakes on a rack's host."""

from __future__ import annotations

import threading
from typing import Any

import pytest

from workers.rack.waiting import LongPoll

NOTHING = {"offer": 0, "records": 0, "power": 0, "questions": 0}


class Plane:
    """A control plane that gives one answer and then has the waiting end."""

    def __init__(self, stop: threading.Event, answer: dict[str, Any]) -> None:
        self.stop, self.answer = stop, answer
        self.asked: dict[str, Any] = {}

    def wait(self, **asked: Any) -> dict[str, Any]:
        """The answer."""
        self.asked = asked
        self.stop.set()
        return {**NOTHING, **self.answer}


@pytest.mark.parametrize(
    ("kinds", "answer", "woken", "asked"),
    [
        (("power",), {"power": 1, "changed": True}, True, False),
        (("power",), {"records": 1, "changed": False}, False, False),
        (("power",), {"records": 1, "changed": True}, False, False),
        (("offer", "records", "questions"), {"records": 1, "changed": True}, True, False),
        (("offer", "records", "questions"), {"questions": 1, "changed": True}, True, True),
        (("offer", "records", "questions"), {"changed": False}, False, False),
    ],
)
def test_only_who_waits_for_it_is_woken(
    kinds: tuple[str, ...], answer: dict[str, Any], woken: bool, asked: bool
) -> None:
    """A record wakes nobody who switches machines or answers questions, also where an older control plane says so."""
    stop, wake, questions = threading.Event(), threading.Event(), threading.Event()
    plane = Plane(stop, answer)
    LongPoll(plane, wake, stop, kinds=kinds, also={"questions": questions}).run()  # type: ignore[arg-type]

    assert (woken, asked) == (wake.is_set(), questions.is_set())
    assert {**NOTHING, "only": kinds} == {name: plane.asked[name] for name in (*NOTHING, "only")}
