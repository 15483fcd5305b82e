"""How a host's address is asked for as its client would, by family.  Nothing is taken, so no lease comes of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import NamedTuple

from renderers.intent import RackPorts
from workers.rack.channels import kea
from workers.rack.channels.base import ChannelError
from workers.rack.host_strategies.base import HostDaemon, choose
from workers.rack.hosts import Host
from workers.rack.offer import Offer, SubnetOffer
from workers.rack.probes.base import ProbeFailure
from workers.rack.probes.dhcp4 import discover
from workers.rack.probes.dhcp6 import solicit


class Heard(NamedTuple):
    """What the host's MAC is offered: an address, empty for none, and options by code; None where they are not looked at."""

    address: str
    options: Mapping[int, bytes] | None = None

    def differs(self, host: Host) -> str:
        """What is not as the host is promised it, in words; empty when all is."""
        if self.address != host.address:
            return f"gets {self.address or 'nothing'} instead of {host.address}; another machine may hold it"
        for option in host.options if self.options is not None else ():
            found = (self.options or {}).get(option.code)
            if option.family == host.family and found != option.data:
                said = "nothing" if found is None else f"0x{found.hex()}"
                return f"gets {said} for {option.name} instead of 0x{option.data.hex()}; something wider may set it by force"
        return ""


Asker = Callable[[HostDaemon, Host, SubnetOffer, Offer, RackPorts], Heard]
"""What the host is offered.  ProbeFailure: silence."""


def ask4(daemon: HostDaemon, host: Host, subnet: SubnetOffer, offer: Offer, ports: RackPorts) -> Heard:
    """By a DISCOVER with the host's MAC; any of our addresses on the interface may be the server's.

    Options are not asked for, as what a machine is given of its own goes to it whether it asks or not.
    On a relayed VLAN it is one that a relay agent brings to the very address.
    """
    if subnet.agent_address is not None:
        server = frozenset({str(subnet.rack_address)})
        found = discover(subnet.interface, host.mac, server, ports.dhcp4, giaddr=subnet.agent_address)
        return Heard(found.address, found.options)
    ours = frozenset(
        str(item.rack_address)
        for item in offer.subnets
        if item.interface == subnet.interface and item.rack_address is not None
    )
    found = discover(subnet.interface, host.mac, ours, ports.dhcp4)
    return Heard(found.address, found.options)


def ask6(daemon: HostDaemon, host: Host, subnet: SubnetOffer, offer: Offer, ports: RackPorts) -> Heard:
    """By a SOLICIT that a relay agent brings for the host's MAC; what options it gets is not looked at.

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
            return Heard(host.address)
    return Heard(found.address)


def heard(daemon: HostDaemon) -> int | None:
    """How many questions the daemon has heard; None from one that is there and does not count.  ChannelDown."""
    if daemon.service in kea.KINDS:
        return kea.client(daemon.directories).packets_received()
    choose(daemon).present(daemon, ())
    return None


ASKERS: dict[int, Asker] = {4: ask4, 6: ask6}
