"""Who is calling the machine edge: the relay's word about the client, and the machine's token."""

from __future__ import annotations

from flask import request

from app.identity import base_context
from app.services import boot_tokens, relays
from app.services.boot_tokens import MachineCaller
from app.services.context import Context
from app.services.errors import Unauthorized
from app.services.relays import Relayed


def relayed() -> Relayed:
    """The rack and the client's address; Forbidden when the request did not come through a rack."""
    forwarded = request.headers.get("X-Forwarded-For", "")
    return relays.relayed(base_context(), request.headers.get(relays.HEADER, ""), forwarded)


def machine(*purposes: str) -> tuple[Context, MachineCaller]:
    """The machine that holds the request's token, which must be for one of the purposes."""
    source = relayed()
    scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not raw.strip():
        raise Unauthorized("send the boot token as Authorization: Bearer <token>; it is on the kernel command line")
    return source.context, boot_tokens.check(source.context, source.rack, source.address, raw.strip(), purposes)
