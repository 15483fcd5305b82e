"""Leases: addresses that racks' DHCP servers have handed out."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.lease import LeasePage, LeaseQuery
from app.identity import current_context
from app.services import leases

blueprint = Resource("leases", "Leases: addresses that racks' DHCP servers have handed out")


@blueprint.get("/leases")
@allow("viewer", "list leases")
@blueprint.arguments(LeaseQuery, location="query")
@blueprint.response(200, LeasePage)
def index(query: dict[str, Any]) -> Any:
    """List leases that live, to machines of ours and to others.

    Racks tell of them every half minute; a lease that has ended or expired is not listed.
    """
    return page(leases.find(current_context(), **query), query["limit"])


@blueprint.delete("/leases/<int:lease_id>")
@allow("operator", "release leases")
@blueprint.response(204)
def release(lease_id: int) -> Any:
    """Release a lease: the rack's DHCP server ends it, and the address is free at once.

    The client is not told: it goes on using the address until it renews.  409 when a rack did not do it within ten
    seconds, or when the address is another client's by now.
    """
    leases.release(current_context(), lease_id)
    return NO_CONTENT
