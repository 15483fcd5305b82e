"""The machine edge for tests: a small application, and a machine that boots, runs its task and reports, by the book.

The machine speaks only through the edge, with the headers that a rack's relay adds; the rack's own part (records,
power) is played by `Lab`.
"""

from __future__ import annotations

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from flask import Flask
from flask.testing import FlaskClient
from sqlalchemy import func, select

from app import identity, metadata
from app.api import errors
from app.services import power
from app.services.context import Context
from app.store.models import Machine, Rack, RecordChange
from tests.factories.control import Seeded, clock_of, make_context, ring_of, seed
from workers.region.lifecycle import runner

RESULTS: dict[str, Any] = {
    "cpu": {"model": "Test", "architecture": "amd64", "sockets": 1, "cores": 2, "threads": 4, "mhz": None, "numa": []},
    "memory": {"total_mib": 3900},
    "disks": {
        "disks": [
            {
                "name": "vda",
                "path": "/dev/vda",
                "by_id": None,
                "size_bytes": 8 * 1024**3,
                "model": None,
                "serial": "disk-1",
                "rotational": False,
                "block_size": 512,
            }
        ]
    },
    "pci": {"devices": []},
    "firmware": {"type": "bios", "system": {"uuid": "11111111-2222-3333-4444-555555555555"}},
    "lldp": {"neighbours": []},
    "bmc": {"bmc": None, "reason": "none"},
    "lshw": None,
}


def make_edge(context: Context) -> Flask:
    """An application with nothing but the machine edge."""
    application = Flask("edge", static_folder=None)
    identity.attach(application, context)
    errors.register(application)
    metadata.mount(application)
    return application


@dataclass
class SimulatedMachine:
    """A machine on the wire. `address` is its lease; `token` is what its last boot script gave it."""

    client: FlaskClient
    relay: str
    mac: str = "52:54:00:aa:bb:01"
    address: str = "10.20.0.100"
    uuid: str = "11111111-2222-3333-4444-555555555555"
    bmc: bool = True
    token: str | None = None
    script: str = ""
    results: dict[str, Any] = field(default_factory=lambda: dict(RESULTS))

    def headers(self, token: str | None = None, address: str | None = None) -> dict[str, str]:
        """What the relay adds, and the token."""
        made = {"X-Muster-Rack": self.relay, "X-Forwarded-For": f"192.0.2.66, {address or self.address}"}
        if token or self.token:
            made["Authorization"] = f"Bearer {token or self.token}"
        return made

    def boot(self) -> str:
        """Fetch the boot script; `ephemeral` or `local`."""
        query = f"mac={self.mac}&uuid={self.uuid}&arch=x86_64&platform=pcbios"
        answer = self.client.get(f"/boot/v1/script?{query}", headers=self.headers())
        assert answer.status_code == 200, answer.text
        self.script = answer.text
        found = re.search(r"muster\.token=(\S+)", answer.text)
        self.token = found.group(1) if found else None
        return "ephemeral" if found else "local"

    def get(self, path: str, **options: Any) -> Any:
        """GET below /machine/v1."""
        return self.client.get(f"/machine/v1{path}", headers=self.headers(**options))

    def post(self, path: str, body: Any, **options: Any) -> Any:
        """POST below /machine/v1."""
        return self.client.post(f"/machine/v1{path}", json=body, headers=self.headers(**options))

    def status(self, event: str, message: str = "", step: str = "run") -> int:
        """Report; the status code."""
        body = {"event": event, "step": step, "message": message, "fraction": None}
        return int(self.post("/status", body).status_code)

    def enlistment(self) -> dict[str, Any]:
        """What it says of itself."""
        bmc = {
            "type": "ipmi",
            "address": "10.20.1.7",
            "mac": None,
            "username": "muster",
            "password": "bmc-secret",
            "version": "2.0",
        }
        return {
            "hostname_hint": None,
            "architecture": "amd64",
            "firmware": "bios",
            "uuid": self.uuid,
            "interfaces": [{"name": "eth0", "mac": self.mac, "boot": True}],
            "bmc": bmc if self.bmc else None,
            "bmc_reason": None if self.bmc else "/dev/ipmi0 is absent",
        }

    def enlist(self) -> Any:
        """Boot, enlist, and say so; the answer of POST /enlist."""
        assert self.boot() == "ephemeral"
        assert self.get("/task").json["purpose"] == "enlist"
        answer = self.post("/enlist", self.enlistment())
        assert answer.status_code == 200, answer.text
        assert self.status("finished") == 204
        return answer.json

    def report(self, script: str, **changes: Any) -> int:
        """Report one script; the status code."""
        result = self.results.get(script)
        if script == "nics":
            nic = {"name": "eth0", "mac": self.mac, "driver": "virtio_net", "speed_mbps": None, "link": True}
            result = {"nics": [nic | {"addresses": [f"{self.address}/24"]}]}
        body = {
            "script": script,
            "status": "passed",
            "exit_code": 0,
            "seconds": 0.5,
            "stdout": base64.b64encode(f"output of {script}".encode()).decode(),
            "stderr": "",
            "result": result,
        }
        return int(self.post("/results", body | changes).status_code)

    def run_scripts(self) -> None:
        """Boot for commissioning, and run and report everything."""
        assert self.boot() == "ephemeral"
        task = self.get("/task").json
        assert task["purpose"] == "commission"
        assert self.status("started") == 204
        for script in task["scripts"]:
            assert self.report(script["name"]) == 204
        assert self.status("finished") == 204

    def install(self) -> dict[str, Any]:
        """Boot for installing, install and say so; the plan."""
        assert self.boot() == "ephemeral"
        answer = self.get("/task")
        assert answer.status_code == 200, answer.text
        assert self.status("finished") == 204
        plan: dict[str, Any] = answer.json["install"]
        return plan


