"""What is counted, in Prometheus' terms: every metric of every process is defined here and described in docs/metrics.md.

Counters are per process and summed over all processes of one host when PROMETHEUS_MULTIPROC_DIR names a directory
(`muster run` sees to it): web servers and region workers then show up together at one `/metrics`.  What the database
knows is asked there at scrape time instead (`app.services.census`), so no process has to remember it.
No label has a value that a caller may choose: routes are templates, services and drivers those that are installed.
"""

from __future__ import annotations

from collections.abc import Collection

from prometheus_client import Counter, Gauge, Histogram

OTHER = "other"
QUICK = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
SLOW = (1, 5, 15, 60, 180, 300, 600, 1200, 1800, 3600, 7200)
GAP = (0.001, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 15, 60)

REQUESTS = Counter("muster_http_requests", "Requests answered.", ("method", "route", "status"))
REQUEST_SECONDS = Histogram(
    "muster_http_request_seconds", "Time to answer a request, streams and long polls left out.", ("method", "route"),
    buckets=QUICK,
)  # fmt: skip
LOGIN_FAILURES = Counter("muster_login_failures", "Refused passwords. reason: wrong, throttled.", ("reason",))
STREAMS = Gauge("muster_event_streams", "Event streams held open.", multiprocess_mode="livesum")
STREAMS_REFUSED = Counter("muster_event_streams_refused", "Event streams refused because too many were open.")
CONNECTIONS = Gauge("muster_database_connections", "Database connections in use.", multiprocess_mode="livesum")
RINGS = Counter("muster_rings", "Wakes given to the broker. outcome: sent, lost, silent.", ("outcome",))
TASKS = Counter("muster_worker_looks", "Looks of region workers. outcome: done, failed.", ("task", "outcome"))
TASK_SECONDS = Histogram("muster_worker_look_seconds", "Time of a region worker's look.", ("task",), buckets=QUICK)
RECONCILIATIONS = Counter(
    "muster_reconciliations", "Comparisons of a rack. outcome: current, offered, held, gone, failed.", ("outcome",)
)
OPERATIONS = Counter(
    "muster_operations", "Lifecycle operations that ended. outcome: succeeded, failed, aborted.", ("action", "outcome")
)
OPERATION_SECONDS = Histogram(
    "muster_operation_seconds", "Time from request to end of an operation.", ("action", "outcome"), buckets=SLOW
)
APPLIES = Counter(
    "muster_rack_applies", "Applies that racks reported. outcome: kept, undone, failed, unchanged.", ("service", "outcome")
)  # fmt: skip
APPLY_SECONDS = Histogram(
    "muster_rack_apply_seconds",
    "Time of an apply's stages on racks. stage: check, activate, gap (the service was deaf), probe, undo.",
    ("service", "stage"),
    buckets=GAP,
)
PROBES = Counter("muster_rack_probes", "Probes of applies. outcome: green, red.", ("service", "outcome"))
RECORD_FAILURES = Counter("muster_rack_record_failures", "Record changes that racks could not apply.")
RECORD_SECONDS = Histogram(
    "muster_rack_record_seconds",
    "Time of record changes on their way. stage: request (asked to committed), wake (committed to fetched by the rack),"
    " fetch, daemon, check (asked as a client), report, total (committed to reported).",
    ("stage",),
    buckets=GAP,
)
RECORD_STAGES = ("request", "wake", "fetch", "daemon", "check", "report", "total")
POWER = Counter(
    "muster_power_operations", "Power orders answered. outcome: done, failed, lost.", ("driver", "verb", "outcome")
)
POWER_SECONDS = Histogram(
    "muster_power_operation_seconds", "Time of a power order on the rack.", ("driver",), buckets=GAP
)
PRUNED = Counter("muster_pruned_rows", "Rows deleted because they were old or too many.", ("table",))
STAGES = ("check", "activate", "gap", "probe", "undo")


def known(value: str, values: Collection[str]) -> str:
    """The value if it is one of the known ones, so that nobody outside can make new labels."""
    return value if value in values else OTHER
