"""Snapshots and digests of a rack's records; what drift it found."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, Response, jsonify

from app.rackapi.caller import body, calling_rack, take
from app.services import snapshots
from app.services.errors import Invalid

LARGE_BODY = 1024 * 1024
LONGEST_NAME = 512
MOST_SCOPES = 100_000


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.post("/records/snapshot")(snapshot)
    blueprint.post("/records/compare")(compare)
    blueprint.post("/reports/drift")(drift)


def snapshot() -> Response:
    """Records of some scopes, from a bucket to another of each; as many whole buckets as fit."""
    context, rack_id = calling_rack()
    spans = _numbers(body(LARGE_BODY), "scopes", list)
    return jsonify(snapshots.read(context, rack_id, {scope: _span(span) for scope, span in spans.items()}))


def compare() -> Response:
    """Which scopes differ from what the rack should hold at a sequence."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    roots = _numbers(data, "roots", int)
    return jsonify(snapshots.compare(context, rack_id, take(data, "sequence", int), roots))


def drift() -> Response:
    """Records that were not as they should be."""
    context, rack_id = calling_rack()
    data = body(LARGE_BODY)
    snapshots.drifted(
        context,
        rack_id,
        scope=take(data, "scope", str, longest=LONGEST_NAME),
        place=take(data, "place", str, longest=LONGEST_NAME),
        buckets=take(data, "buckets", int),
        found=take(data, "found", int),
        left=take(data, "left", int),
        keys=[_text(key) for key in take(data, "keys", list)],
    )
    return Response(status=204)


def _numbers(data: dict[str, Any], name: str, kind: type) -> dict[str, Any]:
    """An object by scope; a rack may serve more scopes than a list may be long."""
    given = data.get(name)
    if not isinstance(given, dict) or len(given) > MOST_SCOPES:
        raise Invalid(f"{name}: expected an object by scope", field=name)
    for scope, value in given.items():
        if len(scope) > LONGEST_NAME or not isinstance(value, kind) or isinstance(value, bool):
            raise Invalid(f"{name}.{scope[:80]}: expected {kind.__name__}", field=name)
    return given


def _span(given: list[Any]) -> tuple[int, int]:
    if len(given) != 2 or any(not isinstance(number, int) or isinstance(number, bool) for number in given):
        raise Invalid("scopes: expected the first and the last bucket of each", field="scopes")
    return given[0], given[1]


def _text(key: Any) -> str:
    if not isinstance(key, str) or len(key) > LONGEST_NAME:
        raise Invalid("keys: expected short texts", field="keys")
    return key
