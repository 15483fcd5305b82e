"""`/metrics`, `/healthz` and `/readyz`: who may read them, what they say, what they cost."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask import Flask
from flask.testing import FlaskClient
from prometheus_client import REGISTRY
from prometheus_client.parser import text_string_to_metric_families

from app.config import load
from app.factory import create_app
from app.lifecycle.states import State
from app.services import bootstrap, broker, census, health, reports
from app.services.context import Context
from app.store import migrate
from app.store.models import Rack
from app.store.unit_of_work import Store, make_engine
from app.watching import EXTENSION, CensusCollector, gauges
from app.wiring.secret_box import FernetBox
from tests.api.conftest import Caller
from tests.factories.control import BEGIN, Seeded, clock_of, make_context, make_machine
from tests.store.test_query_counts import statements

DOCS = Path(__file__).parents[2] / "docs" / "metrics.md"
ELSEWHERE = {"REMOTE_ADDR": "192.0.2.7"}


def samples(client: FlaskClient) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    """Everything that is counted now; the census is taken anew."""
    client.application.extensions[EXTENSION]._taken = None
    answer = client.get("/metrics")
    assert 200 == answer.status_code, answer.text
    found = {}
    for family in text_string_to_metric_families(answer.text):
        for sample in family.samples:
            found[sample.name, frozenset(sample.labels.items())] = sample.value
    return found


def value(found: dict[Any, float], name: str, **labels: str) -> float:
    return found.get((name, frozenset(labels.items())), 0.0)


def test_loopback_and_viewers_read_metrics(application: Flask, viewer: Caller) -> None:
    """From this host they are open, unless a proxy says that it passes somebody on; from elsewhere it takes a token."""
    client = application.test_client()
    token = {"Authorization": f"Bearer {viewer.token}"}

    assert 200 == client.get("/metrics").status_code
    assert 401 == client.get("/metrics", environ_base=ELSEWHERE).status_code
    assert 200 == client.get("/metrics", environ_base=ELSEWHERE, headers=token).status_code
    for name in ("X-Forwarded-For", "Forwarded", "Via", "X-Real-IP"):
        assert 401 == client.get("/metrics", headers={name: "for=192.0.2.7"}).status_code
        assert 200 == client.get("/metrics", headers={name: "for=192.0.2.7"} | token).status_code


def test_routes_are_templates(application: Flask, viewer: Caller) -> None:
    """Names, addresses and invented paths and methods make no labels."""
    client = application.test_client()
    before = samples(client)
    viewer.get("/machines/host-of-a-caller")
    client.get("/invented/by-a-caller")
    client.open("/invented/by-a-caller", method="BREW")
    after = samples(client)
    route = {"method": "GET", "route": "/api/v1/machines/<string:machine>", "status": "404"}
    counted = [
        value(now, "muster_http_requests_total", **labels)
        for labels in (route, {"method": "GET", "route": "none", "status": "404"})
        for now in (before, after)
    ]
    labels = {words for _, pairs in after for _, words in pairs}

    assert [1, 1] == [counted[1] - counted[0], counted[3] - counted[2]]
    assert not [one for one in labels if "caller" in one or one == "BREW"]
    assert value(after, "muster_http_requests_total", method="other", route="none", status="404") >= 1


def test_the_fleet_is_counted(application: Flask, context: Context, seeded: Seeded) -> None:
    """Machines by state (also the states that nobody is in), racks with what they are behind with, and applies."""
    make_machine(context, seeded, state="DEPLOYED")
    make_machine(context, seeded, state="DEPLOYED")
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.generation, rack.planned_generation, rack.offer_number, rack.seen_at = 7, 5, 3, BEGIN
    client = application.test_client()
    before = samples(client)
    for service, outcome in (("bind", "kept"), ("invented", "undone")):
        reports.apply(
            context, seeded.rack_id, offer=1, service=service, outcome=outcome, stage="keep",
            seconds={"gap": 0.02, "invented": 1}, probes=[{"ok": True}, {"ok": False}],
        )  # fmt: skip
    after = samples(client)

    assert 2 == value(after, "muster_machines", state="DEPLOYED")
    assert {state.value for state in State} == {
        words for name, pairs in after for key, words in pairs if name == "muster_machines" and key == "state"
    }
    assert 2 == value(after, "muster_rack_generations_behind", rack="rack-1")
    assert 3 == value(after, "muster_rack_offers_behind", rack="rack-1")
    assert 0 == value(after, "muster_rack_in_sync", rack="rack-1")
    assert BEGIN.timestamp() == value(after, "muster_rack_seen_timestamp_seconds", rack="rack-1")
    for name, labels in (
        ("muster_rack_applies_total", {"service": "bind", "outcome": "kept"}),
        ("muster_rack_applies_total", {"service": "other", "outcome": "undone"}),
        ("muster_rack_apply_seconds_count", {"service": "bind", "stage": "gap"}),
        ("muster_rack_probes_total", {"service": "bind", "outcome": "red"}),
    ):
        assert 1 == value(after, name, **labels) - value(before, name, **labels), (name, labels)
    assert "invented" not in str(after)


def test_a_scrape_costs_the_same_whatever_there_is(application: Flask, context: Context, seeded: Seeded) -> None:
    """The number of statements does not grow, and within some seconds nobody is asked again."""
    client, counts = application.test_client(), []
    for many in (1, 30):
        for number in range(many):
            make_machine(context, seeded)
            with context.store.write() as session:
                session.add(Rack(name=f"r{many}-{number:03}", enrolled_at=BEGIN))
        client.application.extensions[EXTENSION]._taken = None
        with statements(context) as seen:
            client.get("/metrics")
        counts.append(len(seen))
    with statements(context) as again:
        client.get("/metrics")

    assert counts[0] == counts[1]
    assert [] == again


def test_failed_logins_are_counted(application: Flask, context: Context) -> None:
    """A wrong password counts, under no name."""
    client = application.test_client()
    before = samples(client)
    client.post("/api/v1/login", json={"name": "nobody-knows", "password": "wrong"})
    after = samples(client)

    name, labels = "muster_login_failures_total", {"reason": "wrong"}
    assert 1 == value(after, name, **labels) - value(before, name, **labels)
    assert "nobody-knows" not in str(after)


def test_every_metric_is_described(context: Context, seeded: Seeded) -> None:
    """docs/metrics.md names each metric with its type, labels and meaning, and no other."""
    make_machine(context, seeded)
    rows = set()
    for collector in set(REGISTRY._collector_to_names):
        name = getattr(collector, "_name", "")
        if name.startswith("muster_"):
            suffix = "_total" if collector._type == "counter" else ""
            labels = ", ".join(collector._labelnames) or "-"
            rows.add(f"| `{name}{suffix}` | {collector._type} | {labels} | {collector._documentation} |")
    for family in gauges(census.take(context), health.checks(context)):
        labels = ", ".join(getattr(family, "_labelnames", ())) or "-"
        rows.add(f"| `{family.name}` | gauge | {labels} | {family.documentation} |")
    written = {line for line in DOCS.read_text().splitlines() if line.startswith("| `muster_")}

    assert rows == written


@pytest.fixture
def installed(tmp_path: Path) -> Iterator[tuple[Context, FlaskClient]]:
    """A migrated installation with a real key, and a client of it."""
    url = f"sqlite:///{tmp_path / 'installed.db'}"
    migrate.upgrade(url)
    plain = make_context(tmp_path)
    context = replace(plain, store=Store(make_engine(url)), secrets=FernetBox([Fernet.generate_key().decode()]))
    bootstrap.prepare(context)
    application = create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
    yield context, application.test_client()
    context.store.engine.dispose()


def check_of(answer: Any, name: str) -> dict[str, Any]:
    (found,) = [one for one in answer.get_json()["checks"] if one["name"] == name]
    return dict(found)


def test_readiness(installed: tuple[Context, FlaskClient]) -> None:
    """Degraded until a region worker was seen, ready then, degraded when it is silent; strict asks for everything."""
    context, client = installed
    clock = clock_of(context)
    before, strict = client.get("/readyz"), client.get("/readyz?strict=1")
    health.sign(context, clock())
    well = client.get("/readyz?strict=1")
    broker.note_kept(context, False)
    unkept = client.get("/readyz")
    broker.note_kept(context, True)
    clock.move(600)
    late = client.get("/readyz")

    assert (200, "degraded", 503) == (before.status_code, before.get_json()["status"], strict.status_code)
    assert "muster" not in str(check_of(before, "database"))
    assert "ever seen" in check_of(before, "worker")["said"]
    assert (200, "ready") == (well.status_code, well.get_json()["status"])
    assert (200, "degraded") == (unkept.status_code, unkept.get_json()["status"])
    assert "muster broker check" in check_of(unkept, "broker")["said"]
    assert (200, "degraded") == (late.status_code, late.get_json()["status"])
    assert "600 s" in check_of(late, "worker")["said"]
    assert {"status": "alive"} == client.get("/healthz").get_json()


def test_readiness_says_what_is_wrong(installed: tuple[Context, FlaskClient], tmp_path: Path) -> None:
    """A lost key, an old schema and a database that is away are 503, each with its sentence."""
    context, client = installed
    identity = client.application.extensions["muster"]
    identity.context = replace(context, secrets=FernetBox([Fernet.generate_key().decode()]))
    lost = client.get("/readyz")
    identity.context = context
    migrate.downgrade(str(context.store.engine.url), "0001")
    old = client.get("/readyz")
    identity.context = replace(context, store=Store(make_engine(f"sqlite:///{tmp_path / 'none' / 'at-all.db'}")))
    away = client.get("/readyz")

    assert [503, 503, 503] == [lost.status_code, old.status_code, away.status_code]
    assert not check_of(lost, "key")["ok"]
    assert "secret-key" in check_of(lost, "key")["said"]
    assert "muster db upgrade" in check_of(old, "schema")["said"]
    assert "does not answer" in check_of(away, "database")["said"]
    assert "at-all" not in away.text


def test_the_collector_counts_again_after_a_while(context: Context, seeded: Seeded) -> None:
    """A cached census is given for some seconds only."""
    collector = CensusCollector(context)
    first = {metric.name: metric for metric in collector.collect()}
    make_machine(context, seeded, state="BROKEN")
    cached = {metric.name: metric for metric in collector.collect()}
    collector._taken = (-1e9, [])
    fresh = {metric.name: metric for metric in collector.collect()}

    def broken(found: dict[str, Any]) -> float:
        (sample,) = [one for one in found["muster_machines"].samples if one.labels == {"state": "BROKEN"}]
        return float(sample.value)

    assert [0, 0, 1] == [broken(first), broken(cached), broken(fresh)]
