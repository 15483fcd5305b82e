"""What columns cannot hold is refused alike on both databases, and errors show no values; names move with machines."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.services import addresses, machines, records
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Unstorable
from app.store.models import Machine, Tag, User, Vlan, Zone
from tests.factories.control import make_machine, ring_of, seed


def put_surrogate(session: Session) -> None:
    """Half a character."""
    session.add(Zone(name="a\ud800"))


def put_number(session: Session) -> None:
    """More than 64 bits."""
    session.add(Vlan(fabric_id=1, vid=1 << 70))


def ask_number(session: Session) -> None:
    """A question with such a number."""
    session.scalars(select(Machine).where(Machine.id == 1 << 70)).all()


@pytest.mark.parametrize("put", [put_surrogate, put_number])
def test_what_no_column_holds_is_named(context: Context, put: Callable[[Session], None]) -> None:
    """It is Unstorable, and the transaction is gone."""
    seed(context)

    def put_both() -> None:
        with context.store.write() as session:
            session.add(Tag(name="before"))
            put(session)

    with pytest.raises(Unstorable):
        put_both()

    with context.store.read() as session:
        assert [] == session.scalars(select(Tag)).all()


def test_nul_is_kept_or_refused_but_never_breaks(context: Context) -> None:
    """PostgreSQL takes no NUL in text: that is Unstorable too. SQLite keeps it."""
    refused = False
    try:
        with context.store.write() as session:
            session.add(Zone(name="a\0b"))
    except Unstorable:
        refused = True

    assert (context.store.engine.dialect.name == "postgresql") is refused


def test_questions_with_large_numbers_are_unstorable_or_empty(context: Context) -> None:
    """An id that cannot be is not found, or refused."""
    seed(context)
    try:
        with context.store.read() as session:
            ask_number(session)
    except Unstorable:
        assert context.store.engine.dialect.name == "sqlite"


def test_errors_of_the_database_show_no_values(context: Context) -> None:
    """A refused row does not carry its values into logs and events."""

    def add_user() -> None:
        with context.store.write() as session:
            session.add(User(name="twice", role="viewer", password_hash="the-secret-hash", created_at=context.clock()))

    add_user()
    with pytest.raises(IntegrityError) as refused:
        add_user()

    assert "the-secret-hash" not in str(refused.value)


def host_and_names(context: Context, rack_id: int) -> dict[str, Any]:
    """Key and value of all record changes that count, without zones' scopes."""
    found = records.after(context, rack_id, 0)["records"]
    return {record["key"]: record["value"] for record in found}


def test_records_follow_a_new_name(context: Context) -> None:
    """A renamed machine's old names are gone, its new ones point to its address and back, and its host has the name."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded, "old", state="DEPLOYED")
    with changing(context) as session:
        address = addresses.claim(session, context, session.get_one(Machine, machine_id))
    ring_of(context).take()
    machines.update(context, machine_id, hostname="new")
    found = host_and_names(context, seeded.rack_id)
    pointer = ".".join(reversed(address.split("."))) + ".in-addr.arpa."

    assert found["rrset:old.lab.muster.:A"] is None
    assert [address] == found["rrset:new.lab.muster.:A"]["rdatas"]
    assert ["new.lab.muster."] == found[f"rrset:{pointer}:PTR"]["rdatas"]
    (host,) = [value for key, value in found.items() if key.startswith("host:") and value]
    assert ("new", address) == (host["hostname"], host["address"])
    assert ("rack", "rack-1") in ring_of(context).take()


def test_names_do_not_change_under_an_operation(context: Context) -> None:
    """While something is under way, the machine has been told its name already."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded, "busy", state="DEPLOYING")

    with pytest.raises(Conflict, match="busy is"):
        machines.update(context, machine_id, hostname="other")


def test_a_machine_is_not_named_as_a_rack(context: Context) -> None:
    """The rack's name stands in every zone."""
    seeded = seed(context)
    machine_id = make_machine(context, seeded)

    with pytest.raises(Conflict, match="a rack has it"):
        machines.update(context, machine_id, hostname="rack-1")
