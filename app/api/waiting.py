"""`?wait=SECONDS`: a change is answered when the racks serve it, or when the time is up; and what to ask by later.

Every answer to a change says what it has made: `Muster-Sequence`, the last of its records, and `Muster-Generations`, the
racks (by id) whose structure it has changed.  With `wait`, `Muster-Live` says whether all of that is served and
`Muster-Missing` which racks lack it still; a rack that was not heard of lately is not waited for.  The change itself is
committed before the waiting begins, and stays so.  At most WAITERS requests of a process wait at once, and none longer
than LONGEST_SECONDS: one more is answered at once.
"""

from __future__ import annotations

import threading
import time
from typing import Any

from flask import Flask, Response, current_app, g, request

from app.identity import current_context
from app.services import arrival
from app.services.context import Made
from app.services.errors import Invalid

EXTENSION = "muster-change-waiters"
WAITERS = 16
LONGEST_SECONDS = 30.0
PAUSES = (0.01, 0.02, 0.03, 0.05, 0.1, 0.2)
METHODS = frozenset({"POST", "PUT", "PATCH", "DELETE"})
PARAMETER: dict[str, Any] = {
    "name": "wait",
    "in": "query",
    "required": False,
    "schema": {"type": "integer", "minimum": 0, "maximum": int(LONGEST_SECONDS)},
    "description": "answer when the racks serve what was changed, after at most so many seconds; see Muster-Live",
    "example": 0,
}
HEADERS: dict[str, Any] = {
    "Muster-Sequence": {"schema": {"type": "integer"}, "description": "for GET /changes/{sequence}: its last record"},
    "Muster-Generations": {
        "schema": {"type": "string"},
        "description": "the racks whose structure changed, as `<rack id>:<generation>,...`",
    },
    "Muster-Live": {
        "schema": {"type": "string", "enum": ["yes", "no"]},
        "description": "after a wait: whether the racks serve what was changed",
    },
    "Muster-Missing": {"schema": {"type": "string"}, "description": "after a wait: names of the racks that do not"},
}


def attach(application: Flask) -> None:
    """Have answers to changes say what they have made, and wait if that is asked for."""
    application.extensions[EXTENSION] = threading.BoundedSemaphore(WAITERS)
    application.after_request(_told)


def check() -> None:
    """Invalid when `wait` is no number of seconds; before anything is changed."""
    text = request.args.get("wait")
    if request.method not in METHODS or text is None:
        return
    if not text.isdecimal() or len(text) > 4 or int(text) > LONGEST_SECONDS:
        raise Invalid(
            f"wait={text[:40]!r}: must be a whole number of seconds, at most {LONGEST_SECONDS:.0f}",
            field="wait",
            rule=f"0 <= wait <= {LONGEST_SECONDS:.0f}",
        )
    g.muster_wait = float(text)


def _told(response: Response) -> Response:
    made: Made | None = g.get("muster_made")
    if made is None or response.status_code >= 400 or not (made.sequence or made.generations):
        return response
    if made.sequence:
        response.headers["Muster-Sequence"] = str(made.sequence)
    if made.generations:
        named = ",".join(f"{rack}:{generation}" for rack, generation in sorted(made.generations.items()))
        response.headers["Muster-Generations"] = named
    if (seconds := g.get("muster_wait")) is not None:
        found = arrival.of_change(current_context(), made.sequence, made.generations)
        if any(not one.away for one in found.missing):
            _wait(made, seconds)
            found = arrival.of_change(current_context(), made.sequence, made.generations)
        response.headers["Muster-Live"] = "yes" if found.live else "no"
        if found.missing:
            response.headers["Muster-Missing"] = ",".join(sorted({one.rack for one in found.missing}))
    return response


def _wait(made: Made, seconds: float) -> None:
    waiters: threading.Semaphore = current_app.extensions[EXTENSION]
    if not waiters.acquire(blocking=False):
        return
    try:
        until, tries = time.monotonic() + seconds, 0
        while not arrival.is_live(current_context(), made.sequence, made.generations):
            left = until - time.monotonic()
            if left <= 0:
                return
            time.sleep(min(PAUSES[min(tries, len(PAUSES) - 1)], left))
            tries += 1
    finally:
        waiters.release()
