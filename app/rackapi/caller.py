"""The calling rack, and the shapes of what racks send."""

from __future__ import annotations

import math
from typing import Any

from flask import g, request

from app.identity import base_context
from app.services import racks
from app.services.context import Actor, Context
from app.services.errors import Invalid, Unauthorized

SMALL_BODY = 256 * 1024
LONGEST_TEXT = 8192
LONGEST_LIST = 1024


def calling_rack() -> tuple[Context, int]:
    """A context acting as the rack whose token the request carries, and the rack's id. Unauthorized otherwise."""
    scheme, _, token = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthorized("a rack signs its calls with Authorization: Bearer <rack token>")
    context = base_context()
    rack = racks.authenticate(context, token.strip())
    g.rack_name = rack.name
    return context.acting_as(Actor(rack.name, "rack")), rack.id


def body(largest: int = SMALL_BODY) -> dict[str, Any]:
    """The request's JSON object. Invalid when it is none; 413 when it is larger than `largest` bytes."""
    request.max_content_length = largest
    data = request.get_json(silent=True, force=True)
    if not isinstance(data, dict):
        raise Invalid("the body must be a JSON object")
    return data


def take(
    data: dict[str, Any],
    name: str,
    kind: type | tuple[type, ...],
    *,
    optional: bool = False,
    longest: int = LONGEST_TEXT,
) -> Any:
    """A member of the given type. Invalid when it is missing (unless optional), of another type or out of bounds.

    longest: of a text, in characters. Lists and objects have at most `LONGEST_LIST` members.
    """
    value = data.get(name)
    if value is None and optional:
        return None
    kinds = kind if isinstance(kind, tuple) else (kind,)
    # JSON's true is no number.
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        wanted = " or ".join(one.__name__ for one in kinds)
        raise Invalid(f"{name}: expected {wanted}, got {str(value)[:80]!r}", field=name)
    if isinstance(value, int) and not isinstance(value, bool) and not 0 <= value < 1 << 62:
        raise Invalid(f"{name}: {value} is out of range", field=name)
    if isinstance(value, float) and not (math.isfinite(value) and value >= 0):
        raise Invalid(f"{name}: {value} is out of range", field=name)
    if isinstance(value, str) and len(value) > longest:
        raise Invalid(f"{name}: {len(value)} characters; at most {longest}", field=name)
    if isinstance(value, (list, dict)) and len(value) > LONGEST_LIST:
        raise Invalid(f"{name}: {len(value)} members; at most {LONGEST_LIST}", field=name)
    return value


def number(name: str, default: int) -> int:
    """A whole number of the query string."""
    text = request.args.get(name, str(default))
    if not text.isdecimal() or len(text) > 18:
        raise Invalid(f"{name}={text[:40]!r}: must be a whole number from 0", field=name)
    return int(text)
