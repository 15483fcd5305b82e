"""What is right for a subnet, and what stands in the way of a change; each refusal names both sides and the remedy."""

from __future__ import annotations

import ipaddress
from typing import Any, Protocol

from sqlalchemy import and_, func, not_, or_, select
from sqlalchemy.orm import Session, aliased

from app.services.addressing import Network, address_key, parse_address, usable
from app.services.context import Context
from app.services.errors import Conflict, Invalid
from app.store.models import Device, Interface, InterfaceLink, IpAddress, IpRange, Lease, Machine, StaticRoute, Subnet
from renderers.dhcp.boot import ARCHITECTURES

LEASE_SECONDS = (60, 604_800)
BOOT_ARCHITECTURES = ARCHITECTURES
REVERSE_DNS = ("off", "on", "rfc2317")
UNKNOWN_CLIENTS = ("serve", "ignore")
SLAAC_LENGTH = 64
"""Interface identifiers have 64 bits (RFC 4862, section 5.5.3)."""
LONGEST_DESCRIPTION = 1000
GIVEN_BY_MUSTER = ("auto", "sticky")
"""Kinds of addresses that Muster has chosen itself, by the rules of managed and unmanaged subnets."""


class Span(Protocol):
    """The keys of a range's ends."""

    @property
    def start_key(self) -> str:
        """Of the first address."""

    @property
    def end_key(self) -> str:
        """Of the last address."""


def checked(values: dict[str, Any], network: Network) -> dict[str, Any]:
    """The values in canonical form. Invalid names the one that does not fit the network."""
    values = dict(values)
    if values.get("gateway"):
        gateway = parse_address(values["gateway"], "gateway")
        first, last = usable(network)
        # RFC 4291, section 2.5.6: IPv6 routers are also reached by their link-local address.
        link_local = isinstance(gateway, ipaddress.IPv6Address) and network.version == 6 and gateway.is_link_local
        if not link_local and (gateway.version != network.version or not first <= int(gateway) <= last):
            raise Invalid(
                f"subnet {network}: gateway {gateway} is not a host address in it; choose one inside the subnet",
                field="gateway",
                rule="the gateway lies in its subnet",
            )
        values["gateway"] = str(gateway)
    elif "gateway" in values:
        values["gateway"] = None
    if "dns_servers" in values:
        values["dns_servers"] = [str(parse_address(server, "dns_servers")) for server in values["dns_servers"]]
    for name in ("lease_seconds", "boot_lease_seconds"):
        low, high = LEASE_SECONDS
        if name in values and not low <= values[name] <= high:
            raise Invalid(
                f"lease of {values[name]} s: use {low} to {high} seconds", field=name, rule=f"{low} <= lease <= {high}"
            )
    for name, known in (("reverse_dns", REVERSE_DNS), ("unknown_clients", UNKNOWN_CLIENTS)):
        if name in values and values[name] not in known:
            raise Invalid(
                f"{name} {values[name]!r}: choose {', '.join(known)}", field=name, rule=f"one of {', '.join(known)}"
            )
    if values.get("slaac") and (network.version, network.prefixlen) != (6, SLAAC_LENGTH):
        raise Invalid(
            f"subnet {network}: clients can make up addresses in an IPv6 /{SLAAC_LENGTH} only; leave slaac off",
            field="slaac",
            rule=f"slaac needs an IPv6 /{SLAAC_LENGTH}",
        )
    if len(values.get("description", "")) > LONGEST_DESCRIPTION:
        raise Invalid(
            f"the description has {len(values['description'])} characters; at most {LONGEST_DESCRIPTION}",
            field="description",
        )
    if "disabled_boot_architectures" in values:
        names = values["disabled_boot_architectures"]
        if unknown := sorted(set(names) - set(BOOT_ARCHITECTURES)):
            raise Invalid(
                f"boot architecture {unknown[0]!r} is not known; there are {', '.join(BOOT_ARCHITECTURES)}",
                field="disabled_boot_architectures",
                rule="known boot architectures only",
            )
        values["disabled_boot_architectures"] = [name for name in BOOT_ARCHITECTURES if name in names]
    return values


