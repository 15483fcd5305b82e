"""Record sequences grow in commit order, racks fetch what is theirs, and nothing is missed or resent for nothing."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import select

from app.services import addresses, records, reports, retention
from app.services.changes import changing, put_record
from app.services.context import Context
from app.store.models import Event, Machine, Rack, RecordChange, RecordFailure
from app.store.queries.scopes import scopes_of_rack
from tests.factories.control import Seeded, clock_of, make_machine, ring_of, seed


def write(context: Context, scope: str, key: str, value: int | None) -> None:
    """Put one record in a transaction of its own."""
    with changing(context) as session:
        put_record(session, scope, key, None if value is None else {"value": value})


def fetched(
    context: Context, seeded: Seeded, sequence: int = 0, limit: int = 1000
) -> tuple[list[tuple[str, int | None]], int, bool]:
    """Keys with values, `last` and `more` of one fetch."""
    answer = records.after(context, seeded.rack_id, sequence, limit)
    found = [(row["key"], row["value"] and row["value"]["value"]) for row in answer["records"]]
    return found, answer["last"], answer["more"]


def test_a_reader_that_follows_misses_nothing(context: Context) -> None:
    """While eight writers write, a rack that always asks after its last sequence ends with every record."""
    seeded = seed(context)
    scope = f"vlan:{seeded.vlan_id}"
    done = threading.Event()
    seen: list[str] = []
    sequences: list[int] = []

    def follow() -> None:
        last = 0
        while True:
            finished = done.is_set()
            answer = records.after(context, seeded.rack_id, last, 50)
            seen.extend(row["key"] for row in answer["records"])
            sequences.extend(row["sequence"] for row in answer["records"])
            last = answer["last"]
            if finished and not answer["more"]:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    keys = [f"host:1:{number}" for number in range(120)]
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(lambda key: write(context, scope, key, 1), keys))
    done.set()
    follower.join(60)

    assert sorted(seen) == sorted(keys)
    assert sequences == sorted(sequences)
    assert sequences == list(range(1, 121))


def test_only_the_newest_word_of_a_key_is_fetched(context: Context) -> None:
    """Older words are skipped, a tombstone is a word, and `last` counts what was for others too."""
    seeded = seed(context)
    scope = f"vlan:{seeded.vlan_id}"
    write(context, scope, "a", 1)
    write(context, scope, "b", 2)
    write(context, scope, "a", 3)
    write(context, scope, "b", None)
    write(context, "vlan:999", "c", 4)

    assert fetched(context, seeded) == ([("a", 3), ("b", None)], 5, False)
    assert fetched(context, seeded, 3) == ([("b", None)], 5, False)
    assert fetched(context, seeded, 5) == ([], 5, False)


def test_fetch_in_pages(context: Context) -> None:
    """A page that is not the last ends at its own last record."""
    seeded = seed(context)
    scope = f"vlan:{seeded.vlan_id}"
    for number in range(5):
        write(context, scope, f"k{number}", number)

    assert fetched(context, seeded, 0, 2) == ([("k0", 0), ("k1", 1)], 2, True)
    assert fetched(context, seeded, 2, 3) == ([("k2", 2), ("k3", 3), ("k4", 4)], 5, False)


def test_records_are_live_when_the_racks_concerned_say_so(context: Context) -> None:
    """A claim is live once the VLAN's rack has applied it; a rack elsewhere that is behind does not matter."""
    seeded = seed(context)
    with context.store.write() as session:
        session.add(Rack(name="far", token_hash="x", enrolled_at=context.clock()))
    machine_id = make_machine(context, seeded)
    with changing(context) as session:
        machine = session.get(Machine, machine_id)
        assert machine is not None
        addresses.claim(session, context, machine)
    with context.store.read() as session:
        machine = session.get(Machine, machine_id)
        assert machine is not None
        sequence = records.highest_for_machine(session, machine)
        before = records.standing(session, sequence).live
    reports.records_applied(context, seeded.rack_id, sequence - 1, [])
    with context.store.read() as session:
        almost = records.standing(session, sequence).live
    reports.records_applied(context, seeded.rack_id, sequence, [])
    with context.store.read() as session:
        after = records.standing(session, sequence).live

    assert sequence == 4
    assert (before, almost, after) == (False, False, True)


