"""What may stand beside what in a domain: the rules that a DNS server would break silently, asked before it is told.

- A CNAME stands alone at its name (RFC 1034, section 3.6.2), never at the domain itself, and there is one of it.
- What an MX, NS or SRV points to is no CNAME (RFC 2181, section 10.3; RFC 2782).
- Name servers of the domain itself, and addresses of machines, devices, racks and reservations, are Muster's own.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable

from sqlalchemy import or_, select, tuple_
from sqlalchemy.orm import Session

from app.services import nearest_domain
from app.services.dns_data import NAME_OF_APEX, owner_of, target_of
from app.services.errors import Conflict
from app.store.models import Device, DnsRecord, Domain, IpAddress, Lease, Machine, Rack, Subnet

ADDRESSES = ("A", "AAAA")
POINTING = ("MX", "NS", "SRV")
OF_LEASE = "a lease of"
TOGETHER = 400
"""Names that are asked for in one statement."""


def check_set(session: Session, domain: Domain, touched: Iterable[DnsRecord]) -> None:
    """Conflict when the domain's records, as they are in this transaction, break a rule at a name of the touched ones.

    A handful of statements for each 400 names.
    """
    records = list(touched)
    nearest_domain.refuse_hidden(session, domain, records)
    names = sorted({record.name for record in records})
    for begin in range(0, len(names), TOGETHER):
        some = names[begin : begin + TOGETHER]
        _check_names(session, domain, some, [record for record in records if record.name in set(some)])


def owners_of_muster(session: Session, domain: Domain, names: Iterable[str]) -> dict[str, str]:
    """Which of the names are Muster's own in the domain, and whose: `machine web1`. Five queries.

    `eth1.web1` is of an interface of web1, so what lies below a machine's or a device's name is Muster's too.
    """
    hosts: dict[str, list[str]] = defaultdict(list)
    for name in names:
        if name != NAME_OF_APEX:
            for part in {name, name.partition(".")[2]} - {""}:
                hosts[part].append(name)
    found: dict[str, str] = {}

    def note(host: str, whose: str, *, below: bool = True) -> None:
        found.update({name: whose for name in hosts[host] if below or name == host})

    of_subnets = select(Subnet.id).where(Subnet.domain_id == domain.id)
    leased = select(Lease.name).where(Lease.subnet_id.in_(of_subnets), Lease.name.in_(hosts))
    for lease in session.scalars(leased):
        note(str(lease), f"{OF_LEASE} {lease}", below=False)
    for name in session.scalars(select(Rack.name).where(Rack.name.in_(hosts))):
        note(name, f"rack {name}", below=False)
    # Of all addresses in a subnet only these have names of the subnet's domain; those of interfaces have their owner's.
    reserved = select(IpAddress.hostname).where(
        IpAddress.subnet_id.in_(of_subnets),
        IpAddress.hostname.in_(hosts),
        IpAddress.kind == "reservation",
        IpAddress.interface_id.is_(None),
    )
    for hostname in session.scalars(reserved):
        note(str(hostname), f"the reservation of {hostname}", below=False)
    for name in session.scalars(
        select(Device.hostname).where(Device.domain_id == domain.id, Device.hostname.in_(hosts))
    ):
        note(name, f"device {name}")
    for name in session.scalars(
        select(Machine.hostname).where(Machine.domain_id == domain.id, Machine.hostname.in_(hosts))
    ):
        note(name, f"machine {name}")
    return found


def _check_names(session: Session, domain: Domain, names: list[str], touched: list[DnsRecord]) -> None:
    at_name: dict[str, list[DnsRecord]] = defaultdict(list)
    here = DnsRecord.domain_id == domain.id
    for row in session.scalars(select(DnsRecord).where(here, DnsRecord.name.in_(names)).order_by(DnsRecord.id)):
        at_name[row.name].append(row)
    owned = owners_of_muster(session, domain, names)
    for record in touched:
        _check_apex(domain, record)
        owner = owned.get(record.name)
        if owner is not None and record.type in (*ADDRESSES, "CNAME", "NS"):
            raise Conflict(
                f"{record.type} record {record.name} in {domain.name}: the name belongs to {owner}, whose addresses Muster"
                " puts there; choose another name (TXT, MX, SRV and SSHFP may stand beside it)",
                field="name",
                rule="names of machines, devices, racks and reservations are Muster's",
            )
        _check_alone(domain, record, at_name[record.name])
    _check_targets(session, touched)
    _check_aliases(session, domain, touched)


def _check_apex(domain: Domain, record: DnsRecord) -> None:
    if record.name == NAME_OF_APEX and record.type in ("CNAME", "NS"):
        why = (
            "the domain itself has an SOA and name servers beside it (RFC 1034, section 3.6.2); use A and AAAA records"
            if record.type == "CNAME"
            else "its name servers are the racks; add a rack, or a secondary, instead"
        )
        raise Conflict(
            f"{record.type} record at {domain.name} itself: {why}",
            field="name",
            rule="no CNAME and no NS at the domain itself",
        )


def _check_alone(domain: Domain, record: DnsRecord, others: list[DnsRecord]) -> None:
    for other in others:
        if other is record or (other.id is not None and other.id == record.id):
            continue
        if "CNAME" in (record.type, other.type):
            raise Conflict(
                f"{record.type} record {record.name} in {domain.name}: there is a {other.type} record of that name"
                f" ({other.data}), and a CNAME stands alone (RFC 1034, section 3.6.2); delete one or choose another name",
                field="name",
                rule="a CNAME stands alone",
            )


def _check_targets(session: Session, touched: list[DnsRecord]) -> None:
    """MX, NS and SRV may not point to an alias of ours."""
    targets = {target: record for record in touched if record.type in POINTING and (target := _target(record))}
    if not targets:
        return
    aliases = (
        select(DnsRecord.name, Domain.name, DnsRecord.data)
        .join(Domain, Domain.id == DnsRecord.domain_id)
        .where(DnsRecord.type == "CNAME")
    )
    places = [place for target in targets for place in _places(target)]
    for begin in range(0, len(places), TOGETHER):
        here = tuple_(DnsRecord.name, Domain.name).in_(places[begin : begin + TOGETHER])
        found = session.execute(aliases.where(here).limit(1)).first()
        if found is not None:
            name, domain, data = found
            record = targets[owner_of(name, domain)]
            raise Conflict(
                f"{record.type} record {record.name}: its target {owner_of(name, domain)} is an alias of {data}, which"
                f" {record.type} records may not point to (RFC 2181, section 10.3); point to {data}",
                field="data",
                rule="MX, NS and SRV point to no CNAME",
                remedy=f"point to {data}",
            )


def _check_aliases(session: Session, domain: Domain, touched: list[DnsRecord]) -> None:
    """A name that MX, NS or SRV records point to may not become an alias."""
    aliases = {owner_of(record.name, domain.name): record.name for record in touched if record.type == "CNAME"}
    owners = sorted(aliases)
    for begin in range(0, len(owners), TOGETHER):
        some = owners[begin : begin + TOGETHER]
        # The target is the last word: the only one of an NS, behind the numbers of an MX or SRV.
        ends = (DnsRecord.data.endswith(f" {owner}", autoescape=True) for owner in some)
        pointing = session.scalar(
            select(DnsRecord).where(DnsRecord.type.in_(POINTING), or_(DnsRecord.data.in_(some), *ends)).limit(1)
        )
        if pointing is not None:
            alias = aliases[str(_target(pointing))]
            raise Conflict(
                f"CNAME record {alias} in {domain.name}: the {pointing.type} record {pointing.name} points to that"
                " name, and it may not point to an alias (RFC 2181, section 10.3); change that record first",
                field="name",
                rule="MX, NS and SRV point to no CNAME",
            )


def _target(record: DnsRecord) -> str | None:
    return target_of(record.type, record.data)


def _places(owner: str) -> list[tuple[str, str]]:
    """Where a record of this owner may be: any split of the name into a relative name and a domain."""
    labels = owner.rstrip(".").split(".")
    return [(".".join(labels[:cut]) or NAME_OF_APEX, ".".join(labels[cut:])) for cut in range(len(labels))]
