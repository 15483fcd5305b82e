"""An unchanged list is found unchanged by one statement, and whatever changes it is never overlooked: both databases."""

from __future__ import annotations

import random
import re
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask.testing import FlaskClient
from sqlalchemy import Connection, text
from werkzeug.test import TestResponse

from app.api import list_tags
from app.config import load
from app.factory import create_app
from app.services import machines, tokens
from app.services.context import Actor, Context
from app.store import migrate
from app.store.models import Base
from app.store.models.listing import SHOWN, are_whole, put_triggers
from app.store.unit_of_work import make_engine
from tests.factories.control import Seeded, make_machine, seed
from tests.store.test_query_counts import statements

WAYS = (
    "/api/v1/machines",
    "/api/v1/machines?tag=gpu",
    "/api/v1/machines?zone=default&fields=hostname,zone,owner",
    "/api/v1/machines?limit=2&after=1",
)

CHANGES = (
    "DELETE FROM machine_tag WHERE machine_id = :id AND 1 > :some",
    "UPDATE interface SET speed_mbps = :some WHERE machine_id = :id",
    "UPDATE machine SET cpu_count = cpu_count + :some WHERE id = :id",
    "UPDATE zone SET name = CAST('zone-' || :some AS text) WHERE :id > 0",
)


@dataclass
class Reader:
    """Somebody who keeps what the lists said, with their tags, and asks whether that is still so."""

    client: FlaskClient
    token: str

    def __post_init__(self) -> None:
        self.seen: dict[str, tuple[str, str]] = {}

    def get(self, path: str, tag: str | None = None) -> TestResponse:
        headers = {"Authorization": f"Bearer {self.token}"} | ({"If-None-Match": tag} if tag else {})
        return self.client.get(path, headers=headers)

    def ask(self, path: str) -> bool:
        """Ask as a client that keeps answers does; whether it was told that nothing has changed."""
        answer = self.get(path, self.seen[path][0] if path in self.seen else None)
        if answer.status_code == 304:
            return True
        assert 200 == answer.status_code, answer.text
        self.seen[path] = (answer.headers["ETag"], answer.text)
        return False

    def is_right(self, path: str) -> bool:
        """Whether what it holds is what a fresh answer says; asked without a tag, so that the list is written."""
        return self.get(path).text == self.seen[path][1]


@pytest.fixture
def seeded(context: Context) -> Seeded:
    made = seed(context)
    for number in range(4):
        make_machine(
            context, made, f"m-{number}", tags=("gpu",) if number % 2 else ("gpu", "ssd"), owner_id=made.user_id
        )
    return made


@pytest.fixture
def reader(context: Context, seeded: Seeded, tmp_path: Path) -> Reader:
    application = create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
    hers = context.acting_as(Actor("alice", "operator", seeded.user_id))
    return Reader(application.test_client(), tokens.create(hers, "reader").text)


def columns(connection: Connection) -> list[tuple[str, str]]:
    """Every column of the tables that is no key."""
    found = []
    for table in SHOWN:
        rows = connection.execute(text(f'SELECT * FROM "{table}" LIMIT 1'))  # noqa: S608
        found += [(table, name) for name in rows.keys() if name != "id" and not name.endswith("_id")]  # noqa: SIM118
    return [one for one in found if one[0] != "user" or one[1] == "name"]  # Others decide who may ask at all.


def test_an_unchanged_list_costs_one_statement(context: Context, reader: Reader) -> None:
    """However large it is; the list itself is not written."""
    counts = []
    for more in (0, 60):
        for number in range(more):
            make_machine(context, Seeded(1, 1, 1, 1, 1, 1, 1, 1, 1, 1), f"more-{number}")
        assert not reader.ask(WAYS[0])
        with statements(context) as seen:
            assert reader.ask(WAYS[0])
        counts.append([one for one in seen if "list_change" in one or "FROM machine" in one])

    assert [1, 1] == [len(one) for one in counts]
    assert "list_change" in counts[0][0]


