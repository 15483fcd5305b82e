"""Prepared statements say and see what SQLAlchemy's own execution does, on both databases."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest
from sqlalchemy import BigInteger, Integer, bindparam, event, insert, literal_column, select, text, update
from sqlalchemy.exc import DBAPIError, IntegrityError, NoResultFound
from sqlalchemy.orm import Session

from app.services.context import Context
from app.services.errors import Unstorable
from app.store import unit_of_work
from app.store.models import BootToken, Event, Tag
from app.store.prepared import MOST_ROWS, Prepared
from tests.factories.control import make_machine, seed

WRITE_TAG = Prepared(insert(Tag), "name", "comment")
TAGS = Prepared(select(Tag.id, Tag.name).order_by(Tag.id))
NAMED = Prepared(select(Tag.id).where(Tag.name == bindparam("named")))
AT = dt.datetime(2026, 1, 2, 3, 4, 5, 678901, tzinfo=dt.UTC)


def names(context: Context) -> list[str]:
    """The tags there are, as SQLAlchemy sees them."""
    with context.store.read() as session:
        return list(session.scalars(select(Tag.name).order_by(Tag.id)))


def test_values_of_every_kind_come_back_the_same(context: Context) -> None:
    """Moments, documents, nothing and numbers, written and read either way."""
    machine_id = make_machine(context, seed(context))
    columns = [column for column in Event.__table__.columns if column.key != "id"]
    write, read = Prepared(insert(Event), *(column.key for column in columns)), Prepared(select(*columns))
    values: dict[str, Any] = {
        "machine_id": machine_id, "rack_id": None, "level": "info", "kind": "k\u00e4se", "message": "a 'b' %s ? :c",
        "detail": {"a": [1, None, "\u20ac"]}, "request_id": None, "at": AT,
    }  # fmt: skip
    with context.store.write() as session:
        assert 1 == write.run(session, **values)
        session.execute(insert(Event), [values])

    with context.store.read() as session:
        first, second = read.all(session)
        assert values == first._asdict() == second._asdict()
        assert [tuple(first)] * 2 == [tuple(row) for row in session.execute(select(*columns))]


def test_it_is_part_of_the_transaction(context: Context) -> None:
    """It sees what was flushed, and is gone with the rest."""

    def fail() -> None:
        with context.store.write() as session:
            session.add(Tag(name="one", comment=""))
            session.flush()
            WRITE_TAG.run(session, name="two", comment="")
            assert ["one", "two"] == [row.name for row in TAGS.all(session)]
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        fail()

    assert [] == names(context)


def test_a_savepoint_takes_back_only_its_own(context: Context) -> None:
    """As commissioning needs it."""

    def fail(session: Session) -> None:
        with session.begin_nested():
            WRITE_TAG.run(session, name="lost", comment="")
            raise ZeroDivisionError

    with context.store.write() as session:
        WRITE_TAG.run(session, name="kept", comment="")
        with pytest.raises(ZeroDivisionError):
            fail(session)
        WRITE_TAG.run(session, name="after", comment="")

    assert ["kept", "after"] == names(context)


def test_what_is_refused_has_its_name_and_shows_no_value(context: Context) -> None:
    """SQLAlchemy's exceptions; the transaction is gone."""

    def twice() -> None:
        with context.store.write() as session:
            WRITE_TAG.run_many(session, [{"name": "s3cret", "comment": ""}] * 2)

    with pytest.raises(IntegrityError) as refused:
        twice()
    assert "INSERT INTO tag" in str(refused.value)
    assert "parameters" not in str(refused.value)
    assert [] == names(context)


@pytest.mark.parametrize("value", [1 << 70, "a\ud800"])
def test_what_no_column_holds_is_unstorable(context: Context, value: object) -> None:
    """As with any other statement."""
    number = Prepared(update(Tag).values(id=bindparam("new_id")))
    with context.store.write() as session:
        WRITE_TAG.run(session, name="a", comment="")
    with pytest.raises(Unstorable), context.store.write() as session:
        number.run(session, new_id=value) if isinstance(value, int) else NAMED.all(session, named=value)


def test_listeners_hear_of_it(context: Context) -> None:
    """Who counts statements, counts these."""
    seen: list[tuple[str, bool]] = []

    def note(connection: Any, cursor: Any, statement: str, values: Any, execution: Any, many: bool) -> None:
        seen.append((statement.split()[0], many))

    event.listen(context.store.engine, "before_cursor_execute", note)
    event.listen(context.store.engine, "after_cursor_execute", note)
    with context.store.write() as session:
        seen.clear()
        WRITE_TAG.run_many(session, [{"name": name, "comment": ""} for name in "ab"])
        TAGS.first(session)
    event.remove(context.store.engine, "before_cursor_execute", note)
    event.remove(context.store.engine, "after_cursor_execute", note)

    assert [("INSERT", True)] * 2 + [("SELECT", False)] * 2 == seen[:4]