def refuse_overlap(session: Session, network: Network) -> None:
    """Conflict when a subnet shares addresses with the network."""
    for other_id, cidr in session.execute(select(Subnet.id, Subnet.cidr)):
        other = ipaddress.ip_network(cidr)
        if other.version == network.version and other.overlaps(network):
            raise Conflict(
                f"subnet {network}: it overlaps subnet {other} (id {other_id}); choose another network or delete that one",
                field="cidr",
                rule="subnets do not overlap",
            )


def refuse_gateway_in_range(session: Session, subnet: Subnet, gateway: str) -> None:
    """Conflict when DHCP or Muster would hand the gateway out of a range."""
    key = address_key(gateway)
    statement = select(IpRange).where(
        IpRange.subnet_id == subnet.id,
        IpRange.kind.in_(("dynamic", "static_pool")),
        IpRange.start_key <= key,
        IpRange.end_key >= key,
    )
    inside = session.scalar(statement)
    if inside is not None:
        raise Conflict(
            f"subnet {subnet.cidr}: gateway {gateway} lies in the {inside.kind.replace('_', ' ')} range"
            f" {inside.start}-{inside.end}; shorten the range or choose another gateway",
            field="gateway",
            rule="the gateway is handed out from no range",
        )


def refuse_gateway_in_use(session: Session, network: Network, gateway: str | None) -> None:
    """Conflict when somebody has the address. A rack may: it can be its clients' router."""
    if not gateway:
        return
    statement = select(IpAddress).where(IpAddress.address_key == address_key(gateway), IpAddress.kind != "rack")
    holder = session.scalar(statement.order_by(IpAddress.id).limit(1))
    if holder is not None:
        raise Conflict(
            f"subnet {network}: gateway {gateway} is given to {holder.hostname or holder.kind} ({holder.kind}, address"
            f" {holder.id}); release it or choose another gateway",
            field="gateway",
            rule="the gateway is nobody's address",
            remedy=f"release {holder.hostname or f'address {holder.id}'}, or choose another gateway",
        )


def refuse_in_use(session: Session, context: Context, subnet: Subnet, done: str) -> None:
    """Conflict while an address of the subnet is given or leased, or an interface is linked to it.

    done: what is wanted of it, as in `deleted`.
    """
    refuse_given(session, subnet, done)
    refuse_live_lease(session, context, subnet, f"subnet {subnet.cidr} cannot be {done}")


def refuse_given(session: Session, subnet: Subnet, done: str) -> None:
    """`refuse_in_use`, whatever is leased."""
    given = (IpAddress.subnet_id == subnet.id, IpAddress.kind != "rack")
    first = session.scalar(select(IpAddress).where(*given).order_by(IpAddress.address_key).limit(1))
    if first is not None:
        count = session.scalar(select(func.count()).select_from(IpAddress).where(*given))
        owner = f" ({first.hostname})" if first.hostname else ""
        raise Conflict(
            f"subnet {subnet.cidr} cannot be {done}: {count} of its addresses are given, the first is {first.address}"
            f"{owner}; release the machines or delete the addresses first",
            rule="a subnet in use stays",
        )
    linked = (
        select(Interface.name, func.coalesce(Machine.hostname, Device.hostname), InterfaceLink.mode)
        .join(InterfaceLink, InterfaceLink.interface_id == Interface.id)
        .outerjoin(Machine, Machine.id == Interface.machine_id)
        .outerjoin(Device, Device.id == Interface.device_id)
        .where(InterfaceLink.subnet_id == subnet.id)
        .order_by(InterfaceLink.id)
    )
    if (row := session.execute(linked.limit(1)).first()) is not None:
        raise Conflict(
            f"subnet {subnet.cidr} cannot be {done}: interface {row[0]} of {row[1]} is linked to it ({row[2]}); take"
            " that link away first",
            rule="a subnet in use stays",
        )


def refuse_routes_to(session: Session, subnet: Subnet) -> None:
    """Conflict while a static route of another subnet leads to this one."""
    source = aliased(Subnet)
    statement = (
        select(StaticRoute, source.cidr)
        .join(source, source.id == StaticRoute.source_id)
        .where(StaticRoute.destination_id == subnet.id)
        .order_by(StaticRoute.id)
    )
    if (row := session.execute(statement.limit(1)).first()) is not None:
        route, cidr = row
        raise Conflict(
            f"subnet {subnet.cidr} cannot be deleted: clients of subnet {cidr} reach it by the static route {route.id}"
            f" through {route.gateway}; delete that route first",
            rule="a subnet in use stays",
        )


