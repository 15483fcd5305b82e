"""The migrations lead to the schema of the models, and back, on both databases."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, event, func, inspect, select, text

from app.store import migrate
from app.store.models import Base, ListChange, SyslogLine
from app.store.models.listing import SHOWN, drop_triggers
from app.store.unit_of_work import make_engine


def test_migrated_schema_is_the_models(empty_url: str) -> None:
    """After `upgrade` nothing differs between the database and the models."""
    revision = migrate.upgrade(empty_url)
    engine = make_engine(empty_url)
    with engine.connect() as connection:
        differences = migrate.differences(connection)
    constraints = {
        table.name: {
            *(one["name"] for one in inspect(engine).get_unique_constraints(table.name)),
            *(one["name"] for one in inspect(engine).get_check_constraints(table.name)),
        }
        for table in Base.metadata.sorted_tables
    }
    have = migrate.current(engine)
    engine.dispose()

    assert differences == []
    assert revision == migrate.newest() == have
    assert "uq_ip_address_subnet_id_address" in constraints["ip_address"]
    assert {"ck_vlan_vid", "ck_vlan_mtu", "uq_vlan_fabric_id_vid"} <= constraints["vlan"]


def test_partial_index_survives_the_migration(empty_url: str) -> None:
    """One running operation per machine is a rule of the migrated database too, and only for running ones."""
    migrate.upgrade(empty_url)
    engine = make_engine(empty_url)
    indexes = {index["name"]: index for index in inspect(engine).get_indexes("operation")}
    engine.dispose()
    options = indexes["uq_operation_running"]["dialect_options"]

    assert indexes["uq_operation_running"]["unique"]
    assert "running" in str(options.get("sqlite_where", options.get("postgresql_where")))


def test_upgrade_may_be_repeated_and_taken_back(empty_url: str) -> None:
    """A second upgrade does nothing; going back to the beginning leaves no table of ours."""
    migrate.upgrade(empty_url)
    migrate.upgrade(empty_url)
    migrate.downgrade(empty_url, "base")
    engine = make_engine(empty_url)
    tables = set(inspect(engine).get_table_names())
    engine.dispose()

    assert tables <= {"alembic_version"}


def test_an_upgrade_of_what_is_up_to_date_makes_no_trigger_again(empty_url: str) -> None:
    """On PostgreSQL that would wait for everybody who writes those tables; one that is missing is made."""
    migrate.upgrade(empty_url)
    made: list[str] = []

    def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
        if "TRIGGER" in statement and statement.startswith("CREATE"):
            made.append(statement)

    event.listen(Engine, "before_cursor_execute", note)
    try:
        migrate.upgrade(empty_url)
        counts = [len(made)]
        engine = make_engine(empty_url)
        with engine.begin() as connection:
            drop_triggers(connection)
        engine.dispose()
        migrate.upgrade(empty_url)
    finally:
        event.remove(Engine, "before_cursor_execute", note)

    assert [0] == counts
    assert len(made) >= len(SHOWN)


def test_what_is_written_without_end_has_numbers_enough(empty_url: str) -> None:
    """A change of a machine, and a line of syslog, after two thousand million of them."""
    migrate.upgrade(empty_url)
    engine = make_engine(empty_url)
    line = "INSERT INTO syslog_line (address, facility, severity, host, program, process, message, at) VALUES"
    with engine.begin() as connection:
        for table in ("list_change", "syslog_line") if engine.dialect.name == "postgresql" else ():
            connection.execute(text(f"SELECT setval('{table}_id_seq', 2147483647)"))
        connection.execute(text("INSERT INTO tag (name, comment) VALUES ('rack-1', '')"))
        connection.execute(text(f"{line} ('10.0.0.1', 1, 6, '', '', '', 'm', '2026-01-01 00:00:00')"))
        highest = [connection.scalar(select(func.max(table.id))) for table in (ListChange, SyslogLine)]
    engine.dispose()

    assert ([1, 1] if engine.dialect.name == "sqlite" else [2**31, 2**31]) == highest


def test_state_directory_is_made(tmp_path: Path) -> None:
    """The directory of a SQLite database need not exist before."""
    migrate.upgrade(f"sqlite:///{tmp_path / 'new' / 'muster.db'}")

    assert (tmp_path / "new" / "muster.db").exists()


@pytest.mark.parametrize("direction", ["upgrade", "downgrade"])
def test_every_step_has_both_directions(direction: str) -> None:
    """Each revision says how it is taken and how it is taken back."""
    from alembic.script import ScriptDirectory

    scripts = list(ScriptDirectory.from_config(migrate._config()).walk_revisions())

    assert scripts
    assert all(callable(getattr(script.module, direction)) for script in scripts)
