"""Machines: find, look at, make by hand, change, delete; what happened to one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, bindparam, or_, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.services import addresses, bmc, devices, hostnames, interfaces, versions
from app.services.boot import canonical_mac, canonical_uuid
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.enlistment import first_place, free_hostname
from app.services.errors import Conflict, Invalid, NotFound
from app.services.hostnames import NAMING
from app.services.lifecycle import require_ownership
from app.services.names import check_label
from app.services.transition import LOADED, locked
from app.store.locks import hold
from app.store.models import Device, Disk, Domain, Event, Interface, Machine, Operation, Pool, Tag, User, Zone
from app.store.prepared import Prepared
from app.store.queries import list_revision as list_revision_of
from app.store.queries import machine_json

ARCHITECTURES = ("amd64", "arm64")


_BY_HOSTNAME = Prepared(select(Machine.id).where(Machine.hostname == bindparam("hostname")))


@dataclass(frozen=True)
class MachineFilters:
    """What to look for; None and empty mean any. text: part of a hostname or of a MAC address."""

    states: tuple[str, ...] = ()
    owner: str | None = None
    zone: str | None = None
    pool: str | None = None
    tags: tuple[str, ...] = ()
    architecture: str | None = None
    power_state: str | None = None
    mac: str | None = None
    hostname: str | None = None
    text: str | None = None
    rack_id: int | None = None
    subnet_id: int | None = None
    ids: tuple[int, ...] | None = None


def find(context: Context, filters: MachineFilters | None = None, after: int = 0, limit: int = 100) -> list[Machine]:
    """A page of machines in the order of their ids, with interfaces, addresses, BMC, owner, zone, pool and tags."""
    context.require("viewer", "see machines")
    statement = _filtered(select(Machine), filters or MachineFilters()).where(Machine.id > after)
    with context.store.read() as session:
        return list(session.scalars(statement.options(*LOADED).order_by(Machine.id).limit(max(1, min(limit, 500)))))


def listed(
    context: Context,
    filters: MachineFilters | None = None,
    after: int = 0,
    limit: int = 100,
    *,
    only: frozenset[str] | None = None,
) -> list[tuple[int, str]]:
    """Ids and JSON objects of the machines that `find` would give, as the API lists them. One statement.

    only: names of the fields that are wanted, as the API calls them.
    """
    context.require("viewer", "see machines")
    most = max(1, min(limit, 500))
    with context.store.read() as session:
        if filters is None or filters == MachineFilters():
            return machine_json.page_after(session, after, most, only)
        chosen = _filtered(select(Machine.id), filters).where(Machine.id > after)
        return machine_json.page(session, chosen.order_by(Machine.id).limit(most), only)


def list_revision(context: Context) -> int:
    """A number that is another one after every change of what `listed` gives. One statement.

    Ask before `listed`: what changes between the two is then told by the next number.
    """
    context.require("viewer", "see machines")
    return list_revision_of.read(context.store)


def has_list_revision(context: Context) -> bool:
    """Whether `list_revision` can be relied on."""
    return list_revision_of.is_kept(context.store)


def fold_list_revision(context: Context) -> int:
    """Keep `list_revision` cheap; of how many parts it was made."""
    context.require("admin", "fold what tells of changes")
    return list_revision_of.fold(context.store)


def get(context: Context, id_or_hostname: int | str) -> Machine:
    """One machine, loaded whole."""
    context.require("viewer", "see machines")
    with context.store.read() as session:
        return one(session, id_or_hostname)


def one(session: Session, id_or_hostname: int | str) -> Machine:
    """One machine by id (a number or its digits) or by hostname; NotFound otherwise. Hostnames are never only digits."""
    word = str(id_or_hostname).strip().lower()
    same = Machine.id == int(word) if word.isdecimal() and len(word) < 19 else Machine.hostname == word
    machine = session.scalars(select(Machine).where(same).options(*LOADED)).one_or_none()
    if machine is None:
        raise NotFound(f"machine {id_or_hostname}: there is no such machine; look at the list of machines")
    return machine


def identify(context: Context, id_or_hostname: str) -> int:
    """A machine's id, for callers that load what they need themselves. NotFound when no machine has that name.

    A number is an id; whoever loads the machine will see whether there is one.
    """
    context.require("viewer", "see machines")
    word = id_or_hostname.strip().lower()
    if word.isdecimal() and len(word) < 19:
        return int(word)
    row = context.store.row(_BY_HOSTNAME, hostname=word)
    if row is None:
        raise NotFound(f"machine {id_or_hostname}: there is no such machine; look at the list of machines")
    return int(row.id)


def disks(context: Context, machine_id: int) -> list[Disk]:
    """The machine's disks, as commissioning saw them."""
    with context.store.read() as session:
        return list(session.scalars(select(Disk).where(Disk.machine_id == machine_id).order_by(Disk.name)))


