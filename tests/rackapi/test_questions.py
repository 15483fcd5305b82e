"""Questions to racks: each rack sees, claims and answers its own, once, in time; nobody waits for longer."""

from __future__ import annotations

import contextlib
import datetime as dt
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app import identity, rackapi
from app.api import errors
from app.config import load
from app.services import idempotency, leases, rack_keys, rack_questions, settings
from app.services.context import Actor, Context
from app.services.errors import Conflict, Forbidden, TooMany, Unanswered
from app.store.models import ChangeEvent, Event, Lease, Rack, RackQuestion, utc_now
from tests.factories.control import RACK_TOKEN, make_context, seed, sha256

OTHER_TOKEN = "token-of-another-rack"
FIRST, SECOND = 1, 2


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """Two racks that were heard just now, and an administrator."""
    context = replace(make_context(tmp_path), clock=utc_now)
    seed(context)
    with context.store.write() as session:
        session.add(Rack(name="rack-2", token_hash=sha256(OTHER_TOKEN), layout={}, seen_at=utc_now()))
        session.get_one(Rack, FIRST).seen_at = utc_now()
    return context.acting_as(Actor("root", "admin", 1))


@pytest.fixture
def application(context: Context, tmp_path: Path) -> Flask:
    """The edge alone."""
    made = Flask("app")
    made.config.update(MUSTER_CONFIG=load({"MUSTER_STATE_DIR": str(tmp_path / "state")}), RACK_WAITERS=8)
    identity.attach(made, context)
    errors.register(made)
    made.register_blueprint(rackapi.blueprint)
    return made


def call(application: Flask, method: str, path: str, token: str = RACK_TOKEN, **body: Any) -> TestResponse:
    """A rack calls."""
    headers = {"Authorization": f"Bearer {token}"}
    return application.test_client().open(f"/rack/v1{path}", method=method, json=body or None, headers=headers)


@contextlib.contextmanager
def answering(application: Flask, token: str, said: dict[str, Any]) -> Iterator[list[dict[str, Any]]]:
    """A rack that answers every question alike; what it was asked."""
    stop, seen = threading.Event(), []

    def turn() -> None:
        while not stop.wait(0.02):
            for item in call(application, "GET", "/questions", token).json["questions"]:
                seen.append(call(application, "POST", f"/questions/{item['id']}/claim", token).json)
                call(application, "POST", f"/questions/{item['id']}/answer", token, **said)

    thread = threading.Thread(target=turn)
    thread.start()
    try:
        yield seen
    finally:
        stop.set()
        thread.join()


def test_every_rack_answers_its_own_question(context: Context, application: Flask) -> None:
    """All are waited for; the body is the rack's own and goes when it is answered, the answer stays."""
    bodies = {FIRST: {"text": "one"}, SECOND: {"text": "two"}}
    with (
        answering(application, RACK_TOKEN, {"answer": {"ok": True}}) as first,
        answering(application, OTHER_TOKEN, {"reason": "no room"}) as second,
    ):
        replies = rack_questions.ask(context, rack_questions.CHECK, bodies, 10)

    assert {"ok": True} == replies[FIRST].answer
    assert (None, "no room", "rack-2") == (replies[SECOND].answer, replies[SECOND].reason, replies[SECOND].rack)
    assert ([{"text": "one"}], [{"text": "two"}]) == ([one["body"] for one in first], [one["body"] for one in second])
    with context.store.read() as session:
        rows = session.query(RackQuestion).order_by(RackQuestion.id).all()
    assert [("answered", None), ("failed", None)] == [(row.status, row.body) for row in rows]


def test_a_question_is_the_racks_and_is_claimed_once(context: Context, application: Flask) -> None:
    """Another rack neither sees it nor may touch it; what comes too late changes nothing; the long poll tells of it."""
    before = call(application, "GET", "/wait?seconds=0").json["questions"]
    with pytest.raises(Unanswered, match="did not hear the question within 0 s; nothing was done"):
        rack_questions.one(context, rack_questions.CHECK, FIRST, {}, 0)
    with context.store.write() as session:
        row = RackQuestion(rack_id=FIRST, kind="check", body={}, actor="root", deadline_at=utc_now().replace(year=2100))
        session.add(row)
        session.flush()
        number = row.id

    assert (0, number) == (before, call(application, "GET", "/wait?seconds=0").json["questions"])
    assert [] == call(application, "GET", "/questions", OTHER_TOKEN).json["questions"]
    assert 404 == call(application, "POST", f"/questions/{number}/claim", OTHER_TOKEN).status_code
    assert 404 == call(application, "POST", f"/questions/{number}/answer", OTHER_TOKEN, answer={}).status_code
    claims = [call(application, "POST", f"/questions/{number}/claim").status_code for _ in range(2)]
    answers = [call(application, "POST", f"/questions/{number}/answer", answer={"n": n}).status_code for n in (1, 2)]
    late = call(application, "POST", f"/questions/{number - 1}/claim").status_code

    assert ([200, 409], [204, 204], 409) == (claims, answers, late)
    with context.store.read() as session:
        assert {"n": 1} == session.get_one(RackQuestion, number).answer


