"""Power operations: a rack's power process lists, claims and answers them. Secrets leave with a claim, never before."""

from __future__ import annotations

from flask import Blueprint, Response, jsonify

from app.rackapi.caller import body, calling_rack, take
from app.services import power

LONGEST_REASON = 2000


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.get("/power/operations")(operations)
    blueprint.post("/power/operations/<int:operation_id>/claim")(claim)
    blueprint.post("/power/operations/<int:operation_id>/result")(result)


def operations() -> Response:
    """Orders that wait."""
    context, rack_id = calling_rack()
    return jsonify(operations=power.waiting(context, rack_id))


def claim(operation_id: int) -> Response:
    """Take one order, with the BMC's parameters."""
    context, rack_id = calling_rack()
    answer = jsonify(power.claim(context, rack_id, operation_id))
    answer.headers["Cache-Control"] = "no-store"
    return answer


def result(operation_id: int) -> Response:
    """What came of an order."""
    context, rack_id = calling_rack()
    data = body()
    power.finish(
        context,
        rack_id,
        operation_id,
        take(data, "ok", bool),
        take(data, "power", str),
        (take(data, "reason", str, optional=True) or "")[:LONGEST_REASON] or None,
        take(data, "seconds", (int, float), optional=True),
    )
    return Response(status=204)
