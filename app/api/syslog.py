"""What machines have logged."""

from __future__ import annotations

from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.syslog import MachineSyslogQuery, SyslogPage, SyslogQuery
from app.identity import current_context
from app.services import machines, syslog
from app.services.context import Context
from app.services.syslog import SyslogFilters

blueprint = Resource("syslog", "What machines have logged")


@blueprint.get("/syslog")
@allow("viewer", "see syslog")
@blueprint.arguments(SyslogQuery, location="query")
@blueprint.response(200, SyslogPage)
def index(query: dict[str, Any]) -> Any:
    """Lines of syslog that racks have taken from machines and strangers in their subnets, newest first, below an id."""
    context = current_context()
    machine = query.pop("machine", None)
    return _page(context, query, machines.identify(context, machine) if machine else None)


@blueprint.get("/machines/<string:machine>/syslog")
@allow("viewer", "see syslog")
@blueprint.arguments(MachineSyslogQuery, location="query")
@blueprint.response(200, SyslogPage)
def of_machine(query: dict[str, Any], machine: str) -> Any:
    """What a machine has logged, newest first, below an id."""
    context = current_context()
    return _page(context, query, machines.identify(context, machine))


def _page(context: Context, query: dict[str, Any], machine_id: int | None) -> dict[str, Any]:
    after, limit = query.pop("after"), query.pop("limit")
    return page(syslog.find(context, SyslogFilters(machine_id=machine_id, **query), after, limit), limit)