def test_many_rows_are_left_to_sqlalchemy(context: Context) -> None:
    """The result is the same."""
    rows = [{"name": f"t{number:03}", "comment": "c"} for number in range(MOST_ROWS + 1)]
    with context.store.write() as session:
        WRITE_TAG.run_many(session, rows)
        WRITE_TAG.run_many(session, [])

    assert [row["name"] for row in rows] == names(context)


def test_returned_counted_and_missing_rows(context: Context) -> None:
    """RETURNING gives a row, a change says how many rows it was about, and one() wants one."""
    make = Prepared(insert(Tag).returning(Tag.id), "name", "comment")
    comment = Prepared(update(Tag).values(comment=bindparam("new_comment")))
    with context.store.write() as session:
        first, second = (make.one(session, name=name, comment="")[0] for name in "ab")
        assert first < second == NAMED.value(session, named="b")
        assert 2 == comment.run(session, new_comment="x")
        assert NAMED.first(session, named="c") is None
        assert NAMED.value(session, named="c") is None
        with pytest.raises(NoResultFound):
            NAMED.one(session, named="c")


def test_a_session_of_any_kind_will_do(context: Context) -> None:
    """Also one that no Store has opened."""
    with Session(context.store.engine) as session:
        WRITE_TAG.run(session, name="a", comment="")
        session.commit()
    assert ["a"] == names(context)


@pytest.mark.parametrize(
    "statement",
    [
        select(Tag.id).where(Tag.name.in_(["a", "b"])),
        select(Tag.id).where(Tag.name.in_(bindparam("names", expanding=True))),
    ],
)
def test_a_list_is_refused(context: Context, statement: Any) -> None:
    """Its text would depend on its values."""
    with context.store.read() as session, pytest.raises(ValueError, match="depends on its values"):
        Prepared(statement).all(session, names=["a"])


def test_values_that_python_would_make_are_refused(context: Context) -> None:
    """Else they would silently be missing."""
    token = Prepared(insert(BootToken), "token_hash", "purpose", "expires_at")
    with context.store.write() as session, pytest.raises(ValueError, match="Python would make"):
        token.run(session, token_hash="t", purpose="install", expires_at=AT)


def test_all_that_an_insert_names_is_wanted_and_nothing_else(context: Context) -> None:
    """A word too many is a mistake, one too few as well."""
    with context.store.write() as session:
        with pytest.raises(ValueError, match="comment"):
            WRITE_TAG.run(session, name="a")
        with pytest.raises(ValueError, match="colour"):
            WRITE_TAG.run(session, name="a", comment="", colour="red")


def test_what_is_kept_is_planned_once_for_a_connection(context: Context) -> None:
    """Whatever the values, also beyond 32 bits, and although the transaction that had it planned was taken back."""
    words = select(Tag.name, literal_column("'5%'").label("word")).where(Tag.id < bindparam("end", type_=BigInteger))
    kept = Prepared(words.order_by(Tag.id).limit(bindparam("most", type_=Integer)), keep=True)
    with context.store.write() as session:
        WRITE_TAG.run_many(session, [{"name": name, "comment": ""} for name in "abc"])
    found = []
    for most in (1, 2):
        with context.store.read() as session:
            found += [tuple(row) for row in kept.all(session, end=2**40, most=most)]
            assert kept.first(session, end=1, most=1) is None
    with context.store.read() as session:
        if session.get_bind().dialect.name == "postgresql":
            planned = session.execute(
                text(
                    "SELECT calls FROM (SELECT generic_plans + custom_plans AS calls FROM pg_prepared_statements) AS p"
                )
            )
            assert [4] == list(planned.scalars())

    assert [("a", "5%"), ("a", "5%"), ("b", "5%")] == found


def test_a_connection_that_was_lost_while_nobody_used_it_is_replaced(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes next does not notice."""
    if context.store.engine.dialect.name != "postgresql":
        return  # SQLite has no connection to lose.
    monkeypatch.setattr(unit_of_work, "IDLE_SECONDS", 0.0)
    with context.store.read() as session, context.store.read() as other:
        numbers = [one.scalar(text("SELECT pg_backend_pid()")) for one in (session, other)]
    with context.store.write() as session:
        mine = session.scalar(text("SELECT pg_backend_pid()"))
        (idle,) = set(numbers) - {mine}
        session.execute(text("SELECT pg_terminate_backend(:number, 5000)"), {"number": idle})
        with context.store.read() as other:
            assert other.scalar(text("SELECT pg_backend_pid()")) not in numbers


def test_a_connection_that_is_gone_is_not_used_again(context: Context) -> None:
    """The transaction fails by SQLAlchemy's exception, and the next one has a new connection."""
    if context.store.engine.dialect.name != "postgresql":
        return  # SQLite has no connection to lose.

    def lose() -> None:
        with context.store.write() as session:
            number = session.scalar(text("select pg_backend_pid()"))
            with context.store.write() as other:
                other.execute(text("select pg_terminate_backend(:number)"), {"number": number})
            TAGS.all(session)

    with pytest.raises(DBAPIError) as lost:
        lose()
    assert lost.value.connection_invalidated
    assert [] == names(context)
