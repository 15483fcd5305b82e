"""Lines of syslog through the API and on pages: searched, in pages, newest first."""

from __future__ import annotations

import datetime as dt

from app.services.context import Context
from app.store.models import SyslogLine
from tests.api.conftest import Caller
from tests.factories.control import Seeded, make_machine

BASE = dt.datetime(2026, 1, 1, 12, 0, tzinfo=dt.UTC)


def log(context: Context, seeded: Seeded, machine_id: int | None, *lines: tuple[int, str, str]) -> None:
    """Lines of severity, program and message, a minute after one another."""
    with context.store.write() as session:
        for number, (severity, program, message) in enumerate(lines):
            session.add(
                SyslogLine(
                    rack_id=seeded.rack_id, machine_id=machine_id, address="10.20.0.7", facility=4, severity=severity,
                    host="one", program=program, process="7", message=message, at=BASE + dt.timedelta(minutes=number),
                )
            )  # fmt: skip


def test_lines_are_found_by_what_is_asked(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """By machine, severity and graver, program, text, time, address and rack; unknown words are refused."""
    one = make_machine(context, seeded, "one")
    log(context, seeded, one, (6, "sshd", "Accepted key"), (3, "kernel", "I/O error, 100%"), (4, "sshd", "a_b"))
    log(context, seeded, None, (6, "dhclient", "hello"))
    cases = {
        "/machines/one/syslog": ["a_b", "I/O error, 100%", "Accepted key"],
        f"/syslog?machine={one}": ["a_b", "I/O error, 100%", "Accepted key"],
        "/syslog": ["hello", "a_b", "I/O error, 100%", "Accepted key"],
        "/syslog?severity=warning": ["a_b", "I/O error, 100%"],
        "/machines/one/syslog?severity=err": ["I/O error, 100%"],
        "/syslog?program=sshd&text=KEY": ["Accepted key"],
        "/syslog?text=0%25": ["I/O error, 100%"],
        "/syslog?text=A_": ["a_b"],
        "/machines/one/syslog?since=2026-01-01T12:01:00Z&until=2026-01-01T12:01:30Z": ["I/O error, 100%"],
        f"/syslog?rack_id={seeded.rack_id}&address=10.20.0.7&limit=1": ["hello"],
        "/syslog?address=10.20.0.8": [],
    }
    found = {path: [one["message"] for one in viewer.get(path).get_json()["items"]] for path in cases}
    first = viewer.get("/syslog?limit=3").get_json()
    rest = viewer.get(f"/syslog?limit=3&after={first['next']}").get_json()

    assert cases == found
    assert (["Accepted key"], None) == ([one["message"] for one in rest["items"]], rest["next"])
    assert ("auth", "info", "one", "sshd", "7", one) == tuple(
        rest["items"][0][name] for name in ("facility", "severity", "host", "program", "process", "machine_id")
    )
    bad = ("/syslog?severity=loud", "/syslog?txt=x", "/syslog?since=now", "/syslog?address=x", "/machines/who/syslog")
    assert [422, 422, 422, 422, 404] == [viewer.get(path).status_code for path in bad]


def test_pages_go_on_where_numbers_are_long(viewer: Caller, context: Context, seeded: Seeded) -> None:
    """Thousands of machines log thousands of millions of lines; other things are never so many."""
    with context.store.write() as session:
        for number in range(2**31, 2**31 + 2):
            session.add(
                SyslogLine(
                    id=number, address="10.20.0.7", facility=4, severity=6, host="", program="", process="",
                    message=f"line {number}", at=BASE,
                )
            )  # fmt: skip
    first = viewer.get("/syslog?limit=1").get_json()
    rest = viewer.get(f"/syslog?limit=1&after={first['next']}").get_json()

    assert ["line 2147483649", "line 2147483648"] == [page["items"][0]["message"] for page in (first, rest)]
    assert 422 == viewer.get(f"/syslog?after={2**53}").status_code
