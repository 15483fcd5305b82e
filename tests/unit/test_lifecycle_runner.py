"""The runner and the services around it: deadlines, retries, aborts, restarts, and rules that the table cannot know."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, update
from sqlalchemy.event import listen

from app.services import lifecycle, machines, power
from app.services.context import Actor
from app.services.errors import Conflict, Forbidden, Invalid, NotFound
from app.store.models import BootToken, Disk, Event, IpAddress, Machine, Operation, PowerOperation
from tests.factories.control import clock_of, make_machine
from tests.factories.edge import Lab, make_lab
from workers.region.lifecycle import runner


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


def operation(lab: Lab, machine_id: int) -> Operation:
    found = machines.operation(lab.context, machine_id)
    assert found is not None
    return found


def rows(lab: Lab, model: Any) -> list[Any]:
    with lab.context.store.read() as session:
        return list(session.scalars(select(model).order_by(model.id)))


@pytest.mark.parametrize(
    ("action", "state", "failed", "words"),
    [
        ("commission", "NEW", "FAILED_COMMISSIONING", "did not boot from the network"),
        ("deploy", "ALLOCATED", "FAILED_DEPLOYMENT", "did not boot from the network"),
        ("release", "DEPLOYED", "FAILED_RELEASING", "so nothing was erased"),
    ],
)
def test_a_machine_that_never_boots_fails_at_the_deadline(
    lab: Lab, action: str, state: str, failed: str, words: str
) -> None:
    """Every transient state has a deadline and a failed twin whose reason says what was awaited and what to look at."""
    machine_id = make_machine(lab.context, lab.seeded, state=state)
    lifecycle.request(lab.context, machine_id, action)
    lab.settle(machine_id)

    assert operation(lab, machine_id).step == "boot"
    lab.pass_time(899)
    assert lab.row(machine_id).state not in (failed, "READY")
    lab.pass_time(2)
    row = lab.row(machine_id)
    assert row.state == failed
    assert str(row.state_reason).startswith(f"{action} failed at step boot: step boot took longer than 900 seconds")
    assert words in str(row.state_reason)
    assert operation(lab, machine_id).status == "failed"


def test_records_that_no_rack_applies_fail_the_deployment(lab: Lab) -> None:
    """The machine is not switched on before the racks know its address, and the wait has an end."""
    machine_id = make_machine(lab.context, lab.seeded, state="ALLOCATED")
    lifecycle.request(lab.context, machine_id, "deploy")
    runner.advance(lab.context, machine_id)
    lab.pass_time(5)

    assert operation(lab, machine_id).step == "records"
    assert rows(lab, PowerOperation)[0].verb == "query"
    assert all(row.verb == "query" for row in rows(lab, PowerOperation))
    lab.pass_time(180)
    assert lab.row(machine_id).state == "FAILED_DEPLOYMENT"


def test_a_power_order_is_given_three_times(lab: Lab) -> None:
    """A controller that refuses is asked again after a pause; then the reason is its own."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    for _ in range(3):
        runner.advance(lab.context, machine_id)
        assert lab.carry_out_power(ok=False) == ["netboot"]
        runner.advance(lab.context, machine_id)
        clock_of(lab.context).move(11)

    row = lab.row(machine_id)
    assert row.state == "FAILED_COMMISSIONING"
    assert "power netboot failed: the controller is busy (tried 3 times)" in str(row.state_reason)


