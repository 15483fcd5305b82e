"""One machine that Muster cannot carry on never holds up the others, and does not stay as it is for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from sqlalchemy import event, update
from sqlalchemy.engine import Connection

from app.services import lifecycle
from app.store.models import Operation
from tests.factories.control import make_machine
from tests.factories.edge import Lab, make_lab
from workers.region.lifecycle import runner


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


def step_of(lab: Lab, machine_id: int) -> str:
    (newest, *_) = lifecycle.operations(lab.context, machine_id)
    return newest.step


def asked(lab: Lab, count: int) -> list[int]:
    """Machines that are to be commissioned, at which nobody has looked yet."""
    machines = [make_machine(lab.context, lab.seeded, state="NEW") for _ in range(count)]
    for machine_id in machines:
        lifecycle.request(lab.context, machine_id, "commission")
    return machines


def test_a_stumble_that_cannot_be_noted_holds_up_nobody(lab: Lab) -> None:
    """The database refuses every change of the first machine's operation; the others are taken on in the same sweep."""
    bad, *well = asked(lab, 3)
    with lab.context.store.write() as session:
        session.execute(update(Operation).where(Operation.machine_id == bad).values(parameters={"bad": True}))
    with lab.context.store.engine.connect() as connection:
        connection.exec_driver_sql(
            f"CREATE TRIGGER refuse BEFORE UPDATE ON operation WHEN OLD.machine_id = {bad} "
            "BEGIN SELECT RAISE(ABORT, 'the disk is bad here'); END"
        )
        connection.commit()
    due = runner.sweep(lab.context)

    assert sorted([bad, *well]) == sorted(due)
    assert ["arm", "power-on", "power-on"] == [step_of(lab, machine_id) for machine_id in (bad, *well)]


def test_questions_about_power_hold_up_nobody(lab: Lab) -> None:
    """When they cannot be written, operations are taken on all the same."""
    (machine_id,) = asked(lab, 1)

    def refuse(connection: Connection, cursor: object, statement: str, *words: object) -> None:
        if "machine.power_checked_at" in statement and "ORDER BY" in statement:
            raise RuntimeError("no questions today")

    event.listen(lab.context.store.engine, "before_cursor_execute", refuse)
    runner.sweep(lab.context)

    assert "power-on" == step_of(lab, machine_id)


@pytest.mark.parametrize("values", [{"action": "polish"}, {"step_index": 99, "step": "polish"}], ids=["verb", "step"])
def test_what_this_version_does_not_know_is_broken_and_says_so(lab: Lab, values: dict[str, object]) -> None:
    """An operation of a plug-in that is gone ends at once with a sentence, and the machine can be commissioned again."""
    machine_id, well = asked(lab, 2)
    with lab.context.store.write() as session:
        session.execute(update(Operation).where(Operation.machine_id == machine_id).values(**values))
    runner.sweep(lab.context)
    row = lab.row(machine_id)

    assert "BROKEN" == row.state
    assert "is unknown to this version of Muster; put back the version or plug-in" in str(row.state_reason)
    assert "power-on" == step_of(lab, well)
    assert "running" == lifecycle.request(lab.context, machine_id, "commission").status


def test_what_this_version_does_not_know_can_be_aborted(lab: Lab) -> None:
    """A person who is faster than the worker gets the machine out as well."""
    (machine_id,) = asked(lab, 1)
    with lab.context.store.write() as session:
        session.execute(update(Operation).where(Operation.machine_id == machine_id).values(action="polish"))

    assert "aborted" == lifecycle.abort(lab.context, machine_id).status
    assert "BROKEN" == lab.row(machine_id).state
