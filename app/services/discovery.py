"""Fabrics, VLANs and subnets that appear by themselves, from what racks and machines report of their interfaces.

What is found is seen, not wanted: a found subnet is shown, and nothing is served on it and no address of it is given
until somebody adopts it, by changing it, by adding the same subnet, or by giving its VLAN a rack.  A found one gives way
to what people add.  The setting `network_discovery` turns all of it off.

Where a thing belongs is told by the network card that it was seen on: a card is on one fabric.  If any known subnet is
on the card, tagged or not, that subnet's fabric is meant; for a machine a switch that two cards share (LLDP) counts too.
Else it is a new fabric, or the default one while that is empty.  Whoever looks for things holds NETWORK_LOCK, so nothing
is found twice.
"""

from __future__ import annotations

import ipaddress
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import sqlalchemy as sa
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import settings
from app.services.changes import audit, changing, event
from app.services.context import Context
from app.services.fabrics import NETWORK_LOCK, new_fabric
from app.store.locks import hold
from app.store.models import Domain, Fabric, Interface, IpAddress, Rack, Subnet, Vlan

SETTING = "network_discovery"
CARDS = ("physical", "bond")
MOST_FOUND = 256
"""So many subnets at most come of one report: a report is not trusted to fill the database."""
Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def is_on(session: Session) -> bool:
    """Whether things are looked for."""
    return bool(settings.get(session, SETTING, {"on": True})["on"])


@dataclass
class _Card:
    """A network card: the networks that were seen on it, by VLAN tag (0: untagged), with the interface's name."""

    seen: dict[int, list[tuple[Network, str]]] = field(default_factory=lambda: defaultdict(list))


class _Known:
    """What there is already; grows with what is found."""

    def __init__(self, session: Session, context: Context) -> None:
        self.session, self.context = session, context
        self.networks = {
            ipaddress.ip_network(row.cidr): row.vlan_id for row in session.execute(select(Subnet.cidr, Subnet.vlan_id))
        }
        self.vlans = {row.id: row for row in session.execute(select(Vlan.id, Vlan.fabric_id, Vlan.vid))}
        self.domain_id = session.scalar(select(Domain.id).order_by(Domain.id).limit(1))
        self.made: list[str] = []

    def vlan_holding(self, network: Network) -> int | None:
        """The VLAN of the subnet that the network is, or lies in."""
        for known, vlan_id in self.networks.items():
            if known.version == network.version and network.subnet_of(known):  # type: ignore[arg-type]
                return int(vlan_id)
        return None

    def fabric_of(self, vlan_id: int) -> int:
        """The fabric of a VLAN."""
        return int(self.vlans[vlan_id].fabric_id)

    def new_place(self) -> int:
        """A fabric for what belongs to none that is known: the default one while it is empty, else a new one."""
        default = self.session.scalar(select(Fabric.id).order_by(Fabric.id).limit(1))
        mine = {vlan.id for vlan in self.vlans.values() if vlan.fabric_id == default}
        used = bool(mine & set(self.networks.values())) or len(mine) > 1
        if default is not None and not used:
            on = self.session.scalar(select(Interface.id).where(Interface.vlan_id.in_(mine)).limit(1))
            if on is None:
                return default
        fabric = new_fabric(self.session, self.context, found=True)
        self.made.append(f"fabric {fabric.name}")
        self._reload()
        return fabric.id

    def vlan(self, fabric_id: int, vid: int) -> int:
        """The fabric's VLAN of a tag, made when there is none."""
        for vlan in self.vlans.values():
            if (vlan.fabric_id, vlan.vid) == (fabric_id, vid):
                return int(vlan.id)
        made = Vlan(fabric_id=fabric_id, vid=vid, name=f"vlan-{vid}")
        self.session.add(made)
        self.session.flush()
        audit(self.session, self.context, "create", "vlan", made.id, fabric_id=fabric_id, vid=vid, found=True)
        self.made.append(f"VLAN {vid}")
        self._reload()
        return made.id

    def add(self, network: Network, vlan_id: int) -> bool:
        """A found subnet; False when it overlaps one that there is, or there is no domain or too much already."""
        overlaps = any(known.version == network.version and known.overlaps(network) for known in self.networks)
        if overlaps or self.domain_id is None or len(self.made) >= MOST_FOUND:
            return False
        subnet = Subnet(
            cidr=str(network), name=str(network), vlan_id=vlan_id, domain_id=self.domain_id, managed=False, found=True
        )
        self.session.add(subnet)
        self.session.flush()
        audit(self.session, self.context, "create", "subnet", subnet.id, cidr=subnet.cidr, found=True)
        self.networks[network] = vlan_id
        self.made.append(f"subnet {network}")
        return True

    def _reload(self) -> None:
        self.vlans = {row.id: row for row in self.session.execute(select(Vlan.id, Vlan.fabric_id, Vlan.vid))}


