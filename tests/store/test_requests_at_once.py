"""Requests that meet, through the API on both databases: stale changes, repeated requests, guessed passwords."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import func, select

from app.config import load
from app.factory import create_app
from app.services import idempotency, logins, rack_interfaces, users
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import TooMany, Unauthorized
from app.store.models import ApiToken, IdempotencyKey, LoginAttempts, Machine, Operation
from tests.api.conftest import Caller, sign_up
from tests.factories.control import Seeded, clock_of, make_machine, seed
from tests.store.test_lifecycle_races import at_once, count

KEY = "5f0c4a52-7f0e-4f0e-9d9f-0c8f6f0a0001"


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """What a small rack has; the rack's own address has a row."""
    made = seed(context)
    with changing(context) as session:
        rack_interfaces.attach_all(session, context)
    return made


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path) -> Flask:
    return create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))


@pytest.fixture
def admin(context: Context, application: Flask) -> Caller:
    return sign_up(context, application, "root", "admin")


@pytest.fixture
def operator(context: Context, application: Flask) -> Caller:
    return sign_up(context, application, "alice", "operator")


def again(caller: Caller) -> Caller:
    """The same caller with a client of its own, for another thread."""
    return Caller(caller.client.application.test_client(), caller.token)


def once(caller: Caller, path: str, body: Any = None, key: str = KEY) -> Any:
    """A POST under a key."""
    return again(caller).post(path, body, headers={"Idempotency-Key": key})


THINGS: dict[str, tuple[str, list[dict[str, Any]]]] = {
    "machine": ("/machines/m-one", [{"tags": ["a"]}, {"tags": ["b"]}]),
    "vlan": ("/vlans/1", [{"name": "a"}, {"name": "b"}]),
    "subnet": ("/subnets/1", [{"name": "a"}, {"name": "b"}]),
    "range": ("/ranges/1", [{"comment": "a"}, {"comment": "b"}]),
    "fabric": ("/fabrics/1", [{"name": "a"}, {"name": "b"}]),
    "domain": ("/domains/1", [{"ttl_seconds": 60}, {"ttl_seconds": 90}]),
    "zone": ("/zones/1", [{"name": "a"}, {"name": "b"}]),
    "user": ("/users/1", [{"role": "viewer"}, {"role": "admin"}]),
}


@pytest.mark.parametrize("thing", THINGS)
def test_of_two_changes_to_one_version_one_wins(context: Context, seeded: Seeded, admin: Caller, thing: str) -> None:
    """Two PATCHes with the same ETag at once: one is done, the other is told that the thing has changed."""
    make_machine(context, seeded, "m-one")
    path, bodies = THINGS[thing]
    tag = admin.get(path).headers["ETag"]
    calls = [again(admin) for _ in bodies]
    answers = at_once(
        [
            lambda caller=caller, body=body: caller("PATCH", path, body, headers={"If-Match": tag}).status_code
            for caller, body in zip(calls, bodies, strict=True)
        ]
    )

    assert [200, 412] == sorted(answers)
    assert tag != admin.get(path).headers["ETag"]


def test_allocation_repeated_after_a_lost_answer_gives_the_same_machine(
    context: Context, seeded: Seeded, operator: Caller
) -> None:
    """The same key and body give the same answer, said to be a repetition; another key gives another machine."""
    for _ in range(3):
        make_machine(context, seeded)
    first, second = (once(operator, "/machines/allocate", {"cpu_count": 1}) for _ in range(2))
    other = once(operator, "/machines/allocate", {"cpu_count": 1}, key="another")

    assert (200, 200, 200) == (first.status_code, second.status_code, other.status_code)
    assert first.data == second.data
    assert first.headers["ETag"] == second.headers["ETag"]
    assert (None, "true") == tuple(one.headers.get("Idempotency-Replayed") for one in (first, second))
    assert first.get_json()["id"] != other.get_json()["id"]


def test_one_key_at_once_is_one_machine(context: Context, seeded: Seeded, operator: Caller) -> None:
    """Four at once with one key: one machine is given; the others get the same answer, or are told to wait."""
    for _ in range(4):
        make_machine(context, seeded)
    answers = at_once([lambda: once(operator, "/machines/allocate", {})] * 4)
    given = {answer.get_json()["id"] for answer in answers if answer.status_code == 200}

    assert {200, 409} >= {answer.status_code for answer in answers}
    assert 1 == len(given)
    assert 1 == count(context, Operation)
    with context.store.read() as session:
        assert list(given) == list(session.scalars(select(Machine.id).where(Machine.state == "ALLOCATED")))
    assert given == {once(operator, "/machines/allocate", {}).get_json()["id"]}


def test_a_verb_is_done_once(context: Context, seeded: Seeded, operator: Caller) -> None:
    """A repeated verb answers its first operation, also when the state would not allow it any more."""
    make_machine(context, seeded, "m-one", state="NEW")
    first = once(operator, "/machines/m-one/commission")
    again = once(operator, "/machines/m-one/commission")

    assert (202, 202, 409) == (
        first.status_code, again.status_code, operator.post("/machines/m-one/commission").status_code,
    )  # fmt: skip
    assert first.get_json()["id"] == again.get_json()["id"]
    assert 1 == count(context, Operation)


