"""A control plane in this process, with the rack and the machines played by their protocols, and a meter on it."""

from __future__ import annotations

import base64
import contextlib
import json
import os
import re
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import structlog
from flask import Flask
from sqlalchemy import event
from werkzeug.test import EnvironBuilder, run_wsgi_app
from werkzeug.wrappers import Response

from app import wiring
from app.config import load
from app.factory import create_app
from app.services import bootstrap
from app.services.context import Context
from app.store.models import Machine
from app.wiring import database, log
from app.wiring.ring import CeleryRing
from lab.simulated import Hardware
from lab.tiny_image import make_tiny_image
from workers.region.lifecycle import runner

SUBNET, RACK, DYNAMIC = "10.20.0.0/22", "10.20.0.1/22", ("10.20.3.0", "10.20.3.250")
ENOUGH = 50
CALLERS = {"api": "person", "rack": "rack", "boot": "machine", "machine": "machine"}
"""Who calls, by the first part of the path."""


@dataclass(frozen=True)
class Cost:
    """Seconds of wall and processor time inside the control plane, SQL statements, calls; both times by caller."""

    wall: float = 0.0
    cpu: float = 0.0
    statements: int = 0
    calls: int = 0
    wall_of: Mapping[str, float] = field(default_factory=dict)
    cpu_of: Mapping[str, float] = field(default_factory=dict)

    def __add__(self, other: Cost) -> Cost:
        """Both together."""
        return Cost(
            self.wall + other.wall,
            self.cpu + other.cpu,
            self.statements + other.statements,
            self.calls + other.calls,
            dict(Counter(self.wall_of) + Counter(other.wall_of)),
            dict(Counter(self.cpu_of) + Counter(other.cpu_of)),
        )


class NotedRing:
    """The real bell, which also remembers whom the region worker would now look at."""

    def __init__(self, real: CeleryRing) -> None:
        self.real = real
        self.machines: list[int] = []
        self.racks = 0

    def advance(self, machine_id: int) -> None:
        """Ring, and remember."""
        self.real.advance(machine_id)
        self.machines.append(machine_id)

    def job(self, job_id: int) -> None:
        """Ring."""
        self.real.job(job_id)

    def reconcile(self, rack_id: int) -> None:
        """Ring."""
        self.real.reconcile(rack_id)

    def rack(self, rack_name: str) -> None:
        """Ring, and remember."""
        self.real.rack(rack_name)
        self.racks += 1

    def broker_users(self) -> None:
        """Ring."""
        self.real.broker_users()


