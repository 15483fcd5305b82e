"""Whatever happens in between, a rack's store ends with the newest word on every key, on both databases.

The rack is its real store, keeper and flow with no daemon to serve; the control plane is its real services.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.services import digests, records, snapshots, vlans
from app.services.changes import changing
from app.services.context import Context
from app.store.models import Counter, Event, Rack, RecordChange, Vlan
from tests.factories.control import Seeded, make_context
from tests.store.record_rack import SCOPES, Host, forget, make_zones, put, standing
from workers.rack.record_store import RecordChange as Word
from workers.rack.record_store import RecordStore


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return make_zones(context)


@pytest.fixture
def host(context: Context, seeded: Seeded, tmp_path: Path) -> Host:
    return Host(context, seeded.rack_id, tmp_path)


WORDS = st.tuples(
    st.just("put"), st.sampled_from(SCOPES), st.sampled_from("abcdefgh"), st.one_of(st.none(), st.integers(0, 3))
)
STEPS = st.lists(
    st.one_of(
        WORDS,
        WORDS,
        WORDS,
        st.tuples(st.just("turn"), st.one_of(st.none(), st.integers(0, 4)), st.just([])),
        st.tuples(st.just("turn"), st.one_of(st.none(), st.integers(0, 9)), st.lists(WORDS, max_size=6)),
        st.tuples(st.just("forget")),
        st.tuples(st.just("serve"), st.sets(st.sampled_from(SCOPES), min_size=1)),
        st.tuples(st.just("fold")),
    ),
    max_size=30,
)


@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, page=st.integers(1, 8))
def test_the_rack_ends_with_the_newest_words(
    empty_url: str, tmp_path_factory: pytest.TempPathFactory, steps: list[Any], page: int
) -> None:
    """Changes before and between the rack's calls, compaction, absence, new and lost scopes, a process that ends at any."""
    path = tmp_path_factory.mktemp("plane")
    context = make_context(path, None if empty_url.startswith("sqlite") else empty_url)
    try:
        if not empty_url.startswith("sqlite"):
            _empty(context)
        seeded = make_zones(context)
        host = Host(context, seeded.rack_id, path, page)
        known: dict[str, dict[str, Any]] = {scope: {} for scope in SCOPES}

        def say(scope: str, key: str, value: int | None) -> None:
            put(context, scope, **{key: value})
            known[scope].pop(key, None)
            if value is not None:
                known[scope][key] = {"n": value}

        for name, *rest in steps:
            match name:
                case "put":
                    say(*rest)
                case "turn":
                    host.wire.meanwhile = [partial(say, *word[1:]) for word in rest[1]]
                    host.turn(rest[0])
                    host.wire.meanwhile.clear()
                case "serve":
                    host.scopes = frozenset(rest[0])
                case "forget":
                    forget(context)
                case "fold":
                    digests.fold(context, 3)
        host.turn()
        host.compare()
        held = {scope: host.store.values(scope) for scope in host.scopes}
        drifted = "drift" in host.wire.asked

        assert {scope: known[scope] for scope in host.scopes} == held
        assert {scope: standing(context, scope) for scope in host.scopes} == held
        assert not drifted
        assert host.store.unfinished() is None
        assert host.store.ahead() == {}
    finally:
        context.store.engine.dispose()


def _empty(context: Context) -> None:
    from app.store.models import Base

    with context.store.write() as session:
        for table in reversed(Base.metadata.sorted_tables):
            session.execute(table.delete())


def test_only_a_new_scope_is_sent_as_a_snapshot(context: Context, host: Host) -> None:
    """A rack that gains a zone gets a snapshot of that zone; what it has is not sent again."""
    put(context, SCOPES[0], **{f"k{n}": n for n in range(20)})
    put(context, SCOPES[1], **{f"k{n}": n for n in range(20)})
    host.turn()
    before = host.store.sequence
    host.scopes = frozenset(SCOPES[:2])
    host.wire.asked.clear()
    host.turn()
    snapshots_asked = {name for name in host.wire.asked if name.startswith("snapshot")}

    assert before == host.store.sequence == 40
    assert {f"snapshot {SCOPES[1]}"} == snapshots_asked
    assert 20 == len(host.store.values(SCOPES[1]))


