"""Racks: what they run, enrolment codes, held plans."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.rack import (
    AclSchema,
    CodeSchema,
    KeyChangeSchema,
    NewCodeSchema,
    OverviewSchema,
    PlanPage,
    PlanQuery,
    PlanSchema,
    RackChangeSchema,
    RackPage,
    RackQuery,
    RackSchema,
    ReconciledSchema,
    RetriedSchema,
)
from app.identity import current_context
from app.services import broker, plans, rack_keys, rack_overview, racks, versions


@dataclass(frozen=True)
class ShownRack(rack_overview.Overview):
    """A rack with what is known of it, at a version of the rack."""

    shown_version: str | None


blueprint = Resource("racks", "Rack hosts and their plans")


@blueprint.get("/racks")
@allow("viewer", "list racks")
@blueprint.arguments(RackQuery, location="query")
@blueprint.response(200, RackPage)
def index(query: dict[str, Any]) -> Any:
    """List racks."""
    return page(racks.find(current_context(), **query), query["limit"])


@blueprint.get("/racks/<int:rack_id>")
@allow("viewer", "see racks")
@blueprint.shows(OverviewSchema)
def show(rack_id: int) -> Any:
    """See a rack: services, the last applies, held plans, and why it is not in sync if it is not."""
    overview = rack_overview.of_rack(current_context(), rack_id)
    return ShownRack(**vars(overview), shown_version=versions.of(overview.rack))


@blueprint.patch("/racks/<int:rack_id>")
@allow("admin", "change racks")
@blueprint.arguments(RackChangeSchema)
@blueprint.response(200, RackSchema)
def change(body: dict[str, Any], rack_id: int) -> Any:
    """Choose a rack's DHCP server, or whether it is the canary.

    Leases are kept when the server changes; clients notice a few seconds of silence.
    """
    context = current_context()
    racks.change(context, rack_id, **body)
    return racks.get(context, rack_id)


@blueprint.delete("/racks/<int:rack_id>")
@allow("admin", "delete racks")
@blueprint.response(204)
def delete(rack_id: int) -> Any:
    """Forget a rack: its token is dead at once."""
    racks.delete(current_context(), rack_id)
    return NO_CONTENT


@blueprint.post("/racks/codes")
@allow("admin", "enrol racks")
@blueprint.arguments(NewCodeSchema)
@blueprint.response(201, CodeSchema)
def new_code(body: dict[str, Any]) -> Any:
    """A one-time enrolment code, good for an hour. It is shown only now."""
    return {"code": racks.new_code(current_context(), body["name"])}


@blueprint.post("/racks/<int:rack_id>/reconcile")
@allow("operator", "ask for a reconciliation")
@blueprint.response(202, ReconciledSchema)
def reconcile(rack_id: int) -> Any:
    """Have a rack compared again with what it should be."""
    return {"racks": rack_overview.reconcile(current_context(), rack_id)}


@blueprint.post("/racks/<int:rack_id>/retry")
@allow("operator", "ask for a retry")
@blueprint.response(202, RetriedSchema)
def retry(rack_id: int) -> Any:
    """Have a rack try again what it refused. 409 when it refuses nothing."""
    return {"refused": rack_overview.retry(current_context(), rack_id)}


@blueprint.post("/racks/<int:rack_id>/new-omapi-key")
@allow("admin", "change racks' keys", once=False)
@blueprint.response(200, KeyChangeSchema)
def new_omapi_key(rack_id: int) -> Any:
    """Have a rack make a new key for its ISC dhcpd; the old one is worth nothing afterwards.

    The key never leaves the rack.  dhcpd starts again for it.  409 when the rack runs Kea, or did not do it within
    a minute.
    """
    return rack_keys.new_omapi_key(current_context(), rack_id)


@blueprint.post("/racks/<int:rack_id>/new-broker-password")
@allow("admin", "change racks' passwords")
@blueprint.response(200, RackSchema)
def new_broker_password(rack_id: int) -> Any:
    """Give a rack another password at a Redis broker.

    Its worker is cut off there, fetches the new one with the rack's token, and is back within seconds; the password is
    shown to nobody else.  The old one is worth nothing once the region worker has told Redis, which takes a moment.
    """
    return broker.new_password(current_context(), rack_id)


@blueprint.get("/broker/acl")
@allow("admin", "see the broker's users")
@blueprint.response(200, AclSchema)
def broker_acl() -> Any:
    """Racks' users as lines of Redis' aclfile, for sites that keep Redis' users themselves."""
    return {"lines": broker.acl(current_context())}


@blueprint.post("/racks/reconcile")
@allow("operator", "ask for a reconciliation")
@blueprint.response(202, ReconciledSchema)
def reconcile_all() -> Any:
    """Have all racks compared again."""
    return {"racks": rack_overview.reconcile(current_context())}


@blueprint.get("/racks/<int:rack_id>/plans")
@allow("viewer", "see plans")
@blueprint.arguments(PlanQuery, location="query")
@blueprint.response(200, PlanPage)
def rack_plans(query: dict[str, Any], rack_id: int) -> Any:
    """A rack's plans."""
    context = current_context()
    racks.get(context, rack_id)
    return page(plans.find(context, rack_id, **query), query["limit"])


@blueprint.get("/plans/<int:plan_id>")
@allow("viewer", "see plans")
@blueprint.shows(PlanSchema)
def show_plan(plan_id: int) -> Any:
    """See a plan."""
    return plans.get(current_context(), plan_id)


@blueprint.post("/plans/<int:plan_id>/approve")
@allow("admin", "approve plans")
@blueprint.response(200, PlanSchema)
def approve(plan_id: int) -> Any:
    """Let a held plan go on."""
    return plans.approve(current_context(), plan_id)
