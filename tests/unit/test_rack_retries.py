"""Failed records are tried again, for as long as it may help."""

from __future__ import annotations

import itertools

from workers.rack.record_store import RecordChange
from workers.rack.retries import FIRST_SECONDS, GIVEN_UP_SECONDS, LONGEST_SECONDS, Retries

BAD = RecordChange(1, "vlan:1", "host:1:52:54:00:00:00:01", {"address": "10.0.0.1"})
GOOD = RecordChange(2, "vlan:1", "host:1:52:54:00:00:00:02", {"address": "10.0.0.2"})
FAR = RecordChange(3, "vlan:2", "host:2:52:54:00:00:00:03", {"address": "10.1.0.3"})
FAILED = {(BAD.scope, BAD.key): "taken"}


class Time:
    """A clock that a test moves."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_failed_record_is_tried_with_growing_pauses_and_then_given_up() -> None:
    """The pauses double up to the longest, outlive a lease of ten minutes, and end."""
    time = Time()
    retries = Retries(time)
    retries.note([BAD, FAR], FAILED)
    tries = []
    while time.now < 3 * GIVEN_UP_SECONDS:
        if due := retries.due():
            assert due == [BAD]

            tries.append(time.now)
            retries.tried(due, FAILED)
        time.now += 1
    pauses = [after - before for before, after in itertools.pairwise(tries)]

    assert tries[0] == FIRST_SECONDS
    assert pauses == sorted(pauses)
    assert pauses[-1] == LONGEST_SECONDS
    assert 600 < tries[-1] <= GIVEN_UP_SECONDS
    assert retries.mended == []


def test_a_record_that_comes_right_is_told_once() -> None:
    """It is in `mended` with its sequence, and is not due again."""
    time = Time()
    retries = Retries(time)
    retries.note([BAD], FAILED)
    time.now += FIRST_SECONDS
    retries.tried(retries.due(), {})

    assert retries.mended == [{"sequence": 1, "scope": BAD.scope, "key": BAD.key}]

    time.now += GIVEN_UP_SECONDS

    assert retries.due() == []


def test_a_change_in_its_scope_brings_a_failed_record_forward() -> None:
    """A change that is live in the same scope may have made room; one elsewhere, or one that failed, has not."""
    time = Time()
    retries = Retries(time)
    retries.note([BAD], FAILED)
    for _ in range(4):
        time.now += LONGEST_SECONDS / 2
        retries.tried([BAD], FAILED)
    time.now += FIRST_SECONDS
    retries.note([FAR], {})
    retries.note([GOOD], {(GOOD.scope, GOOD.key): "taken too"})
    time.now += FIRST_SECONDS

    assert retries.due() == [GOOD]

    retries.note([GOOD], {})
    time.now += FIRST_SECONDS

    assert retries.due() == [BAD]


def test_a_newer_word_replaces_a_failed_one() -> None:
    """The old word is not tried again; the same word that came with a batch and is live is mended."""
    retries = Retries(Time())
    retries.note([BAD], FAILED)
    retries.note([RecordChange(9, BAD.scope, BAD.key, None)], {})

    assert retries.mended == []

    retries.note([BAD], FAILED)
    retries.note([BAD], {})

    assert [item["sequence"] for item in retries.mended] == [1]
