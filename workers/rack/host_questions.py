"""How a host's address is asked for as its client would, by family.  Nothing is taken, so no lease comes of it."""

from __future__ import annotations

from collections.abc import Callable

from renderers.intent import RackPorts
from workers.rack.channels import kea
from workers.rack.channels.base import ChannelError
from workers.rack.host_strategies.base import HostDaemon, choose
from workers.rack.hosts import Host
from workers.rack.offer import Offer, SubnetOffer
from workers.rack.probes.base import ProbeFailure
from workers.rack.probes.dhcp4 import discover
from workers.rack.probes.dhcp6 import solicit

Asker = Callable[[HostDaemon, Host, SubnetOffer, Offer, RackPorts], str]
"""The address that the host's MAC is offered, empty for none.  ProbeFailure: silence."""


def ask4(daemon: HostDaemon, host: Host, subnet: SubnetOffer, offer: Offer, ports: RackPorts) -> str:
    """By a DISCOVER with the host's MAC; any of our addresses on the interface may be the server's.

    On a relayed VLAN it is one that a relay agent brings to the very address.
    """
    if subnet.agent_address is not None:
        server = frozenset({str(subnet.rack_address)})
        return discover(subnet.interface, host.mac, server, ports.dhcp4, giaddr=subnet.agent_address).address
    ours = frozenset(
        str(item.rack_address)
        for item in offer.subnets
        if item.interface == subnet.interface and item.rack_address is not None
    )
    return discover(subnet.interface, host.mac, ours, ports.dhcp4).address


def ask6(daemon: HostDaemon, host: Host, subnet: SubnetOffer, offer: Offer, ports: RackPorts) -> str:
    """By a SOLICIT that a relay agent brings for the host's MAC.

    A DHCPv6 lease is held under a DUID, and a machine has one for its firmware, one for iPXE and one for its system, so
    the host may hold its own address under another name than we ask with: that is as promised.
    """
    try:
        server = kea.server_duid(daemon.directories)
    except ChannelError as error:
        raise ProbeFailure(str(error)) from error
    link = subnet.agent_address or subnet.rack_address
    rack = subnet.rack_address
    found = solicit(subnet.interface, host.mac, server, ports.dhcp6, link_address=link, source=rack)
    if found.address != host.address:
        client = kea.client(daemon.directories)
        if client.ends_leases() and str(client.lease(host.address).get("hw-address", "")).lower() == host.mac:
            return host.address
    return found.address


def heard(daemon: HostDaemon) -> int | None:
    """How many questions the daemon has heard; None from one that is there and does not count.  ChannelDown."""
    if daemon.service in kea.KINDS:
        return kea.client(daemon.directories).packets_received()
    choose(daemon).present(daemon, ())
    return None


ASKERS: dict[int, Asker] = {4: ask4, 6: ask6}
