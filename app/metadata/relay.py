"""Who is calling: the rack that relays, the client's address as that rack saw it, and the machine's token.

A client may write X-Forwarded-For itself; only the last hop is the relay's own word, and only a rack that knows its
relay token is believed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from flask import request

from app.identity import base_context
from app.services import boot_tokens, racks
from app.services.boot_tokens import MachineCaller
from app.services.context import Actor, Context
from app.services.errors import Forbidden, Unauthorized
from app.store.models import Rack

HEADER = "X-Muster-Rack"


@dataclass(frozen=True)
class Relayed:
    """A request that came through a rack."""

    context: Context
    rack: Rack
    address: str


def relayed() -> Relayed:
    """The rack and the client's address. Forbidden without a right relay header or a plain last hop."""
    context = base_context()
    try:
        rack = racks.authenticate_relay(context, request.headers.get(HEADER, ""))
    except Unauthorized as error:
        raise Forbidden(
            "machines are served through their rack only; boot from the network and use the rack's address",
            rule=f"{HEADER} of an enrolled rack",
        ) from error
    hop = request.headers.get("X-Forwarded-For", "").rpartition(",")[2].strip().strip("[]")
    try:
        address = ipaddress.ip_address(hop)
    except ValueError as error:
        raise Forbidden(
            f"the relay of rack {rack.name} gave no client address (X-Forwarded-For ends with {hop!r});"
            " check its forwarded_for setting"
        ) from error
    mapped = getattr(address, "ipv4_mapped", None)
    actor = Actor(f"machine at {mapped or address}", "machine")
    return Relayed(context.acting_as(actor), rack, str(mapped or address))


def machine(*purposes: str) -> tuple[Context, MachineCaller]:
    """The machine that holds the request's token, which must be for one of the purposes."""
    source = relayed()
    scheme, _, raw = request.headers.get("Authorization", "").partition(" ")
    if scheme.lower() != "bearer" or not raw.strip():
        raise Unauthorized("send the boot token as Authorization: Bearer <token>; it is on the kernel command line")
    return source.context, boot_tokens.check(source.context, source.rack, source.address, raw.strip(), purposes)