def test_every_table_that_the_list_reads_is_watched(context: Context, reader: Reader) -> None:
    """Whatever it is chosen by."""
    words = "owner=x&zone=x&pool=x&tag=x&mac=52:54:00:00:00:01&subnet_id=1&rack_id=1&text=x&power_state=on&hostname=x"
    with statements(context) as seen:
        reader.get(f"{WAYS[0]}?{words}")
    listed = next(one for one in seen if "json" in one)
    read = set(re.findall(r'(?:FROM|JOIN|,) "?([a-z_]+)"? (?:AS )?[a-z]\b|FROM "?([a-z_]+)"?', listed))
    tables = {name for pair in read for name in pair} & set(Base.metadata.tables)

    assert set(SHOWN) == tables


def test_every_column_tells(context: Context, reader: Reader) -> None:
    """Any column of any of the tables, changed by plain SQL: who holds the list is told, or it says the same as before."""
    with context.store.engine.connect() as connection:
        every = columns(connection)
    told: dict[str, int] = {}
    for path in WAYS:
        reader.ask(path)
        assert reader.ask(path)
    for table, column in every:
        with context.store.engine.begin() as connection:
            _alter(connection, table, column)
        for path in WAYS:
            told[table] = told.get(table, 0) + (not reader.ask(path))
            assert reader.is_right(path), (table, column, path)

    assert {"machine", "tag", "zone", "pool", "domain", "user", "bmc", "interface", "ip_address"} <= {*told} | {"bmc"}
    assert all(told[table] for table in ("machine", "tag", "zone", "domain", "user"))


def _alter(connection: Connection, table: str, column: str) -> None:
    """Change a column of the first row, if a value of its kind is allowed there."""
    where = f'WHERE ctid = (SELECT ctid FROM "{table}" LIMIT 1)'  # noqa: S608
    if connection.dialect.name == "sqlite":
        where = f'WHERE rowid = (SELECT rowid FROM "{table}" LIMIT 1)'  # noqa: S608
    for value in (f"{column} || 'x'", f"{column} + 1", f"NOT {column}", "NULL"):
        step = connection.begin_nested()
        try:
            connection.execute(text(f'UPDATE "{table}" SET {column} = {value} {where}'))  # noqa: S608
            step.commit()
            return
        except Exception:
            step.rollback()


def test_rows_that_come_and_go_tell(context: Context, seeded: Seeded, reader: Reader) -> None:
    """Machines made and deleted, tags given and taken, a zone renamed, addresses given: by the services."""
    steps: list[Any] = [
        lambda: make_machine(context, seeded, "late", tags=("gpu",)),
        lambda: machines.update(context, 1, tags={"ssd"}),
        lambda: machines.update(context, 2, hostname="renamed"),
        lambda: machines.delete(context, 3),
    ]
    for path in WAYS:
        reader.ask(path)
    for step in steps:
        step()
        for path in WAYS:
            reader.ask(path)
            assert reader.is_right(path)
    assert not reader.ask(f"{WAYS[0]}?text=renamed")


def test_who_commits_late_is_not_overlooked(context: Context, seeded: Seeded, reader: Reader) -> None:
    """A change that began before another one and commits after it: the list that was read in between is not kept."""
    if context.store.engine.dialect.name == "sqlite":
        pytest.skip("writers of SQLite follow one another")
    late = context.store.engine.connect()
    late.begin()
    late.execute(text("UPDATE machine SET hostname = 'late' WHERE id = 1"))
    with context.store.engine.begin() as early:
        early.execute(text("UPDATE machine SET hostname = 'early' WHERE id = 2"))
    reader.ask(WAYS[0])
    assert reader.ask(WAYS[0])
    late.commit()
    late.close()

    assert not reader.ask(WAYS[0])
    assert '"late"' in reader.seen[WAYS[0]][1]


