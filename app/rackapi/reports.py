"""What racks report."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response

from app.rackapi.caller import body, calling_rack, take
from app.services import foreign_dhcp, lease_reports, neighbours, reports, syslog_reports
from app.services.errors import Invalid
from app.services.record_applies import Batch

LARGE_BODY = 1024 * 1024
LONGEST_REASON = 4000
WORD, DIGEST, NAME = 64, 128, 512
"""Longest names of services and stages, digests, scopes and keys, in characters."""


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.post("/reports/apply")(apply)
    blueprint.post("/reports/observation")(observation)
    blueprint.post("/reports/records")(applied)
    blueprint.post("/reports/neighbours")(neighbours_seen)
    blueprint.post("/reports/foreign-dhcp")(foreign_dhcp_heard)
    blueprint.post("/reports/leases")(leased)
    blueprint.post("/reports/syslog")(logged)


def apply() -> Response:
    """How one service of an offer went."""
    context, rack_id = calling_rack()
    data = body()
    reports.apply(
        context,
        rack_id,
        offer=take(data, "offer", int),
        service=take(data, "service", str, longest=WORD),
        outcome=take(data, "outcome", str, longest=WORD),
        stage=take(data, "stage", str, longest=WORD),
        reason=_short(take(data, "reason", str, optional=True, longest=LARGE_BODY)),
        digest=take(data, "digest", str, optional=True, longest=DIGEST),
        seconds=take(data, "seconds", dict, optional=True),
        probes=take(data, "probes", list, optional=True),
        undone_ok=take(data, "undone_ok", bool, optional=True),
    )
    return Response(status=204)


def observation() -> Response:
    """What runs on the rack."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    services = take(data, "services", dict)
    for name, said in services.items():
        if not isinstance(said, dict) or len(name) > WORD:
            raise Invalid(f"services.{name[:WORD]}: expected an object, with a short name", field="services")
        said["digest"] = take(said, "digest", str, optional=True, longest=DIGEST)
        said["running"] = take(said, "running", bool)
        said["probes_ok"] = take(said, "probes_ok", bool, optional=True)
        said["detail"] = _short(take(said, "detail", str, optional=True, longest=LARGE_BODY))
    found = {"kea_lease_hook": data.get("kea_lease_hook"), **(take(data, "layout", dict, optional=True) or {})}
    reports.observation(
        context,
        rack_id,
        offer=take(data, "offer", int),
        records=take(data, "records", int),
        services=services,
        interfaces=take(data, "interfaces", list, optional=True),
        layout={
            name: said
            for name in reports.FOUND
            if (said := take(found, name, str, optional=True, longest=NAME)) is not None
        },
        ha_certificate=take(data, "ha_certificate", str, optional=True),
    )
    return Response(status=204)


def neighbours_seen() -> Response:
    """Who else the rack sees on its networks."""
    context, rack_id = calling_rack()
    neighbours.report(context, rack_id, take(body(LARGE_BODY), "neighbours", list))
    return Response(status=204)


def foreign_dhcp_heard() -> Response:
    """Which DHCP servers that are not ours answer where the rack has looked."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    foreign_dhcp.report(context, rack_id, take(data, "looked", list), take(data, "servers", list))
    return Response(status=204)


def leased() -> dict[str, Any]:
    """Which addresses the rack's DHCP servers have leased; the answer names the entries that were refused."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    refused = lease_reports.report(
        context,
        rack_id,
        take(data, "leases", list),
        take(data, "ended", list, optional=True) or [],
        take(data, "span", dict, optional=True),
    )
    return {"refused": [{"address": one.address, "reason": one.reason} for one in refused]}


def logged() -> dict[str, Any]:
    """What machines have logged on the rack; the answer says up to which byte the spool's file is stored."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    taken = syslog_reports.report(
        context,
        rack_id,
        take(data, "stream", str, longest=WORD),
        take(data, "begin", int),
        take(data, "end", int),
        take(data, "lines", list),
    )
    return {"position": taken.position, "refused": taken.refused, "reason": taken.reason}


def applied() -> Response:
    """Up to which sequence records are live."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    reports.records_applied(
        context,
        rack_id,
        take(data, "applied", int),
        [_failure(item) for item in take(data, "failed", list)],
        [_key(item, "mended") for item in take(data, "mended", list, optional=True) or ()],
        _batch(data),
    )
    return Response(status=204)


def _batch(data: dict[str, Any]) -> Batch | None:
    newest = take(data, "newest", int, optional=True)
    if newest is None:
        return None
    given = take(data, "seconds", dict, optional=True) or {}
    seconds = {name: take(given, name, (int, float), optional=True) for name in ("fetch", "daemon", "check")}
    return Batch(
        take(data, "count", int),
        newest,
        take(data, "fetched", (int, float), optional=True),
        {name: float(value) for name, value in seconds.items() if value is not None},
    )


def _failure(item: Any) -> dict[str, Any]:
    return {**_key(item, "failed"), "reason": _short(take(item, "reason", str, longest=LARGE_BODY))}


def _key(item: Any, field: str) -> dict[str, Any]:
    if not isinstance(item, dict):
        raise Invalid(f"{field}: expected objects with sequence, scope and key", field=field)
    return {
        "sequence": take(item, "sequence", int),
        "scope": take(item, "scope", str, longest=NAME),
        "key": take(item, "key", str, longest=NAME),
    }


def _short(text: str | None) -> str | None:
    """A daemon's own words may be long; people read the beginning."""
    return text if text is None else text[:LONGEST_REASON]
