"""What it costs a rack that nothing has changed.

A rack's real record flow, store and client against the whole application, with 1,000 machines that have an address.  It
reads everything once.  Then nothing changes, a person writes what is there already, and the rack looks at all it looks at:
offer, records, digests.  Counted are the bytes of the answers' bodies (headers are shown beside), and what would go to a
daemon.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import requests
from flask import Flask

from bench.figure import Bench, Figure
from bench.scene import RACK_TOKEN, Scene, machines, scene
from workers.rack.channels.bind import BindUpdater
from workers.rack.client import ControlPlane
from workers.rack.files import ServiceDirectories
from workers.rack.host_keeper import HostKeeper
from workers.rack.offer import Offer
from workers.rack.record_flow import COMPARE_SECONDS, RecordFlow
from workers.rack.record_store import RecordStore
from workers.rack.records import RecordKeeper
from workers.rack.secret_files import SecretFiles

MACHINES = int(os.environ.get("MUSTER_BENCH_MACHINES", "1000"))
LIMIT_BYTES = 1024


class Wire(ControlPlane):
    """A rack's client whose other end is the application itself; `received` and `headers` count bytes of answers."""

    def __init__(self, application: Flask) -> None:
        super().__init__("http://control", RACK_TOKEN)
        self._client = application.test_client()
        self.received = self.headers = self.calls = 0

    def _ask(
        self, method: str, path: str, accept: tuple[int, ...] = (), timeout: float | None = None, **arguments: Any
    ) -> requests.Response:
        headers = {"Authorization": f"Bearer {RACK_TOKEN}"} | dict(arguments.get("headers") or {})
        got = self._client.open(
            f"/rack/v1{path}",
            method=method,
            json=arguments.get("json"),
            query_string=arguments.get("params"),
            headers=headers,
        )
        assert got.status_code < 400 or got.status_code in accept, (
            f"{method} {path}: {got.status_code} {got.text[:300]}"
        )
        self.calls += 1
        self.received += len(got.data)
        self.headers += sum(len(name) + len(value) + 4 for name, value in got.headers)
        answer = requests.Response()
        answer.status_code, answer._content = got.status_code, got.data
        return answer


class Rack:
    """The rack's side of records, with every order to a daemon counted."""

    def __init__(self, ours: Scene, folder: Path) -> None:
        self.wire = Wire(ours.application)
        self.now = 0.0
        self.ordered = 0
        self.store = RecordStore(folder / "records.db")
        hosts = HostKeeper(
            self.store, lambda name: ServiceDirectories(folder, name), SecretFiles(folder), lambda name: False
        )
        keeper = RecordKeeper(self.store, hosts, lambda: BindUpdater("c2VjcmV0"), lambda name: False)
        carry_out = keeper._carry_out

        def counted(todo: Any, *words: Any, **named: Any) -> Any:
            self.ordered += len(todo)
            return carry_out(todo, *words, **named)

        keeper._carry_out = counted  # type: ignore[method-assign]
        self.flow = RecordFlow(keeper, self.wire, lambda name: False, lambda: self.now)
        scopes = frozenset({f"vlan:{ours.vlan_id}", "zone:bench.muster"})
        self.offer = Offer(1, 1, (), (), {}, {}, {}, scopes, (), ())

    def turn(self) -> None:
        """All that a turn of the agent asks the control plane, digests included."""
        self.wire.offer(0)
        self.flow.take(self.offer)
        self.flow.retry(self.offer)
        self.now += COMPARE_SECONDS
        self.flow.check(self.offer)


def measure() -> list[Figure]:
    """Read everything, then look again."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder, scene(Path(folder)) as ours:
        made = ours.call("POST", "/machines/bulk", {"machines": machines(ours.subnet_id, MACHINES)}).get_json()
        ours.finish(made["id"])
        rack = Rack(ours, Path(folder))
        rack.turn()
        first, ordered = rack.wire.received, rack.ordered
        rack.wire.received = rack.wire.headers = rack.wire.calls = rack.ordered = 0
        same = ours.call("PATCH", "/machines/m1", {"hostname": "m1"})
        rack.turn()
    records = int("Muster-Sequence" in same.headers)
    return [
        Figure(
            "no_op: bytes to the rack",
            rack.wire.received,
            "B",
            f"{rack.wire.calls} calls; the first time {first} B",
            LIMIT_BYTES,
        ),
        Figure("  headers of these answers", rack.wire.headers, "B", "the application's own"),
        Figure("no_op: records to daemons", rack.ordered, "", f"the first time {ordered}", 0),
        Figure("no_op: records written by a change that changes nothing", records, "", "the same host name again", 0),
    ]


BENCH = Bench("no_op", "What it costs that nothing has changed", measure)
