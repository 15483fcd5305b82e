"""Muster behind a TLS proxy on its own host: who is asking, and what a rack is told of where it reached us."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.config import load
from app.factory import BehindProxy, create_app
from app.services import racks
from app.services.context import Context
from app.store.models import Rack
from tests.factories.control import Seeded


@pytest.mark.parametrize(
    ("peer", "said", "asking"),
    [
        ("127.0.0.1", "192.0.2.7", "192.0.2.7"),
        ("::1", "2001:db8::7", "2001:db8::7"),
        ("127.0.0.1", "", "127.0.0.1"),
        ("127.0.0.1", "somebody", "127.0.0.1"),
        ("192.0.2.9", "127.0.0.1", "192.0.2.9"),
    ],
    ids=["by the proxy", "by the proxy, IPv6", "on this host itself", "no address", "a forged header from elsewhere"],
)
def test_who_is_asking(peer: str, said: str, asking: str) -> None:
    """The proxy's word counts, and nobody else's."""
    seen: dict[str, Any] = {}
    BehindProxy(lambda environ, start: seen.update(environ))({"REMOTE_ADDR": peer, "HTTP_X_REAL_IP": said}, None)

    assert asking == seen["REMOTE_ADDR"]


@pytest.mark.parametrize("behind", [True, False])
def test_a_rack_that_enrols_through_the_proxy_is_somewhere_else(
    context: Context, seeded: Seeded, tmp_path: Path, behind: bool
) -> None:
    """A broker of files is on this host; it is told only to who is here, too."""
    settings = {"MUSTER_STATE_DIR": str(tmp_path / "state"), "MUSTER_BEHIND_PROXY": "1" if behind else ""}
    body = {
        "code": racks.new_code(context),
        "name": "beta",
        "layout": {},
        "ports": {},
        "interfaces": [],
        "version": "1",
    }
    answer = create_app(context, load(settings)).test_client().post(
        "/rack/v1/enrol",
        json=body,
        base_url="https://muster.example",
        environ_base={"REMOTE_ADDR": "127.0.0.1"},
        headers={"X-Real-IP": "192.0.2.7"},
    )  # fmt: skip
    with context.store.read() as session:
        stored = session.scalars(select(Rack).where(Rack.name == "beta")).one()

    assert 201 == answer.status_code
    assert behind is (answer.get_json()["broker_url"] is None)
    assert ("muster.example", 443) == (stored.control_plane_host, stored.control_plane_port)