def test_an_order_without_answer_is_lost(lab: Lab) -> None:
    """A rack that does not answer in time loses the order; the step gives it again."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    runner.advance(lab.context, machine_id)
    lab.pass_time(power.CLAIM_SECONDS + 1)

    assert [row.status for row in rows(lab, PowerOperation) if row.verb == "netboot"] == ["lost"]
    lab.pass_time(11)
    assert [row.status for row in rows(lab, PowerOperation) if row.verb == "netboot"] == ["lost", "waiting"]


def test_a_machine_without_bmc_waits_for_a_person(lab: Lab) -> None:
    """The timeline says which button to press, and the operation waits for the machine itself."""
    machine_id = make_machine(lab.context, lab.seeded, "byhand", bmc=False, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    runner.advance(lab.context, machine_id)

    assert operation(lab, machine_id).step == "boot"
    assert (
        "has no BMC: go to it, switch it on and boot it from the network"
        in operation(lab, machine_id).progress["message"]
    )
    assert any("and have it boot from the network" in event.message for event in rows(lab, Event))


@pytest.mark.parametrize(
    ("action", "state", "after"),
    [
        ("commission", "NEW", "NEW"),
        ("commission", "READY", "READY"),
        ("deploy", "READY", "ALLOCATED"),
        ("release", "DEPLOYED", "FAILED_RELEASING"),
    ],
)
def test_an_abort_ends_the_operation(lab: Lab, action: str, state: str, after: str) -> None:
    """Tokens die, addresses are free, the machine is switched off, and it stands where the action says."""
    machine_id = make_machine(lab.context, lab.seeded, state=state)
    lifecycle.request(lab.context, machine_id, action)
    lab.settle(machine_id)
    lifecycle.request(lab.context, machine_id, "abort")

    row = lab.row(machine_id)
    assert row.state == after
    assert f"{action} was aborted by muster at step boot" == row.state_reason
    assert operation(lab, machine_id).status == "aborted"
    assert all(token.revoked_at is not None for token in rows(lab, BootToken))
    assert [address.kind for address in rows(lab, IpAddress)] == []
    assert lab.carry_out_power() == ["off"]
    with pytest.raises(Conflict, match="nothing is under way to abort"):
        lifecycle.abort(lab.context, machine_id)


def test_another_worker_carries_on_from_the_row(lab: Lab) -> None:
    """Looking again, as a restarted worker does, repeats no order and skips no step."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    for _ in range(5):
        runner.advance(lab.context, machine_id)

    assert [row.verb for row in rows(lab, PowerOperation)] == ["netboot"]
    lab.carry_out_power()
    for _ in range(5):
        runner.advance(lab.context, machine_id)
    assert [row.verb for row in rows(lab, PowerOperation)] == ["netboot"]


def test_an_unexpected_error_is_retried_until_the_deadline(lab: Lab) -> None:
    """A step whose handler breaks neither stops the sweep nor keeps the machine for ever."""
    broken = make_machine(lab.context, lab.seeded, state="NEW")
    well = make_machine(lab.context, lab.seeded, state="NEW")
    for machine_id in (broken, well):
        lifecycle.request(lab.context, machine_id, "commission")
    with lab.context.store.write() as session:
        session.execute(
            update(Operation).where(Operation.machine_id == broken).values(step_index=1, step_data={"order": 99})
        )
    runner.sweep(lab.context)

    assert operation(lab, well).step == "power-on"
    assert lab.row(broken).state == "COMMISSIONING"
    assert "unexpected error (NoResultFound" in operation(lab, broken).progress["message"]
    lab.pass_time(3600)
    assert lab.row(broken).state == "FAILED_COMMISSIONING"


def test_steps_that_are_done_at_once_share_a_transaction(lab: Lab) -> None:
    """Arming the boot and ordering the power are one commit, and the timeline tells them in their order."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")
    commits: list[Any] = []
    listen(lab.context.store.engine, "commit", commits.append)
    runner.advance(lab.context, machine_id)

    assert 1 == len(commits)
    assert "power-on" == operation(lab, machine_id).step
    told = [
        row.detail["step"] for row in rows(lab, Event) if row.machine_id == machine_id and row.kind == "machine.step"
    ]
    assert ["arm", "power-on"] == told[-2:]


def test_a_broken_step_does_not_undo_the_step_before_it(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """The good step is kept and the bad one is named, though both would have been one transaction."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    lifecycle.request(lab.context, machine_id, "commission")

    def broken(*words: Any) -> None:
        raise RuntimeError("no order today")

    monkeypatch.setattr(power, "order", broken)
    runner.advance(lab.context, machine_id)

    assert "power-on" == operation(lab, machine_id).step
    assert "unexpected error (RuntimeError: no order today)" in operation(lab, machine_id).progress["message"]
    assert ["commission"] == [row.purpose for row in rows(lab, BootToken) if row.revoked_at is None]


def test_releasing_what_was_never_deployed_is_immediate(lab: Lab) -> None:
    """An ALLOCATED machine is READY at once, without a boot, and belongs to nobody."""
    machine_id = make_machine(lab.context, lab.seeded, state="ALLOCATED", owner_id=lab.seeded.user_id)
    done = lifecycle.request(lab.context, machine_id, "release")

    assert (done.status, lab.row(machine_id).state, lab.row(machine_id).owner_id) == ("succeeded", "READY", None)


def test_a_release_that_keeps_the_data_boots_nothing(lab: Lab) -> None:
    """erase=none only switches off and frees."""
    machine_id = make_machine(lab.context, lab.seeded, state="DEPLOYED")
    lifecycle.request(lab.context, machine_id, "release", {"erase": "none"})

    assert lab.settle(machine_id) == ["off"]
    assert lab.row(machine_id).state == "READY"


