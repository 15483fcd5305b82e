"""Signing in, sessions and CSRF, tokens, users, SSH keys."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from flask import Flask

from app.services import users
from app.services.context import SYSTEM, Context
from tests.api.conftest import BASE, Caller
from tests.factories.control import clock_of


def a_public_key() -> str:
    """A fresh Ed25519 public key in OpenSSH's form."""
    public = Ed25519PrivateKey.generate().public_key()
    return public.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def a_user(context: Context, name: str = "peter", role: str = "operator") -> users.User:
    return users.create(context.acting_as(SYSTEM), name, "a long password", role)


def test_password_buys_a_token(nobody: Caller, context: Context) -> None:
    """A name and its password give a token that works; a wrong one gives 401 and says the same as for a wrong name."""
    a_user(context)
    wrong = nobody.post("/login", {"name": "peter", "password": "not this one"})
    unknown = nobody.post("/login", {"name": "nobody", "password": "not this one"})
    right = nobody.post("/login", {"name": "peter", "password": "a long password"})

    assert (401, 401, 201) == (wrong.status_code, unknown.status_code, right.status_code)
    assert wrong.get_json(force=True)["detail"] == unknown.get_json(force=True)["detail"]
    caller = Caller(nobody.client, right.get_json()["token"])
    assert "peter" == caller.get("/session").get_json()["user"]["name"]
    assert caller.get("/session").get_json()["csrf_token"] is None


def test_guessing_is_slowed_down(nobody: Caller, context: Context) -> None:
    """After ten wrong passwords for a name from one address the answer is 429, even for the right one."""
    a_user(context)
    statuses = [nobody.post("/login", {"name": "peter", "password": "wrong"}).status_code for _ in range(10)]
    right = nobody.post("/login", {"name": "peter", "password": "a long password"})

    assert [401] * 10 == statuses
    assert 429 == right.status_code


def test_session_needs_csrf_for_changes(application: Flask, context: Context) -> None:
    """A session reads without, and changes only with its CSRF token; its cookie is HttpOnly and SameSite=Lax."""
    a_user(context)
    client = application.test_client()
    begun = client.post(f"{BASE}/session", json={"name": "peter", "password": "a long password"})
    cookie = begun.headers["Set-Cookie"]
    csrf = begun.get_json()["csrf_token"]
    bare = client.post(f"{BASE}/tags", json={"name": "gpu"})
    false = client.post(f"{BASE}/tags", json={"name": "gpu"}, headers={"X-CSRF-Token": "x" * len(csrf)})
    right = client.post(f"{BASE}/tags", json={"name": "gpu"}, headers={"X-CSRF-Token": csrf})

    assert "HttpOnly" in cookie
    assert "SameSite=Lax" in cookie
    assert 200 == client.get(f"{BASE}/tags").status_code
    assert (403, 403, 201) == (bare.status_code, false.status_code, right.status_code)


def test_signing_out_ends_the_session(application: Flask, context: Context) -> None:
    """After signing out nobody is signed in."""
    a_user(context)
    client = application.test_client()
    begun = client.post(f"{BASE}/session", json={"name": "peter", "password": "a long password"}).get_json()
    client.delete(f"{BASE}/session", headers={"X-CSRF-Token": begun["csrf_token"]})

    assert 401 == client.get(f"{BASE}/session").status_code


def test_changed_password_ends_sessions(application: Flask, context: Context) -> None:
    """A session that began before the password changed is over."""
    peter = a_user(context)
    client = application.test_client()
    client.post(f"{BASE}/session", json={"name": "peter", "password": "a long password"})
    before = client.get(f"{BASE}/session").status_code
    users.set_password(context, peter.id, "another long one")

    assert (200, 401) == (before, client.get(f"{BASE}/session").status_code)


def test_closed_account_has_no_tokens(admin: Caller, operator: Caller) -> None:
    """Deactivating a user ends what their tokens may do at once."""
    alice = operator.get("/session").get_json()["user"]
    admin("PATCH", f"/users/{alice['id']}", {"active": False})

    assert 401 == operator.get("/machines").status_code


