"""Versions: a short text that differs whenever what people may change of a thing differs.

A machine counts its changes; of everything else the version is a digest of its own columns.  A service that changes or
deletes a thing calls `check` once it holds the row, in the same transaction, so that of two changes that were made to
the same version one is refused.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any

from sqlalchemy import inspect

from app.services.context import Context
from app.services.errors import Changed
from app.store.models import Base, Machine

_COLUMNS = {
    # What Muster writes by itself all the time is no change that a person has to look at.
    "rack": ("name", "interfaces", "layout", "ports", "enrolled_at"),
    "user": ("name", "role", "active"),
    "api_token": ("name", "scope", "expires_at"),
    "dns_secondary": ("name", "address", "port", "key_name", "algorithm", "version"),
    "bmc": ("driver", "address", "parameters", "found"),
}


def of(thing: Any) -> str | None:
    """The version of a row, or of what carries one as `shown_version`; None for things that have none."""
    if isinstance(thing, Machine):
        return str(thing.version)
    if isinstance(thing, Base):
        return _digest_of_row(thing)
    shown: str | None = getattr(thing, "shown_version", None)
    return shown


def of_value(value: Any) -> str:
    """The version of something that is a value and no row."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, default=str).encode()).hexdigest()[:16]


def check(context: Context, thing: Any, name: str) -> None:
    """Changed when the caller wants to change another version of the thing than the present one."""
    if context.expected is not None and of(thing) not in context.expected:
        raise Changed(
            f"{name} has changed since you read it, so nothing was done",
            field="If-Match",
            rule="If-Match names the present version",
            remedy="read it again, look at what has changed, and repeat the request with the new ETag",
        )


def _digest_of_row(row: Base) -> str:
    mapper = inspect(type(row))
    names = _COLUMNS.get(type(row).__tablename__) or sorted(mapper.columns.keys())
    return of_value([type(row).__tablename__, row.id, {name: getattr(row, name) for name in names}])  # type: ignore[attr-defined]
