"""A small rack that is there: its zones hold its name servers and its names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services import dns_records, internal_names, name_servers, rack_interfaces
from app.services.changes import changing
from app.services.context import Context
from app.store.models import Rack, RecordChange
from tests.factories.control import Seeded, make_context, seed


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    found = seed(context)
    with context.store.write() as session:
        rack = session.get_one(Rack, found.rack_id)
        rack.seen_at = context.clock()

        rack_interfaces.attach_all(session, context)
    with changing(context) as session:
        name_servers.put_name_servers(session)
        internal_names.put(session, context.clock())
    return found


def live(context: Context, zone: str) -> dict[str, list[str]]:
    """Data by `owner TYPE` of everything that a zone holds now."""
    newest: dict[str, dict[str, Any] | None] = {}
    with context.store.read() as session:
        statement = select(RecordChange).where(RecordChange.scope == f"zone:{zone}").order_by(RecordChange.sequence)
        for row in session.scalars(statement):
            newest[row.key] = row.value
    return {f"{value['name']} {value['type']}": value["rdatas"] for value in newest.values() if value is not None}


def add(context: Context, seeded: Seeded, name: str, kind: str, data: str, ttl: int | None = None) -> int:
    """A record that somebody adds; its id."""
    row = dns_records.create(context, seeded.domain_id, name=name, type=kind, data=data, ttl_seconds=ttl)
    return row.id