def operation(context: Context, machine_id: int) -> Operation | None:
    """The running operation, else the newest."""
    with context.store.read() as session:
        statement = select(Operation).where(Operation.machine_id == machine_id)
        return session.scalars(statement.order_by(Operation.id.desc()).limit(1)).one_or_none()


def create(
    context: Context,
    macs: Iterable[str],
    *,
    hostname: str | None = None,
    architecture: str = "amd64",
    zone: str | None = None,
    pool: str | None = None,
    domain: str | None = None,
    system_uuid: str | None = None,
    power_driver: str | None = None,
    power_parameters: Mapping[str, Any] | None = None,
) -> Machine:
    """Make a machine known by hand: NEW. The first MAC is that of the boot interface.

    One that is known by its system UUID only becomes whole when the machine with that UUID enlists.
    """
    context.require("operator", "add machines")
    wanted = [canonical_mac(mac) for mac in macs]
    uuid = _system_uuid(system_uuid)
    if (not wanted and uuid is None) or len(set(wanted)) != len(wanted):
        raise Invalid(
            "mac_addresses: name each interface's MAC address once, the boot interface first; or give its system_uuid",
            field="macs",
        )
    if architecture not in ARCHITECTURES:
        raise Invalid(f"architecture {architecture!r}: choose {', '.join(ARCHITECTURES)}", field="architecture")
    with changing(context) as session:
        hold(session, NAMING)
        interfaces.refuse_taken(session, wanted, field="macs")
        if uuid is not None and session.scalar(select(Machine.id).where(Machine.system_uuid == uuid).limit(1)):
            raise Conflict(
                f"system UUID {uuid}: another machine has it; delete that machine first", field="system_uuid"
            )
        now = context.clock()
        domain_id = _named(session, Domain, domain, "domain")
        machine = Machine(
            hostname=_new_hostname(session, hostname, domain_id, wanted)
            if hostname
            else free_hostname(session, domain_id, None, wanted[0] if wanted else str(uuid), wanted),
            domain_id=domain_id,
            state=State.NEW.value,
            state_since=now,
            created_at=now,
            architecture=architecture,
            system_uuid=uuid,
            zone_id=_named(session, Zone, zone, "zone") if zone else first_place(session, Zone),
            pool_id=_named(session, Pool, pool, "pool") if pool else first_place(session, Pool),
        )
        machine.interfaces = [
            Interface(name=f"eth{number}", mac=mac, boot=number == 0) for number, mac in enumerate(wanted)
        ]
        session.add(machine)
        session.flush()
        addresses.tie(session, machine)
        if power_driver:
            bmc.put(session, context, machine, power_driver, power_parameters or {})
        audit(session, context, "create", "machine", machine.id, hostname=machine.hostname)
        event(
            session,
            context,
            "machine.enlisted",
            f"{machine.hostname} was added by {context.actor.name}.",
            machine_id=machine.id,
            state=machine.state,
        )
        session.flush()
        session.expire(machine)
        return one(session, machine.id)


