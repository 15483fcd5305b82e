"""Enlistment: a machine that nobody knew has booted and says what it is; it becomes NEW.

It is the same machine as before when one of its MAC addresses or its system UUID is known: then nothing new is made.
So an operator can enter a machine by its UUID with its BMC, for instance one that speaks Redfish and cannot be found
from inside; when that machine enlists it brings its interfaces, and its BMC is the one that was entered.
Enlistments take turns (a row lock), so that two boots of one machine at once make one machine.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import addresses
from app.services.boot import canonical_mac, canonical_uuid
from app.services.boot_tokens import MachineCaller
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.errors import Conflict, Invalid
from app.services.hostnames import NAMING, OF_PEOPLE, hidden_by_domains
from app.store.locks import hold
from app.store.models import (
    Bmc,
    BootToken,
    Device,
    DnsRecord,
    Domain,
    Interface,
    IpAddress,
    Machine,
    Pool,
    Rack,
    Subnet,
    Zone,
)

INTERFACE_LIMIT = 64
_LABEL = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


@dataclass(frozen=True)
class FoundInterface:
    """An interface that the machine has; boot: it is the one it booted from."""

    name: str
    mac: str
    boot: bool


@dataclass(frozen=True)
class FoundBmc:
    """A controller on which the machine has made an account for us."""

    driver: str
    address: str
    mac: str | None
    username: str
    password: str
    version: str | None


@dataclass(frozen=True)
class Enlistment:
    """What an unknown machine says of itself. bmc_reason: why there is no controller, when there is none."""

    hostname_hint: str | None
    architecture: str
    firmware: str
    uuid: str | None
    interfaces: tuple[FoundInterface, ...]
    bmc: FoundBmc | None
    bmc_reason: str | None


def enlist(context: Context, caller: MachineCaller, found: Enlistment) -> tuple[int, bool]:
    """The machine's id, and whether it is new. Invalid when it has no interface or one MAC twice."""
    macs = [canonical_mac(interface.mac) for interface in found.interfaces]
    if not macs or len(macs) > INTERFACE_LIMIT:
        raise Invalid(f"enlist: {len(macs)} interfaces; there must be 1 to {INTERFACE_LIMIT}", field="interfaces")
    if len(set(macs)) != len(macs):
        raise Invalid("enlist: a MAC address is named twice; each interface has its own", field="interfaces")
    if caller.mac not in macs:
        raise Invalid(
            f"enlist: the interface {caller.mac} that booted is not among {', '.join(macs)}", field="interfaces"
        )
    uuid = canonical_uuid(found.uuid)
    with changing(context) as session:
        hold(session, NAMING)
        machine = _existing(session, macs, uuid)
        created = machine is None
        adopted = machine is not None and machine.state == State.NEW and not machine.interfaces
        subnet = addresses.subnet_of(session, caller.address)
        if machine is None:
            machine = _create(session, context, caller, found, uuid, subnet)
        _add_interfaces(session, machine, found, caller.mac, subnet)
        if machine.state == State.NEW:
            _complete(session, machine, caller, found, uuid)
            _describe(session, context, machine, found)
        session.flush()
        addresses.tie(session, machine)
        session.get_one(BootToken, caller.token_id).machine_id = machine.id
        words = f"enlisted through rack {caller.rack_name}" if created else "booted to enlist, but is known already"
        if adopted:
            words = f"was entered by its system UUID {uuid}, and enlisted through rack {caller.rack_name}"
        event(
            session,
            context,
            "machine.enlisted",
            f"{machine.hostname} {words}.",
            machine_id=machine.id,
            step="enlist",
            state=machine.state,
            created=created,
        )
        if created or adopted:
            audit(session, context, "enlist", "machine", machine.id, hostname=machine.hostname, mac=caller.mac)
        return machine.id, created


def _existing(session: Session, macs: list[str], uuid: str | None) -> Machine | None:
    by_mac = select(Interface.machine_id).where(Interface.mac.in_(macs))
    same = Machine.id.in_(by_mac) if uuid is None else or_(Machine.id.in_(by_mac), Machine.system_uuid == uuid)
    return session.scalars(select(Machine).where(same).order_by(Machine.id).limit(1)).one_or_none()


def _create(
    session: Session,
    context: Context,
    caller: MachineCaller,
    found: Enlistment,
    uuid: str | None,
    subnet: Subnet | None,
) -> Machine:
    now = context.clock()
    domain_id = subnet.domain_id if subnet else session.scalar(select(Domain.id).order_by(Domain.id).limit(1))
    if domain_id is None:
        raise Conflict("enlist: there is no domain to name machines in; make one first")
    machine = Machine(
        hostname=free_hostname(
            session,
            domain_id,
            found.hostname_hint,
            str(caller.mac),
            [canonical_mac(interface.mac) for interface in found.interfaces],
        ),
        domain_id=domain_id,
        state=State.NEW.value,
        state_since=now,
        created_at=now,
        architecture=found.architecture,
        firmware=found.firmware,
        system_uuid=uuid,
        zone_id=first_place(session, Zone),
        pool_id=first_place(session, Pool),
        rack_id=caller.rack_id,
        power_state="on",
        inventory=None,
        interfaces=[],
        tags=[],
        bmc=None,
    )
    session.add(machine)
    session.flush()
    return machine


