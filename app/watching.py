"""What watches over the control plane asks here: `/metrics`, `/healthz`, `/readyz`.

`/metrics` answers to loopback (unless a proxy says that it passes somebody on: then that somebody counts) and to tokens of
viewers.  The database is asked at most every few seconds, however many ask.  `/healthz`: this process answers.  `/readyz`:
what was looked at and what is wrong; 503 when something vital is, and with `?strict=1` when anything is.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from dataclasses import asdict

from flask import Blueprint, Flask, Response, current_app, jsonify, request
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from app.identity import base_context, current_context
from app.services import census, health
from app.services.context import Context

EXTENSION = "muster-census"
CACHE_SECONDS = 5.0
LOOPBACK = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
PASSED_ON = ("X-Forwarded-For", "Forwarded", "Via", "X-Real-Ip")
blueprint = Blueprint("watching", __name__)


class CensusCollector(Collector):
    """What the database knows, as gauges; counted again when the last count is older than `CACHE_SECONDS`."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._taken: tuple[float, list[Metric]] | None = None

    def collect(self) -> Iterator[Metric]:
        """The gauges."""
        with self._lock:
            if self._taken is None or time.monotonic() - self._taken[0] > CACHE_SECONDS:
                self._taken = (time.monotonic(), list(gauges(census.take(self._context), health.checks(self._context))))
            yield from self._taken[1]


def gauges(found: census.Census, checks: list[health.Check]) -> Iterator[Metric]:
    """A census in Prometheus' terms."""
    yield _gauge("muster_machines", "Machines by lifecycle state.", ("state",), _by(found.machines))
    yield _gauge("muster_operations_running", "Operations under way.", ("action",), _by(found.operations))
    yield _gauge("muster_operations_overdue", "Operations whose step is past its deadline.", (), [((), found.overdue)])
    yield _gauge("muster_power_operations_waiting", "Power orders not answered yet.", (), [((), found.power_waiting)])
    yield _gauge("muster_workers", "Region workers seen within a day.", (), [((), found.workers)])
    seen = found.worker_seen_at.timestamp() if found.worker_seen_at else 0
    yield _gauge("muster_worker_seen_timestamp_seconds", "When a region worker was last seen.", (), [((), seen)])
    yield _gauge(
        "muster_check", "Whether a check of /readyz is well.", ("check",), [((one.name,), one.ok) for one in checks]
    )
    racks = found.racks
    yield _gauge(
        "muster_rack_seen_timestamp_seconds", "When a rack was last heard of.", ("rack",),
        [((rack.name,), rack.seen_at.timestamp() if rack.seen_at else 0) for rack in racks],
    )  # fmt: skip
    for name, text, field in (
        ("in_sync", "Whether a rack runs what it should.", "in_sync"),
        ("generations_behind", "Changes of desired state that no plan has looked at.", "generation_lag"),
        ("offers_behind", "Offers that the rack has not dealt with.", "offer_lag"),
        ("records_behind", "Record changes (of any scope) above what the rack has applied.", "records_lag"),
        ("records_failed", "Record changes that the rack could not apply and that still count.", "records_failed"),
        ("plans_held", "Plans that wait for an approval.", "plans_held"),
    ):
        yield _gauge(f"muster_rack_{name}", text, ("rack",), [((rack.name,), getattr(rack, field)) for rack in racks])
    yield _gauge(
        "muster_rack_service_up", "Whether a service runs on a rack and its probes are green.", ("rack", "service"),
        [((rack.name, service), up) for rack in racks for service, up in sorted(rack.services.items())],
    )  # fmt: skip


def mount(application: Flask, context: Context) -> None:
    """Add the routes."""
    application.extensions[EXTENSION] = CensusCollector(context)
    application.register_blueprint(blueprint)


@blueprint.get("/metrics")
def metrics() -> Response:
    """Everything that is counted, in Prometheus' text format."""
    if request.remote_addr not in LOOPBACK or any(name in request.headers for name in PASSED_ON):
        current_context().require("viewer", "see metrics")
    counted: CollectorRegistry = REGISTRY
    if os.environ.get("PROMETHEUS_MULTIPROC_DIR"):
        counted = CollectorRegistry()
        MultiProcessCollector(counted)  # type: ignore[no-untyped-call]
    asked = CollectorRegistry()
    asked.register(current_app.extensions[EXTENSION])
    answer = Response(generate_latest(counted) + generate_latest(asked), content_type=CONTENT_TYPE_LATEST)
    answer.headers["Cache-Control"] = "no-store"
    return answer


@blueprint.get("/healthz")
def alive() -> Response:
    """This process answers."""
    return jsonify(status="alive")


@blueprint.get("/readyz")
def ready() -> tuple[Response, int]:
    """What was looked at; 503 when something vital is wrong."""
    found = health.checks(base_context())
    wrong = [one for one in found if not one.ok]
    status = "ready" if not wrong else "not ready" if any(one.vital for one in wrong) else "degraded"
    strict = request.args.get("strict", "") not in ("", "0")
    code = 503 if status == "not ready" or (strict and wrong) else 200
    return jsonify(status=status, checks=[asdict(one) for one in found]), code


def _by(counts: dict[str, int]) -> list[tuple[tuple[str, ...], float]]:
    return [((name,), count) for name, count in sorted(counts.items())]


def _gauge(name: str, text: str, labels: tuple[str, ...], values: list[tuple[tuple[str, ...], float]]) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for words, value in values:
        family.add_metric(words, float(value))
    return family
