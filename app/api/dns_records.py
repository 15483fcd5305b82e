"""DNS records that people add to domains."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.dns import (
    DnsBulkAnswerSchema,
    DnsBulkSchema,
    DnsRecordChangeSchema,
    DnsRecordPage,
    DnsRecordQuery,
    DnsRecordSchema,
    NewDnsRecordSchema,
)
from app.identity import current_context
from app.services import dns_records

blueprint = Resource("dns_records", "DNS records that people add to domains")


@blueprint.get("/domains/<int:domain_id>/records")
@allow("viewer", "list DNS records")
@blueprint.arguments(DnsRecordQuery, location="query")
@blueprint.response(200, DnsRecordPage)
def index(query: dict[str, Any], domain_id: int) -> Any:
    """List the records of a domain."""
    return page(dns_records.find(current_context(), domain_id, **query), query["limit"])


@blueprint.post("/domains/<int:domain_id>/records")
@allow("operator", "add DNS records")
@blueprint.arguments(NewDnsRecordSchema)
@blueprint.response(201, DnsRecordSchema)
def create(body: dict[str, Any], domain_id: int) -> Any:
    """Add a record to a domain."""
    return dns_records.create(current_context(), domain_id, **body)


@blueprint.post("/domains/<int:domain_id>/records/bulk")
@allow("operator", "change DNS records")
@blueprint.arguments(DnsBulkSchema)
@blueprint.response(200, DnsBulkAnswerSchema)
def bulk(body: dict[str, Any], domain_id: int) -> Any:
    """Delete and add many records of a domain at once, all or none."""
    return dns_records.bulk(current_context(), domain_id, body["add"], body["remove"])


@blueprint.get("/domains/<int:domain_id>/records/<int:record_id>")
@allow("viewer", "see DNS records")
@blueprint.shows(DnsRecordSchema)
def show(domain_id: int, record_id: int) -> Any:
    """See a record."""
    return dns_records.get(current_context(), domain_id, record_id)


@blueprint.patch("/domains/<int:domain_id>/records/<int:record_id>")
@allow("operator", "change DNS records")
@blueprint.arguments(DnsRecordChangeSchema)
@blueprint.response(200, DnsRecordSchema)
def change(body: dict[str, Any], domain_id: int, record_id: int) -> Any:
    """Change a record's data, or the TTL of its RRset."""
    return dns_records.update(current_context(), domain_id, record_id, **body)


@blueprint.delete("/domains/<int:domain_id>/records/<int:record_id>")
@allow("operator", "delete DNS records")
@blueprint.response(204)
def delete(domain_id: int, record_id: int) -> Any:
    """Delete a record."""
    dns_records.delete(current_context(), domain_id, record_id)
    return NO_CONTENT