class Played:
    """The whole; a context manager."""

    def __init__(self, folder: Path) -> None:
        """Build the control plane below `folder`; the rack enrols."""
        config = load({"MUSTER_STATE_DIR": str(folder / "state"), "MUSTER_CACHE": str(folder)})
        self._nowhere = open(os.devnull, "w", encoding="utf-8")  # noqa: SIM115 - closed at the end
        with contextlib.redirect_stderr(self._nowhere):
            log.set_up("json")
        database.upgrade(config)
        wired = wiring.wire(config)
        self.ring = NotedRing(CeleryRing(config.broker))
        self.context: Context = replace(wired, ring=self.ring)
        password = bootstrap.prepare(self.context, "bench.muster")
        self.application: Flask = create_app(self.context, config)
        self.token = ""
        self.cost = Cost()
        self._statements = 0
        event.listen(wired.store.engine, "before_cursor_execute", self._count)
        self.records = 0
        self.messages = folder / "state" / "broker" / "messages"
        self._set_up(str(password), make_tiny_image(folder / "image"))

    def __enter__(self) -> Self:
        """Everything is up already."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the database."""
        self.context.store.engine.dispose()
        structlog.reset_defaults()
        self._nowhere.close()

    def _set_up(self, password: str, image: Path) -> None:
        login = {"name": "admin", "password": password, "token_name": "bench"}
        self.token = self.api("POST", "/login", login)["token"]
        domain = self.api("GET", "/domains")["items"][0]
        vlan = self.api("GET", "/vlans")["items"][0]
        subnet = self.api(
            "POST",
            "/subnets",
            {"cidr": SUBNET, "name": "lan", "vlan_id": vlan["id"], "domain_id": domain["id"], "gateway": "10.20.3.254"},
        )
        self.api(
            "POST", "/ranges", {"subnet_id": subnet["id"], "kind": "dynamic", "start": DYNAMIC[0], "end": DYNAMIC[1]}
        )
        self.api("PUT", "/settings/enrolment_policy", {"value": {"on": True}})
        self.api("POST", "/images/import", {"path": str(image)})
        code = self.api("POST", "/racks/codes", {"name": "rack1"})["code"]
        interface = {"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": [RACK]}
        enrolled = self.call(
            "POST",
            "/rack/v1/enrol",
            None,
            {"code": code, "name": None, "layout": {}, "ports": {}, "interfaces": [interface]},
        )
        assert enrolled.status_code == 201, enrolled.data
        self.rack_token = enrolled.get_json()["token"]
        self.relay = f"{enrolled.get_json()['rack']['name']}:{enrolled.get_json()['relay_token']}"
        self.api("PATCH", f"/vlans/{vlan['id']}", {"dhcp_on": True})
        self.apply_records()

    # --- the meter ---------------------------------------------------------------------------------------------------

    def _count(self, *words: Any) -> None:
        self._statements += 1

    def meter(self, act: Callable[[], None]) -> Cost:
        """What `act` cost the control plane."""
        self.cost = Cost()
        act()
        return self.cost

    def timed(self, act: Callable[[], Any], caller: str) -> Any:
        """Do one thing of the control plane, on the meter."""
        before, cpu, wall = self._statements, time.process_time(), time.perf_counter()  # The dear clock outside.
        try:
            return act()
        finally:
            wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
            self.cost += Cost(wall, cpu, self._statements - before, 1, {caller: wall}, {caller: cpu})

    # --- callers -----------------------------------------------------------------------------------------------------

    def call(
        self, method: str, path: str, token: str | None, body: Any = None, headers: dict[str, str] | None = None
    ) -> Response:
        """One request."""
        sent = dict(headers or {})
        if token:
            sent["Authorization"] = f"Bearer {token}"
        data = json.dumps(body).encode() if body is not None else None
        if data is not None:
            sent["Content-Type"] = "application/json"
        environ = EnvironBuilder(path, method=method, headers=list(sent.items()), data=data).get_environ()
        caller = CALLERS[path.split("/")[1]]
        parts, status, answered = self.timed(lambda: run_wsgi_app(self.application, environ, buffered=True), caller)
        answer = Response(parts, status, answered)
        if answer.status_code >= 400:
            raise AssertionError(
                f"{method} {path} answered {answer.status_code}: {answer.get_data(as_text=True)[:400]}"
            )
        return answer

    def api(self, method: str, path: str, body: Any = None) -> Any:
        """A person's call."""
        answer = self.call(method, f"/api/v1{path}", self.token, body)
        return answer.get_json() if answer.data else None

    def as_rack(self, method: str, path: str, body: Any = None) -> Any:
        """The rack's call."""
        answer = self.call(method, f"/rack/v1{path}", self.rack_token, body)
        return answer.get_json() if answer.data else None

    # --- the worker and the rack -------------------------------------------------------------------------------------

    def settle(self) -> None:
        """Let the region worker and the rack go on until both wait for the machine."""
        for _ in range(ENOUGH):
            rung, self.ring.machines = list(dict.fromkeys(self.ring.machines)), []
            woken, self.ring.racks = self.ring.racks, 0
            for machine_id in rung:
                self.look(machine_id)
            if woken:
                self.carry_out_power()
                self.apply_records()
            if not (rung or woken):
                self.ring.real.flush()
                for message in self.messages.glob("*.msg"):  # What workers would have taken from the broker meanwhile.
                    message.unlink(missing_ok=True)
                return
        raise AssertionError("worker and rack never came to rest")

    def look(self, machine_id: int) -> None:
        """One look of the region worker."""
        self.timed(lambda: runner.advance(self.context, machine_id), "worker")

    def carry_out_power(self) -> None:
        """The rack's power process: what waits is claimed and done."""
        orders = self.as_rack("GET", "/power/operations")["operations"]
        for order in orders:
            claimed = self.as_rack("POST", f"/power/operations/{order['id']}/claim", {})
            power = {"off": "off", "on": "on", "cycle": "on"}.get(claimed["verb"], "unknown")
            result = {"ok": True, "power": power, "reason": None, "seconds": 0.05}
            self.as_rack("POST", f"/power/operations/{order['id']}/result", result)

    def apply_records(self) -> None:
        """The rack's record hands: fetch what is new and report it live."""
        found = self.as_rack("GET", f"/records?after={self.records}")
        if found["last"] == self.records:
            return
        self.records = found["last"]
        self.as_rack("POST", "/reports/records", {"applied": self.records, "failed": [], "seconds": 0.01})

    def machine(self, number: int) -> PlayedMachine:
        """A machine that nobody knows yet."""
        return PlayedMachine(self, number)


