"""Builds the RackIntent of one rack from one snapshot, in a number of queries that does not depend on its size."""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from dataclasses import fields
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.store.clock_intent import with_clocks
from app.store.dhcp_intent import with_dhcp
from app.store.dns_intent import with_dns
from app.store.ha_intent import with_partner
from app.store.models import IpRange, Rack, Setting, Subnet, Vlan
from app.store.queries.serving import served_by
from app.store.standing import Standing, Standings
from renderers.intent import (
    PoolIntent,
    ProxyIntent,
    RackIntent,
    RackLayout,
    RackPorts,
    SubnetIntent,
    VlanIntent,
)

Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


def load_intent(session: Session, rack_id: int) -> RackIntent:
    """Everything that the rack should serve. KeyError when there is no such rack. Call it in a `Store.read()`."""
    racks = {rack.id: rack for rack in session.scalars(select(Rack).order_by(Rack.id))}
    if rack_id not in racks:
        raise KeyError(f"there is no rack {rack_id}")
    rack = racks[rack_id]
    vlans = list(session.scalars(select(Vlan).where(served_by(rack_id)).order_by(Vlan.id)))
    served = select(Vlan.id).where(served_by(rack_id))
    subnets: dict[int, list[Subnet]] = defaultdict(list)
    statement = select(Subnet).where(Subnet.vlan_id.in_(served), ~Subnet.found).options(selectinload(Subnet.domain))
    for subnet in session.scalars(statement.order_by(Subnet.id)):
        subnets[subnet.vlan_id].append(subnet)
    pools = defaultdict(list)
    dynamic = (
        select(IpRange)
        .join(Subnet, Subnet.id == IpRange.subnet_id)
        .where(Subnet.vlan_id.in_(served), IpRange.kind == "dynamic")
        .order_by(IpRange.start_key)
    )
    for row in session.scalars(dynamic):
        pools[row.subnet_id].append(PoolIntent(row.id, row.start, row.end))
    names = ("dns_forwarders", "dnssec_validation", "ntp_upstreams", "proxy")
    settings = {row.name: row.value for row in session.scalars(select(Setting).where(Setting.name.in_(names)))}
    external = tuple(settings.get("ntp_upstreams", {}).get("servers", ()))
    only = bool(settings.get("ntp_upstreams", {}).get("external_only"))
    intent = RackIntent(
        rack_id=rack.id,
        rack_name=rack.name,
        generation=rack.generation,
        control_plane_host=rack.control_plane_host,
        control_plane_port=rack.control_plane_port,
        vlans=_vlans(rack, vlans, subnets, pools, external if only else ()),
        proxy=proxy_of(settings.get("proxy", {})),
        layout=RackLayout(**_known(RackLayout, rack.layout)),
        ports=RackPorts(**_known(RackPorts, rack.ports)),
        dhcp_server=rack.dhcp_server,
    )
    timed = with_clocks(intent, rack, racks.values(), external, only)
    named = with_dns(session, with_dhcp(session, timed), rack, racks.values(), settings)
    return with_partner(session, named, rack, racks, vlans)


def _vlans(
    rack: Rack,
    vlans: list[Vlan],
    subnets: dict[int, list[Subnet]],
    pools: dict[int, list[PoolIntent]],
    ntp: tuple[str, ...],
) -> tuple[VlanIntent, ...]:
    """The VLANs as the rack sees them: its own first, then those that it serves through a relay agent.

    A VLAN in whose subnets the rack has no address is left out, and so is one that is relayed to such a VLAN.
    """
    standings = Standings(rack.interfaces)
    own = {}
    for vlan in vlans:
        if vlan.relay_vlan_id is None:
            standing = standings.on([subnet.cidr for subnet in subnets[vlan.id]])
            if standing is not None:
                own[vlan.id] = (standing, _vlan(rack, vlan, standing, subnets[vlan.id], pools, ntp))
    relayed = [
        _relayed(vlan, *own[vlan.relay_vlan_id], subnets[vlan.id], pools, ntp)
        for vlan in vlans
        if vlan.relay_vlan_id in own
    ]
    return (*(made for _, made in own.values()), *relayed)