def test_a_broken_machine_is_fixed_only_with_an_inventory(lab: Lab) -> None:
    """mark-fixed leads to READY; a machine that was never commissioned must be commissioned instead."""
    known = make_machine(lab.context, lab.seeded, inventory={"cpu": {}})
    unknown = make_machine(lab.context, lab.seeded, state="NEW")
    for machine_id in (known, unknown):
        lifecycle.request(lab.context, machine_id, "mark-broken", {"comment": "fan is loud"})
    lifecycle.request(lab.context, known, "mark-fixed")

    assert (lab.row(unknown).state, lab.row(unknown).state_reason) == ("BROKEN", "fan is loud")
    assert lab.row(known).state == "READY"
    with pytest.raises(Conflict, match="was never commissioned"):
        lifecycle.request(lab.context, unknown, "mark-fixed")


def test_requests_are_checked(lab: Lab) -> None:
    """Unknown verbs, wrong parameters, wrong states, wrong owners and too small roles are refused by name."""
    mine = make_machine(lab.context, lab.seeded, "mine", state="DEPLOYED", owner_id=lab.seeded.user_id)
    bob = lab.context.acting_as(Actor("bob", "operator", 77))

    with pytest.raises(NotFound, match="action 'fly'"):
        lifecycle.request(lab.context, mine, "fly")
    with pytest.raises(NotFound, match="no such machine"):
        lifecycle.request(lab.context, 4711, "release")
    with pytest.raises(Invalid, match="unknown parameter 'speed'"):
        lifecycle.request(lab.context, mine, "release", {"speed": 1})
    with pytest.raises(Invalid, match="choose quick, full, none"):
        lifecycle.request(lab.context, mine, "release", {"erase": "gently"})
    with pytest.raises(Conflict, match="mine: commission: the machine is Deployed"):
        lifecycle.request(lab.context, mine, "commission")
    with pytest.raises(Forbidden, match="belongs to someone else"):
        lifecycle.request(bob, mine, "release")
    with pytest.raises(Forbidden, match="may not release machines"):
        lifecycle.request(lab.context.acting_as(Actor("eve", "viewer", 5)), mine, "release")


def test_a_deployment_that_cannot_come_right_is_refused(lab: Lab) -> None:
    """No disk, a disk too small, an image nobody has and user data that cloud-init ignores are said at once."""
    bare = make_machine(lab.context, lab.seeded, disk_bytes=None)
    small = make_machine(lab.context, lab.seeded, disk_bytes=10**9)
    good = make_machine(lab.context, lab.seeded)

    with pytest.raises(Conflict, match="the machine has no disk"):
        lifecycle.request(lab.context, bare, "deploy")
    with pytest.raises(Conflict, match="the flat layout needs"):
        lifecycle.request(lab.context, small, "deploy")
    with pytest.raises(Conflict, match="image beos: there is no current image"):
        lifecycle.request(lab.context, good, "deploy", {"image": "beos"})
    with pytest.raises(Invalid, match="which cloud-init ignores"):
        lifecycle.request(lab.context, good, "deploy", {"user_data": "hello"})
    assert len(rows(lab, Disk)) == 2
    assert {row.state for row in rows(lab, Machine)} == {"READY"}


def test_power_is_polled_when_it_was_not_seen_for_long(lab: Lab) -> None:
    """The sweep orders one query for each machine with a BMC, and not again before its time."""
    make_machine(lab.context, lab.seeded)
    make_machine(lab.context, lab.seeded, bmc=False)
    runner.sweep(lab.context)
    runner.sweep(lab.context)

    assert [row.verb for row in rows(lab, PowerOperation)] == ["query"]


def test_old_answers_about_power_are_forgotten(lab: Lab) -> None:
    """A fleet that is asked every few minutes does not fill the table: answers go after an hour, orders stay."""
    machine_id = make_machine(lab.context, lab.seeded, state="NEW")
    power.request(lab.context, machine_id, "on")
    for _ in range(20):
        runner.sweep(lab.context)
        lab.carry_out_power()
        clock_of(lab.context).move(600)

    verbs = [row.verb for row in rows(lab, PowerOperation)]
    assert verbs[0] == "on"
    assert 5 <= verbs.count("query") <= 8


def test_progress_of_one_step_is_not_shown_for_the_next(lab: Lab) -> None:
    """A fraction belongs to the step that reported it."""
    machine = lab.machine()
    machine_id = int(machine.enlist()["machine"])
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    machine.boot()
    machine.get("/task")
    body = {"event": "progress", "step": "cpu", "message": "running cpu", "fraction": 0.5}
    assert machine.post("/status", body).status_code == 204
    during = operation(lab, machine_id).progress
    lab.settle(machine_id)

    assert (during["fraction"], during["agent_step"]) == (0.5, "cpu")
    assert "fraction" not in operation(lab, machine_id).progress