def refuse_live_lease(
    session: Session,
    context: Context,
    subnet: Subnet,
    label: str,
    *,
    within: Span | None = None,
    kept: tuple[str, str] | None = None,
) -> None:
    """Conflict while DHCP has leased an address that is to be taken away, naming it, its holder and until when.

    within: only leases of this range, which may be forced; kept: the keys (first, last) of its addresses that stay.  A
    lease of an address that is promised to its holder by a reservation or a link stays right, and is passed over.
    """
    statement = select(Lease).where(
        Lease.subnet_id == subnet.id,
        Lease.expires_at > context.clock(),
        ~select(IpAddress.id)
        .where(IpAddress.subnet_id == Lease.subnet_id, IpAddress.address_key == Lease.address_key)
        .exists(),
    )
    if within is not None:
        statement = statement.where(Lease.address_key >= within.start_key, Lease.address_key <= within.end_key)
    if kept is not None:
        statement = statement.where(not_(and_(Lease.address_key >= kept[0], Lease.address_key <= kept[1])))
    lease = session.scalar(statement.order_by(Lease.address_key).limit(1))
    if lease is not None:
        holder = lease.mac or lease.duid or "a client without a name"
        called = f" ({lease.hostname})" if lease.hostname else ""
        until = f"{lease.expires_at:%Y-%m-%d %H:%M:%S} UTC"
        forced = f", or ask again with force: the client keeps using {lease.address} until then" if within else ""
        raise Conflict(
            f"{label}: {lease.address} is leased to {holder}{called} until {until}; wait until then{forced}",
            rule="a range with live leases stays" if within else "a subnet in use stays",
            remedy=f"wait until {until}{forced}",
        )


def refuse_switch(session: Session, subnet: Subnet, managed: bool) -> None:
    """Conflict when what the subnet holds does not fit the other way of handing out."""
    if managed == subnet.managed:
        return
    label = f"subnet {subnet.cidr} cannot be switched to {'managed' if managed else 'unmanaged'}"
    if not managed:
        _refuse_ranges_of_managed(session, subnet, label)
    inside = (
        select(IpRange.id)
        .where(
            IpRange.subnet_id == IpAddress.subnet_id,
            IpRange.kind == "reserved",
            IpRange.start_key <= IpAddress.address_key,
            IpRange.end_key >= IpAddress.address_key,
        )
        .exists()
    )
    wrong = (
        select(IpAddress)
        .where(IpAddress.subnet_id == subnet.id, IpAddress.kind.in_(GIVEN_BY_MUSTER), inside if managed else ~inside)
        .order_by(IpAddress.address_key)
    )
    if (row := session.scalar(wrong.limit(1))) is not None:
        where = "inside" if managed else "outside"
        rule = (
            "a managed subnet hands out what lies outside its ranges"
            if managed
            else "an unmanaged subnet hands out only what lies inside its reserved ranges"
        )
        raise Conflict(
            f"{label}: {row.address} is given to {row.hostname or row.kind} and lies {where} its reserved ranges;"
            f" release {row.hostname or 'it'}, or {'shorten' if managed else 'draw'} a reserved range"
            f" {'before' if managed else 'around'} it",
            field="managed",
            rule=rule,
        )


def _refuse_ranges_of_managed(session: Session, subnet: Subnet, label: str) -> None:
    statement = select(IpRange).where(
        IpRange.subnet_id == subnet.id, or_(IpRange.kind == "dynamic", IpRange.kind == "static_pool")
    )
    if (row := session.scalar(statement.order_by(IpRange.start_key).limit(1))) is not None:
        raise Conflict(
            f"{label}: it has the {row.kind.replace('_', ' ')} range {row.start}-{row.end} (id {row.id}); delete that"
            " range first",
            field="managed",
            rule="an unmanaged subnet has reserved ranges only",
        )
