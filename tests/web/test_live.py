"""The event stream as a browser's EventSource reads it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from app.services.context import Context
from app.store.models import Event
from tests.factories.control import Seeded, make_machine
from tests.web.conftest import Browser


def block(lines: Iterator[bytes]) -> dict[str, str]:
    """The next event of a stream; comments are passed over."""
    for chunk in lines:
        fields = [line.partition(": ") for line in chunk.decode().splitlines() if line]
        if any(name == "id" for name, _, _ in fields):
            return {name: value for name, _, value in fields}
    raise AssertionError("the stream ended without an event")


@pytest.mark.parametrize(
    ("query", "kind"), [("", "machine.step"), ("named=true", "machine.step"), ("named=false", None)]
)
def test_names(context: Context, seeded: Seeded, alice: Browser, query: str, kind: str | None) -> None:
    """Events have a name unless the query says otherwise: a browser's `onmessage` gets only those without one."""
    machine = make_machine(context, seeded, "node-1")
    with context.store.write() as session:
        session.add(Event(machine_id=machine, kind="machine.step", message="hello", level="info", at=context.clock()))
    for path in ("/api/v1/events/stream", f"/api/v1/machines/{machine}/events/stream"):
        answer = alice.client.get(f"{path}?after=0&{query}", buffered=False)
        found = block(iter(answer.response))  # type: ignore[arg-type]
        answer.close()

        assert (kind, "1") == (found.get("event"), found["id"])
        assert ("machine.step", "hello") == tuple(json.loads(found["data"])[name] for name in ("kind", "message"))


def test_wrong_value(alice: Browser) -> None:
    """Another value of `named` is refused and named."""
    answer = alice.get("/api/v1/events/stream?named=maybe")

    assert (422, "named") == (answer.status_code, answer.get_json()["field"])


def test_description(nobody: Browser) -> None:
    """The API's description says what `named` does."""
    paths = nobody.get("/api/v1/openapi.json").get_json()["paths"]
    parameters = paths["/api/v1/events/stream"]["get"]["parameters"]

    assert [True] == [one["schema"]["default"] for one in parameters if one["name"] == "named"]
