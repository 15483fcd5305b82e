"""What is new for a rack: the long poll, the offer, record changes.

The long poll reads four numbers by index until one is newer: whenever this process has committed something for the rack,
and every `POLL_SECONDS` for what other processes have.  At most `RACK_WAITERS` requests of a process wait at
once; the others are answered at once, so that racks never take all threads of the server.
"""

from __future__ import annotations

import base64
import threading
import time

from flask import Blueprint, Response, current_app, jsonify, request
from flask.blueprints import BlueprintSetupState

from app.rackapi.caller import calling_rack, number
from app.services import racks, records, reports
from app.services.errors import NotFound

EXTENSION = "muster-rack-waiters"
WAITERS = 24
LONGEST_WAIT_SECONDS = 30
POLL_SECONDS = 0.1


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.record_once(_limit_waiters)
    blueprint.get("/wait")(wait)
    blueprint.get("/offer")(offer)
    blueprint.get("/records")(changes)


def wait() -> Response:
    """Answer when something is newer than the numbers given, at the latest after `seconds`.

    `for` names those that count, with commas between them; all that are known without it.
    """
    context, rack_id = calling_rack()
    have = {name: number(name, 0) for name in ("offer", "records", "power")}
    if "questions" in request.args:  # A rack with older software is not woken for what it does not know.
        have["questions"] = number("questions", 0)
    if "for" in request.args:
        counts = request.args["for"].split(",")
        have = {name: known for name, known in have.items() if name in counts}
    until = time.monotonic() + min(number("seconds", 20), LONGEST_WAIT_SECONDS)
    waiters: threading.Semaphore = current_app.extensions[EXTENSION]
    place = waiters.acquire(blocking=False)
    try:
        with context.wakes.listening(context.actor.name) as rung:
            while True:
                rung.clear()
                found = reports.newest(context, rack_id)
                changed = any(found[name] != have[name] for name in have)
                left = until - time.monotonic()
                if changed or left <= 0 or not place:
                    return jsonify(**found, changed=changed)
                rung.wait(min(POLL_SECONDS, left))
    finally:
        if place:
            waiters.release()


def offer() -> Response:
    """The newest offer, signed; 304 when the rack has it."""
    context, rack_id = calling_rack()
    found = racks.current_offer(context, rack_id)
    if found is None:
        raise NotFound("there is no offer for this rack yet; the region worker makes one", remedy="ask again later")
    if str(found.number) in request.if_none_match.as_set():
        answer = Response(status=304)
    else:
        answer = jsonify(
            number=found.number,
            generation=found.generation,
            rack=context.actor.name,
            content=base64.b64encode(found.content.encode()).decode(),
            signature=found.signature,
            request_id=found.request_id,
        )
    answer.set_etag(str(found.number))
    return answer


def changes() -> Response:
    """Record changes of the rack's scopes after a sequence."""
    context, rack_id = calling_rack()
    return jsonify(records.after(context, rack_id, number("after", 0), number("limit", 1000)))


def _limit_waiters(state: BlueprintSetupState) -> None:
    application = state.app
    application.extensions[EXTENSION] = threading.BoundedSemaphore(application.config.get("RACK_WAITERS", WAITERS))