def test_a_crash_before_the_end_leaves_nothing(
    context: Context, seeded: Seeded, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When the process dies after the change and before its answer is kept, the change is not there either."""
    make_machine(context, seeded, "m-one", state="NEW")
    with monkeypatch.context() as patched:
        patched.setattr(idempotency, "_prune", lambda *ignored: (_ for _ in ()).throw(SystemExit))
        with pytest.raises(SystemExit):
            once(operator, "/machines/m-one/commission")

    assert (0, 0) == (count(context, Operation), count(context, IdempotencyKey))
    assert 202 == once(operator, "/machines/m-one/commission").status_code


def test_a_key_stands_for_one_request(context: Context, operator: Caller, admin: Caller) -> None:
    """Another body or another address under the key is refused; another user's key is another key."""
    made = once(operator, "/tags", {"name": "gpu"})
    other_body = once(operator, "/tags", {"name": "ssd"})
    other_path = once(operator, "/machines/allocate", {"name": "gpu"})

    assert (201, 422, 422) == (made.status_code, other_body.status_code, other_path.status_code)
    assert "Idempotency-Key" == other_body.get_json(force=True)["field"]
    assert 201 == once(admin, "/tags", {"name": "ssd"}).status_code
    assert 422 == once(operator, "/tags", {"name": "x"}, key="with space").status_code


def test_refused_requests_are_not_kept(context: Context, operator: Caller) -> None:
    """What was refused has changed nothing and may be sent again under its key."""
    refused = once(operator, "/machines/allocate", {})
    unshaped = once(operator, "/tags", {"nme": "gpu"}, key="second")

    assert (409, 422) == (refused.status_code, unshaped.status_code)
    assert 0 == count(context, IdempotencyKey)
    assert 201 == once(operator, "/tags", {"name": "gpu"}, key="second").status_code


def test_shown_secrets_are_sealed_and_keys_are_forgotten(context: Context, operator: Caller) -> None:
    """A repeated request shows the same new token; the database does not; after a day the key is free again."""
    first, second = (once(operator, "/tokens", {"name": "script"}) for _ in range(2))
    with context.store.read() as session:
        kept = session.scalars(select(IdempotencyKey.answer)).one()

    assert first.get_json()["token"] == second.get_json()["token"]
    assert first.get_json()["token"] not in kept
    assert 2 == count(context, ApiToken)  # This one and the caller's own.
    clock_of(context).move(idempotency.KEPT.total_seconds() + 1)
    assert first.get_json()["id"] != once(operator, "/tokens", {"name": "script"}).get_json()["id"]
    assert 1 == count(context, IdempotencyKey)


def test_a_user_keeps_a_bounded_number_of_keys(
    context: Context, operator: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Beyond the bound the oldest keys are forgotten."""
    monkeypatch.setattr(idempotency, "MOST_OF_A_USER", 20)
    for number in range(100):
        assert 201 == once(operator, "/tags", {"name": f"t-{number}"}, key=f"k-{number}").status_code

    assert 20 == count(context, IdempotencyKey)
    assert "true" == once(operator, "/tags", {"name": "t-99"}, key="k-99").headers["Idempotency-Replayed"]


def guess(context: Context, name: str = "peter", address: str = "192.0.2.1") -> str:
    """One attempt; how it ended."""
    try:
        with logins.attempt(context, name, address):
            users.authenticate(context, name, "wrong")
    except (TooMany, Unauthorized) as error:
        return type(error).__name__
    return "in"


def test_many_guesses_at_once_are_counted(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Twenty guesses at once, as from many processes: ten are looked at, the others are not; time makes it good."""
    looked_at: list[str] = []

    def look(context: Context, name: str, password: str) -> Any:
        looked_at.append(name)
        raise Unauthorized("wrong")

    monkeypatch.setattr(users, "authenticate", look)
    answers = at_once([lambda: guess(context)] * 20)

    assert {"TooMany": 10, "Unauthorized": 10} == {kind: answers.count(kind) for kind in set(answers)}
    assert 10 == len(looked_at)
    assert "Unauthorized" == guess(context, address="192.0.2.2")
    clock_of(context).move(logins.WITHIN.total_seconds() + 1)
    assert "Unauthorized" == guess(context)


def test_names_and_addresses_are_counted_too(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """Guessing one name from everywhere ends, and so does guessing every name from one address; nothing piles up."""
    monkeypatch.setattr(logins, "MOST", {"both": 10, "name": 3, "address": 3})
    monkeypatch.setattr(users, "authenticate", lambda *ignored: (_ for _ in ()).throw(Unauthorized("wrong")))
    by_name = [guess(context, "eve", f"192.0.2.{number}") for number in range(4)]
    by_address = [guess(context, f"name-{number}", "198.51.100.1") for number in range(4)]

    assert ["Unauthorized"] * 3 + ["TooMany"] == by_name == by_address
    clock_of(context).move(logins.WITHIN.total_seconds() + 1)
    guess(context, "last")
    assert 3 == count(context, LoginAttempts)
    with context.store.read() as session:
        assert 0 == session.scalar(select(func.count()).where(LoginAttempts.subject.contains("eve")))
