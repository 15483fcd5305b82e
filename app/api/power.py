"""Switching machines, and how they are switched."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from app.api.frame import Resource, allow
from app.api.schemas.operation import NewPowerSchema, PowerDriverPage, PowerOperationSchema, PowerSchema
from app.identity import current_context
from app.services import bmc, machines, power
from app.services.errors import NotFound

blueprint = Resource("power", "Switching machines")


@blueprint.get("/machines/<string:machine>/power")
@allow("operator", "see how machines are switched")
@blueprint.response(200, PowerSchema)
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
    bmc.set_power(context, machines.get(context, machine).id, body["driver"], body["parameters"])
    return _shown(machine)


@blueprint.post("/machines/<string:machine>/power/<any(on,off,cycle,query,soft_off):verb>")
@allow("operator", "switch machines")
@blueprint.response(202, PowerOperationSchema)
def switch(machine: str, verb: str) -> Any:
    """Switch a machine, or ask its controller for the power state."""
    context = current_context()
    return power.request(context, machines.get(context, machine).id, verb)


@blueprint.get("/power-drivers")
@allow("viewer", "list power drivers")
@blueprint.response(200, PowerDriverPage)
def list_drivers() -> Any:
    """The power drivers there are, with their parameters."""
    return {"items": list(bmc.known_drivers()), "next": None}


def _shown(machine: str) -> dict[str, Any]:
    found = machines.get(current_context(), machine)
    if found.bmc is None:
        raise NotFound(f"{found.hostname} has no power driver yet; set one")
    return asdict(bmc.masked(found.bmc)) | {"mac": found.bmc.mac}
