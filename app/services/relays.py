"""Requests that a rack relays for its machines: which rack, and the client's address as that rack saw it.

A client may write X-Forwarded-For itself; only the last hop is the relay's own word, and only a rack that knows its
relay token is believed.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass

from app.services import racks
from app.services.context import Actor, Context
from app.services.errors import Forbidden, Unauthorized
from app.services.racks import KnownRack

HEADER = "X-Muster-Rack"


@dataclass(frozen=True)
class Relayed:
    """A request that came through a rack; the context acts as the machine at the client's address."""

    context: Context
    rack: KnownRack
    address: str


def relayed(context: Context, header: str, forwarded_for: str) -> Relayed:
    """The rack and the client's address. Forbidden without a right relay header or a plain last hop."""
    try:
        rack = racks.authenticate_relay(context, header)
    except Unauthorized as error:
        raise Forbidden(
            "machines are served through their rack only; boot from the network and use the rack's address",
            rule=f"{HEADER} of an enrolled rack",
        ) from error
    hop = forwarded_for.rpartition(",")[2].strip().strip("[]")
    try:
        # A zone index (RFC 4007, section 11) names an interface of the rack, and may be any text.
        address = ipaddress.ip_address(hop.partition("%")[0])
    except ValueError as error:
        raise Forbidden(
            f"the relay of rack {rack.name} gave no client address (X-Forwarded-For ends with {hop[:60]!r});"
            " check its forwarded_for setting"
        ) from error
    plain = str(getattr(address, "ipv4_mapped", None) or address)
    return Relayed(context.acting_as(Actor(f"machine at {plain}", "machine")), rack, plain)
