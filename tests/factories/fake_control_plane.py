"""A control plane for racks that is nothing but their edge: it signs offers, keeps reports, hands out power operations and asks questions.

It speaks rackapi over real HTTP and checks what the real one checks about a rack's requests (tokens, codes).  `address`
may be inside a network namespace: the socket is made there, the server stays here.
"""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlsplit

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from lab.namespace import socket_in
from renderers import registry
from renderers.bundle import Bundle
from renderers.intent import RackIntent
from renderers.record_digest import MODULUS, bucket_of, total, weight


def offer_content(intent: RackIntent, bundles: Iterable[Bundle] | None = None) -> bytes:
    """The content of an offer for an intent, all services of the registry; `bundles` replaces what is rendered."""
    chosen = {bundle.service: bundle for bundle in registry.render(intent)}
    chosen.update({bundle.service: bundle for bundle in bundles or ()})
    specs = {spec.name: spec for spec in registry.services()}
    data = {
        "bundles": [bundle.as_data() for bundle in chosen.values()],
        "absent": [name for name in specs if name not in chosen],
        "probes": {
            name: [{"kind": probe.kind, "parameters": dict(probe.parameters)} for probe in specs[name].probes(intent)]
            for name in chosen
        },
        "units": {
            name: {
                "command": list(specs[name].command_for(intent)),
                "checker": list(specs[name].checker or ()) or None,
                "user": specs[name].user,
                "channel": specs[name].channel,
                "environment": dict(specs[name].environment),
                "state_files": [asdict(item) for item in specs[name].state_files(intent)],
            }
            for name in chosen
        },
        "scopes": [
            *(f"vlan:{vlan.vlan_id}" for vlan in intent.vlans),
            *(f"zone:{zone.name}" for zone in intent.zones),
        ],
        "zones": [asdict(zone) for zone in intent.zones],
        "subnets": [
            {
                "subnet_id": subnet.subnet_id,
                "vlan_id": vlan.vlan_id,
                "cidr": subnet.cidr,
                "interface": vlan.interface,
                "rack_address": subnet.rack_address,
            }
            for vlan in intent.vlans
            for subnet in vlan.subnets
        ],
    }
    return json.dumps(data, sort_keys=True, separators=(",", ":")).encode()


