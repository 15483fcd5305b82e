"""What machines have logged: all of it, or one machine's; searched by text, program and severity, refreshed while seen."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import machines, syslog
from app.services.errors import Invalid
from app.services.syslog import SyslogFilters
from app.web.paging import asked_id

PAGE = 200
LONGEST_TEXT = 200


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/syslog", "syslog_list", syslog_list)
    blueprint.add_url_rule("/machines/<machine>/syslog", "machine_syslog", machine_syslog)


def syslog_list() -> str:
    """Lines of all machines, and of addresses that are no machine's."""
    return _page("/syslog", None)


def machine_syslog(machine: str) -> str:
    """Lines of one machine."""
    row = machines.get(current_context(), machine)
    return _page(f"/machines/{row.id}/syslog", row)


def _page(path: str, machine: Any) -> str:
    context = current_context()
    severity, program, text = (
        request.args.get(name, "").strip()[:LONGEST_TEXT] for name in ("severity", "program", "text")
    )
    if severity and severity not in syslog.SEVERITIES:
        raise Invalid(
            f"severity {severity!r} is not one of {', '.join(syslog.SEVERITIES)}; choose one of them", field="severity"
        )
    before = asked_id("before")
    filters = SyslogFilters(
        machine_id=machine.id if machine else None,
        severity=severity or None,
        program=program or None,
        text=text or None,
    )
    lines = syslog.find(context, filters, before or 0, PAGE)
    given = (("severity", severity), ("program", program), ("text", text))
    asked = {name: value for name, value in given if value}
    return render_template(
        "_syslog_rows.html" if request.headers.get("HX-Request") else "syslog.html",
        context=context,
        lines=lines,
        names=syslog.hostnames(context, lines) if machine is None else {},
        machine=machine,
        path=path,
        severities=syslog.SEVERITIES,
        severity=severity,
        program=program,
        text=text,
        live=before is None,
        this_page=f"{path}?{urlencode(asked)}",
        first_page=f"{path}?{urlencode(asked)}" if before is not None else None,
        next_page=f"{path}?{urlencode({**asked, 'before': lines[-1].id})}" if len(lines) == PAGE else None,
    )
