"""DHCP options of machines: they travel with the host records of the machine's interfaces.

A host record's value may hold `options`: a list of `name` and `value`, as people write them, for the family of its
address.  The rack says them in the words of its DHCP server.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services.changes import put_record
from app.store.models import DhcpSnippet, Interface, IpAddress, Machine, Subnet
from app.store.prepared import Prepared
from renderers.dhcp.options import of_snippets
from renderers.intent import SnippetIntent

_KEPT = "muster.host-options"
_ENABLED = Prepared(
    select(Interface.mac, DhcpSnippet.id, DhcpSnippet.name, DhcpSnippet.kind, DhcpSnippet.body)
    .join(DhcpSnippet, DhcpSnippet.machine_id == Interface.machine_id)
    .where(DhcpSnippet.scope == "machine", DhcpSnippet.enabled)
    .order_by(DhcpSnippet.id)
)


def of_host(session: Session, mac: str, address: str) -> list[dict[str, str]]:
    """The options of a host by its MAC and the family of its address. One query for each transaction."""
    found = session.info.get(_KEPT)
    if found is None:
        found = session.info[_KEPT] = _load(session)
    snippets = found.get(mac.lower(), ())
    options = of_snippets(snippets, "machine", 6 if ":" in address else 4) if snippets else ()
    return [{"name": option.name, "value": option.value} for option in options]


def forget_options(session: Session) -> None:
    """Look at the snippets anew: this transaction has changed them."""
    session.info.pop(_KEPT, None)


def subnets_of_machine(session: Session, machine_id: int | None) -> list[int]:
    """Ids of the subnets in which the machine has addresses, in order."""
    statement = select(IpAddress.subnet_id).join(Interface, Interface.id == IpAddress.interface_id)
    return sorted(set(session.scalars(statement.where(Interface.machine_id == machine_id))))


def put_hosts_of_machine(session: Session, machine_id: int | None) -> None:
    """Note the hosts of a machine anew, as they are with its options now; the caller holds their subnets' locks."""
    statement = (
        select(Interface.mac, IpAddress.address, Machine.hostname, Subnet.id, Subnet.vlan_id)
        .join(IpAddress, IpAddress.interface_id == Interface.id)
        .join(Subnet, Subnet.id == IpAddress.subnet_id)
        .join(Machine, Machine.id == Interface.machine_id)
        .where(Interface.machine_id == machine_id)
        .order_by(Interface.boot.desc(), Interface.id, IpAddress.address_key)
    )
    for mac, address, hostname, subnet_id, vlan_id in session.execute(statement):
        value = host_value(session, subnet_id, mac, address, hostname)
        put_record(session, f"vlan:{vlan_id}", f"host:{subnet_id}:{mac}", value)


def host_value(session: Session, subnet_id: int, mac: str, address: str, hostname: str) -> dict[str, Any]:
    """The value of a host's record; one without options says nothing of them."""
    value: dict[str, Any] = {"subnet_id": subnet_id, "mac": mac, "address": address, "hostname": hostname}
    options = of_host(session, mac, address)
    return {**value, "options": options} if options else value


def _load(session: Session) -> dict[str, tuple[SnippetIntent, ...]]:
    """Enabled snippets of machines by MAC. Few machines have any."""
    session.flush()
    found: dict[str, list[SnippetIntent]] = defaultdict(list)
    for mac, *snippet in _ENABLED.all(session):
        found[mac.lower()].append(SnippetIntent(*snippet))
    return {mac: tuple(snippets) for mac, snippets in found.items()}
