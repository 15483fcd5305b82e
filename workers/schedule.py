"""The periodic table: what is looked at again without anybody ringing, so that a lost ring costs only time.

Each message dies before the next but one is sent, so that a worker that was away does not find a heap of them.
"""

from __future__ import annotations

from typing import Any

QUEUE = "region"
SECONDS = {
    "muster.region.sweep": 2.0,
    "muster.region.reconcile_all": 30.0,
    "muster.region.advance_rollouts": 5.0,
    "muster.region.jobs_left": 20.0,
    "muster.region.sign": 15.0,
    "muster.region.broker_users": 10.0,
    "muster.region.names": 15.0,
    "muster.region.expire_leases": 30.0,
    "muster.region.fold_records": 5.0,
    "muster.region.fold_list_revision": 60.0,
    "muster.region.prune": 3600.0,
    "muster.region.renew_keys": 3600.0,
}


def beat_schedule() -> dict[str, dict[str, Any]]:
    """The table in the form that Celery's beat takes."""
    return {
        name: {"task": name, "schedule": seconds, "options": {"queue": QUEUE, "expires": seconds * 1.5}}
        for name, seconds in SECONDS.items()
    }
