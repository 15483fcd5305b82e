"""DNS domains that Muster is authoritative for."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, PageQuery, Resource, allow, page
from app.api.schemas.dns import (
    DomainChangeSchema,
    DomainPage,
    DomainQuery,
    DomainSchema,
    NewDomainSchema,
    StaleNamePage,
    ZoneServers,
)
from app.identity import current_context
from app.services import domains, installed_names, zone_reports

blueprint = Resource("domains", "DNS domains that Muster is authoritative for")


@blueprint.get("/domains")
@allow("viewer", "list domains")
@blueprint.arguments(DomainQuery, location="query")
@blueprint.response(200, DomainPage)
def index(query: dict[str, Any]) -> Any:
    """List domains."""
    return page(domains.find(current_context(), **query), query["limit"])


@blueprint.post("/domains")
@allow("admin", "create domains")
@blueprint.arguments(NewDomainSchema)
@blueprint.response(201, DomainSchema)
def create(body: dict[str, Any]) -> Any:
    """Create a domain."""
    return domains.create(current_context(), **body)


@blueprint.get("/domains/<int:domain_id>")
@allow("viewer", "see domains")
@blueprint.shows(DomainSchema)
def show(domain_id: int) -> Any:
    """See a domain."""
    return domains.get(current_context(), domain_id)


@blueprint.patch("/domains/<int:domain_id>")
@allow("admin", "change domains")
@blueprint.arguments(DomainChangeSchema)
@blueprint.response(200, DomainSchema)
def change(body: dict[str, Any], domain_id: int) -> Any:
    """Change a domain. All names in it follow a new name; `stale-names` lists machines that were installed with another."""
    return domains.update(current_context(), domain_id, **body)


@blueprint.delete("/domains/<int:domain_id>")
@allow("admin", "delete domains")
@blueprint.response(204)
def delete(domain_id: int) -> Any:
    """Delete a domain that nothing uses, with its records."""
    domains.delete(current_context(), domain_id)
    return NO_CONTENT


@blueprint.get("/domains/<int:domain_id>/servers")
@allow("viewer", "see domains")
@blueprint.shows(ZoneServers)
def servers(domain_id: int) -> Any:
    """See which racks serve a domain, and whether each has its newest records."""
    return {"items": zone_reports.servers(current_context(), domain_id)}


@blueprint.get("/domains/<int:domain_id>/stale-names")
@allow("viewer", "see domains")
@blueprint.arguments(PageQuery, location="query")
@blueprint.response(200, StaleNamePage)
def stale_names(query: dict[str, Any], domain_id: int) -> Any:
    """List deployed machines that were installed under another name than they have now."""
    return page(installed_names.stale(current_context(), domain_id, **query), query["limit"])