def _vlan(
    rack: Rack,
    vlan: Vlan,
    standing: Standing,
    subnets: list[Subnet],
    pools: dict[int, list[PoolIntent]],
    ntp: tuple[str, ...],
) -> VlanIntent:
    """A VLAN that the rack is on. Subnets on the chosen interface come first: daemons bind to the first one's address."""
    ordered = sorted(subnets, key=lambda subnet: subnet.cidr not in standing.on_interface)
    return VlanIntent(
        vlan_id=vlan.id,
        name=vlan.name,
        interface=standing.interface,
        mtu=vlan.mtu,
        dhcp_on=vlan.dhcp_on,
        router_advertisements=vlan.router_advertisements,
        subnets=tuple(
            _subnet(subnet, standing.addresses.get(subnet.cidr), pools.get(subnet.id, []), ntp) for subnet in ordered
        ),
        secondary=vlan.secondary_rack_id == rack.id,
    )


def _relayed(
    vlan: Vlan,
    target: Standing,
    to: VlanIntent,
    subnets: list[Subnet],
    pools: dict[int, list[PoolIntent]],
    ntp: tuple[str, ...],
) -> VlanIntent:
    """A VLAN whose clients reach the rack through a relay agent: by the rack's address on the VLAN it sends to."""
    by_family = {4: "", 6: ""}
    for _, address in sorted(target.addresses.items(), key=lambda item: item[0] not in target.on_interface):
        family = 6 if ":" in address else 4
        by_family[family] = by_family[family] or address
    return VlanIntent(
        vlan_id=vlan.id,
        name=vlan.name,
        interface=target.interface,
        mtu=vlan.mtu,
        dhcp_on=vlan.dhcp_on,
        router_advertisements=False,
        subnets=tuple(
            _subnet(subnet, by_family[6 if ":" in subnet.cidr else 4] or None, pools.get(subnet.id, []), ntp)
            for subnet in subnets
        ),
        relayed=True,
        secondary=to.secondary,
    )


def _subnet(subnet: Subnet, rack_address: str | None, pools: list[PoolIntent], ntp: tuple[str, ...]) -> SubnetIntent:
    rack_itself = (rack_address,) if rack_address else ()
    return SubnetIntent(
        subnet_id=subnet.id,
        cidr=subnet.cidr,
        gateway=subnet.gateway,
        rack_address=rack_address,
        dns_servers=tuple(subnet.dns_servers) or rack_itself,
        ntp_servers=tuple(one for one in ntp if (":" in one) == (":" in subnet.cidr)) or rack_itself,
        domain=subnet.domain.name,
        pools=tuple(pools) if subnet.managed else (),
        lease_seconds=subnet.lease_seconds,
        boot_lease_seconds=subnet.boot_lease_seconds,
        managed=subnet.managed,
        disabled_boot_architectures=tuple(subnet.disabled_boot_architectures),
        unknown_clients=subnet.unknown_clients,
        slaac=subnet.slaac,
        allow_proxy=subnet.allow_proxy,
    )


def proxy_of(value: dict[str, Any]) -> ProxyIntent:
    """The setting `proxy` as racks are told it; built-in where nobody has set it."""
    mode = value.get("mode", "built-in")
    if mode != "peer":
        return ProxyIntent(mode)
    parts = urlsplit(value["url"])
    return ProxyIntent(mode, parts.hostname or "", parts.port or 80)


def _known(kind: type, values: dict[str, Any]) -> dict[str, Any]:
    """The values that the dataclass has fields for: an older rack may report fewer, a newer one more."""
    names = {item.name for item in fields(kind)}
    return {name: value for name, value in values.items() if name in names}