def test_a_change_while_the_list_is_written_tells_later(
    context: Context, reader: Reader, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the question how far the tables are and the list itself somebody writes: the next question notices."""
    whole, pending = machines.listed, [True]

    def slow(*args: Any, **words: Any) -> Any:
        if pending.pop() if pending else False:
            found = whole(*args, **words)
            machines.update(context, 1, hostname="between")
            return found
        return whole(*args, **words)

    monkeypatch.setattr(machines, "listed", slow)
    reader.ask(WAYS[0])

    assert "between" not in reader.seen[WAYS[0]][1]
    assert not reader.ask(WAYS[0])
    assert "between" in reader.seen[WAYS[0]][1]


def test_many_writers_and_a_reader_agree(context: Context, seeded: Seeded, reader: Reader) -> None:
    """Random changes from several threads, with folding: whenever all is quiet, what the reader holds is what is true."""

    def write(seed_: int) -> None:
        dice = random.Random(seed_)
        for _ in range(25):
            with context.store.engine.connect() as connection, connection.begin() as change:
                values = {"id": dice.randrange(1, 5), "some": dice.randrange(3)}
                for statement in sorted(dice.sample(CHANGES, 2)):  # In one order, so that nobody waits in a circle.
                    connection.execute(text(statement), values)
                if dice.random() < 0.2:
                    change.rollback()
            if dice.random() < 0.1:
                machines.fold_list_revision(context)

    for path in WAYS:
        reader.ask(path)
    for turn in range(3):
        threads = [threading.Thread(target=write, args=(10 * turn + number,)) for number in range(3)]
        for one in threads:
            one.start()
        while any(one.is_alive() for one in threads):
            for path in WAYS:
                reader.ask(path)
        for one in threads:
            one.join()
        for path in WAYS:
            reader.ask(path)
            assert reader.is_right(path)
            assert reader.ask(path)


def test_folding_keeps_the_sum(context: Context, seeded: Seeded, reader: Reader) -> None:
    """Hundreds of changes are one part afterwards, and nobody is told of a change by it."""
    for number in range(150):
        with context.store.engine.begin() as connection:
            connection.execute(text("UPDATE machine SET cpu_count = :number WHERE id = 1"), {"number": number})
    reader.ask(WAYS[0])
    before = machines.list_revision(context)
    machines.fold_list_revision(context)

    assert before == machines.list_revision(context)
    assert reader.ask(WAYS[0])
    assert 1 == machines.fold_list_revision(context)


def test_without_its_triggers_nothing_is_remembered(context: Context, reader: Reader) -> None:
    """A database that lost one is found out, and lists are compared by what they say, as ever."""
    with context.store.engine.begin() as connection:
        lost = {"postgresql": "list_changed ON zone", "sqlite": "list_changed_zone_update"}
        connection.execute(text(f"DROP TRIGGER {lost[connection.dialect.name]}"))
    reader.ask(WAYS[0])
    with context.store.engine.begin() as connection:
        connection.execute(text("UPDATE zone SET name = 'other'"))

    assert not reader.ask(WAYS[0])
    assert reader.ask(WAYS[0])
    assert '"other"' in reader.seen[WAYS[0]][1]


def test_the_migrated_database_has_them_all(empty_url: str) -> None:
    """Whatever steps have copied tables, and after one that has lost them."""
    migrate.upgrade(empty_url)
    engine = make_engine(empty_url)
    with engine.begin() as connection:
        assert are_whole(connection)
        lost = {"postgresql": "list_changed ON machine", "sqlite": "list_changed_machine_update"}
        connection.execute(text(f"DROP TRIGGER {lost[connection.dialect.name]}"))
        assert not are_whole(connection)
    migrate.upgrade(empty_url)
    with engine.begin() as connection:
        assert are_whole(connection)
        put_triggers(connection)
    engine.dispose()


def test_few_tags_are_remembered(context: Context) -> None:
    """The one that was not asked for longest goes first."""
    known = list_tags.ListTags()
    for number in range(list_tags.MOST + 1):
        known.put(context, str(number).encode(), 7, "tag")

    assert None is known.get(b"0", 7)
    assert "tag" == known.get(b"1", 7)
    assert None is known.get(b"1", 8)