@dataclass
class PlayedMachine:
    """One machine, walked verb by verb."""

    played: Played
    number: int
    machine_id: int = 0
    token: str = ""
    plan: dict[str, Any] = field(default_factory=dict)

    @property
    def mac(self) -> str:
        """Its boot interface's MAC."""
        return f"52:54:00:00:{self.number >> 8:02x}:{self.number & 255:02x}"

    @property
    def uuid(self) -> str:
        """Its system UUID."""
        return f"4d555354-4552-4000-8000-{self.number:012x}"

    @property
    def lease(self) -> str:
        """The address it boots with."""
        return f"10.20.3.{self.number % 250}"

    def enlist(self) -> None:
        """Boot unknown, enlist, and be off."""
        self._boot()
        self._call("GET", "/task")
        self._status("started")
        bmc = {
            "type": "ipmi", "address": f"10.30.0.{self.number % 250}", "mac": None, "username": "muster",
            "password": "bench-only", "version": "2.0",
        }  # fmt: skip
        answer = self._call("POST", "/enlist", {
            "hostname_hint": None, "architecture": "amd64", "firmware": "bios", "uuid": self.uuid,
            "interfaces": [{"name": "eth0", "mac": self.mac, "boot": True}], "bmc": bmc, "bmc_reason": None,
        })  # fmt: skip
        self.machine_id = int(answer["machine"])
        self._status("finished")
        self._expect("NEW")

    def commission(self) -> None:
        """Ask for it, boot, run the scripts."""
        self.played.api("POST", f"/machines/{self.machine_id}/commission", {})
        self.played.settle()
        self._boot()
        task = self._call("GET", "/task")
        self._status("started")
        results = Hardware(serial=f"BENCH{self.number}").results(self.mac, self.lease, self.uuid)
        for script in task["scripts"]:
            self._call("POST", "/results", {
                "script": script["name"], "status": "passed", "exit_code": 0, "seconds": 0.5,
                "stdout": base64.b64encode(f"{script['name']} of {self.mac}\n".encode() * 40).decode(), "stderr": "",
                "result": results[script["name"]],
            })  # fmt: skip
        self._status("finished")
        self.played.settle()
        self._expect("READY")

    def allocate(self) -> None:
        """Draw a machine by what it must be; it is this one, as no other is Ready."""
        wish = {"architecture": "amd64", "cpu_count": 2, "memory_mib": 2000, "subnet": SUBNET}
        got = self.played.api("POST", "/machines/allocate", wish)
        assert got["id"] == self.machine_id, (got["id"], self.machine_id)

    def deploy(self) -> None:
        """Ask for it, boot, install, boot from disk, call home."""
        self.played.api("POST", f"/machines/{self.machine_id}/deploy", {})
        self.played.settle()  # The deployment now looks for its records each second; one look will do.
        self.played.look(self.machine_id)
        self.played.settle()
        self._boot()
        self.plan = self._call("GET", "/task")["install"]
        self._status("started")
        for step in ("partition", "rootfs", "bootloader", "seed"):
            self._status("progress", step)
        self._status("finished")
        self.played.settle()
        network = json.loads(self.plan["seed"]["network-config"])
        static = next(iter(network["ethernets"].values()))["addresses"][0]
        wanted = json.loads(self.plan["files"][0]["content"])
        self._call("POST", "/phone-home", {
            "hostname": "bench", "ssh_host_keys": ["ssh-ed25519 AAAA"], "boot_id": self.uuid, "addresses": [static],
        }, token=wanted["token"], address=static.partition("/")[0])  # fmt: skip
        self.played.settle()
        self._expect("DEPLOYED")

    def _boot(self) -> None:
        query = f"mac={self.mac}&uuid={self.uuid}&arch=x86_64&platform=pcbios"
        text = self._request("GET", f"/boot/v1/script?{query}", None).get_data(as_text=True)
        found = re.search(r"muster\.token=(\S+)", text)
        assert found, text
        self.token = found.group(1)
        self._call("GET", "/agent")

    def _status(self, what: str, step: str = "run") -> None:
        self._call("POST", "/status", {"event": what, "step": step, "message": what, "fraction": None})

    def _call(
        self, method: str, path: str, body: Any = None, token: str | None = None, address: str | None = None
    ) -> Any:
        answer = self._request(method, f"/machine/v1{path}", token or self.token, body, address)
        return answer.get_json() if answer.mimetype == "application/json" else None

    def _request(
        self, method: str, path: str, token: str | None, body: Any = None, address: str | None = None
    ) -> Response:
        headers = {"X-Muster-Rack": self.played.relay, "X-Forwarded-For": address or self.lease}
        return self.played.call(method, path, token, body, headers)

    def _expect(self, state: str) -> None:
        with self.played.context.store.read() as session:
            seen = session.get_one(Machine, self.machine_id)
        assert seen.state == state, f"machine {self.machine_id} is {seen.state} ({seen.state_reason}), not {state}"
