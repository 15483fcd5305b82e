"""Leases that stand between a host and its promised address."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

import structlog

from workers.rack.channels import kea
from workers.rack.channels.base import ChannelDown, ChannelError
from workers.rack.files import ServiceDirectories
from workers.rack.hosts import Host

log = structlog.get_logger()


def end_leases(directories: ServiceDirectories, given: Iterable[Host], gone: Iterable[Host]) -> None:
    """End leases that keep an address from the host it is promised to.  ChannelDown if Kea is away.

    Kea does not honour a reservation while another client's lease of the address lives (Kea ARM, "Conflicts in
    DHCPv4 Reservations"), and a released machine's lives on.  For a host that is gone, its own lease of its address
    is ended; for one that is given an address, anybody else's.  That is safe: Muster takes an address away from a
    machine that is switched off, and the holder is not entitled to it any more; should it live and renew, Kea knows
    no lease and refuses.  Leases out of a dynamic range are left alone unless their holder is gone: those were
    nobody's promise and may be in use.  So are declined addresses (state 1), which something unknown uses.

    In DHCPv6 a lease is held under a DUID.  The holder's MAC is known to Kea all the same, as that of whoever asked.

    One question for each host, and one order for each stale lease.  What Kea refuses is logged: whether the address
    can be had is found out by asking as a client.
    """
    if directories.service not in kea.KINDS:
        return  # ISC dhcpd keeps no lease for a host.
    asked = {host.address: (host, False) for host in gone} | {host.address: (host, True) for host in given}
    ended = {(host.address, host.mac) for host in gone}
    daemon = kea.client(directories)
    try:
        if not asked or not daemon.ends_leases():
            return
        pools = kea.pools(directories)
        for address, (host, is_given) in asked.items():
            lease = daemon.lease(address)
            holder = str(lease.get("hw-address", "")).lower()
            if not lease or lease.get("state") != 0 or (is_given and holder == host.mac):
                continue
            number = int(ipaddress.ip_address(address))
            dynamic = any(start <= number <= end for start, end in pools.get(host.subnet_id, ()))
            if (address, holder) in ended or (is_given and not dynamic):
                daemon.end_lease(address)
                log.info("lease.ended", address=address, holder=holder, host=host.mac if is_given else None)
    except ChannelDown:
        raise
    except ChannelError as error:
        log.warning("lease.kept", reason=str(error))
