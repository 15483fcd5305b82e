"""Syslog on pages: a machine's own, everybody's, searched, refreshed, and harmless whatever was logged."""

from __future__ import annotations

import datetime as dt

from flask import Flask, render_template

from app.services import syslog
from app.services.context import Context
from app.store.models import SyslogLine
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser
from tests.web.test_hostile import BAD


def log(context: Context, machine_id: int | None, severity: int, message: str) -> None:
    """One line."""
    with context.store.write() as session:
        session.add(
            SyslogLine(
                machine_id=machine_id, address="10.20.0.7", facility=4, severity=severity, host="liar", program="sshd",
                process="", message=message, at=context.clock(),
            )
        )  # fmt: skip


def test_a_machines_lines_are_shown_and_searched(context: Context, seeded: Seeded, vera: Browser) -> None:
    """The machine's page shows the newest, its syslog's page all of them, by text and severity; what is logged is text."""
    machine = make_machine(context, seeded, "node-1")
    log(context, machine, 6, "accepted key")
    log(context, machine, 3, f"disk gone {BAD}")
    log(context, None, 4, "from a stranger")
    card = vera.page(f"/machines/{machine}").one("section", id="card-syslog")
    page = vera.page(f"/machines/{machine}/syslog")
    rows = page.one("tbody", id="rows").text
    found = vera.get(f"/machines/{machine}/syslog?severity=err&text=GONE", htmx=True)
    everybody = vera.page("/syslog").one("tbody", id="rows").text

    assert BAD in card.text
    assert BAD in rows
    assert ("accepted key" in rows, "stranger" in rows) == (True, False)
    assert ("accepted" in found.text, "disk gone" in found.text) == (False, True)
    assert ("10.20.0.7" in everybody, "node-1" in everybody, "liar" in everybody) == (True, True, False)
    assert "No line is like this." in vera.page("/syslog?text=nowhere").one("tbody", id="rows").text
    assert [422, 422, 404] == [
        vera.get(path).status_code for path in ("/syslog?severity=loud", "/syslog?before=x", "/machines/who/syslog")
    ]


def test_a_machine_that_is_gone_since_the_lines_were_read_is_its_address(application: Flask) -> None:
    """Its name is asked for after the lines, and may be nobody's by then."""
    line = SyslogLine(
        id=1, machine_id=7, address="10.20.0.7", facility=1, severity=6, host="", program="a", process="", message="m",
        at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC),
    )  # fmt: skip
    with application.test_request_context():
        rows = render_template("_syslog_rows.html", lines=[line], names={}, machine=None, severities=syslog.SEVERITIES)

    assert "10.20.0.7" in rows


def test_older_lines_are_a_page_away(context: Context, seeded: Seeded, vera: Browser) -> None:
    """A page has 200 lines and goes on below them with the same filter; only the newest page refreshes itself."""
    with context.store.write() as session:
        for number in range(205):
            session.add(
                SyslogLine(
                    address="10.20.0.7", facility=1, severity=6, host="", program="a", process="", message=f"m{number}.",
                    at=context.clock(),
                )
            )  # fmt: skip
    newest = vera.page("/syslog?program=a")
    older = next(one.attributes["href"] for one in newest.all("a") if one.text == "Older")
    page = vera.page(str(older))

    words = [one.one("tbody", id="rows").text.split() for one in (newest, page)]
    assert (True, True, False) == tuple(message in words[0] for message in ("m204.", "m5.", "m4."))
    assert (True, False) == tuple(message in words[1] for message in ("m4.", "m5."))
    assert "program=a" in str(older)
    assert ("4", None) == tuple(one.one("body").attributes.get("data-every") for one in (newest, page))
