"""Leases: addresses that racks' DHCP servers have handed out."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
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
