"""What a token may at most, how long it lives, and how sessions end."""

from __future__ import annotations

import pytest
from flask import Flask
from sqlalchemy import event

from app.services.context import Context
from tests.api.conftest import BASE, Caller
from tests.api.test_accounts import a_public_key, a_user
from tests.factories.control import Seeded, clock_of, make_machine


def scoped(caller: Caller, scope: str, **words: int) -> Caller:
    """The same person with a token of that scope."""
    made = caller.post("/tokens", {"name": scope, "scope": scope, **words})
    assert 201 == made.status_code, made.text
    assert scope == made.get_json()["scope"]
    return Caller(caller.client, made.get_json()["token"])


def test_scopes_bound_the_role(admin: Caller, viewer: Caller, context: Context, seeded: Seeded) -> None:
    """read changes nothing, operate is an operator, and no scope makes a viewer more."""
    make_machine(context, seeded, "m-one")
    reader, operating = scoped(admin, "read"), scoped(admin, "operate")

    assert 200 == reader.get("/machines").status_code
    assert 403 == reader.get("/users").status_code
    assert 403 == reader.post("/keys", {"public_key": a_public_key()}).status_code
    assert 403 == reader.post("/tokens", {"name": "x"}).status_code
    assert 200 == operating("PATCH", "/machines/m-one", {"tags": ["x"]}).status_code
    assert 403 == operating.post("/zones", {"name": "x"}).status_code
    assert 403 == scoped(viewer, "admin").post("/tags", {"name": "x"}).status_code
    problem = reader.post("/tags", {"name": "x"}).get_json(force=True)
    assert "scope" in problem["detail"]
    assert "operate" in problem["remedy"]


def test_a_token_makes_none_that_is_more(operator: Caller) -> None:
    """Neither wider nor longer lived than itself; what is not said is taken from it."""
    short = scoped(operator, "operate", days=2)
    ends = short.get("/tokens").get_json()["items"][-1]["expires_at"]
    wider = short.post("/tokens", {"name": "x", "scope": "admin", "days": 1})
    longer = short.post("/tokens", {"name": "x", "days": 3})
    like = short.post("/tokens", {"name": "x"}).get_json()
    shorter = short.post("/tokens", {"name": "x", "days": 1, "scope": "read"})

    assert (403, 403, 201) == (wider.status_code, longer.status_code, shorter.status_code)
    assert ("operate", ends) == (like["scope"], like["expires_at"])
    assert "longer" in longer.get_json(force=True)["detail"]
    assert 422 == operator.post("/tokens", {"name": "x", "scope": "everything"}).status_code


def test_use_is_noted_at_most_once_a_minute(operator: Caller, context: Context) -> None:
    """The first call of a minute writes when the token was used; the others write nothing."""
    operator.get("/tokens")
    written: list[str] = []

    def note(connection: object, cursor: object, statement: str, *rest: object) -> None:
        written.extend([statement] if statement.startswith("UPDATE") else [])

    event.listen(context.store.engine, "before_cursor_execute", note)
    for seconds in (0, 30, 31, 5):
        clock_of(context).move(seconds)
        operator.get("/tags")
    event.remove(context.store.engine, "before_cursor_execute", note)

    assert 1 == len(written)


@pytest.mark.parametrize(("change", "status"), [({"role": "viewer"}, 403), ({"active": False}, 401)])
def test_a_changed_role_counts_at_once(
    admin: Caller, application: Flask, context: Context, change: dict[str, object], status: int
) -> None:
    """For the tokens and the sessions that there are."""
    peter = a_user(context)
    client = application.test_client()
    begun = client.post(f"{BASE}/session", json={"name": "peter", "password": "a long password"}).get_json()
    headers = {"X-CSRF-Token": begun["csrf_token"]}
    token = client.post(f"{BASE}/tokens", json={"name": "x"}, headers=headers).get_json()["token"]
    caller = Caller(application.test_client(), token)
    assert 201 == caller.post("/tags", {"name": "before"}).status_code
    admin("PATCH", f"/users/{peter.id}", change)

    assert status == caller.post("/tags", {"name": "after"}).status_code
    assert 401 == client.get(f"{BASE}/session").status_code


def test_sessions_are_listed_and_ended(application: Flask, context: Context) -> None:
    """A session shows from where it is; ended elsewhere or signed out, its cookie is worth nothing, also a copy of it."""
    a_user(context)
    clients = [application.test_client() for _ in range(2)]
    body = {"name": "peter", "password": "a long password"}
    agent = {"User-Agent": "Browser \x01 1"}
    csrf = [one.post(f"{BASE}/session", json=body, headers=agent).get_json()["csrf_token"] for one in clients]
    listed = clients[0].get(f"{BASE}/sessions").get_json()["items"]
    copy = application.test_client()
    copied = clients[0].get_cookie("muster_session")
    assert copied is not None
    copy.set_cookie("muster_session", copied.value)
    headers = {"X-CSRF-Token": csrf[0]}
    ended = clients[0].delete(f"{BASE}/sessions/{listed[1]['id']}", headers=headers)

    assert [("127.0.0.1", "Browser  1")] * 2 == [(one["address"], one["agent"]) for one in listed]
    assert not any("secret" in one for one in listed)
    assert (204, 401) == (ended.status_code, clients[1].get(f"{BASE}/session").status_code)
    assert 200 == copy.get(f"{BASE}/session").status_code
    assert 204 == clients[0].delete(f"{BASE}/session", headers=headers).status_code
    assert 401 == copy.get(f"{BASE}/session").status_code


def test_sessions_of_others_are_not_there(application: Flask, context: Context, operator: Caller) -> None:
    """Nobody but an administrator ends somebody else's session; sessions end by themselves."""
    a_user(context)
    client = application.test_client()
    client.post(f"{BASE}/session", json={"name": "peter", "password": "a long password"})

    assert 404 == operator("DELETE", "/sessions/1").status_code
    assert 200 == client.get(f"{BASE}/session").status_code
    clock_of(context).move(12 * 3600 + 1)
    assert 401 == client.get(f"{BASE}/session").status_code


def test_refused_guesses_say_when_to_come_back(nobody: Caller, context: Context) -> None:
    """429 has a Retry-After; a name that does not exist is slowed down in the same words, and the change of a password too."""
    peter = a_user(context)
    for name in ("peter", "nobody-at-all"):
        for _ in range(10):
            nobody.post("/login", {"name": name, "password": "wrong"})
    known, unknown = (nobody.post("/login", {"name": name, "password": "x"}) for name in ("peter", "nobody-at-all"))
    clock_of(context).move(301)
    token = nobody.post("/login", {"name": "peter", "password": "a long password"}).get_json()["token"]
    own = Caller(nobody.client, token)
    body = {"password": "another long one", "current": "guess"}
    guesses = [own("PUT", f"/users/{peter.id}/password", body).status_code for _ in range(11)]

    assert (429, 429) == (known.status_code, unknown.status_code)
    assert 0 < int(known.headers["Retry-After"]) <= 300
    assert known.get_json(force=True)["detail"] == unknown.get_json(force=True)["detail"]
    assert [403] * 10 + [429] == guesses