@dataclass
class Lab:
    """A control plane, its edge, and the rack's part played by hand."""

    context: Context
    seeded: Seeded
    application: Flask

    def machine(self, **values: Any) -> SimulatedMachine:
        """A machine on the rack's network."""
        return SimulatedMachine(self.application.test_client(), self.seeded.relay_header, **values)

    def row(self, machine_id: int) -> Machine:
        """The machine as it is now."""
        with self.context.store.read() as session:
            return session.get_one(Machine, machine_id)

    def pass_time(self, seconds: float) -> None:
        """Time goes by while the region worker sweeps, as it does all the time."""
        left = seconds
        while left > 0:
            clock_of(self.context).move(min(left, 30.0))
            runner.sweep(self.context)
            left -= 30.0

    def racks_apply(self) -> None:
        """All racks have applied all records."""
        with self.context.store.write() as session:
            last = session.scalar(select(func.max(RecordChange.sequence))) or 0
            for rack in session.scalars(select(Rack)):
                rack.applied_records = last

    def carry_out_power(self, ok: bool = True) -> list[str]:
        """The rack claims and carries out every waiting order; their verbs."""
        verbs = []
        for order in power.waiting(self.context, self.seeded.rack_id):
            claimed = power.claim(self.context, self.seeded.rack_id, order["id"])
            verb = claimed["verb"]
            state = {"off": "off", "on": "on", "cycle": "on"}.get(verb, "unknown")
            reason = None if ok else "the controller is busy"
            power.finish(self.context, self.seeded.rack_id, order["id"], ok, state, reason, 0.1)
            verbs.append(verb)
        return verbs

    def settle(self, machine_id: int) -> list[str]:
        """Let worker and rack go on until both wait for something else; the power verbs that were carried out."""
        verbs: list[str] = []
        for _ in range(20):
            runner.advance(self.context, machine_id)
            self.racks_apply()
            done = self.carry_out_power()
            verbs += done
            if not done and ("advance", machine_id) not in ring_of(self.context).take():
                runner.advance(self.context, machine_id)
                if not power.waiting(self.context, self.seeded.rack_id):
                    return verbs
        raise AssertionError("worker and rack never came to rest")


def make_lab(tmp_path: Path) -> Lab:
    """All of it, in SQLite, with an image whose files exist."""
    context = make_context(tmp_path)
    folder = tmp_path / "image"
    folder.mkdir()
    seeded = seed(context, image_folder=folder)
    return Lab(context, seeded, make_edge(context))