def test_a_rack_that_takes_a_vlan_over_gets_a_snapshot_of_it(context: Context, seeded: Seeded, tmp_path: Path) -> None:
    """Nothing is written anew; a rack that gets it back before it was told that it had lost it finds what it missed."""
    scope = f"vlan:{seeded.vlan_id}"
    with context.store.write() as session:
        interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:02", "addresses": ["10.20.0.2/24"]}]
        other = Rack(name="other", token_hash="y", interfaces=interfaces, enrolled_at=context.clock())
        session.add(other)
        session.get_one(Vlan, seeded.vlan_id).dhcp_on = False
    old, new = Host(context, seeded.rack_id, tmp_path / "old"), Host(context, other.id, tmp_path / "new")
    promise(context, seeded, {number: f"10.20.0.{number}" for number in range(20, 40)})
    promise(context, seeded, {39: None})
    old.scopes, new.scopes = frozenset({scope}), frozenset()
    old.turn()
    new.turn()  # It has read past all of them.
    before = words_of(context, scope)
    vlans.update(context, seeded.vlan_id, rack_id=other.id)
    new.scopes = frozenset({scope})
    new.turn()
    moved = sorted(value["address"] for value in new.store.values(scope).values())
    promise(context, seeded, {20: "10.20.0.120", 21: None})
    old.turn()
    vlans.update(context, seeded.vlan_id, rack_id=seeded.rack_id)
    old.turn()
    old.compare()
    back = sorted(value["address"] for value in old.store.values(scope).values())

    assert [f"10.20.0.{number}" for number in range(20, 39)] == moved
    assert before + 2 == words_of(context, scope)
    assert sorted(["10.20.0.120", *(f"10.20.0.{number}" for number in range(22, 39))]) == back


def promise(context: Context, seeded: Seeded, addresses: dict[int, str | None]) -> None:
    """Hosts by the last octet of their MAC, in one transaction."""
    with changing(context) as session:
        for number, address in addresses.items():
            mac = f"02:00:00:00:01:{number:02x}"
            records.put_host(session, seeded.vlan_id, seeded.subnet_id, mac, address, "")


def words_of(context: Context, scope: str) -> int:
    """How many words there are in a scope's log."""
    with context.store.read() as session:
        return len(session.scalars(select(RecordChange.sequence).where(RecordChange.scope == scope)).all())


def test_a_rack_that_was_away_too_long_loses_what_was_given_up(context: Context, host: Host) -> None:
    """Its tombstone is gone from the log, so the scope, and only that one, comes as a snapshot."""
    host.scopes = frozenset(SCOPES[:2])
    for scope in SCOPES[:2]:
        put(context, scope, a=1, b=1)
    host.turn()
    put(context, SCOPES[0], a=None)
    forget(context)
    put(context, SCOPES[0], c=1)
    host.wire.asked.clear()
    host.turn()
    with context.store.read() as session:
        words = list(session.scalars(select(RecordChange.key).where(RecordChange.scope == SCOPES[0])))

    assert {"b", "c"} == set(words) == host.store.values(SCOPES[0]).keys()
    assert f"snapshot {SCOPES[0]}" in host.wire.asked
    assert not any(SCOPES[1] in name for name in host.wire.asked)


def test_a_snapshot_that_breaks_off_goes_on_where_it_was(context: Context, host: Host) -> None:
    """What has come is kept; the second process asks for the rest."""
    put(context, SCOPES[0], **{f"k{n}": n for n in range(40)})
    host.turn(fault=2)
    first = len(host.store.values(SCOPES[0]))
    begun = host.store.missing()[SCOPES[0]]
    host.turn()

    assert 0 < first < 40
    assert 0 < begun < 256
    assert 40 == len(host.store.values(SCOPES[0]))
    assert 40 == host.store.sequence


