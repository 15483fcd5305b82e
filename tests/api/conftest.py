"""An application over a small seeded control plane, and people with tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from werkzeug.test import TestResponse

from app.config import load
from app.factory import create_app
from app.services import tokens, users
from app.services.context import Context
from app.store.models import User
from tests.factories.control import Seeded, hash_of, make_context, seed

BASE = "/api/v1"


@dataclass
class Caller:
    """Calls the API with one token, or with none."""

    client: FlaskClient
    token: str | None = None

    def __call__(self, method: str, path: str, body: Any = None, **words: Any) -> TestResponse:
        headers = dict(words.pop("headers", {}))
        if self.token:
            headers["Authorization"] = f"Bearer {self.token}"
        if body is not None:
            words["json"] = body
        return self.client.open(BASE + path, method=method, headers=headers, **words)

    def get(self, path: str, **words: Any) -> TestResponse:
        return self("GET", path, **words)

    def post(self, path: str, body: Any = None, **words: Any) -> TestResponse:
        return self("POST", path, body, **words)


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path) -> Flask:
    return create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state"), "MUSTER_STREAMS": "2"}))


def sign_up(context: Context, application: Flask, name: str, role: str) -> Caller:
    """A user of that role, made or changed, with a token."""
    with context.store.write() as session:
        user = session.query(User).filter_by(name=name).one_or_none()
        if user is None:
            user = User(name=name, role=role, password_hash=hash_of(f"{name}-password"))
            session.add(user)
        session.flush()
    return Caller(application.test_client(), tokens.create(context.acting_as(users.actor(user)), "test").text)


@pytest.fixture
def admin(context: Context, application: Flask) -> Caller:
    return sign_up(context, application, "root", "admin")


@pytest.fixture
def operator(context: Context, application: Flask) -> Caller:
    """alice of the seed: an operator with an SSH key."""
    return sign_up(context, application, "alice", "operator")


@pytest.fixture
def viewer(context: Context, application: Flask) -> Caller:
    return sign_up(context, application, "vera", "viewer")


@pytest.fixture
def nobody(application: Flask) -> Caller:
    return Caller(application.test_client())
