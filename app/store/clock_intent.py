"""Whose clock a rack follows, and whom it agrees with.

A rack agent on the control plane's host makes that host the clock of all racks: it follows the external servers, and they
follow it.  It is known by its own way to the control plane: loopback, or an address of its own.  As long as no such
agent has enrolled, racks follow the external servers themselves, or what they were told is the control plane's host.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable
from dataclasses import replace

from app.store.dns_intent import addresses_of
from app.store.models import Rack
from renderers.intent import RackIntent, RackPorts


def with_clocks(
    intent: RackIntent, rack: Rack, racks: Iterable[Rack], external: tuple[str, ...], external_only: bool
) -> RackIntent:
    """The intent with servers, peers and clients of the rack's chrony. external: the setting `ntp_upstreams`."""
    enrolled = [one for one in racks if one.token_hash is not None]
    serving = [one for one in enrolled if _serves_at_ntp_port(one)]
    clocks = [one for one in serving if on_control_plane_host(one)]
    mine = any(one.id == rack.id for one in clocks)
    equal = [one for one in serving if one.id != rack.id and (one in clocks) == mine] if rack in serving else []
    followers = [one for one in enrolled if one not in clocks] if mine else []
    return replace(
        intent,
        ntp_upstreams=_upstreams(rack, [] if mine else clocks, external, external_only),
        ntp_peers=_one_of_each(rack, equal),
        ntp_clients=tuple(address for one in followers for address in addresses_of(one)),
        on_control_plane=mine,
    )


def on_control_plane_host(rack: Rack) -> bool:
    """Whether the rack agent runs beside the control plane, by the address under which it reaches that."""
    host = _normal(rack.control_plane_host)
    return host == "localhost" or host in addresses_of(rack) or _is_loopback(host)


def _upstreams(rack: Rack, clocks: list[Rack], external: tuple[str, ...], external_only: bool) -> tuple[str, ...]:
    """The control plane's clocks where there are any that the rack reaches, else the external servers, else its host."""
    if external_only:
        return external
    told = _normal(rack.control_plane_host)
    found: list[str] = []
    for clock in clocks:
        own = addresses_of(clock)
        # The address by which the rack reaches the control plane is known to lead there.
        found += [told] if told in own else _one_of_each(rack, [clock])
    if found or external:
        return tuple(found) or external
    return () if on_control_plane_host(rack) or not told else (told,)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _normal(host: str) -> str:
    """An address as `addresses_of` writes it; a name as it is."""
    try:
        return str(ipaddress.ip_address(host))
    except ValueError:
        return host


def _one_of_each(rack: Rack, racks: Iterable[Rack]) -> tuple[str, ...]:
    """An address of each rack, in a family that this one has."""
    families = {":" in address for address in addresses_of(rack)}
    found: list[str] = []
    for other in racks:
        found += [address for address in addresses_of(other) if (":" in address) in families][:1]
    return tuple(found)


def _serves_at_ntp_port(rack: Rack) -> bool:
    return bool(rack.ports.get("ntp", RackPorts.ntp) == RackPorts.ntp)
