"""The order of a rollout's racks and what follows from how they are, decided without a database."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace

import pytest

from workers.region import waves
from workers.region.waves import Begin, Canary, Done, Halt, Member, Wait

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
PAUSE = 30.0


def rack(number: int, status: str = "waiting", wave: int | None = None, ago: float = 0, **values: object) -> Member:
    """A rack that came to its status so many seconds ago and was heard of just now."""
    at = NOW - dt.timedelta(seconds=ago)
    made = Member(number, f"r{number}", status, at, wave, seen_at=NOW, machines=number)
    return replace(made, **values)  # type: ignore[arg-type]


ORDERS = {
    "fewest machines first, then by size": ([rack(1), rack(2), rack(3), rack(4)], {}, 2, [[1], [2, 3], [4]]),
    "the marked one first": ([rack(1), rack(2), rack(3, marked=True)], {}, 5, [[3], [1, 2]]),
    "a silent or fresh one is no canary": ([rack(1, alive=False), rack(2, fresh=True), rack(3)], {}, 5, [[3], [1, 2]]),
    "who refused before is asked first": ([rack(1), rack(2, refused_before=True)], {}, 5, [[2], [1]]),
    "who has waited comes early": ([rack(1), rack(2), rack(3), rack(4, waited=True)], {}, 1, [[1], [4], [2], [3]]),
    "the racks it is about go first": ([rack(1), rack(2, first=True), rack(3)], {}, 5, [[2], [1, 3]]),
    "of two that it is about the standby first": (
        [rack(1, first=True), rack(2, first=True), rack(3)], {2: 1}, 5, [[2], [1], [3]],
    ),
    "a standby in a wave before its primary's": ([rack(1), rack(2), rack(3), rack(4)], {3: 2}, 5, [[1], [3, 4], [2]]),
    "a primary is no canary by itself": ([rack(1), rack(2)], {2: 1}, 5, [[2], [1]]),
    "a marked primary comes after its standby, both alone": (
        [rack(1, marked=True), rack(2), rack(3)], {3: 1}, 5, [[3], [1], [2]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ORDERS)
def test_the_order(name: str) -> None:
    """Who goes with whom, and before whom."""
    members, primary_of, size, expected = ORDERS[name]

    assert expected == waves.order(members, primary_of, size)


def test_partners_are_never_in_one_wave() -> None:
    """A thousand racks, half of them partners of the other half: everyone once, nobody with or before its standby."""
    members = [rack(number) for number in range(1, 1001)]
    primary_of = {number: number + 1 for number in range(1, 1001, 4)} | {
        number + 1: number for number in range(3, 1001, 4)
    }
    order = waves.order(members, primary_of, 100)
    wave_of = {rack_id: number for number, wave in enumerate(order) for rack_id in wave}

    assert list(range(1, 1001)) == sorted(rack_id for wave in order for rack_id in wave)
    assert all(wave_of[standby] < wave_of[primary] for standby, primary in primary_of.items())
    assert max(len(wave) for wave in order) == 100
    assert len(order) <= 14


def of(*members: Member, wave: int = 0, begun: float = 0) -> waves.Decision:
    """What is decided."""
    at = NOW - dt.timedelta(seconds=begun)
    return waves.decide(members, wave, NOW, pause=PAUSE, begun=at, primary_of={})


GONE = {"alive": False}
DECISIONS = {
    "the canary has not said anything": (of(rack(1, "offered", 0), rack(2, wave=1)), Wait("waits for r1")),
    "it has just kept it": (of(rack(1, "kept", 0, 5), rack(2, wave=1)), Wait("pauses for 30 s after wave 1")),
    "and the pause is over": (of(rack(1, "kept", 0, 31), rack(2, wave=1)), Begin(1)),
    "nothing differs on it": (of(rack(1, "unchanged", 0), rack(3, wave=1), rack(2, wave=1)), Canary(2)),
    "nothing differs anywhere": (of(rack(1, "unchanged", 0), rack(2, "unchanged", 1)), Done()),
    "it refuses": (of(rack(1, "refused", 0, reason="no"), rack(2, wave=1)), Halt(1, "no")),
    "it is red for a moment": (of(rack(1, "offered", 0, 10, red="x"), rack(2, wave=1)), Wait("waits for r1")),
    "it is red for long": (of(rack(1, "offered", 0, 61, red="x"), rack(2, wave=1)), Halt(1, "x")),
    "it turns red in the pause": (of(rack(1, "kept", 0, 61, red="x"), rack(2, wave=1)), Halt(1, "x")),
    "it says nothing for long": (
        of(rack(1, "offered", 0, 700), rack(2, wave=1), begun=700),
        Halt(1, "it is heard of, and has not taken the change for 700 s"),
    ),
    "it has only now got its turn": (of(rack(1, wave=0, ago=700), rack(2, wave=1)), Wait("waits for r1")),
    "it fell silent with it": (
        of(rack(1, "offered", 0, 100, **GONE), rack(2, wave=1)),
        Halt(1, "it fell silent after it was offered the change"),
    ),
    "it was silent before": (
        of(rack(1, "offered", 0, 100, alive=False, seen_at=NOW - dt.timedelta(days=1)), rack(2, wave=1)),
        Canary(2),
    ),
    "one of a wave fell silent, one kept it": (
        of(rack(1, "kept", 0, 99), rack(2, "offered", 1, 99, **GONE), rack(3, "kept", 1, 99), rack(4, wave=2), wave=1),
        Begin(2),
    ),
    "a silent one does not hold the end": (of(rack(1, "kept", 0), rack(2, "offered", 1, 9, **GONE | {"seen_at": None}), wave=1), Done()),
    "all have it": (of(rack(1, "kept", 0), rack(2, "kept", 1), wave=1), Done()),
    "a person has passed it over": (of(rack(1, "passed", 0), rack(2, wave=1), rack(3, wave=1)), Canary(2)),
    "the next are those it is about": (of(rack(1, "kept", 0), rack(2, wave=1, first=True)), Begin(1)),
}  # fmt: skip


@pytest.mark.parametrize("name", DECISIONS)
def test_what_follows(name: str) -> None:
    """Wait, begin, try another canary, stop, or be done."""
    decided, expected = DECISIONS[name]

    assert expected == decided