def test_nobody_waits_in_a_transaction_nor_in_a_crowd(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """With an Idempotency-Key no rack could hear it; and a bounded number of requests wait."""

    def run(joined: Context) -> idempotency.Answer:
        rack_questions.ask(joined, rack_questions.CHECK, {FIRST: {}}, 5)
        raise AssertionError("it was asked")

    with pytest.raises(Unanswered, match="Idempotency-Key"):
        idempotency.once(context, "key", "print", run)
    monkeypatch.setattr(rack_questions, "_places", threading.BoundedSemaphore(1))
    with rack_questions._places, pytest.raises(TooMany):
        rack_questions.ask(context, rack_questions.CHECK, {FIRST: {}}, 5)


def test_a_pair_of_racks_ends_a_lease_each(context: Context, application: Flask) -> None:
    """Where one of them does not, it is said, and its lease stays known; viewers may not ask."""
    now = utc_now()
    with context.store.write() as session:
        for rack_id in (FIRST, SECOND):
            session.add(
                Lease(
                    rack_id=rack_id, subnet_id=1, address="10.20.0.100", address_key="k", mac="52:54:00:00:00:0a",
                    started_at=now, expires_at=now.replace(year=2100),
                )
            )  # fmt: skip
    with pytest.raises(Forbidden):
        leases.release(context.acting_as(Actor("eve", "viewer")), 1)
    with (
        answering(application, RACK_TOKEN, {"answer": {"ended": True}}),
        answering(application, OTHER_TOKEN, {"reason": "no lease commands"}),
        pytest.raises(Unanswered, match="not ended everywhere: rack rack-2: no lease commands"),
    ):
        leases.release(context, 1)

    assert [SECOND] == [row.rack_id for row in leases.find(context)]
    with answering(application, OTHER_TOKEN, {"answer": {"ended": False}}):
        leases.release(context, 2)
    assert [] == leases.find(context)


def test_the_next_clients_lease_is_not_forgotten_with_the_ended_one(context: Context, application: Flask) -> None:
    """The address is free at once, so another client may have it, and its rack have told so, before the answer is heard."""
    now = utc_now()
    words = {"started_at": now, "expires_at": now.replace(year=2100)}
    with context.store.write() as session:
        session.add(
            Lease(rack_id=FIRST, subnet_id=1, address="10.20.0.100", address_key="k", mac="52:54:00:00:00:0a", **words)
        )
    with answering(application, RACK_TOKEN, {"answer": {"ended": True}}) as seen:
        # The rack tells of the next client between its answer and the end of the request.
        heard = leases.SeenLease("10.20.0.100", "52:54:00:00:00:0b", None, None, **words)
        ask = rack_questions.ask

        def asked(*given: Any) -> dict[int, rack_questions.Reply]:
            replies = ask(*given)
            leases.observe(context, FIRST, [heard])
            return replies

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(rack_questions, "ask", asked)
            leases.release(context, 1)

    assert ["52:54:00:00:00:0a"] == [one["body"]["mac"] for one in seen]
    assert ["52:54:00:00:00:0b"] == [lease.mac for lease in leases.find(context)]


def test_a_rack_with_kea_has_no_key_to_change(context: Context) -> None:
    """It is refused before anybody is asked."""
    with pytest.raises(Conflict, match="has no key"):
        rack_keys.new_omapi_key(context, FIRST)
    with pytest.raises(Forbidden):
        rack_keys.new_omapi_key(context.acting_as(Actor("ops", "operator")), FIRST)


def test_old_keys_are_renewed_by_age(context: Context, application: Flask) -> None:
    """Not unless it is set, not before their time, not at Kea; what a rack cannot do is told, and asked again a day later."""
    begin = utc_now()

    def at(days: float) -> int:
        now = begin + dt.timedelta(days=days)
        with context.store.write() as session:
            for rack in session.scalars(select(Rack)):
                rack.seen_at = now
        return rack_keys.renew_old(replace(context, clock=lambda: now))

    with context.store.write() as session:
        for rack in session.scalars(select(Rack)):
            rack.enrolled_at = begin
        session.get_one(Rack, SECOND).dhcp_server = "dhcpd"
    with answering(application, OTHER_TOKEN, {"answer": {"gap": 0.4}}) as asked:
        off = at(1000)
        settings.change(context, "rack_keys", {"omapi_days": 90})
        early, due, again = at(89.9), at(90), at(91)
    with answering(application, OTHER_TOKEN, {"reason": "dhcpd does not come up"}) as refused:
        failed = [at(days) for days in (179.9, 180, 180.5, 181)]
    with context.store.read() as session:
        audited = session.execute(
            select(ChangeEvent.actor, ChangeEvent.thing_id, ChangeEvent.detail).where(ChangeEvent.verb == "new key")
        ).all()
        told = [row.message for row in session.scalars(select(Event).where(Event.level == "error"))]
        assert begin + dt.timedelta(days=90) == session.get_one(Rack, SECOND).omapi_key_at
        assert None is session.get_one(Rack, FIRST).omapi_key_at

    assert (0, 0, 1, 0) == (off, early, due, again)
    assert ["new-omapi-key"] == [one["kind"] for one in asked]
    assert [("root", SECOND, {"key": "omapi"})] == [tuple(row) for row in audited]
    assert ([0, 0, 0, 0], 2) == (failed, len(refused))
    assert 2 == len(told)
    assert (
        "rack-2 has no new OMAPI key, though its own is older than 90 days: rack rack-2: dhcpd does not come" in told[0]
    )