def of_rack(session: Session, context: Context, rack: Rack) -> list[str]:
    """Add what a rack's interfaces show and nobody knew, in a transaction that holds NETWORK_LOCK; what was added.

    Interfaces whose kind the rack does not tell (an older one) show nothing, nor do those that are none of the host's
    cards: bridges and tunnels of its own.
    """
    cards = _cards(rack.interfaces)
    if not cards or not is_on(session):
        return []
    known = _Known(session, context)
    for _, card in sorted(cards.items()):
        _place(known, card)
    if known.made:
        event(
            session,
            context,
            "network.found",
            f"Rack {rack.name} sees what nobody had added: {', '.join(known.made)}.",
            rack_id=rack.id,
        )
    return known.made


def of_machine(context: Context, machine_id: int, nics: list[dict[str, Any]], neighbours: list[dict[str, Any]]) -> None:
    """Add what a commissioned machine's cards show, and say on which VLANs its interfaces are.

    neighbours: what LLDP heard, by interface, with the switch (chassis) and the VLAN of untagged frames there.
    """
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        if not is_on(session):
            return
        rows = {row.mac: row for row in session.scalars(select(Interface).where(Interface.machine_id == machine_id))}
        heard = _heard(neighbours)
        known = _Known(session, context)
        cards = [(nic, row) for nic in nics if (row := rows.get(str(nic.get("mac", "")).lower())) is not None]
        ports: dict[tuple[str, int | None], int] = {}
        switches: dict[str, int] = {}
        for nic, row in cards:
            if row.vlan_id is not None and (port := heard.get(str(nic["name"]))) is not None:
                ports[port] = row.vlan_id
                switches[port[0]] = known.fabric_of(row.vlan_id)
        for nic, row in cards:
            networks = _networks(nic.get("addresses") or [])
            if row.vlan_id is None:
                row.vlan_id = _vlan_of_card(known, networks, heard.get(str(nic["name"])), ports, switches)
            if row.vlan_id is not None and row.subnet_id is None:
                for network in networks:
                    known.add(network, row.vlan_id)
                row.subnet_id = session.scalar(
                    select(Subnet.id).where(Subnet.cidr.in_([str(one) for one in networks])).order_by(Subnet.id)
                )
        if known.made:
            words = f"Commissioning shows what nobody had added: {', '.join(known.made)}."
            event(session, context, "network.found", words, machine_id=machine_id)


def give_way(session: Session, network: Network) -> Subnet | None:
    """Take away found subnets that a person's own would overlap; the found one that is the same is kept and returned."""
    same = None
    for subnet in session.scalars(select(Subnet).where(Subnet.found)).all():
        other = ipaddress.ip_network(subnet.cidr)
        if other == network:
            same = subnet
        elif other.version == network.version and other.overlaps(network):
            session.execute(sa.delete(IpAddress).where(IpAddress.subnet_id == subnet.id, IpAddress.kind == "rack"))
            if session.scalar(select(IpAddress.id).where(IpAddress.subnet_id == subnet.id).limit(1)) is None:
                session.execute(sa.update(Interface).where(Interface.subnet_id == subnet.id).values(subnet_id=None))
                session.delete(subnet)
                session.flush()
    return same


