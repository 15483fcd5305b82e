"""Syslog on its way from a rack's spool to the store: once each, the right machine's, bounded, harmless, searchable."""

from __future__ import annotations

import datetime as dt
import json
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.config import load
from app.factory import create_app
from app.services import retention, settings, syslog, syslog_reports
from app.services.addressing import address_key
from app.services.context import Actor, Context
from app.services.errors import Invalid
from app.services.syslog import SyslogFilters
from app.store.models import BootToken, Interface, IpAddress, Lease, Machine, SyslogLine, SyslogPosition
from tests.factories.control import RACK_TOKEN, Seeded, clock_of, make_context, make_machine, seed
from workers.rack.client import ControlPlaneDown
from workers.rack.sensors.syslog import LINES_A_MINUTE, SyslogSensor, parse

SOURCE = "10.20.0.7"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A store with rack-1, which serves 10.20.0.0/24, as an administrator sees it."""
    return make_context(tmp_path).acting_as(Actor("alice", "admin"))


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """Its rows."""
    return seed(context)


class Rack:
    """A rack's spool, and its sensor before the real edge of the control plane; the wire may fail on the way back."""

    def __init__(self, application: Flask, folder: Path) -> None:
        self._client = application.test_client()
        self.spool = folder / "lines"
        self.sent: list[int] = []
        self.loses_answers = False
        self.sensor = SyslogSensor(self.spool, self, threading.Event())

    def report_syslog(self, report: Mapping[str, Any]) -> dict[str, Any]:
        """What `ControlPlane` does over HTTP."""
        headers = {"Authorization": f"Bearer {RACK_TOKEN}"}
        answer = self._client.post("/rack/v1/reports/syslog", json=dict(report), headers=headers)
        assert 200 == answer.status_code, answer.text
        self.sent.append(len(report["lines"]))
        if self.loses_answers:
            raise ControlPlaneDown("the answer is lost")
        return dict(answer.json)

    def begin_anew(self) -> None:
        """The agent is started again."""
        self.sensor = SyslogSensor(self.spool, self, threading.Event())

    def log(self, *messages: str, source: str = SOURCE, **other: Any) -> None:
        """rsyslog writes lines."""
        with self.spool.open("a") as file:
            file.writelines(json.dumps(entry(message, source, **other)) + "\n" for message in messages)

    def turn_ring(self) -> None:
        """rsyslog's file is full."""
        self.spool.rename(self.spool.with_name("lines.1"))

    def tell_all(self) -> None:
        """Until there is nothing more."""
        while self.sensor.tell():
            pass


def entry(message: str, source: str, **other: Any) -> dict[str, Any]:
    """A line of the spool, as rsyslog writes it."""
    return {
        "id": uuid.uuid4().hex.upper(), "at": "2026-01-01T11:59:30.000000+00:00", "source": source, "facility": "3",
        "severity": "6", "host": "one", "program": "app", "process": "12", "message": f" {message}",
    } | other  # fmt: skip


@pytest.fixture
def rack(context: Context, seeded: Seeded, tmp_path: Path) -> Rack:
    """rack-1."""
    config = load({"MUSTER_STATE_DIR": str(tmp_path / "state")})
    return Rack(create_app(context, config), tmp_path)


def give_address(context: Context, seeded: Seeded, machine_id: int, address: str, since: dt.datetime) -> None:
    """The machine's interface has an address from then on."""
    with context.store.write() as session:
        interface = session.scalars(select(Interface).where(Interface.machine_id == machine_id)).one()
        session.add(
            IpAddress(
                subnet_id=seeded.subnet_id, address=address, address_key=address_key(address), kind="auto",
                interface_id=interface.id, created_at=since,
            )
        )  # fmt: skip


def messages(context: Context, **filters: Any) -> list[str]:
    """Messages, newest first."""
    return [line.message for line in syslog.find(context, SyslogFilters(**filters), limit=500)]


def test_lines_arrive_once_in_order(context: Context, rack: Rack) -> None:
    """Also when answers are lost, the agent begins anew, the ring turns, and the control plane lost its last rows."""
    rack.log("one", "two")
    rack.tell_all()
    rack.log("three")
    rack.loses_answers = True
    with pytest.raises(ControlPlaneDown):
        rack.tell_all()
    rack.loses_answers = False
    rack.log("four")
    rack.tell_all()
    rack.begin_anew()
    rack.turn_ring()
    rack.log("five")
    with rack.spool.open("a") as file:
        file.write('{"half of a line')
    rack.tell_all()
    first = messages(context)
    with context.store.write() as session:  # A backup from before lines four and five.
        lost = select(SyslogLine).where(SyslogLine.message.in_(("four", "five")))
        for line in session.scalars(lost):
            session.delete(line)
        session.execute(SyslogPosition.__table__.delete().where(SyslogPosition.position < 10**4))
    rack.begin_anew()
    rack.tell_all()

    assert ["five", "four", "three", "two", "one"] == first
    assert ["five", "four", "three", "two", "one"] == messages(context)[:5]


def test_a_batch_that_does_not_begin_where_the_last_ended_is_not_taken(context: Context, seeded: Seeded) -> None:
    """The rack is told where to go on; a report that makes no sense is refused."""
    stream, item = uuid.uuid4().hex, parse(json.dumps(entry("x", SOURCE)).encode())

    def tell(begin: int, end: int, items: list[Any], of: str = stream) -> int:
        return syslog_reports.report(context, seeded.rack_id, of, begin, end, items).position

    places = [tell(0, 0, []), tell(0, 50, [item]), tell(0, 50, [item]), tell(70, 90, [item]), tell(50, 90, [item])]

    assert [0, 50, 50, 50, 90] == places
    assert ["x", "x"] == messages(context)
    for begin, end, items, of in (
        (9, 8, [], stream),
        (5, 5, [item], stream),
        (0, 1, [], "x"),
        (0, 1, [item] * 501, stream),
    ):
        with pytest.raises(Invalid):
            tell(begin, end, items, of)


