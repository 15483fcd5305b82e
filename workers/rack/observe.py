"""What runs on this rack, as it tells the control plane: digests, processes, probes, interfaces, Kea's hook."""

from __future__ import annotations

import ipaddress
import json
from pathlib import Path
from typing import Any

from workers.rack.apply import Applier
from workers.rack.channels import kea
from workers.rack.channels.base import ChannelError, run
from workers.rack.hosts_database import programs
from workers.rack.probing import Prober
from workers.rack.trust import authorities_for
from workers.rack.units import UnitError, Units

KINDS = {None: "physical", "veth": "physical", "bond": "bond", "vlan": "vlan", "bridge": "bridge"}
"""What the control plane calls the kernel's kinds of links; everything else is `other`."""


def interfaces() -> list[dict[str, Any]]:
    """Interfaces: kind, parents, VLAN tag, MAC, MTU, carrier, global addresses; loopback left out, [] without `ip`."""
    try:
        return parse_interfaces(json.loads(run(["ip", "-details", "-json", "address", "show"]) or "[]"))
    except (ChannelError, ValueError):
        return []


def parse_interfaces(links: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """From the JSON of ip(8).  A bond's or bridge's parents are the links that it masters, a VLAN's the one below it."""
    found = []
    for link in links:
        if link.get("link_type") == "loopback":
            continue
        addresses = [
            str(ipaddress.ip_interface(f"{entry['local']}/{entry['prefixlen']}"))
            for entry in link.get("addr_info", [])
            if entry.get("scope") == "global"
        ]
        name, about = link["ifname"], link.get("linkinfo") or {}
        kind = KINDS.get(about.get("info_kind"), "other")
        if about.get("info_kind") == "veth" and link.get("master"):
            kind = "other"  # The host's end of a container's interface, in a bridge of the host's own.
        below = [str(link["link"])] if kind == "vlan" and link.get("link") else []
        found.append(
            {
                "name": name,
                "mac": link.get("address", ""),
                "addresses": addresses,
                "kind": kind,
                "parents": below or sorted(one["ifname"] for one in links if one.get("master") == name),
                "vid": (about.get("info_data") or {}).get("id") if kind == "vlan" else None,
                "mtu": link.get("mtu"),
                # A link that is down by its administrator has none either.
                "carrier": "LOWER_UP" in link.get("flags", ()),
            }
        )
    return found


def found_here(hosts_database: bool, control_plane: str) -> dict[str, str]:
    """What this host has that not every rack has; `hosts_database`: whether it may run one; control_plane: its URL."""
    return {
        "kea_lease_hook": kea.hook(kea.LEASE_HOOK),
        "kea_host_hook": kea.hook(kea.HOST_HOOK),
        "postgres_programs": programs() if hosts_database else "",
        "control_plane_ca": authorities_for(control_plane),
    }


def observe(
    root: Path,
    offer: int,
    records: int,
    applier: Applier,
    units: Units,
    prober: Prober,
    control_plane: str,
    hosts_database: bool = True,
    ha_certificate: str | None = None,
) -> dict[str, Any]:
    """The observation as rackapi takes it."""
    services: dict[str, Any] = {}
    for name in applier.services():
        applied = applier.applied(name)
        if applied is None:
            continue
        try:
            running, trouble = units.is_running(name), ""
        except UnitError as error:
            running, trouble = False, str(error)
        results = prober.ask_once(name, applied.probes)
        red = [result.detail for result in results if not result.ok]
        services[name] = {
            "digest": applied.digest,
            "running": running,
            "probes_ok": not red,
            "detail": trouble or "; ".join(red or [result.detail for result in results]),
        }
    return {
        "offer": offer,
        "records": records,
        "services": services,
        "interfaces": interfaces(),
        "layout": found_here(hosts_database, control_plane),
        "ha_certificate": ha_certificate,
    }


def summary(observation: dict[str, Any]) -> str:
    """The part of an observation whose change is worth a report at once: serials and times in details are not."""
    services = {
        name: {key: value for key, value in item.items() if key != "detail"}
        for name, item in observation["services"].items()
    }
    return json.dumps({**observation, "services": services}, sort_keys=True)
