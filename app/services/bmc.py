"""BMCs: how a machine's power is switched. Secrets are sealed before they are stored, and shown to nobody."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy.orm import Session

from app.power.base import PowerDriver
from app.power.registry import drivers
from app.services import versions
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.errors import Invalid
from app.services.lifecycle import require_ownership
from app.services.transition import locked
from app.store.models import Bmc, Machine

MASK = "********"


@dataclass(frozen=True)
class BmcView:
    """What people may see: parameters with secrets masked; found: in-band (by the machine) or by-hand."""

    driver: str
    address: str | None
    parameters: dict[str, str]
    found: str


def set_power(context: Context, machine_id: int, driver: str, parameters: Mapping[str, Any]) -> BmcView:
    """Set the machine's power driver. A secret that is left out, or given as its mask, stays as it was."""
    context.require("operator", "change how machines are switched")
    with changing(context) as session:
        machine = locked(session, machine_id)
        require_ownership(context, machine, "change")
        versions.check(context, machine, f"machine {machine.hostname}")
        row = put(session, context, machine, driver, parameters)
        machine.version += 1
        audit(session, context, "set power", "machine", machine.id, driver=driver)
        event(
            session,
            context,
            "machine.power",
            f"{context.actor.name} set the power driver of {machine.hostname} to {driver}.",
            machine_id=machine.id,
        )
        return masked(row)


def put(session: Session, context: Context, machine: Machine, name: str, parameters: Mapping[str, Any]) -> Bmc:
    """Write the BMC's row. Invalid names the driver or parameter that is unknown or missing."""
    if name not in drivers():
        raise Invalid(f"power driver {name!r}: there are {', '.join(drivers())}", field="power_driver")
    driver = drivers()[name]
    bmc = machine.bmc
    kept: dict[str, str] = {}
    if bmc is not None and bmc.driver == name and bmc.secrets:
        kept = json.loads(context.secrets.open(bmc.secrets))
    public, secret = _split(driver, parameters, kept)
    if bmc is None:
        bmc = machine.bmc = Bmc(driver=name)
    bmc.driver, bmc.address, bmc.parameters, bmc.found = name, public.get("address"), public, "by-hand"
    bmc.secrets = context.secrets.seal(json.dumps(secret)) if secret else None
    session.flush()
    return bmc


def known_drivers() -> list[PowerDriver]:
    """The power drivers there are, by name."""
    return list(drivers().values())


def masked(bmc: Bmc) -> BmcView:
    """What people may see of a BMC."""
    names = drivers()[bmc.driver].parameters if bmc.driver in drivers() else ()
    hidden = {parameter.name: MASK for parameter in names if parameter.secret and bmc.secrets}
    return BmcView(bmc.driver, bmc.address, {**{k: str(v) for k, v in bmc.parameters.items()}, **hidden}, bmc.found)


def _split(
    driver: PowerDriver, parameters: Mapping[str, Any], kept: Mapping[str, str]
) -> tuple[dict[str, str], dict[str, str]]:
    known = {parameter.name: parameter for parameter in driver.parameters}
    unknown = sorted(set(parameters) - set(known))
    if unknown:
        raise Invalid(
            f"power driver {driver.name}: unknown parameter {unknown[0]!r}; it takes {', '.join(known)}",
            field=f"power_parameters.{unknown[0]}",
        )
    public: dict[str, str] = {}
    secret: dict[str, str] = {}
    for name, parameter in known.items():
        value = "" if parameters.get(name) is None else str(parameters[name])
        if parameter.secret and value in ("", MASK):
            value = kept.get(name, "")
        if parameter.required and not (value or parameter.default):
            raise Invalid(
                f"power driver {driver.name}: {parameter.label} ({name}) is missing", field=f"power_parameters.{name}"
            )
        if value and (complaint := parameter.complaint(value)):
            raise Invalid(f"power driver {driver.name}: {complaint}", field=f"power_parameters.{name}")
        if value:
            (secret if parameter.secret else public)[name] = value
    return public, secret
