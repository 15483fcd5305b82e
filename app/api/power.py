"""Switching machines, and how they are switched."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from app.api.frame import Resource, allow, page
from app.api.schemas.operation import (
    NewPowerSchema,
    PowerDriverPage,
    PowerOperationPage,
    PowerOperationSchema,
    PowerOrderQuery,
    PowerSchema,
)
from app.identity import current_context
from app.services import bmc, machines, operations, power, versions
from app.services.errors import NotFound


@dataclass(frozen=True)
class ShownPower(bmc.BmcView):
    """How a machine is switched, at a version of the machine."""

    mac: str | None
    shown_version: str | None


blueprint = Resource("power", "Switching machines")


@blueprint.get("/machines/<string:machine>/power")
@allow("operator", "see how machines are switched")
@blueprint.shows(PowerSchema)
def show(machine: str) -> Any:
    """How a machine is switched. Secrets are masked."""
    return _shown(machine)


@blueprint.put("/machines/<string:machine>/power")
@allow("operator", "set how machines are switched")
@blueprint.arguments(NewPowerSchema)
@blueprint.response(200, PowerSchema)
def change(body: dict[str, Any], machine: str) -> Any:
    """Set how a machine is switched. A secret that is given masked stays as it was."""
    context = current_context()
    bmc.set_power(context, machines.identify(context, machine), body["driver"], body["parameters"])
    return _shown(machine)


@blueprint.post("/machines/<string:machine>/power/<any(on,off,cycle,query,soft_off):verb>")
@allow("operator", "switch machines")
@blueprint.response(202, PowerOperationSchema)
def switch(machine: str, verb: str) -> Any:
    """Switch a machine, or ask its controller for the power state."""
    context = current_context()
    return power.request(context, machines.identify(context, machine), verb)


@blueprint.get("/power-orders")
@allow("viewer", "see power orders")
@blueprint.arguments(PowerOrderQuery, location="query")
@blueprint.response(200, PowerOperationPage)
def list_orders(query: dict[str, Any]) -> Any:
    """Power orders of people, operations and Muster's own questions, newest first."""
    context = current_context()
    machine = query.pop("machine", None)
    machine_id = machines.identify(context, machine) if machine else None
    return page(operations.power_orders(context, machine_id=machine_id, **query), query["limit"])


@blueprint.get("/power-orders/<int:order_id>")
@allow("viewer", "see power orders")
@blueprint.shows(PowerOperationSchema)
def show_order(order_id: int) -> Any:
    """See what became of a power order."""
    return operations.power_order(current_context(), order_id)


@blueprint.get("/power-drivers")
@allow("viewer", "list power drivers")
@blueprint.shows(PowerDriverPage)
def list_drivers() -> Any:
    """The power drivers there are, with their parameters."""
    return {"items": list(bmc.known_drivers()), "next": None}


def _shown(machine: str) -> ShownPower:
    found = machines.get(current_context(), machine)
    if found.bmc is None:
        raise NotFound(f"{found.hostname} has no power driver yet; set one")
    return ShownPower(**asdict(bmc.masked(found.bmc)), mac=found.bmc.mac, shown_version=versions.of(found))