def _system_uuid(text: str | None) -> str | None:
    """A system UUID in its usual form. Invalid when it is none, or one that many machines share."""
    if not text:
        return None
    uuid = canonical_uuid(text)
    if uuid is None:
        raise Invalid(
            f"system UUID {text!r}: write it as in 4c4c4544-0042-3510-8051-b7c04f4a5931; placeholders of board makers"
            " name no machine",
            field="system_uuid",
        )
    return uuid


def update(
    context: Context,
    machine_id: int,
    *,
    hostname: str | None = None,
    zone: str | None = None,
    pool: str | None = None,
    domain: str | None = None,
    tags: Iterable[str] | None = None,
    version: int | None = None,
) -> Machine:
    """Change what is given. Conflict when `version` is not the present one, or a name would change under an operation.

    DNS and DHCP follow a changed name at once; what an installed system calls itself does not.
    """
    context.require("operator", "change machines")
    with changing(context) as session:
        if hostname is not None or domain is not None:
            hold(session, NAMING)  # Before the machine's row, as everybody takes them.
        machine = locked(session, machine_id)
        require_ownership(context, machine, "change")
        versions.check(context, machine, f"machine {machine.hostname}")
        if version is not None and version != machine.version:
            raise Conflict(f"{machine.hostname}: it has changed since you read it; read it again", field="version")
        changed: dict[str, Any] = {}
        old_hostname, old_domain_id = machine.hostname, machine.domain_id
        if hostname is not None and hostname.lower() != machine.hostname:
            _require_at_rest(machine, "hostname")
            changed["hostname"] = machine.hostname = _new_hostname(session, hostname, machine.domain_id)
        if domain is not None and (domain_id := _named(session, Domain, domain, "domain")) != machine.domain_id:
            _require_at_rest(machine, "domain")
            machine.domain_id, changed["domain"] = domain_id, domain
        if (machine.hostname, machine.domain_id) != (old_hostname, old_domain_id):
            with session.no_autoflush:
                hostnames.refuse_taken(session, machine.hostname, machine.domain_id, me=("machine", machine.id))
            session.flush()
            addresses.renamed(session, context, machine, old_hostname, old_domain_id)
        if zone is not None:
            machine.zone_id, changed["zone"] = _named(session, Zone, zone, "zone"), zone
        if pool is not None:
            machine.pool_id, changed["pool"] = _named(session, Pool, pool, "pool"), pool
        if tags is not None:
            machine.tags, changed["tags"] = _tags(session, tags), sorted(set(tags))
        machine.version += 1
        audit(session, context, "change", "machine", machine.id, **changed)
        session.flush()
        session.expire(machine)
        return one(session, machine_id)


def delete(context: Context, machine_id: int) -> None:
    """Forget a machine. Conflict while an operation runs or while it is deployed."""
    context.require("admin", "delete machines")
    with changing(context) as session:
        machine = locked(session, machine_id)
        versions.check(context, machine, f"machine {machine.hostname}")
        if State(machine.state).is_transient:
            raise Conflict(f"{machine.hostname} is {State(machine.state).label}: abort that first", field="state")
        if machine.state in (State.DEPLOYED, State.ALLOCATED):
            raise Conflict(f"{machine.hostname} is {State(machine.state).label}: release it first", field="state")
        addresses.forget(session, context, machine)
        for device in session.scalars(select(Device).where(Device.parent_id == machine_id)).all():
            devices.remove(session, context, device)  # They were parts of it.
        audit(session, context, "delete", "machine", machine.id, hostname=machine.hostname)
        session.flush()
        session.expire(machine)
        session.delete(machine)


