"""An application over a small seeded control plane, and people who are signed in with a browser."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

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


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path) -> Flask:
    return create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state"), "MUSTER_STREAMS": "2"}))


@pytest.fixture
def nobody(application: Flask) -> Browser:
    return Browser(application.test_client())


def sign_up(context: Context, name: str, role: str) -> None:
    """A person of that role with a password."""
    with context.store.write() as session:
        user = session.query(User).filter_by(name=name).one_or_none()
        if user is None:
            session.add(user := User(name=name, role=role))
        user.password_hash = hash_of(PASSWORD)


def signed_in(context: Context, application: Flask, name: str, role: str) -> Browser:
    """A browser in which that person has signed in by the form."""
    sign_up(context, name, role)
    browser = Browser(application.test_client())
    browser.get("/login")
    assert 302 == browser.post("/login", {"name": name, "password": PASSWORD}).status_code
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