def test_lines_are_the_machines_that_had_the_address(context: Context, seeded: Seeded, rack: Rack) -> None:
    """By its address, its lease or its boot token; not by an address that it was given after the line was written."""
    now = context.clock()
    ids = {name: make_machine(context, seeded, name) for name in ("fixed", "leased", "booting", "later")}
    give_address(context, seeded, ids["fixed"], "10.20.0.11", now - dt.timedelta(hours=1))
    give_address(context, seeded, ids["later"], "10.20.0.14", now + dt.timedelta(minutes=5))
    with context.store.write() as session:
        mac = session.scalar(select(Interface.mac).where(Interface.machine_id == ids["leased"]))
        session.add(
            Lease(
                rack_id=seeded.rack_id, subnet_id=seeded.subnet_id, address="10.20.0.112",
                address_key=address_key("10.20.0.112"), mac=mac, started_at=now - dt.timedelta(hours=1),
                expires_at=now + dt.timedelta(hours=1),
            )
        )  # fmt: skip
        session.add(
            BootToken(
                token_hash="x", purpose="install", machine_id=ids["booting"], address="10.20.0.113",
                issued_at=now - dt.timedelta(minutes=9), expires_at=now + dt.timedelta(hours=1),
            )
        )  # fmt: skip
    for address in ("10.20.0.11", "10.20.0.112", "10.20.0.113", "10.20.0.14"):
        rack.log(f"from {address}", source=address)
    rack.tell_all()
    whose = {line.address: line.machine_id for line in syslog.find(context, SyslogFilters())}

    assert {
        "10.20.0.11": ids["fixed"], "10.20.0.112": ids["leased"], "10.20.0.113": ids["booting"], "10.20.0.14": None,
    } == whose  # fmt: skip


def test_a_rack_tells_of_its_own_subnets_and_nothing_that_hurts(context: Context, rack: Rack) -> None:
    """Foreign addresses and nonsense are refused while the rest is kept; times of tomorrow and control characters are mended."""
    rack.log("foreign", source="10.99.0.1")
    rack.log("bad", severity="9")
    rack.log("bad", at="yesterday")
    rack.log("\x1b[31mred\u202e\tend", at="2027-01-01T00:00:00+00:00", program="a\nb", host="h" * 999)
    rack.log("z" * 9000)
    rack.tell_all()
    long, hurt = syslog.find(context, SyslogFilters())

    assert ("\ufffd[31mred\ufffd end", "a\ufffdb", 255, context.clock()) == (
        hurt.message, hurt.program, len(hurt.host), hurt.at,
    )  # fmt: skip
    assert 4096 == len(long.message)


def test_one_machine_does_not_push_the_others_out(context: Context, rack: Rack) -> None:
    """What is too much of one address in a minute is left out with a word; a probe's own lines always are."""
    rack.log(*(f"line {number}" for number in range(LINES_A_MINUTE + 700)))
    rack.log("quiet", source="10.20.0.8")
    rack.log("nonce 10.20.0.1", source="10.20.0.1", program="muster-rack-probe")
    rack.log("nonce 10.20.0.1", source="10.20.0.8", program="muster-rack-probe")
    rack.tell_all()
    with context.store.read() as session:
        counts = dict(session.execute(select(SyslogLine.address, func.count()).group_by(SyslogLine.address)).all())
    words = messages(context, program="muster-rack", severity="warning")

    assert {SOURCE: LINES_A_MINUTE + 1, "10.20.0.8": 2} == counts
    assert 1 == len(words)
    assert f"more than {LINES_A_MINUTE} lines of {SOURCE}" in words[0]


def test_what_is_kept_is_bounded(context: Context, seeded: Seeded, rack: Rack) -> None:
    """By number at every moment, and by age and number of each machine when old rows are deleted."""
    machine = make_machine(context, seeded)
    give_address(context, seeded, machine, SOURCE, context.clock() - dt.timedelta(hours=1))
    settings.change(context, "retention", {"syslog_lines": 10, "syslog_each": 4, "syslog_days": 5})
    for number in range(6):
        rack.log(*(f"{number}.{part}" for part in range(4)))
        rack.tell_all()
    whole = messages(context)
    retention.prune(context)
    each = messages(context)
    clock_of(context).move(6 * 86400)
    retention.prune(context)

    assert (10, "5.3", ["5.3", "5.2", "5.1", "5.0"], []) == (len(whole), whole[0], each, messages(context))
    with pytest.raises(Invalid):
        settings.change(context, "retention", {"syslog_lines": 100_000_001})


def test_machines_that_go_take_their_lines_along(context: Context, seeded: Seeded, rack: Rack) -> None:
    """A deleted machine's lines go; those of nobody stay."""
    machine = make_machine(context, seeded)
    give_address(context, seeded, machine, SOURCE, context.clock() - dt.timedelta(hours=1))
    rack.log("mine")
    rack.log("nobody's", source="10.20.0.8")
    rack.tell_all()
    with context.store.write() as session:
        session.delete(session.get_one(Machine, machine))

    assert ["nobody's"] == messages(context)