def timeline(context: Context, machine_id: int, after: int = 0, limit: int = 100) -> list[Event]:
    """What happened to the machine, oldest first, after an event's id."""
    context.require("viewer", "see machines")
    with context.store.read() as session:
        if session.get(Machine, machine_id) is None:
            raise NotFound(f"machine {machine_id}: there is no such machine; look at the list of machines")
        statement = select(Event).where(Event.machine_id == machine_id, Event.id > after)
        return list(session.scalars(statement.order_by(Event.id).limit(max(1, min(limit, 500)))))


def _filtered(statement: Select[Any], filters: MachineFilters) -> Select[Any]:
    unknown = sorted(set(filters.states) - {state.value for state in State})
    if unknown:
        raise Invalid(f"state {unknown[0]!r}: there are {', '.join(State)}", field="state")
    if filters.ids is not None:
        statement = statement.where(Machine.id.in_(filters.ids))
    if filters.states:
        statement = statement.where(Machine.state.in_(filters.states))
    if filters.owner is not None:
        statement = statement.where(Machine.owner.has(User.name == filters.owner))
    if filters.zone is not None:
        statement = statement.where(Machine.zone.has(Zone.name == filters.zone))
    if filters.pool is not None:
        statement = statement.where(Machine.pool.has(Pool.name == filters.pool))
    for tag in filters.tags:
        statement = statement.where(Machine.tags.any(Tag.name == tag))
    if filters.architecture is not None:
        statement = statement.where(Machine.architecture == filters.architecture)
    if filters.power_state is not None:
        statement = statement.where(Machine.power_state == filters.power_state)
    if filters.mac is not None:
        statement = statement.where(Machine.interfaces.any(Interface.mac == canonical_mac(filters.mac)))
    if filters.hostname is not None:
        statement = statement.where(Machine.hostname == filters.hostname.lower())
    if filters.rack_id is not None:
        statement = statement.where(Machine.rack_id == filters.rack_id)
    if filters.subnet_id is not None:
        statement = statement.where(Machine.interfaces.any(Interface.subnet_id == filters.subnet_id))
    if filters.text:
        part = filters.text.strip().lower()
        statement = statement.where(
            or_(
                Machine.hostname.contains(part, autoescape=True),
                Machine.interfaces.any(Interface.mac.contains(part, autoescape=True)),
            )
        )
    return statement


def _new_hostname(session: Session, hostname: str, domain_id: int, macs: Iterable[str] = ()) -> str:
    """The name, if nobody has it. macs: of the machine, whose reservations it may share it with."""
    name = hostnames.checked(hostname)
    mine = set(macs)
    for holder in hostnames.holders(session, [name]).get(name, ()):
        if holder.mac not in mine and holder.excludes(domain_id, None, None):
            raise hostnames.taken(holder)
    return name


def _require_at_rest(machine: Machine, field: str) -> None:
    """What is under way has told the machine its name already."""
    if State(machine.state).is_transient:
        raise Conflict(
            f"{machine.hostname} is {State(machine.state).label}: its {field} cannot change now; wait or abort that",
            field=field,
        )


def _named(session: Session, model: Any, name: str | None, word: str) -> int:
    """The id of the zone, pool or domain of this name; of the oldest when no name is given."""
    statement = select(model.id).order_by(model.id).limit(1)
    found = session.scalar(statement if name is None else statement.where(model.name == name))
    if found is None:
        raise Invalid(f"{word} {name or ''}: there is none of this name; make it first", field=word)
    return int(found)


def _tags(session: Session, names: Iterable[str]) -> list[Tag]:
    wanted = sorted({check_label(name, "tag", "tags") for name in names})
    known = {tag.name: tag for tag in session.scalars(select(Tag).where(Tag.name.in_(wanted)))}
    tags = [known.get(name) or Tag(name=name) for name in wanted]
    session.add_all(tags)
    try:
        session.flush()
    except IntegrityError as error:
        raise Conflict("tags: someone made one of them at the same moment; try again", field="tags") from error
    return tags