def test_tokens_expire(operator: Caller, context: Context) -> None:
    """A token with a life of a day is worthless after it, and its text is in no list."""
    made = operator.post("/tokens", {"name": "script", "days": 1}).get_json()
    script = Caller(operator.client, made["token"])
    before = script.get("/machines").status_code
    listed = operator.get("/tokens").get_json()["items"]
    clock_of(context).move(24 * 3600)

    assert (200, 401) == (before, script.get("/machines").status_code)
    assert all("token" not in item for item in listed)
    assert made["token"].startswith(made["prefix"])


def test_deleted_token_is_dead(operator: Caller) -> None:
    """A deleted token is refused; somebody else's is not there to be deleted."""
    made = operator.post("/tokens", {"name": "script"}).get_json()
    script = Caller(operator.client, made["token"])
    operator("DELETE", f"/tokens/{made['id']}")

    assert 401 == script.get("/machines").status_code


def test_roles(admin: Caller, viewer: Caller) -> None:
    """Only administrators make users; the last one cannot be lost."""
    refused = viewer.post("/users", {"name": "eve", "password": "a long password", "role": "admin"})
    made = admin.post("/users", {"name": "bob", "password": "a long password"}).get_json()
    root = admin.get("/session").get_json()["user"]
    last = admin("PATCH", f"/users/{root['id']}", {"role": "viewer"})

    assert 403 == refused.status_code
    assert ("bob", "operator") == (made["name"], made["role"])
    assert 409 == last.status_code
    assert "password" not in str(made)


def test_short_passwords_are_refused(admin: Caller) -> None:
    """The refusal names the field and the rule."""
    problem = admin.post("/users", {"name": "bob", "password": "short"}).get_json(force=True)

    assert (422, "password") == (problem["status"], problem["field"])


def test_own_password_needs_the_current_one(nobody: Caller, context: Context) -> None:
    """One's own password changes only with the one in use."""
    peter = a_user(context)
    token = nobody.post("/login", {"name": "peter", "password": "a long password"}).get_json()["token"]
    caller = Caller(nobody.client, token)
    wrong = caller("PUT", f"/users/{peter.id}/password", {"password": "the next password", "current": "guess"})
    right = caller(
        "PUT", f"/users/{peter.id}/password", {"password": "the next password", "current": "a long password"}
    )

    assert (403, 204) == (wrong.status_code, right.status_code)
    assert users.authenticate(context, "peter", "the next password").id == peter.id


def test_ssh_keys(operator: Caller, viewer: Caller) -> None:
    """A key is kept once per user, with the fingerprint that ssh-keygen shows; others do not see it."""
    line = a_public_key()
    made = operator.post("/keys", {"public_key": f"{line} alice@desk\n"}).get_json()
    again = operator.post("/keys", {"public_key": line})

    assert made["fingerprint"].startswith("SHA256:")
    assert 43 == len(made["fingerprint"].removeprefix("SHA256:"))
    assert "alice@desk" == made["comment"]
    assert 409 == again.status_code
    assert [] == viewer.get("/keys").get_json()["items"]
    assert 404 == viewer("DELETE", f"/keys/{made['id']}").status_code


def test_bad_ssh_keys_are_refused(operator: Caller) -> None:
    """Private keys, cut keys, small RSA keys, two lines and made-up types are refused with 422."""
    weak = generate_private_key(65537, 1024).public_key()  # noqa: S505
    small = weak.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    bad = [
        "-----BEGIN OPENSSH PRIVATE KEY-----",
        a_public_key()[:-12],
        small,
        f"{a_public_key()}\n{a_public_key()}",
        "ssh-dss AAAA",
        'command="rm" ' + a_public_key(),
    ]

    assert [422] * len(bad) == [operator.post("/keys", {"public_key": key}).status_code for key in bad]
