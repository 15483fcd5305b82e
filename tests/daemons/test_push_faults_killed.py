"""The rack worker is killed (SIGKILL) at every step of an apply: machines are served, and the offer is carried out."""

from __future__ import annotations

import pytest

from app.store.models import Apply
from lab import namespace
from lab.dhcp_client import discover_and_request
from tests.daemons.killed_agent import KILL
from tests.daemons.push_lab import PATIENCE, PushLab, edited
from tests.daemons.rack_host import MAC
from tests.daemons.rack_root import eventually

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]

BEFORE_THE_JOURNAL = [("offer", "received"), *(("kea4", step) for step in ("stage", "check", "baseline", "journal"))]
IN_THE_MIDDLE = [("kea4", step) for step in ("swap", "seed", "activate", "probe", "keep", "last-good", "clear")]
AFTERWARDS = [("kea4", "prune"), ("offer", "applied"), ("offer", "done")]


def lease_seconds(lab: PushLab) -> int:
    """The lease that a client with an operating system is given: what the running Kea was told."""

    def ask() -> int:
        given = discover_and_request("end0", MAC, architecture=0xFFFF, vendor_class="systemd")
        return int.from_bytes(given.options[51], "big")

    return namespace.inside(f"{lab.host.inside}-c", ask)


def kill_at(lab: PushLab, service: str, step: str) -> None:
    """The next time an apply comes to the step, the worker is killed."""
    (lab.host.root / KILL).write_text(f"{service} {step}")


def killed(lab: PushLab) -> None:
    """Wait until it was killed."""
    eventually(lambda: _gone(lab), PATIENCE)


def _gone(lab: PushLab) -> None:
    assert not (lab.host.root / KILL).exists()


def interrupted(lab: PushLab, number: int) -> list[Apply]:
    """Reports that an apply of the offer was interrupted."""
    with lab.context.store.read() as session:
        return list(session.query(Apply).filter_by(offer_number=number, stage="interrupted"))


@pytest.mark.parametrize(("service", "step"), [*BEFORE_THE_JOURNAL, *IN_THE_MIDDLE, *AFTERWARDS])
def test_a_worker_killed_at_a_step_of_an_apply(lab: PushLab, service: str, step: str) -> None:
    """The next worker carries the offer out; what it found half done it puts back first and says so; others are untouched."""
    before = lab.host.pids()
    lease = lab.change()
    kill_at(lab, service, step)
    number = lab.offer()
    killed(lab)
    lab.host.discover()
    reports = lab.settled(number)
    found = interrupted(lab, number)

    assert reports["kea4"].outcome in ("kept", "unchanged")
    assert lease == lease_seconds(lab)
    lab.assert_serves()
    assert {"kea4"} >= {name for name, pid in lab.host.pids().items() if pid != before[name]}
    assert not (lab.host.root / "services" / "kea4" / "applying.json").exists()
    if (service, step) in IN_THE_MIDDLE:
        assert [("kea4", "undone", True)] == [(one.service, one.outcome, one.undone_ok) for one in found]
    else:
        assert [] == found


@pytest.mark.parametrize("step", ["undo", "undone"])
def test_a_worker_killed_while_it_puts_back(lab: PushLab, step: str) -> None:
    """The next worker puts back what was left, tries the offer once more, puts that back too, and tells both."""
    before = lab.host.pids()
    lease = lab.change()
    path = lab.host.intent.layout.state_path("kea4", "kea-leases4.csv")
    kill_at(lab, "kea4", step)
    number = lab.offer(edited("kea4", lambda text: text.replace(path, "/proc/muster/kea-leases4.csv")))
    killed(lab)
    kea = lab.settled(number)["kea4"]

    assert ("undone", "activate", True) == (kea.outcome, kea.stage, kea.undone_ok)
    assert [True] == [one.undone_ok for one in interrupted(lab, number)]
    assert lease - 1 == lease_seconds(lab)
    lab.assert_serves()
    assert {"kea4"} >= {name for name, pid in lab.host.pids().items() if pid != before[name]}
    lab.assert_said("kea4", "/proc/muster/kea-leases4.csv", "were put back and serve", "root: update")