class FakeControlPlane:
    """State that a test sets, reports that it reads; a context manager that serves."""

    def __init__(self, rack: str = "rack-1", token: str = "rack-token-1", code: str = "one-time") -> None:  # noqa: S107
        self.rack, self.token, self.code = rack, token, code
        self.key = Ed25519PrivateKey.generate()
        self.broker_url: str | None = None
        self.offer: dict[str, Any] | None = None
        self.number = 0
        self.records: list[dict[str, Any]] = []
        self.operations: dict[int, dict[str, Any]] = {}
        self.claimed: set[int] = set()
        self.power_results: dict[int, dict[str, Any]] = {}
        self.enrolments: list[dict[str, Any]] = []
        self.apply_reports: list[dict[str, Any]] = []
        self.observations: list[dict[str, Any]] = []
        self.record_reports: list[dict[str, Any]] = []
        self.drift_reports: list[dict[str, Any]] = []
        self.zone_reports: list[dict[str, Any]] = []
        self.lease_reports: list[dict[str, Any]] = []
        self.neighbour_reports: list[dict[str, Any]] = []
        self.foreign_dhcp_reports: list[dict[str, Any]] = []
        self.questions: dict[int, dict[str, Any]] = {}
        self.answers: dict[int, dict[str, Any]] = {}
        self.news = threading.Condition()
        self._server: ThreadingHTTPServer | None = None

    @property
    def public_key(self) -> str:
        """What racks pin, base64 of the raw key."""
        return base64.b64encode(self.key.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)).decode()

    @property
    def url(self) -> str:
        """Where it listens."""
        assert self._server is not None
        host, port = self._server.server_address[:2]
        return f"http://{host!s}:{port}"

    def set_offer(self, content: bytes, number: int | None = None, key: Ed25519PrivateKey | None = None) -> int:
        """Sign and offer; the number."""
        with self.news:
            self.number = number if number is not None else self.number + 1
            signature = (key or self.key).sign(f"{self.number}\n{self.rack}\n".encode() + content)
            self.offer = {
                "number": self.number,
                "generation": self.number,
                "rack": self.rack,
                "content": base64.b64encode(content).decode(),
                "signature": base64.b64encode(signature).decode(),
            }
            self.news.notify_all()
            return self.number

    def add_record(self, scope: str, key: str, value: dict[str, Any] | None) -> int:
        """Append a record change; its sequence."""
        with self.news:
            sequence = len(self.records) + 1
            self.records.append({"sequence": sequence, "scope": scope, "key": key, "value": value})
            self.news.notify_all()
            return sequence

    def snapshot(self, asked: dict[str, Any]) -> dict[str, Any]:
        """The standing words of some buckets of some scopes."""
        parts = [
            {
                "scope": scope,
                "first": first,
                "last": last,
                "records": [word for word in self._standing(scope).values() if first <= bucket_of(word["key"]) <= last],
            }
            for scope, (first, last) in asked["scopes"].items()
        ]
        return {"as_of": len(self.records), "parts": parts}

    def compare(self, asked: dict[str, Any]) -> dict[str, Any]:
        """Which scopes differ; only what has been read to the end can be compared."""
        differ = {}
        for scope, root in asked["roots"].items():
            buckets: dict[int, int] = {}
            for word in self._standing(scope).values():
                bucket = bucket_of(word["key"])
                buckets[bucket] = (buckets.get(bucket, 0) + weight(word["key"], word["value"])) % MODULUS
            if total(buckets) != root:
                differ[scope] = {str(bucket): number for bucket, number in buckets.items()}
        return {"comparable": asked["sequence"] == len(self.records), "differ": differ}

    def _standing(self, scope: str) -> dict[str, dict[str, Any]]:
        words = {word["key"]: word for word in self.records if word["scope"] == scope}
        return {key: word for key, word in words.items() if word["value"] is not None}

    def add_operation(self, verb: str, driver: str, parameters: dict[str, Any], deadline: float, machine: str) -> int:
        """Ask for a power operation; its id."""
        with self.news:
            number = len(self.operations) + 1
            self.operations[number] = {
                "machine": machine,
                "order": {
                    "id": number,
                    "verb": verb,
                    "driver": driver,
                    "parameters": parameters,
                    "deadline_seconds": deadline,
                },
            }
            self.news.notify_all()
            return number

    def ask(self, kind: str, seconds: float = 60.0, **body: Any) -> dict[str, Any]:
        """Ask the rack a question and wait; what it says, or why not."""
        with self.news:
            number = len(self.questions) + 1
            self.questions[number] = {"id": number, "kind": kind, "body": body, "seconds": seconds}
            self.news.notify_all()
        self.wait_until(lambda: number in self.answers, seconds)
        return self.answers[number]

    def wait_until(self, reached: Callable[[], Any], seconds: float = 60.0) -> Any:
        """Wait for something a report brings; AssertionError when the time is over."""
        end = time.monotonic() + seconds
        with self.news:
            while not (found := reached()):
                assert time.monotonic() < end, f"not within {seconds} s"
                self.news.wait(0.1)
            return found

    def reports_of(self, offer: int) -> dict[str, dict[str, Any]]:
        """The apply reports of one offer by service."""
        return {item["service"]: item for item in self.apply_reports if item["offer"] == offer}

    def start(self, address: str = "127.0.0.1", port: int = 0, namespace: str | None = None) -> Self:
        """Serve; in a namespace if one is named."""
        plane = self

        class Handler(_Handler):
            control = plane

        self._server = ThreadingHTTPServer((address, port), Handler, bind_and_activate=False)
        self._server.daemon_threads = True
        self._server.socket.close()
        self._server.socket = (
            socket_in(namespace, socket.AF_INET) if namespace else socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        )
        self._server.allow_reuse_address = True
        self._server.server_bind()
        self._server.server_activate()
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def stop(self) -> None:
        """Stop serving; harmless if it has been."""
        server, self._server = self._server, None
        if server is not None:
            server.shutdown()
            server.server_close()

    def __enter__(self) -> Self:
        return self if self._server is not None else self.start()

    def __exit__(self, *ignored: object) -> None:
        self.stop()


