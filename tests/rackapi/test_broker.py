"""What a rack is told of the broker, and its password there: its own, fresh at each enrolment and whenever somebody asks."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select

from app.config import load
from app.services import broker, racks
from app.services.context import Actor, Context
from app.services.errors import Forbidden
from app.store.models import ChangeEvent, Event, Rack
from tests.factories.control import RELAY_TOKEN, Seeded, ring_of, sha256
from tests.rackapi.conftest import call

OTHER_TOKEN = "token-of-another-rack"


def use_redis(application: Flask, folder: Path, **words: str) -> None:
    """Have the control plane use a Redis of which racks know."""
    ca = folder / "ca.crt"
    ca.write_text("the CA's PEM")
    secret = folder / "password"
    secret.write_text("password-of-the-control-plane")
    environment = {
        "MUSTER_STATE_DIR": str(folder / "state"),
        "MUSTER_BROKER_URL": "rediss://muster@redis.example:6379/0",
        "MUSTER_BROKER_PASSWORD_FILE": str(secret),
        "MUSTER_BROKER_CA": str(ca),
    }
    application.config["MUSTER_CONFIG"] = load(environment | words)


def enrol(application: Flask, context: Context, name: str) -> dict[str, Any]:
    """Enrol a rack; the answer."""
    code = racks.new_code(context, name)
    body: dict[str, Any] = {"code": code, "layout": {}, "ports": {}, "interfaces": []}
    answer = call(application, "POST", "/enrol", body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.get_json()
    return found


def test_a_broker_of_files_has_no_users(application: Flask) -> None:
    """On the control plane's own host a rack is told where it is; nobody has a password for it."""
    said = call(application, "GET", "/broker").get_json()

    assert said["url"].startswith("file:///")
    assert (said["user"], said["password"], said["ca"]) == (None, None, None)


def test_a_rack_learns_its_own_user(application: Flask, context: Context, tmp_path: Path) -> None:
    """URL, CA and its own password; neither another rack's nor the control plane's, and no proxy keeps the answer."""
    use_redis(application, tmp_path)
    with context.store.write() as session:
        session.add(Rack(name="rack-2", token_hash=sha256(OTHER_TOKEN), layout={}))
    first, again = (call(application, "GET", "/broker") for _ in range(2))
    second = call(application, "GET", "/broker", Authorization=f"Bearer {OTHER_TOKEN}").get_json()
    said = first.get_json()

    assert said == again.get_json()
    assert (said["url"], said["user"], said["ca"]) == ("rediss://redis.example:6379/0", "rack.rack-1", "the CA's PEM")
    assert second["user"] == "rack.rack-2"
    assert len({said["password"], second["password"], "password-of-the-control-plane"}) == 3
    assert first.headers["Cache-Control"] == "no-store"
    assert "password-of-the-control-plane" not in first.text
    with context.store.read() as session:
        kept = session.get_one(Rack, 1).broker_password
    assert said["password"] not in str(kept)


@pytest.mark.parametrize("token", ["", "Bearer wrong", f"Bearer {RELAY_TOKEN}"])
def test_nobody_else_is_told(application: Flask, tmp_path: Path, token: str) -> None:
    """It takes a rack's own token."""
    use_redis(application, tmp_path)

    assert call(application, "GET", "/broker", Authorization=token).status_code == 401


def test_enrolment_gives_no_password(application: Flask, context: Context, tmp_path: Path) -> None:
    """Its answer names the broker without anybody's login; each enrolment makes another password."""
    use_redis(application, tmp_path)
    first = enrol(application, context, "rack-a")
    one = broker.password_for_rack(context, first["rack"]["id"])
    second = enrol(application, context, "rack-a")
    two = broker.password_for_rack(context, second["rack"]["id"])

    assert first["broker_url"] == "rediss://redis.example:6379/0"
    assert "password" not in first
    assert one != two
    assert ring_of(context).broker_users_rung == 2


def test_a_new_password_is_asked_for(context: Context, seeded: Seeded) -> None:
    """It is another one, marked as a change for the region worker, in audit and timeline without the word itself."""
    old, mark = broker.password_for_rack(context, seeded.rack_id), broker.mark(context)
    changed = broker.new_password(context, seeded.rack_id)
    new = broker.password_for_rack(context, seeded.rack_id)
    with context.store.read() as session:
        audit = session.scalars(select(ChangeEvent).where(ChangeEvent.verb == "new password")).one()
        events = [row.message for row in session.scalars(select(Event).where(Event.kind == "rack.key"))]

    assert old != new
    assert mark != broker.mark(context)
    assert changed.broker_password_at == context.clock()
    assert (audit.thing, audit.thing_id, audit.detail) == ("rack", seeded.rack_id, {"of": "broker"})
    assert events == ["Rack rack-1 has a new password at the broker."]
    with pytest.raises(Forbidden):
        broker.new_password(context.acting_as(Actor("olga", "operator", 1)), seeded.rack_id)


def test_lines_for_redis_hold_hashes(context: Context, seeded: Seeded) -> None:
    """One for each rack that has enrolled, by name, with the password's SHA-256; for administrators."""
    with context.store.write() as session:
        session.add(Rack(name="waits"))
    lines = broker.acl(context)
    password = broker.password_for_rack(context, seeded.rack_id)

    assert len(lines) == 1
    assert lines[0].startswith(f"user rack.rack-1 on #{hashlib.sha256(password.encode()).hexdigest()} ")
    assert lines == broker.acl(context)
    with pytest.raises(Forbidden):
        broker.acl(context.acting_as(Actor("olga", "operator", 1)))


def test_a_deleted_rack_is_a_change(context: Context) -> None:
    """The region worker is told, and nothing of the rack is left to put into Redis."""
    with context.store.write() as session:
        session.add(Rack(name="going", token_hash=sha256(OTHER_TOKEN)))
    before = broker.users(context)
    racks.delete(context, racks.find(context, name="going")[0].id)
    after = broker.users(context)

    assert ("rack.going" in before.lines, "rack.going" in after.lines) == (True, False)
    assert before.mark != after.mark