def adopt_vlan(session: Session, vlan_id: int) -> bool:
    """The found subnets of a VLAN that is to be served are wanted now; whether there were any."""
    statement = sa.update(Subnet).where(Subnet.vlan_id == vlan_id, Subnet.found).values(found=False, managed=True)
    return bool(session.execute(statement.returning(Subnet.id)).all())


def _place(known: _Known, card: _Card) -> None:
    """Put what a card shows where it belongs."""
    vlan_of = {
        vid: vlan_id
        for vid, seen in card.seen.items()
        for network, _ in seen
        if (vlan_id := known.vlan_holding(network)) is not None
    }
    fabric_id = next((known.fabric_of(vlan_of[vid]) for vid in sorted(vlan_of)), None)
    for vid, seen in sorted(card.seen.items()):
        unknown = [network for network, _ in seen if known.vlan_holding(network) is None]
        if vid not in vlan_of and (unknown or vid):
            fabric_id = fabric_id if fabric_id is not None else known.new_place()
            vlan_of[vid] = known.vlan(fabric_id, vid)
        for network in unknown:
            known.add(network, vlan_of[vid])


def _vlan_of_card(
    known: _Known,
    networks: list[Network],
    port: tuple[str, int | None] | None,
    ports: dict[tuple[str, int | None], int],
    switches: dict[str, int],
) -> int | None:
    """The VLAN of a machine's card: by its networks, by the switch port; a new place only for a network."""
    for network in networks:
        if (vlan_id := known.vlan_holding(network)) is not None:
            return vlan_id
    if port is not None:
        if (same := ports.get(port)) is not None:
            return same
        if (fabric_id := switches.get(port[0])) is not None and port[1] is not None:
            return known.vlan(fabric_id, port[1])
    return known.vlan(known.new_place(), 0) if networks else None


def _heard(neighbours: list[Any]) -> dict[str, tuple[str, int | None]]:
    """The switch and the VLAN of untagged frames by interface, of what makes sense in a machine's words."""
    found: dict[str, tuple[str, int | None]] = {}
    for one in neighbours:
        if isinstance(one, dict) and one.get("chassis_id"):
            tag = one.get("vlan")
            known = tag if type(tag) is int and 0 < tag <= 4094 else None
            found[str(one.get("interface"))] = (str(one["chassis_id"]), known)
    return found


def _cards(interfaces: Iterable[dict[str, Any]]) -> dict[str, _Card]:
    """The cards of a host, with what is on them, on their VLANs and on the bridges over them."""
    by_name = {str(item["name"]): item for item in interfaces}
    cards: dict[str, _Card] = defaultdict(_Card)
    for name, item in by_name.items():
        place = _card_of(name, by_name)
        if place is None:
            continue
        card, vid = place
        networks = _networks(item.get("addresses", ()))
        if networks or vid:
            cards[card].seen[vid] += [(network, name) for network in networks]
    return cards


def _card_of(name: str, by_name: dict[str, dict[str, Any]], depth: int = 0) -> tuple[str, int] | None:
    """The card below an interface, and with which tag it stands there; None for what is on no card, or stacked."""
    item = by_name.get(name)
    if item is None or depth > 3:
        return None
    kind, parents = item.get("kind"), item.get("parents") or []
    if kind in CARDS:
        return name, 0
    below = next((found for parent in parents if (found := _card_of(str(parent), by_name, depth + 1))), None)
    if kind == "bridge" or below is None:
        return below
    if kind == "vlan" and item.get("vid") is not None and below[1] == 0:
        return below[0], int(item["vid"])
    return None


def _networks(addresses: Iterable[Any]) -> list[Network]:
    """The networks of addresses with prefix length: no link-local ones, no single hosts, nothing malformed."""
    found: list[Network] = []
    for text in addresses:
        try:
            own = ipaddress.ip_interface(str(text))
        except ValueError:
            continue
        network = own.network
        if own.ip.is_loopback or own.ip.is_link_local or network.prefixlen == network.max_prefixlen:
            continue
        if network.prefixlen >= 8 and network not in found:
            found.append(network)
    return found
