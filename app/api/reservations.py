"""Reservations: addresses that are promised to MAC addresses, live in DHCP and DNS."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.address import (
    NewReservationSchema,
    ReservationChangeSchema,
    ReservationImportedSchema,
    ReservationImportSchema,
    ReservationPage,
    ReservationQuery,
    ReservationSchema,
)
from app.identity import current_context
from app.services import reservations
from app.services.reservations import Wanted

blueprint = Resource("reservations", "Addresses promised to MAC addresses")


@blueprint.get("/reservations")
@allow("viewer", "list reservations")
@blueprint.arguments(ReservationQuery, location="query")
@blueprint.response(200, ReservationPage)
def index(query: dict[str, Any]) -> Any:
    """List reservations."""
    return page(reservations.find(current_context(), **query), query["limit"])


@blueprint.post("/reservations")
@allow("operator", "reserve addresses")
@blueprint.arguments(NewReservationSchema)
@blueprint.response(201, ReservationSchema)
def create(body: dict[str, Any]) -> Any:
    """Promise an address to a MAC address.

    The MAC of a machine's or device's interface is refused: link that interface to the subnet instead.
    """
    return reservations.create(current_context(), **body)


@blueprint.post("/reservations/import")
@allow("operator", "reserve addresses")
@blueprint.arguments(ReservationImportSchema)
@blueprint.response(200, ReservationImportedSchema)
def import_many(body: dict[str, Any]) -> Any:
    """Make many reservations, all or none; those that are there already, just so, are left as they are.

    A refusal names the row that is in the way.
    """
    wanted = [Wanted(**row) for row in body["reservations"]]
    _, created = reservations.create_many(current_context(), wanted)
    return {"created": created, "unchanged": len(wanted) - created}


@blueprint.get("/reservations/<int:reservation_id>")
@allow("viewer", "see reservations")
@blueprint.shows(ReservationSchema)
def show(reservation_id: int) -> Any:
    """See a reservation."""
    return reservations.get(current_context(), reservation_id)


@blueprint.patch("/reservations/<int:reservation_id>")
@allow("operator", "change reservations")
@blueprint.arguments(ReservationChangeSchema)
@blueprint.response(200, ReservationSchema)
def change(body: dict[str, Any], reservation_id: int) -> Any:
    """Change a reservation; DHCP and DNS follow at once."""
    return reservations.update(current_context(), reservation_id, **body)


@blueprint.delete("/reservations/<int:reservation_id>")
@allow("operator", "delete reservations")
@blueprint.response(204)
def delete(reservation_id: int) -> Any:
    """Take a promise back; the address may then be given to others."""
    reservations.delete(current_context(), reservation_id)
    return NO_CONTENT
