"""Pushes to a rack host in trouble: a full disk, an old offer, a second rack worker."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from app.services import offers
from app.services.changes import changing
from app.store.models import Offer, Rack
from lab import namespace
from tests.daemons.killed_agent import FILL, FILLER, fill
from tests.daemons.push_lab import PATIENCE, PushLab
from tests.daemons.rack_host import REPOSITORY
from tests.daemons.rack_root import eventually

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]


@contextmanager
def room_again(lab: PushLab) -> Iterator[Path]:
    """A file that takes all that is free on the rack's disk, once it is filled; it is gone afterwards."""
    path = lab.host.root / FILLER
    try:
        yield path
    finally:
        path.unlink(missing_ok=True)


def test_a_full_disk_takes_no_offer_and_hurts_nobody(lab: PushLab) -> None:
    """The rack says that its disk is full and serves on; with room again it takes the offer by itself."""
    before = lab.host.pids()
    lab.change()
    with room_again(lab) as filler:
        fill(filler)
        number = lab.offer()

        def told() -> None:
            assert "failed" == lab.reports(number)["offer"].outcome

        eventually(told, PATIENCE)
        lab.assert_serves()
        assert before == lab.host.pids()
        lab.assert_said(
            "offer", "the rack's disk is full: No space left on device", "Nothing was touched", "root: update"
        )
    reports = lab.settled(number)

    assert "kept" == reports["kea4"].outcome
    assert 1 == sum(one.service == "offer" for one in reports.values())
    lab.assert_serves()


@pytest.mark.parametrize(
    ("step", "outcome", "put_back"),
    [
        ("stage", "failed", "Nothing was touched: kea4 goes on with the files of offer"),
        ("keep", "undone", "were put back and serve"),
    ],
)
def test_a_disk_that_fills_up_during_an_apply_leaves_the_old_files(
    lab: PushLab, step: str, outcome: str, put_back: str
) -> None:
    """Before Kea was touched or after: Kea serves by its old files, and a retry with room is kept."""
    before = lab.host.pids()
    lab.change()
    with room_again(lab):
        (lab.host.root / FILL).write_text(f"kea4 {step}")
        kea = lab.settled(lab.offer())["kea4"]
        lab.assert_serves()

        assert (outcome, before) == (kea.outcome, lab.host.pids())
        assert kea.undone_ok in (None, True)
        lab.assert_said("kea4", "the rack's disk is full: No space left on device", put_back, "root: update")
    lab.muster("rack", "retry", "rack-1")

    assert "kept" == lab.push()["kea4"].outcome
    lab.assert_serves()


def test_a_stale_offer_is_refused_and_told(lab: PushLab) -> None:
    """An offer with a lower number, well signed, changes nothing; the control plane raises its numbers and goes on."""
    before = lab.host.pids()
    with lab.context.store.read() as session:
        done = session.get_one(Rack, lab.seeded.rack_id).offer_number
        content = session.query(Offer).order_by(Offer.number.desc()).first()
        assert content is not None
        text, old = content.content, done - 1
    with changing(lab.context) as session:
        # As after a restore of the database: the newest offers are gone, an old number is given away again.
        rack = session.get_one(Rack, lab.seeded.rack_id)
        session.query(Offer).filter(Offer.number >= old).delete()
        rack.offer_number = old
        session.add(
            Offer(
                rack_id=rack.id,
                number=old,
                generation=rack.generation,
                content=text,
                signature=offers.sign(session, lab.context, old, rack.name, text.encode()),
                digests={},
                created_at=lab.context.clock(),
            )
        )

    def told() -> None:
        refused = lab.reports(old)["offer"]
        assert f"offer {old} is not newer than {done}, which was dealt with" in str(refused.reason)

    eventually(told, PATIENCE)
    assert before == lab.host.pids()
    lab.assert_serves()
    lab.assert_said("offer", f"Offer {old} as a whole was not taken", "Nothing was touched")

    def raised() -> None:
        with lab.context.store.read() as session:
            assert session.get_one(Rack, lab.seeded.rack_id).offer_number >= done

    eventually(raised, PATIENCE)
    number = lab.offer()

    assert number > done
    assert {"unchanged"} == {one.outcome for one in lab.settled(number).values()}
    assert before == lab.host.pids()


def test_a_second_rack_worker_is_turned_away(lab: PushLab) -> None:
    """It says who holds the rack and ends; the first one is not disturbed, and its lock dies with it."""
    agent = lab.host.units.pid("agent")
    argv = [*namespace.exec_prefix(lab.host.inside), sys.executable, "-m", "workers.rack", "agent", "--root"]
    second = subprocess.run(
        [*argv, str(lab.host.root)], cwd=REPOSITORY, capture_output=True, text=True, timeout=120, check=False
    )
    lab.change()

    assert 3 == second.returncode
    assert f"a rack worker runs in {lab.host.root} already (process {agent}," in second.stderr
    assert "Traceback" not in second.stderr
    assert "kept" == lab.push()["kea4"].outcome
    assert agent == lab.host.units.pid("agent")
    lab.host.units.signal("agent", "KILL")
    lab.change()

    assert "kept" == lab.push()["kea4"].outcome
    assert agent != lab.host.units.pid("agent")
    lab.assert_serves()
