"""Who has a name already: machines, devices, racks, reservations, people's DNS records and domains below share a domain's names."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any

from sqlalchemy import (
    BindParameter,
    CompoundSelect,
    Integer,
    Select,
    String,
    bindparam,
    cast,
    func,
    literal,
    null,
    select,
    union_all,
)
from sqlalchemy.orm import Session, aliased

from app.services.errors import Conflict, Invalid
from app.services.names import check_label
from app.store.models import Device, DnsRecord, Domain, IpAddress, Machine, Rack, Subnet

NAMING = "enlist"
"""The lock of whoever looks whether a MAC address or a name is free, and then takes it."""
OF_PEOPLE = ("A", "AAAA", "CNAME", "NS")
"""Types of people's records that leave no room for a machine of the same name."""
_NAMES: BindParameter[Any] = bindparam("names", expanding=True)
_ABOVE = aliased(Domain)
_REST = func.ltrim(Domain.name, "abcdefghijklmnopqrstuvwxyz0123456789-")
"""A domain's name from its first dot on."""
_FIRST_LABEL = func.substr(Domain.name, 1, func.length(Domain.name) - func.length(_REST))
"""What a host of the domain above is called that a domain would hide."""
_TAKEN: CompoundSelect[Any] = union_all(
    select(Machine.hostname.label("name"), literal("machine").label("kind"), Machine.id.label("id"),
           cast(null(), String).label("mac"), cast(null(), Integer).label("domain_id"))
    .where(Machine.hostname.in_(_NAMES)),
    select(Device.hostname, literal("device"), Device.id, cast(null(), String), cast(null(), Integer))
    .where(Device.hostname.in_(_NAMES)),
    select(Rack.name, literal("rack"), Rack.id, cast(null(), String), cast(null(), Integer))
    .where(Rack.name.in_(_NAMES)),
    select(IpAddress.hostname, literal("reservation"), IpAddress.id, IpAddress.mac, Subnet.domain_id)
    .join(Subnet, Subnet.id == IpAddress.subnet_id)
    .where(IpAddress.kind == "reservation", IpAddress.interface_id.is_(None), IpAddress.hostname.in_(_NAMES)),
    select(DnsRecord.name, DnsRecord.type, DnsRecord.id, cast(null(), String), DnsRecord.domain_id)
    .where(DnsRecord.type.in_(OF_PEOPLE), DnsRecord.name.in_(_NAMES)),
    select(_FIRST_LABEL, literal("domain"), Domain.id, cast(null(), String), _ABOVE.id)
    .join(_ABOVE, _ABOVE.name == func.substr(_REST, 2)).where(_FIRST_LABEL.in_(_NAMES)),
)  # fmt: skip


@dataclass(frozen=True)
class Holder:
    """Who has a name. kind: of a DNS record, its type.

    mac: of a reservation.  domain_id: of a reservation or a record, whose name is its own in its domain only; of a domain
    that would hide a host, the domain above it.
    """

    name: str
    kind: str
    id: int
    mac: str | None
    domain_id: int | None

    def excludes(self, domain_id: int, mac: str | None, me: tuple[str, int] | None) -> bool:
        """Whether the asker may not have the name as well. mac: reservations of one MAC share theirs."""
        if (self.kind, self.id) == me:
            return False
        return self.domain_id is None or (self.domain_id == domain_id and (self.mac is None or self.mac != mac))


def holders(session: Session, names: Collection[str]) -> dict[str, list[Holder]]:
    """Who has each of the names. One query."""
    found: dict[str, list[Holder]] = {}
    if names:
        for row in session.connection().execute(_TAKEN, {"names": sorted(names)}):
            found.setdefault(row.name, []).append(Holder(**row._mapping))
    return found


def hidden_by_domains(domain_id: int, alike: Callable[[Any], Any]) -> Select[Any]:
    """The hostnames in a domain, alike to what is asked for, that domains below it would hide."""
    above = select(_FIRST_LABEL).join(_ABOVE, _ABOVE.name == func.substr(_REST, 2))
    return above.where(_ABOVE.id == domain_id, alike(_FIRST_LABEL))


def checked(text: str, field: str = "hostname") -> str:
    """The hostname in lower case. Invalid when it is no DNS label, only digits, or `localhost`."""
    name = check_label(text, "hostname", field)
    if name.isdecimal():
        raise Invalid(f"hostname {name}: only digits would be taken for an id; add a letter", field=field)
    if name == "localhost":
        raise Invalid("hostname localhost: every machine calls itself that (RFC 6761, section 6.3)", field=field)
    return name


def refuse_taken(
    session: Session, name: str, domain_id: int, *, mac: str | None = None, me: tuple[str, int] | None = None
) -> None:
    """Conflict when somebody else has the name. me: kind and id of the asker.

    Whoever calls it holds the lock `NAMING`.
    """
    for holder in holders(session, [name]).get(name, ()):
        if holder.excludes(domain_id, mac, me):
            raise taken(holder)


def taken(holder: Holder) -> Conflict:
    """The refusal of a name that somebody has."""
    who = {
        "rack": "a rack",
        "reservation": f"the reservation for {holder.mac}",
        "domain": "a domain, where the host would be looked for,",
    }.get(holder.kind)
    if who is None:
        who = f"another {holder.kind}" if holder.domain_id is None else f"a person's {holder.kind} record"
    why = ", and its name stands in every zone" if holder.kind == "rack" else ""
    return Conflict(
        f"hostname {holder.name}: {who} has it{why}; choose another",
        field="hostname",
        rule="names differ within a domain",
        remedy="choose another hostname",
    )
