"""Bulk work: ask for it, see how far it is, end it."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery, Resource, allow, page
from app.api.schemas.address import NewReservationSchema
from app.api.schemas.job import JobSchema
from app.api.schemas.machine import Word
from app.api.schemas.strict import Id
from app.identity import current_context
from app.services import jobs
from app.services.bulk_machines import MODES
from app.services.job_kinds import KINDS
from app.services.jobs import MOST_ITEMS, STATUSES


class BulkInterfaceSchema(Schema):
    """An interface of a new machine, and how it gets its address."""

    mac = fields.String(required=True, validate=Word)
    name = fields.String(validate=Word, metadata={"description": "eth0, eth1, ... by default"})
    subnet_id = Id(metadata={"description": "where it is linked"})
    mode = fields.String(
        validate=validate.OneOf(MODES),
        metadata={"description": "auto: at deploy; sticky: the lowest free address at once; static: `address`; dhcp"},
    )
    address = fields.String(validate=Word)


class BulkMachineSchema(Schema):
    """A machine made known by hand, with its interfaces, the boot interface first."""

    hostname = fields.String(required=True, validate=Word)
    architecture = fields.String(validate=validate.OneOf(("amd64", "arm64")))
    zone = fields.String(validate=Word)
    pool = fields.String(validate=Word)
    domain = fields.String(validate=Word)
    interfaces = fields.List(fields.Nested(BulkInterfaceSchema), required=True, validate=validate.Length(min=1, max=64))


class BulkMachinesSchema(Schema):
    """Machines to be made known."""

    machines = fields.List(
        fields.Nested(BulkMachineSchema), required=True, validate=validate.Length(min=1, max=MOST_ITEMS)
    )


class BulkReservationsSchema(Schema):
    """Reservations to be made."""

    reservations = fields.List(
        fields.Nested(NewReservationSchema), required=True, validate=validate.Length(min=1, max=MOST_ITEMS)
    )


class JobQuery(PageQuery):
    """Which jobs."""

    kind = fields.String(validate=validate.OneOf(tuple(KINDS)))
    status = fields.String(validate=validate.OneOf(STATUSES))


class JobPage(Schema):
    """Jobs."""

    items = fields.List(fields.Nested(JobSchema))
    next = fields.Integer(allow_none=True)


blueprint = Resource("jobs", "Bulk work")


@blueprint.post("/machines/bulk")
@allow("operator", "add machines")
@blueprint.arguments(BulkMachinesSchema)
@blueprint.response(202, JobSchema)
def bulk_machines(body: dict[str, Any]) -> Any:
    """Make many machines known, with interfaces and addresses.

    They are made in batches; one that is refused is named in the job's `errors`, and the others go on.
    """
    return jobs.start(current_context(), "machines.create", body["machines"])


@blueprint.post("/reservations/bulk")
@allow("operator", "reserve addresses")
@blueprint.arguments(BulkReservationsSchema)
@blueprint.response(202, JobSchema)
def bulk_reservations(body: dict[str, Any]) -> Any:
    """Make many reservations in batches; those that are there already, just so, are left as they are."""
    return jobs.start(current_context(), "reservations.import", body["reservations"])


@blueprint.get("/jobs")
@allow("viewer", "list jobs")
@blueprint.arguments(JobQuery, location="query")
@blueprint.response(200, JobPage)
def index(query: dict[str, Any]) -> Any:
    """List jobs."""
    return page(jobs.find(current_context(), **query), query["limit"])


@blueprint.get("/jobs/<int:job_id>")
@allow("viewer", "see jobs")
@blueprint.shows(JobSchema)
def show(job_id: int) -> Any:
    """See a job: how far it is and what was refused."""
    return jobs.get(current_context(), job_id)


@blueprint.post("/jobs/<int:job_id>/cancel")
@allow("operator", "end jobs")
@blueprint.response(202, JobSchema)
def cancel(job_id: int) -> Any:
    """End a job. The batch in hand is finished and what was made stays; 409 when it has ended already."""
    return jobs.cancel(current_context(), job_id)
