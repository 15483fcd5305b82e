"""Live events as server-sent events (WHATWG HTML, section 9.2).

One tailer thread in each process reads new events once, while anybody follows, and hands them to all streams; a stream
asks the database only for what came before.  Events come in the order of their ids and none is skipped
(`app.services.event_tail`), so `Last-Event-ID` says all that a client needs to go on.  A stream ends after a quarter of
an hour.  The number of streams in a process is bounded, because each holds a thread of the server: one too many is
refused with 503 and Retry-After.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from threading import Condition, Thread
from typing import Any

import structlog
from flask import Flask, Response, current_app, json, request

from app import metrics
from app.api.frame import Resource, allow
from app.api.schemas.event import EventSchema
from app.identity import current_context
from app.services import events, machines
from app.services.context import Context
from app.services.errors import Invalid, Unavailable
from app.services.event_tail import BATCH, Tail

blueprint = Resource("streams", "Live events")
POLL_SECONDS = 0.3
KEEP_ALIVE_SECONDS = 5.0
"""An abandoned stream is noticed, and its place given back, when nothing can be written to it any more."""
LONGEST_SECONDS = 900.0
RETRY_SECONDS = 2
KEPT = 1000
"""How many of the last events are kept at hand; a stream that is farther behind reads the database."""
FARTHEST_AHEAD = 1000
"""Another process may be a little ahead of this one; a client that is farther has its number from another database."""
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


@dataclass(frozen=True)
class News:
    """One event, written out once for all streams."""

    id: int
    machine_id: int | None
    kind: str
    text: str


class Tailer:
    """Reads new events on behalf of all streams of this process, and keeps the last ones at hand."""

    def __init__(self, context: Context, limit: int, poll_seconds: float = POLL_SECONDS) -> None:
        self._context = context
        self._limit = limit
        self._poll_seconds = poll_seconds
        self._changed = Condition()
        self._followers = 0
        self._thread: Thread | None = None
        self._tail: Tail | None = None
        self._kept: deque[News] = deque()
        self._floor = 0
        """All settled events above this id are kept."""
        self.position = 0
        """All settled events up to this id are kept or in the database."""

    def enter(self) -> frozenset[int]:
        """Count one more stream; Unavailable when there are too many. Events above the position that are no news."""
        with self._changed:
            if self._followers >= self._limit:
                metrics.STREAMS_REFUSED.inc()
                raise Unavailable(
                    f"{self._limit} event streams are open already",
                    remedy=f"close one, try again in {RETRY_SECONDS} s, or poll the events instead",
                )
            if self._tail is None:
                self._tail = Tail(self._context)
                self._floor = self.position = self._tail.position
                self._kept.clear()
            self._followers += 1
            metrics.STREAMS.inc()
            if self._thread is None:
                self._thread = Thread(target=self._watch, name="event-tailer", daemon=True)
                self._thread.start()
            return self._tail.known

    def leave(self) -> None:
        """One stream less."""
        with self._changed:
            self._followers -= 1
            metrics.STREAMS.dec()

    def after(self, cursor: int, seconds: float) -> tuple[list[News] | None, int]:
        """What is kept after the cursor, waiting for it if need be, and how far that reaches.

        None instead of a list when the database must be asked, because not all of it is kept any more.
        """
        with self._changed:
            self._changed.wait_for(lambda: self.position > cursor, timeout=seconds)
            if cursor < self._floor:
                return None, self.position
            found = []
            for one in reversed(self._kept):
                if one.id <= cursor:
                    break
                found.append(one)
            return found[::-1], max(cursor, self.position)

    def _watch(self) -> None:
        while True:
            with self._changed:
                if self._followers == 0:
                    self._thread = self._tail = None
                    return
                tail = self._tail
            found = []
            try:
                found = tail.advance() if tail is not None else []
            except Exception as error:  # The database may be away for a while; streams go on when it is back.
                log.warning("stream.poll_failed", reason=str(error))
            if found:
                self._hand_out([News(one.id, one.machine_id, one.kind, _as_json(one)) for one in found])
            if len(found) < BATCH:
                time.sleep(self._poll_seconds)

    def _hand_out(self, news: list[News]) -> None:
        with self._changed:
            self._kept.extend(news)
            while len(self._kept) > KEPT:
                self._floor = self._kept.popleft().id
            self.position = news[-1].id
            self._changed.notify_all()


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


def stream(context: Context, machine_id: int | None) -> Response:
    """A response that goes on as events happen, from now on unless the request says after which one."""
    tailer: Tailer = current_app.extensions[EXTENSION]
    named = request.args.get("named", "true")
    if named not in NAMED:
        raise Invalid(f"named {named!r}: it must be true or false", field="named")
    text = request.headers.get("Last-Event-ID") or request.args.get("after") or ""
    asked = int(text) if text.isdecimal() and len(text) <= LONGEST_ID else None
    known = tailer.enter()
    if asked is None or asked > tailer.position + FARTHEST_AHEAD:
        cursor = tailer.position
    else:
        cursor, known = asked, frozenset()
    lines = _Lines(tailer, context, machine_id, cursor, known, NAMED[named])
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
        known: frozenset[int],
        named: bool,
    ) -> None:
        self._tailer, self._context, self._machine_id = tailer, context, machine_id
        self._cursor, self._known, self._named = cursor, known, named
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
        yield f": hello\nretry: {RETRY_SECONDS * 1000}\n\n"
        begun = said = time.monotonic()
        cursor = self._cursor
        while self._open and time.monotonic() - begun < LONGEST_SECONDS:
            found, reached = self._tailer.after(cursor, KEEP_ALIVE_SECONDS)
            if found is None:
                found, reached = self._stored(cursor, reached)
            cursor = reached
            lines = [self._written(one) for one in found if self._wants(one)]
            if lines:
                yield "".join(lines)
            elif time.monotonic() - said >= KEEP_ALIVE_SECONDS:
                yield ": still here\n\n"
            else:
                continue
            said = time.monotonic()

    def _stored(self, cursor: int, until: int) -> tuple[list[News], int]:
        """What the database has after the cursor, and how far that reaches: to `until`, unless there is more."""
        rows = events.after(self._context, cursor, BATCH, machine_id=self._machine_id, until=until)
        news = [News(one.id, one.machine_id, one.kind, _as_json(one)) for one in rows]
        return news, news[-1].id if len(news) == BATCH else until

    def _wants(self, one: News) -> bool:
        return (self._machine_id is None or one.machine_id == self._machine_id) and one.id not in self._known

    def _written(self, one: News) -> str:
        kind = f"event: {one.kind}\n" if self._named else ""
        data = "".join(f"data: {line}\n" for line in one.text.splitlines())
        return f"id: {one.id}\n{kind}{data}\n"


def _as_json(event: Any) -> str:
    return json.dumps(EventSchema().dump(event))