def test_a_failed_record_is_not_live_until_it_is_mended(context: Context) -> None:
    """A failure reported for a record keeps it from being live and says why; a later word that succeeds ends that."""
    seeded = seed(context)
    scope = f"vlan:{seeded.vlan_id}"
    write(context, scope, "a", 1)
    clock_of(context).move(1)
    failed = {"sequence": 1, "scope": scope, "key": "a", "reason": "the daemon refused"}
    reports.records_applied(context, seeded.rack_id, 1, [failed])
    with context.store.read() as session:
        before = records.standing(session, 1)
    write(context, scope, "a", 2)
    reports.records_applied(context, seeded.rack_id, 2, [])
    with context.store.read() as session:
        after, old = records.standing(session, 2), records.standing(session, 1)

    assert (True, False) == (before.applied, before.live)
    assert "the daemon refused" in (before.failure or "")
    assert (True, None, None) == (after.live, after.failure, old.failure)


def test_a_failure_that_the_rack_has_mended_is_withdrawn(context: Context) -> None:
    """A record that comes right when the rack tries again is live, and people are told; no other failure is touched."""
    seeded = seed(context)
    scope = f"vlan:{seeded.vlan_id}"
    with changing(context) as session:
        put_record(session, scope, "a", {"n": 1})
        put_record(session, scope, "b", {"n": 1})
    newest = reports.newest(context, seeded.rack_id)["records"]
    failed = [
        {"sequence": newest - 1 + number, "scope": scope, "key": key, "reason": "in use"}
        for number, key in enumerate("ab")
    ]
    reports.records_applied(context, seeded.rack_id, newest, failed)
    mended = {name: failed[0][name] for name in ("sequence", "scope", "key")}
    reports.records_applied(context, seeded.rack_id, newest, [], [mended, {**mended, "sequence": newest, "key": "z"}])
    with context.store.read() as session:
        left = [row.key for row in session.scalars(select(RecordFailure))]
        said = [row.message for row in session.scalars(select(Event).where(Event.kind == "rack.record.mended"))]

    assert ["b"] == left
    assert 1 == len(said)
    assert f"serves a in {scope} now" in said[0]


def test_compaction_keeps_the_newest_words(context: Context) -> None:
    """What was superseded or taken away a day ago goes; a rack that has not seen the tombstone is told of a snapshot."""
    seeded = seed(context)
    scope = f"vlan:{seeded.vlan_id}"
    for value in (1, 2, None):
        write(context, scope, "a", value)
    write(context, scope, "b", 1)
    clock_of(context).move(90_000)
    write(context, scope, "b", 2)
    write(context, scope, "b", 3)
    count = retention.prune(context)["record_change"]
    with context.store.read() as session:
        left = list(session.scalars(select(RecordChange.sequence).order_by(RecordChange.sequence)))
    answers = [records.after(context, seeded.rack_id, sequence) for sequence in (0, 2, 3)]

    assert count == 3
    assert left == [4, 5, 6]
    assert [[scope], [scope], []] == [answer["snapshot"] for answer in answers]
    assert [[("b", {"value": 3})]] * 3 == [
        [(row["key"], row["value"]) for row in answer["records"]] for answer in answers
    ]


def test_only_the_first_rack_applies_zones(context: Context) -> None:
    """The rack enrolled first is primary for every zone; another one applies its VLANs only."""
    seeded = seed(context)
    with context.store.write() as session:
        second = Rack(name="second", token_hash="z", enrolled_at=context.clock())
        session.add(second)
    with context.store.read() as session:
        first = scopes_of_rack(session, seeded.rack_id)
        other = scopes_of_rack(session, second.id)

    assert first == (
        f"vlan:{seeded.vlan_id}",
        "zone:0.20.10.in-addr.arpa",
        "zone:lab.muster",
        "zone:muster-internal",
    )
    assert other == ()


def test_a_write_rings_the_rack(context: Context) -> None:
    """The rack that serves the scope is woken after the commit, and nobody when the transaction fails."""
    seeded = seed(context)
    write(context, f"vlan:{seeded.vlan_id}", "a", 1)
    rung = ring_of(context).take()
    try:
        with changing(context) as session:
            put_record(session, f"vlan:{seeded.vlan_id}", "a", {"value": 2})
            raise RuntimeError("no")
    except RuntimeError:
        pass

    assert rung == [("rack", "rack-1")]
    assert ring_of(context).take() == []
    assert fetched(context, seeded)[0] == [("a", 1)]
