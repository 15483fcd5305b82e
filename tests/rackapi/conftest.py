"""The edge of racks alone, and a rack that is enrolled."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app import identity, rackapi
from app.api import errors
from app.config import load
from app.services import rack_interfaces
from app.services.changes import changing
from app.services.context import Context
from app.store.models import Rack
from tests.factories.control import (
    RACK_TOKEN,
    Seeded,
    make_context,
    seed,
)

AGENT = {"Authorization": f"Bearer {RACK_TOKEN}"}


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """A rack that is enrolled."""
    made = seed(context)
    with changing(context) as session:
        session.get_one(Rack, made.rack_id).control_plane_host = "192.0.2.10"
        rack_interfaces.attach_all(session, context)
    return made


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path) -> Flask:
    """An application with this edge only."""
    made = Flask("app")
    made.config.update(MUSTER_CONFIG=load({"MUSTER_STATE_DIR": str(tmp_path / "state")}), RACK_WAITERS=8)
    identity.attach(made, context)
    errors.register(made)
    made.register_blueprint(rackapi.blueprint)
    return made


def call(application: Flask, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
    """One call with the seeded rack's token."""
    sent = AGENT | {name.replace("_", "-"): value for name, value in headers.items()}
    return application.test_client().open(f"/rack/v1{path}", method=method, json=body, headers=sent)