def _complete(session: Session, machine: Machine, caller: MachineCaller, found: Enlistment, uuid: str | None) -> None:
    """What whoever entered the machine by hand left open, the machine says itself."""
    machine.architecture = found.architecture
    machine.firmware = machine.firmware or found.firmware
    machine.rack_id = machine.rack_id or caller.rack_id
    machine.power_state = "on"
    if machine.system_uuid is None and uuid is not None:
        taken = session.scalar(select(Machine.id).where(Machine.system_uuid == uuid).limit(1))
        machine.system_uuid = uuid if taken is None else None


def _add_interfaces(
    session: Session, machine: Machine, found: Enlistment, boot_mac: str | None, subnet: Subnet | None
) -> None:
    """Add the interfaces that are not known yet; a MAC of another machine stays with that one."""
    macs = [canonical_mac(interface.mac) for interface in found.interfaces]
    known = set(session.scalars(select(Interface.mac).where(Interface.mac.in_(macs))))
    has_boot = any(interface.boot for interface in machine.interfaces)
    for interface, mac in zip(found.interfaces, macs, strict=True):
        if mac in known:
            continue
        boots = mac == boot_mac and not has_boot
        row = Interface(name=interface.name[:64], mac=mac, boot=boots)
        if mac == boot_mac and subnet is not None:
            row.vlan_id, row.subnet_id = subnet.vlan_id, subnet.id
        machine.interfaces.append(row)


def _describe(session: Session, context: Context, machine: Machine, found: Enlistment) -> None:
    """Power control as the machine found it; credentials set by a person are left alone."""
    bmc = machine.bmc
    if bmc is not None and bmc.found != "in-band":
        return
    if found.bmc is None:
        reason = found.bmc_reason or "the machine did not say why"
        machine.inventory = {**(machine.inventory or {}), "bmc": {"bmc": None, "reason": reason}}
        message = (
            f"{machine.hostname} has no BMC that it could set up: {reason}. Set its power driver, or use it by hand."
        )
        event(session, context, "machine.power", message, machine_id=machine.id, level="warning")
        return
    if bmc is None:
        bmc = machine.bmc = Bmc(driver=found.bmc.driver, found="in-band")
    bmc.driver, bmc.address, bmc.mac = found.bmc.driver, found.bmc.address, found.bmc.mac
    bmc.parameters = {"address": found.bmc.address, "username": found.bmc.username}
    bmc.secrets = context.secrets.seal(json.dumps({"password": found.bmc.password}))


def free_hostname(session: Session, domain_id: int, hint: str | None, mac: str, macs: Iterable[str] = ()) -> str:
    """The hint if it is a free DNS label, else `m-` and the end of the MAC address, with a number if that is taken.

    macs: all of the machine; a name that is reserved for one of them comes before the hint.  Names of racks, devices and
    other reservations are taken: they stand in the zones, and a machine must not put its address in their place.  So are
    those that people gave away in the domain, and those that a domain below it would hide.
    """
    mine = set(macs)
    reserved = select(IpAddress.hostname, IpAddress.mac).where(
        IpAddress.kind == "reservation", IpAddress.interface_id.is_(None), IpAddress.hostname.is_not(None)
    )
    promised = session.scalar(reserved.where(IpAddress.mac.in_(mine)).order_by(IpAddress.id).limit(1)) if mine else None
    name = str(promised or hint or "").strip().lower().split(".")[0]
    base = name if _LABEL.fullmatch(name) and not name.isdigit() else "m-" + mac.replace(":", "")[-6:]
    base = base[:56].rstrip("-")

    def alike(column: Any) -> Any:
        return or_(column == base, column.like(f"{base}-%"))

    taken: set[Any] = {"localhost", *session.scalars(select(Rack.name))}
    for column in (Machine.hostname, Device.hostname):
        taken.update(session.scalars(select(column).where(alike(column))))
    rows = session.execute(reserved.where(alike(IpAddress.hostname)))
    taken.update(hostname for hostname, owner in rows if owner not in mine)
    of_people = select(DnsRecord.name).where(
        DnsRecord.domain_id == domain_id, DnsRecord.type.in_(OF_PEOPLE), alike(DnsRecord.name)
    )
    taken.update(session.scalars(of_people))
    taken.update(session.scalars(hidden_by_domains(domain_id, alike)))
    number = 1
    while (candidate := base if number == 1 else f"{base}-{number}") in taken:
        number += 1
    return candidate


def first_place(session: Session, kind: type[Zone] | type[Pool]) -> int:
    """The id of the zone or pool named `default`, else of the oldest. Conflict when there is none at all."""
    found = session.scalar(select(kind.id).order_by(kind.name != "default", kind.id).limit(1))
    if found is None:
        raise Conflict(f"there is no {kind.__name__.lower()} to put the machine in; make one first")
    return found
