"""What racks say of the zones they serve, and the keys of outside secondaries that their bundles refer to."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from app.rackapi.caller import body, calling_rack, take
from app.services import dns_secondaries, zone_reports
from app.services.errors import Invalid

LARGE_BODY = 1024 * 1024
NAME = 512


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.post("/reports/zones")(observed)
    blueprint.get("/secrets/<name>")(secret)


def observed() -> Response:
    """The serial of every zone at the rack, and what somebody else had changed there."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    serials = {}
    for item in take(data, "zones", list):
        zone, serial = _member(item, "zone"), take(item, "serial", int)
        if serial > zone_reports.LARGEST_SERIAL:
            raise Invalid(f"serial {serial}: a serial has 32 bits", field="zones")
        serials[zone] = serial
    foreign = [
        {name: _member(item, name) for name in ("scope", "key", "found")}
        for item in take(data, "foreign", list, optional=True) or ()
    ]
    zone_reports.observe(context, rack_id, serials, foreign)
    return Response(status=204)


def secret(name: str) -> Response:
    """A key that the rack's newest offer refers to."""
    context, _ = calling_rack()
    answer = jsonify(value=dns_secondaries.secret_for_rack(context, name))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def _member(item: Any, name: str) -> str:
    if not isinstance(item, dict):
        raise Invalid("zones, foreign: expected objects")
    return str(take(item, name, str, longest=NAME))
