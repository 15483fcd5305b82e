"""An application over a small seeded control plane, and people who are signed in with a browser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask, session
from flask.testing import FlaskClient
from jinja2.bccache import Bucket, BytecodeCache
from werkzeug.test import TestResponse

from app import identity
from app.config import load
from app.factory import create_app
from app.services.context import Context
from app.store.models import User
from tests.factories.control import Seeded, hash_of, make_context, seed
from tests.web.document import Document

PASSWORD = "correct horse battery"


@dataclass
class Browser:
    """A browser with its cookies. `page` wants a whole page that is well-formed and that the policy lets through."""

    client: FlaskClient

    def get(self, path: str, *, htmx: bool = False) -> TestResponse:
        """Ask for a page, or (htmx) for a part of one."""
        return self.client.get(path, headers={"HX-Request": "true"} if htmx else {})

    def post(
        self, path: str, form: dict[str, str] | None = None, *, htmx: bool = False, csrf: str | None = None
    ) -> TestResponse:
        """Send a form with the session's CSRF token, as a plain form or as htmx does; `csrf` sends another."""
        token = self.csrf() if csrf is None else csrf
        if htmx:
            return self.client.post(path, data=form or {}, headers={"HX-Request": "true", "X-CSRF-Token": token})
        return self.client.post(path, data={**(form or {}), "csrf_token": token})

    def csrf(self) -> str:
        """The session's CSRF token, as pages give it to forms."""
        with self.client.session_transaction() as session:
            return str(session.get("csrf", ""))

    def page(self, path: str, status: int = 200) -> Document:
        """The page at `path`, checked."""
        return checked(self.get(path), status)

    def part(self, path: str, status: int = 200) -> Document:
        """The part of a page that htmx or the live page asks for, checked."""
        return checked(self.get(path, htmx=True), status)


def checked(response: TestResponse, status: int = 200) -> Document:
    """The answer's document; it is well-formed, and has nothing that the content security policy would block."""
    assert status == response.status_code, response.text
    assert "text/html" == response.mimetype
    policy = response.headers["Content-Security-Policy"]
    assert re.search(r"script-src 'self';", policy)
    assert re.search(r"style-src 'self';", policy)
    document = Document(response.text)
    assert [] == document.faults
    assert [] == document.forbidden()
    return document


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


class Compiled(BytecodeCache):
    """Templates as they were compiled for an earlier application of this process: for each test they are the same."""

    def __init__(self) -> None:
        self._code: dict[str, bytes] = {}

    def load_bytecode(self, bucket: Bucket) -> None:
        if bucket.key in self._code:
            bucket.bytecode_from_string(self._code[bucket.key])

    def dump_bytecode(self, bucket: Bucket) -> None:
        self._code[bucket.key] = bucket.bytecode_to_string()


@pytest.fixture(scope="session")
def compiled() -> Compiled:
    return Compiled()


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path, compiled: Compiled) -> Flask:
    made = create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state"), "MUSTER_STREAMS": "2"}))
    made.jinja_env.bytecode_cache = compiled
    return made


@pytest.fixture
def nobody(application: Flask) -> Browser:
    return Browser(application.test_client())


def sign_up(context: Context, name: str, role: str) -> User:
    """A person of that role with a password."""
    with context.store.write() as store:
        user = store.query(User).filter_by(name=name).one_or_none()
        if user is None:
            store.add(user := User(name=name, role=role))
        user.password_hash = hash_of(PASSWORD)
    return user


def signed_in(context: Context, application: Flask, name: str, role: str) -> Browser:
    """A browser in which that person's session has begun, as the form does it once it has looked at the password.

    Looking takes a quarter of a second on purpose; `test_session.py` signs people in by the form.
    """
    user = sign_up(context, name, role)
    browser = Browser(application.test_client())
    with application.test_request_context("/login"):
        identity.sign_in(user)
        begun = dict(session)
    with browser.client.session_transaction() as kept:
        kept.update(begun)
        kept.permanent = True
    return browser


@pytest.fixture
def alice(context: Context, application: Flask) -> Browser:
    """The operator of the seed, who has an SSH key."""
    return signed_in(context, application, "alice", "operator")


@pytest.fixture
def vera(context: Context, application: Flask) -> Browser:
    """A viewer."""
    return signed_in(context, application, "vera", "viewer")


@pytest.fixture
def root(context: Context, application: Flask) -> Browser:
    """An administrator."""
    return signed_in(context, application, "root", "admin")
