"""A control plane in this process over a database of its own, with a subnet that has room for many, and a person's token."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import structlog
from flask import Flask
from sqlalchemy import event
from sqlalchemy.orm import Session
from werkzeug.test import TestResponse

from app import wiring
from app.config import load
from app.factory import create_app
from app.services import bootstrap, jobs
from app.services.context import Context
from app.store.models import Domain, Rack, Subnet, Vlan
from app.wiring import database

CIDR, RACK_TOKEN = "10.64.0.0/12", "the token of the bench's rack"


class WorkerRing:
    """A bell whose region worker is a thread of this process, for bulk jobs; nobody hears the other wakes."""

    def __init__(self) -> None:
        self.context: Context | None = None
        self.threads: list[threading.Thread] = []

    def advance(self, machine_id: int) -> None:
        """Nobody looks."""

    def reconcile(self, rack_id: int) -> None:
        """Nobody looks."""

    def rack(self, rack_name: str) -> None:
        """Nobody looks."""

    def broker_users(self) -> None:
        """Nobody looks after them."""

    def job(self, job_id: int) -> None:
        """Begin the job."""
        assert self.context is not None
        self.threads.append(threading.Thread(target=jobs.run, args=(self.context, job_id)))
        self.threads[-1].start()


@dataclass
class Scene:
    """What a benchmark works on."""

    context: Context
    application: Flask
    ring: WorkerRing
    token: str
    subnet_id: int
    vlan_id: int
    rack_id: int

    def call(self, method: str, path: str, body: Any = None, **headers: str) -> TestResponse:
        """One call of the API, through the whole application. AssertionError when it is refused."""
        sent = {"Authorization": f"Bearer {self.token}"} | {
            name.replace("_", "-"): text for name, text in headers.items()
        }
        answer = self.application.test_client().open(f"/api/v1{path}", method=method, json=body, headers=sent)
        assert answer.status_code < 400, f"{method} {path}: {answer.status_code} {answer.text[:300]}"
        return answer

    def prepare_rack(self, session: Session) -> None:
        """Give the rack an address in the subnet, so that it serves DHCP there."""
        rack, vlan = session.get_one(Rack, self.rack_id), session.get_one(Vlan, self.vlan_id)
        rack.interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.64.0.1/12"]}]
        rack.layout = {"root": "/var/lib/muster-rack", "boot_files": "/usr/lib/ipxe"}
        rack.control_plane_host = "10.64.0.1"
        vlan.dhcp_on = True

    def finish(self, job_id: int) -> dict[str, Any]:
        """Wait for a job's end; the job."""
        while True:
            found: dict[str, Any] = json.loads(self.call("GET", f"/jobs/{job_id}").data)
            if found["finished_at"] is not None:
                return found
            time.sleep(0.02)

    @contextlib.contextmanager
    def statements(self) -> Iterator[list[str]]:
        """The statements that the database is given meanwhile."""
        seen: list[str] = []

        def note(connection: Any, cursor: Any, statement: str, *rest: Any) -> None:
            seen.append(statement)

        event.listen(self.context.store.engine, "before_cursor_execute", note)
        try:
            yield seen
        finally:
            event.remove(self.context.store.engine, "before_cursor_execute", note)


@contextlib.contextmanager
def scene(folder: Path, url: str | None = None) -> Iterator[Scene]:
    """A control plane over SQLite in `folder`, or the empty database at `url`."""
    state = folder / "state"
    words = {"MUSTER_STATE_DIR": str(state), "MUSTER_LOG_FORMAT": "json"}
    config = load(words | ({"MUSTER_DATABASE_URL": url} if url else {}))
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    database.upgrade(config)
    ring = WorkerRing()
    context = replace(wiring.wire(config), ring=ring)
    ring.context = context
    password = bootstrap.prepare(context, "bench.muster")
    application = create_app(context, config)
    login = {"name": "admin", "password": password, "token_name": "bench"}
    token = application.test_client().post("/api/v1/login", json=login).get_json()["token"]
    with context.store.write() as session:
        rack = Rack(
            name="rack-1", token_hash=hashlib.sha256(RACK_TOKEN.encode()).hexdigest(), enrolled_at=context.clock()
        )
        session.add(rack)
        session.flush()
        vlan = session.query(Vlan).first()
        domain = session.query(Domain).first()
        assert vlan is not None
        assert domain is not None
        vlan.rack_id = rack.id
        subnet = Subnet(cidr=CIDR, name="bench", vlan_id=vlan.id, domain_id=domain.id)
        session.add(subnet)
        session.flush()
        made = Scene(context, application, ring, token, subnet.id, vlan.id, rack.id)
    try:
        yield made
    finally:
        for thread in ring.threads:
            thread.join()
        context.store.engine.dispose()
        structlog.reset_defaults()


def machines(subnet_id: int, count: int, first: int = 0) -> list[dict[str, Any]]:
    """Machines with two interfaces each, the first with an address."""
    return [
        {
            "hostname": f"m{number}",
            "interfaces": [
                {"mac": _mac(1, number), "subnet_id": subnet_id, "mode": "sticky"},
                {"mac": _mac(2, number)},
            ],
        }
        for number in range(first, first + count)
    ]


def _mac(kind: int, number: int) -> str:
    return f"52:54:{kind:02x}:{number >> 16:02x}:{number >> 8 & 255:02x}:{number & 255:02x}"