class _Handler(BaseHTTPRequestHandler):
    control: FakeControlPlane
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Quiet."""

    def do_GET(self) -> None:
        control, parts = self.control, urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if not self._is_rack():
            return self._problem(401, "the rack token is wrong")
        match parts.path.removeprefix("/rack/v1"):
            case "/wait":
                return self._wait(query)
            case "/offer":
                if control.offer is None:
                    return self._problem(404, "there is no offer yet")
                if self.headers.get("If-None-Match") == f'"{control.number}"':
                    return self._answer(304, None)
                return self._answer(200, control.offer)
            case "/records":
                after, limit = int(query["after"]), int(query.get("limit", "1000"))
                found = [item for item in control.records if item["sequence"] > after]
                answer = {"records": found[:limit], "last": len(control.records), "more": len(found) > limit}
                more = {"snapshot": [], "now": time.time(), "highest": len(control.records)}
                return self._answer(200, {**answer, **more})
            case "/questions":
                open_ones = [
                    {"id": number, "kind": item["kind"]}
                    for number, item in control.questions.items()
                    if "claimed" not in item
                ]
                return self._answer(200, {"questions": open_ones})
            case "/power/operations":
                waiting = [
                    {"id": number, "machine": item["machine"], "verb": item["order"]["verb"]}
                    for number, item in control.operations.items()
                    if number not in control.claimed
                ]
                return self._answer(200, {"operations": waiting})
        self._problem(404, "no such page")

    def do_POST(self) -> None:
        control = self.control
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
        path = urlsplit(self.path).path.removeprefix("/rack/v1")
        if path == "/enrol":
            return self._enrol(body)
        if not self._is_rack():
            return self._problem(401, "the rack token is wrong")
        parts = path.strip("/").split("/")
        with control.news:
            if parts[0] == "records":
                return self._answer(200, control.snapshot(body) if parts[1] == "snapshot" else control.compare(body))
            if parts[0] == "reports":
                lists = {
                    "drift": control.drift_reports,
                    "apply": control.apply_reports,
                    "observation": control.observations,
                    "records": control.record_reports,
                    "zones": control.zone_reports,
                    "leases": control.lease_reports,
                    "neighbours": control.neighbour_reports,
                    "foreign-dhcp": control.foreign_dhcp_reports,
                }
                lists[parts[1]].append(body)
                if parts[1] == "leases":
                    control.news.notify_all()
                    return self._answer(200, {"refused": []})
            elif parts[0] == "questions" and parts[2] == "claim":
                item = control.questions[int(parts[1])]
                if item.get("claimed"):
                    return self._problem(409, "somebody else has it")
                item["claimed"] = True
                return self._answer(200, item)
            elif parts[0] == "questions" and parts[2] == "answer":
                control.answers[int(parts[1])] = body
            elif parts[:2] == ["power", "operations"] and parts[3] == "claim":
                number = int(parts[2])
                if number in control.claimed:
                    return self._problem(409, "somebody else has it")
                control.claimed.add(number)
                return self._answer(200, control.operations[number]["order"])
            elif parts[:2] == ["power", "operations"] and parts[3] == "result":
                control.power_results[int(parts[2])] = body
            else:
                return self._problem(404, "no such page")
            control.news.notify_all()
        self._answer(204, None)

    def _enrol(self, body: dict[str, Any]) -> None:
        control = self.control
        if body.get("code") != control.code or control.enrolments:
            return self._problem(401, "the code is wrong or used")
        control.enrolments.append(body)
        self._answer(
            201,
            {
                "rack": {"id": 1, "name": control.rack},
                "token": control.token,
                "relay_token": "relay-token-1",
                "offer_public_key": control.public_key,
                "broker_url": control.broker_url,
                "queue": f"rack.{control.rack}",
            },
        )

    def _wait(self, query: dict[str, str]) -> None:
        control = self.control

        def news() -> bool:
            numbers = self._numbers()
            counts = query["for"].split(",") if "for" in query else numbers
            return any(numbers[name] > int(query.get(name, 0)) for name in counts)

        with control.news:
            changed = control.news.wait_for(news, min(float(query.get("seconds", 1)), 5.0))
        self._answer(200, {**self._numbers(), "changed": changed})

    def _numbers(self) -> dict[str, int]:
        control = self.control
        return {
            "offer": control.number,
            "records": len(control.records),
            "power": len(control.operations),
            "questions": len(control.questions),
        }

    def _is_rack(self) -> bool:
        return self.headers.get("Authorization") == f"Bearer {self.control.token}"

    def _problem(self, status: int, detail: str) -> None:
        self._answer(status, {"type": "about:blank", "status": status, "detail": detail})

    def _answer(self, status: int, data: Any) -> None:
        body = b"" if data is None else json.dumps(data).encode()
        try:
            self.send_response(status)
            if status not in (204, 304):
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if status not in (204, 304):
                self.wfile.write(body)
        except OSError:
            self.close_connection = True
