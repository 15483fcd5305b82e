"""A rack's process ends, or its daemon is away, while records are made live: nothing is lost, and nothing done twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services.context import Context
from app.store.models import Event
from tests.factories.control import Seeded
from tests.store.record_rack import SCOPES, Died, Host, make_zones, put, standing
from workers.rack.channels.base import ChannelDown
from workers.rack.offer import Offer
from workers.rack.records import REDO


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return make_zones(context)


@pytest.fixture
def host(context: Context, seeded: Seeded, tmp_path: Path) -> Host:
    return Host(context, seeded.rack_id, tmp_path)


def test_a_batch_that_ends_the_process_is_sent_again_and_then_undone(
    context: Context, host: Host, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a crash left half done is finished by the next process; what kills every process is put back and named."""
    put(context, SCOPES[0], a=1)
    host.turn()
    put(context, SCOPES[0], a=2, b=2)
    sent: list[dict[str, int | None]] = []
    deadly = True

    def carry_out(scope: str, changes: Any, offer: Offer, failed: Any) -> None:
        sent.append({item.key: item.value and item.value["n"] for item in changes})
        if deadly and {"n": 2} in [item.value for item in changes]:
            raise Died

    for _ in range(1 + REDO):
        host.flow.keeper.zones.apply = carry_out  # type: ignore[method-assign]
        host.turn()
    host.flow.keeper.zones.apply = carry_out  # type: ignore[method-assign]
    host.turn()
    deadly = False
    failed = host.store.failed()
    with context.store.read() as session:
        messages = [row.message for row in session.scalars(select(Event).where(Event.kind == "rack.record.failed"))]

    assert [{"a": 2, "b": 2}] * (1 + REDO) + [{"a": 1, "b": None}] == sent
    assert {"a": {"n": 1}} == host.store.values(SCOPES[0])
    assert {(SCOPES[0], "a"), (SCOPES[0], "b")} == failed.keys()
    assert 2 == len(messages)
    assert 3 == host.store.sequence

    host.compare()

    assert "drift" not in host.wire.asked

    put(context, SCOPES[0], a=3)
    host.turn()

    assert {"n": 3} == host.store.value(SCOPES[0], "a")
    assert {(SCOPES[0], "b")} == host.store.failed().keys()


def test_a_crash_between_the_daemon_and_the_store_is_finished_without_the_control_plane(
    context: Context, host: Host
) -> None:
    """The journal holds what the daemon may have had; the next process makes it whole from the rack's own disk."""
    host.turn()
    put(context, SCOPES[0], a=1, b=2)

    def lose_power(changes: Any) -> None:
        raise Died

    host.store.commit = lose_power  # type: ignore[method-assign]
    host.turn()
    before = host.store.values(SCOPES[0])
    host.turn(fault=0)

    assert {} == before
    assert {"a": {"n": 1}, "b": {"n": 2}} == host.store.values(SCOPES[0])


def test_a_daemon_that_is_away_does_not_count_as_an_end(context: Context, host: Host) -> None:
    """A batch waits for its daemon for as long as it takes."""
    host.turn()
    put(context, SCOPES[0], a=1)

    def away(*ignored: Any) -> None:
        raise ChannelDown("away")

    whole = host.flow.keeper.zones.apply
    for _ in range(2 * REDO):
        host.flow.keeper.zones.apply = away  # type: ignore[method-assign]
        with pytest.raises(Exception, match="away"):
            host.flow.take(host.offer)
    host.flow.keeper.zones.apply = whole  # type: ignore[method-assign]
    host.turn()

    assert {"a": {"n": 1}} == host.store.values(SCOPES[0])
    assert {} == host.store.failed()


def test_a_process_that_ends_amid_overtaking_has_its_place(context: Context, host: Host) -> None:
    """What overtook is live, the sequence is that of the backlog, digests are not compared before its end."""
    host.turn()
    put(context, SCOPES[0], **{f"k{n}": n for n in range(40)})
    host.wire.meanwhile = [lambda: None, lambda: None, lambda: put(context, SCOPES[0], k39=-1, k1=-2)]
    host.turn(6)  # It ends when the third page is asked for.
    held, place, ahead = host.store.values(SCOPES[0]), host.store.sequence, host.store.ahead()
    host.compare()
    asked = list(host.wire.asked)
    host.turn()
    host.compare()

    assert ({"n": -1}, {"n": -2}) == (held["k39"], held["k1"])
    assert 0 < place < 40
    assert {41, 42} == set(ahead.values())
    assert "compare" not in asked
    assert standing(context, SCOPES[0]) == host.store.values(SCOPES[0])
    assert (42, {}) == (host.store.sequence, host.store.ahead())
    assert "drift" not in host.wire.asked
