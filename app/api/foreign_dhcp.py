"""DHCP servers that are not ours, as racks hear them."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.foreign_dhcp import ForeignDhcpPage, ForeignDhcpQuery
from app.identity import current_context
from app.services import foreign_dhcp

blueprint = Resource("foreign-dhcp-servers", "DHCP servers that are not ours, on networks that racks serve")


@blueprint.get("/foreign-dhcp-servers")
@allow("viewer", "list foreign DHCP servers")
@blueprint.arguments(ForeignDhcpQuery, location="query")
@blueprint.response(200, ForeignDhcpPage)
def index(query: dict[str, Any]) -> Any:
    """List DHCP servers that answer on networks that our racks serve, and are none of them."""
    return page(foreign_dhcp.find(current_context(), **query), query["limit"])
