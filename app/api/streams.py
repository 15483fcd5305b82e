"""Live events as server-sent events (WHATWG HTML, section 9.2).

One tailer thread in each process asks for the largest event id while anybody follows, and wakes all followers; each
then reads only its own events.  A stream ends after a quarter of an hour, and the client goes on from `Last-Event-ID`.
The number of streams in a process is bounded, because each holds a thread: one too many is refused with 503.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from threading import Condition, Thread
from typing import Any

import structlog
from flask import Flask, Response, current_app, json, request

from app import metrics
from app.api.frame import Resource, Unavailable, allow
from app.api.schemas.event import EventSchema
from app.identity import base_context, current_context
from app.services import events, machines
from app.services.context import Context
from app.services.errors import Invalid

blueprint = Resource("streams", "Live events")
POLL_SECONDS = 0.5
KEEP_ALIVE_SECONDS = 5.0
"""An abandoned stream is noticed, and its place given back, when nothing can be written to it any more."""
LONGEST_SECONDS = 900.0
LONGEST_ID = 18
EXTENSION = "muster-streams"
NAMED = {"true": True, "false": False}
DESCRIBED: dict[str, Any] = {
    "parameters": [
        {
            "in": "query",
            "name": "named",
            "schema": {"type": "boolean", "default": True},
            "description": "false leaves the `event:` line out, so that a browser's EventSource gives every event to"
            " `onmessage`, whatever its kind; the kind is in the data all the same",
        },
        {
            "in": "query",
            "name": "after",
            "schema": {"type": "integer"},
            "description": "id of the event after which to begin; without it, and without Last-Event-ID, what is new",
        },
    ],
    "responses": {
        "200": {"description": "events as text/event-stream", "content": {"text/event-stream": {}}},
        "503": "problem-503",
    },
}
log = structlog.get_logger(__name__)


class Tailer:
    """Watches for new events on behalf of all streams of this process."""

    def __init__(self, context: Context, limit: int, poll_seconds: float = POLL_SECONDS) -> None:
        self._context = context
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._news = Condition()
        self._followers = 0
        self._thread: Thread | None = None
        self.last_id = 0

    def enter(self) -> None:
        """Count one more stream; Unavailable when there are too many."""
        with self._news:
            if self._followers >= self._limit:
                metrics.STREAMS_REFUSED.inc()
                raise Unavailable(
                    f"{self._limit} event streams are open already", remedy="close one, or poll the events instead"
                )
            self._followers += 1
            metrics.STREAMS.inc()
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="event-tailer", daemon=True)
                self._thread.start()

    def leave(self) -> None:
        """One stream less."""
        with self._news:
            self._followers -= 1
            metrics.STREAMS.dec()

    def wait(self, seen: int, seconds: float) -> int:
        """Wait until there is an event above `seen`, or the time is over; the largest id."""
        with self._news:
            self._news.wait_for(lambda: self.last_id > seen, timeout=seconds)
            return self.last_id

    def _watch(self) -> None:
        while True:
            try:
                last = events.last_id(self._context)
            except Exception as error:  # The database may be away for a while; streams go on when it is back.
                log.warning("stream.poll_failed", reason=str(error))
                last = self.last_id
            with self._news:
                if last > self.last_id:
                    self.last_id = last
                    self._news.notify_all()
                if self._followers == 0:
                    self._thread = None
                    return
            time.sleep(self._poll_seconds)


def attach(application: Flask) -> None:
    """Give the application its tailer; its thread runs only while somebody follows."""
    from app.identity import EXTENSION as IDENTITY

    context = application.extensions[IDENTITY].context
    application.extensions[EXTENSION] = Tailer(context, application.config["MUSTER_CONFIG"].streams)


@blueprint.get("/events/stream")
@allow("viewer", "follow events", produces="text/event-stream")
@blueprint.doc(**DESCRIBED)
def follow_all() -> Response:
    """Follow the events of all machines and racks live. `Last-Event-ID` or `after` says where to go on."""
    return stream(current_context(), None)


@blueprint.get("/machines/<string:machine>/events/stream")
@allow("viewer", "follow events", produces="text/event-stream")
@blueprint.doc(**DESCRIBED)
def follow_machine(machine: str) -> Response:
    """Follow a machine's events live. `Last-Event-ID` or `after` says where to go on."""
    context = current_context()
    return stream(context, machines.get(context, machine).id)


def stream(context: Context, machine_id: int | None, render: Callable[[Any], str] | None = None) -> Response:
    """A response that goes on as events happen, from now on unless the request says after which one.

    render: what an event's data line holds; JSON of the event when not given. Pages give HTML.
    """
    tailer: Tailer = current_app.extensions[EXTENSION]
    named = request.args.get("named", "true")
    if named not in NAMED:
        raise Invalid(f"named {named!r}: it must be true or false", field="named")
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    cursor = int(text) if text.isdecimal() and len(text) <= LONGEST_ID else events.last_id(base_context())
    tailer.enter()
    lines = _Lines(tailer, context, machine_id, cursor, render or _as_json, NAMED[named])
    headers = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}
    return Response(lines, mimetype="text/event-stream", headers=headers)


class _Lines:
    """The body of one stream. Its `close` gives the place back, also when the client went away before the first line."""

    def __init__(
        self,
        tailer: Tailer,
        context: Context,
        machine_id: int | None,
        cursor: int,
        render: Callable[[Any], str],
        named: bool,
    ) -> None:
        self._tailer, self._context, self._machine_id = tailer, context, machine_id
        self._cursor, self._render, self._named = cursor, render, named
        self._open = True
        self._lines = self._make()

    def __iter__(self) -> Iterator[str]:
        return self._lines

    def close(self) -> None:
        """End the stream."""
        if self._open:
            self._open = False
            self._tailer.leave()

    def _make(self) -> Iterator[str]:
        yield ": hello\nretry: 2000\n\n"
        ends = time.monotonic() + LONGEST_SECONDS
        cursor, seen = self._cursor, 0
        floor = cursor  # Nothing at or below is sent; between it and the cursor late commits may still appear.
        sent: set[int] = set()
        while self._open and time.monotonic() < ends:
            found = events.after(self._context, max(floor, cursor - events.LOOK_BACK), 500, machine_id=self._machine_id)
            for event in found:
                if event.id not in sent:
                    sent.add(event.id)
                    kind = f"event: {event.kind}\n" if self._named else ""
                    yield f"id: {event.id}\n{kind}{_data(self._render(event))}\n"
            cursor = max([cursor, *sent])
            sent = {number for number in sent if number > cursor - events.LOOK_BACK}
            if len(found) == 500:
                continue
            newest = self._tailer.wait(seen, KEEP_ALIVE_SECONDS)
            if newest == seen:
                yield ": still here\n\n"
            seen = newest


def _data(text: str) -> str:
    return "".join(f"data: {line}\n" for line in text.splitlines())


def _as_json(event: Any) -> str:
    return json.dumps(EventSchema().dump(event))