def test_drift_of_the_racks_copy_is_found_and_only_its_bucket_read_again(context: Context, host: Host) -> None:
    """A row deleted, one changed and one added behind everybody's back are mended, and people are told which."""
    put(context, SCOPES[0], **{f"k{n}": n for n in range(100)})
    host.turn()
    host.compare()
    with context.store.read() as session:
        agreed = session.get_one(Rack, host.wire.rack_id).agreed_records
    host.sql("DELETE FROM record WHERE key = 'k7'")
    host.sql("UPDATE record SET value = ? WHERE key = 'k8'", '{"n": 80}')
    host.store = RecordStore(host.path / "records.db")
    host.sql("UPDATE meta SET value = '1' WHERE name = 'version'")
    host.start()
    host.wire.asked.clear()
    host.compare()
    with context.store.read() as session:
        event = session.scalars(select(Event).where(Event.kind == "rack.records.drifted")).one()
        between = session.get_one(Rack, host.wire.rack_id).differing
    host.compare()
    with context.store.read() as session:
        after = session.get_one(Rack, host.wire.rack_id).differing

    assert 100 == agreed
    assert standing(context, SCOPES[0]) == host.store.values(SCOPES[0])
    assert {"k7", "k8"} == set(event.detail["keys"])
    assert [SCOPES[0]] == between
    assert [] == after
    assert 2 == len([name for name in host.wire.asked if name.startswith("snapshot")])


def test_a_rack_does_not_wait_for_digests(context: Context, host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """After an import there is nothing to compare with until the region worker has folded it, and then there is at once."""
    monkeypatch.setattr(digests, "LATE", 3)

    def folded() -> int:
        with context.store.read() as session:
            return session.scalar(select(Counter.value).where(Counter.name == digests.DIGESTED)) or 0

    put(context, SCOPES[0], a=1, b=2, c=3, d=4)
    host.turn()
    roots = host.store.roots(host.scopes)
    before = snapshots.compare(context, host.wire.rack_id, 4, roots), folded()
    done = digests.catch_up(context)
    put(context, SCOPES[0], e=5)
    host.turn()
    few = digests.catch_up(context)
    after = snapshots.compare(context, host.wire.rack_id, 5, host.store.roots(host.scopes)), folded()

    assert ({"comparable": False, "differ": {}}, 0) == before
    assert (4, 0) == (done, few)
    assert ({"comparable": True, "differ": {}}, 4) == after


def test_who_holds_an_address_is_found_without_reading_the_whole_scope(tmp_path: Path) -> None:
    store, scope = RecordStore(tmp_path / "records.db"), "vlan:1"
    words = [
        Word(number, scope, f"host:1:02:00:00:00:{number // 256:02x}:{number % 256:02x}", {"address": f"key {number}"})
        for number in range(1000)
    ]
    store.commit(words)
    steps: list[None] = []
    with store._connection() as connection:
        connection.set_progress_handler(lambda: steps.append(None), 1)
        found = store.holding(scope, "key 500")
        connection.set_progress_handler(None, 1)
    assert found == {words[500].key: words[500].value}
    assert len(steps) < 200  # SQLite's own steps; a reading of the scope takes thousands.


def test_news_overtake_a_backlog(context: Context, host: Host) -> None:
    """A change made while a long backlog is read is live after the page in hand; the rest follows, each word once."""
    host.turn()
    host.wire.page = 100
    put(context, SCOPES[0], **{f"k{n:04}": n for n in range(2000)})
    stood: list[int] = []
    host.wire.meanwhile = [
        *[lambda: None] * 4,  # Two pages, each told.
        lambda: put(context, SCOPES[0], news=1, k1999=-1),
        *[lambda: None] * 3,
        lambda: stood.append(len(host.store.values(SCOPES[0])) if host.store.value(SCOPES[0], "news") else 0),
    ]
    host.turn()
    held = host.store.values(SCOPES[0])

    assert 0 < stood[0] < 500
    assert (2001, {"n": -1}) == (len(held), held["k1999"])
    assert host.store.ahead() == {}
    assert host.store.sequence == 2002
