"""A little of anything at every route: no answer is a 500, and no answer shows the inside."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from flask import Flask
from flask.testing import FlaskClient
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from app.config import load
from app.factory import create_app
from tests.api.conftest import sign_up
from tests.factories.control import RACK_TOKEN, make_context, make_machine, seed

WORDS = [
    "name", "hostname", "macs", "zone", "pool", "domain", "tags", "comment", "description", "password", "role", "code", "layout", "ports",
    "interfaces", "version", "offer", "records", "services", "applied", "failed", "service", "outcome", "stage", "ok", "power", "driver",
    "parameters", "value", "cidr", "vlan_id", "subnet_id", "fabric_id", "kind", "start", "end", "vid", "mtu", "rack_id", "image",
    "user_data", "erase", "public_key", "path", "days", "dhcp_on", "gateway", "dns_servers", "lease_seconds", "ttl_seconds", "domain_id",
    "cpu_count", "subnet", "memory_mib", "event", "step", "message", "script", "status", "seconds", "stdout", "stderr", "token_name",
]  # fmt: skip
QUERY = [
    "after",
    "limit",
    "state",
    "text",
    "mac",
    "hostname",
    "level",
    "rack_id",
    "named",
    "stream",
    "seconds",
    "offer",
    "next",
]
HOSTILE = [
    "",
    "\0",
    "\ud800",
    "default",
    "1",
    "-1",
    "9" * 30,
    "10.20.0.0/24",
    "10.20.0.1",
    "::1",
    "../x",
    "%",
    "é",
    "x" * 3000,
    "²",
]
TEXT = st.sampled_from(HOSTILE) | st.text(max_size=8)
LEAF = TEXT | st.none() | st.booleans() | st.sampled_from([0, 1, -1, 1 << 31, 1 << 64, 10**40, 1.5])
VALUE = st.recursive(
    LEAF, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=2), max_leaves=4
)
BODY = st.dictionaries(st.sampled_from(WORDS), VALUE, max_size=12) | VALUE
PARTS = st.lists(
    st.sampled_from(["1", "0", "m-1", "999", "9" * 25, "%00", "a%2fb", "x" * 300, "é"]), min_size=3, max_size=3
)


@pytest.fixture(scope="module")
def application(tmp_path_factory: pytest.TempPathFactory) -> Flask:
    """Everything, over one control plane that takes what comes."""
    folder = tmp_path_factory.mktemp("fuzz")
    context = make_context(folder)
    seeded = seed(context, image_folder=folder)
    make_machine(context, seeded, "m-1")
    return create_app(context, load({"MUSTER_STATE_DIR": str(folder / "state")}))


@pytest.fixture(scope="module")
def headers(application: Flask) -> dict[str, dict[str, str]]:
    """How to call each edge so that it looks at the rest."""
    token = sign_up(application.extensions["muster"].context, application, "root", "admin").token
    relayed = {"X-Muster-Rack": "rack-1:relay-token-of-the-tests", "X-Forwarded-For": "10.20.0.100"}
    script = application.test_client().get("/boot/v1/script?mac=52:54:00:aa:bb:cc", headers=relayed).text
    boot_token = re.findall(r"muster\.token=(\S+)", script)[0]
    people, machines = {"Authorization": f"Bearer {token}"}, relayed | {"Authorization": f"Bearer {boot_token}"}
    rack = {"Authorization": f"Bearer {RACK_TOKEN}"}
    return {"rack": rack, "machine": machines, "boot": machines, "images": machines, "": people}


def routes(application: Flask) -> list[tuple[str, str]]:
    """Method and pattern of every route, but for passwords (their cost is meant) and streams (they do not end)."""
    return [
        (method, re.sub(r"<[^>]*>", "{}", rule.rule.replace("<any(on,off,cycle,query,soft_off):verb>", "on")))
        for rule in application.url_map.iter_rules()
        for method in sorted((rule.methods or set()) - {"HEAD", "OPTIONS"})
        if not rule.rule.endswith(("/login", "/session", "/password", "/stream", "/users", "<int:user_id>"))
    ]


def test_nothing_breaks(application: Flask, headers: dict[str, dict[str, str]]) -> None:
    """Every route answers every input with something below 500."""
    client: FlaskClient = application.test_client()
    broken: list[tuple[str, str, int, str]] = []

    @settings(
        max_examples=30, deadline=None, database=None, derandomize=True, phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    @given(body=BODY, query=st.dictionaries(st.sampled_from(QUERY), TEXT, max_size=3), parts=PARTS)
    def ask_all(body: Any, query: dict[str, str], parts: list[str]) -> None:
        text = json.dumps(body)
        asked = {name: value.replace("\ud800", "") for name, value in query.items()} | {"seconds": "0"}
        for method, pattern in routes(application):
            path = pattern.format(*parts)
            sent = headers.get(path.split("/")[1], headers[""]) | {"Content-Type": "application/json"}
            answer = client.open(path, method=method, data=text, query_string=asked, headers=sent)
            # Tables that no migration has made are what readiness is there to tell.
            said = path == "/readyz" and answer.status_code == 503 and b'"schema"' in answer.data
            if (answer.status_code >= 500 and not said) or b"Traceback" in answer.data:
                broken.append((method, path, answer.status_code, text))

    ask_all()

    assert [] == broken[:3]
