"""What happened (events) and who changed what (the audit), newest first."""

from __future__ import annotations

import json
from urllib.parse import urlencode

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import events
from app.services.errors import Invalid
from app.web.paging import asked_id

PAGE = 100


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/events", "event_list", event_list)
    blueprint.add_url_rule("/audit", "audit_list", audit_list)


def event_list() -> str:
    """Events of all machines and racks, or of one."""
    context = current_context()
    level = request.args.get("level", "")
    if level and level not in events.LEVELS:
        raise Invalid(f"level {level!r} is not one of {', '.join(events.LEVELS)}; choose one of them", field="level")
    before, machine, rack = (asked_id(name) for name in ("before", "machine", "rack"))
    rows = events.newest(context, PAGE, machine_id=machine, rack_id=rack, level=level or None, before=before)
    rows.reverse()
    asked = {name: value for name, value in (("level", level), ("machine", machine), ("rack", rack)) if value}
    template = "_event_rows.html" if request.headers.get("HX-Request") else "events.html"
    return render_template(
        template,
        context=context,
        events=rows,
        level=level,
        levels=events.LEVELS,
        machine=machine,
        rack=rack,
        live=before is None,
        this_page=urlencode(asked),
        first_page="/events?" + urlencode(asked) if before is not None else None,
        next_page="/events?" + urlencode({**asked, "before": rows[-1].id}) if len(rows) == PAGE else None,
    )


def audit_list() -> str:
    """Who changed which desired state."""
    context = current_context()
    before = asked_id("before")
    rows = events.newest_changes(context, PAGE, before)
    return render_template(
        "audit.html",
        context=context,
        changes=rows,
        words=lambda detail: json.dumps(detail, sort_keys=True, ensure_ascii=False) if detail else "",
        first_page="/audit" if before is not None else None,
        next_page=f"/audit?before={rows[-1].id}" if len(rows) == PAGE else None,
    )
