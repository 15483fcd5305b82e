"""Keys whose both ends are on a rack: made there, changed there on demand, never seen here."""

from __future__ import annotations

from dataclasses import dataclass

from app.services import rack_questions, racks
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.errors import Conflict

SECONDS = 60.0


@dataclass(frozen=True)
class KeyChange:
    """What a change of a key cost. gap: seconds in which the rack's DHCP server did not answer."""

    gap: float


def new_omapi_key(context: Context, rack_id: int) -> KeyChange:
    """Have a rack make a new key for the control of its ISC dhcpd; the old one is worth nothing afterwards.

    dhcpd starts again for it, with its leases.  Conflict on a rack that runs Kea, Unanswered when the rack did not do it.
    """
    context.require("admin", "change a rack's key")
    rack = racks.get(context, rack_id)
    if rack.dhcp_server != "dhcpd":
        raise Conflict(
            f"rack {rack.name} serves DHCP by Kea, which is controlled through a socket and has no key",
            rule="only ISC dhcpd has an OMAPI key",
        )
    said = rack_questions.one(context, rack_questions.NEW_KEY, rack_id, {}, SECONDS)
    gap = said.get("gap")
    change = KeyChange(float(gap) if isinstance(gap, (int, float)) else 0.0)
    with changing(context) as session:
        audit(session, context, "new key", "rack", rack_id, key="omapi")
        event(session, context, "rack.key", f"Rack {rack.name} has a new OMAPI key.", rack_id=rack_id)
    return change
