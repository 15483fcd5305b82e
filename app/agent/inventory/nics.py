"""
Network interfaces that are hardware: those of /sys/class/net with a device behind them.

Interfaces that are down have neither a link nor a speed to read, so they are brought up first; that changes the
ephemeral system only.
"""

import json
import re
import time
from typing import Any

from ..errors import CommandFailed
from ..probe import Probe
from . import pci

_NET = "/sys/class/net"
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]")
_LINK_WAIT_SECONDS = 4.0


def physical(probe: Probe) -> list[str]:
    """The names of the interfaces with hardware behind them."""
    return [name for name in probe.names(_NET) if probe.exists(f"{_NET}/{name}/device")]


def parse_ethtool(text: str) -> dict[str, str]:
    """The `key: value` lines of `ethtool -i`; empty values and N/A are left out."""
    pairs = (line.partition(":") for line in text.splitlines())
    return {key.strip(): value.strip() for key, _, value in pairs if value.strip() not in ("", "N/A")}


def parse_addresses(text: str) -> dict[str, dict[str, Any]]:
    """From `ip -j addr`, by interface: the permanent MAC, the MTU, whether it is up, and its addresses with prefix."""
    interfaces: dict[str, dict[str, Any]] = {}
    for link in json.loads(text or "[]"):
        if not link.get("ifname"):
            continue
        interfaces[link["ifname"]] = {
            "mac": str(link.get("permaddr") or link.get("address") or "").lower(),
            "mtu": int(link.get("mtu", 1500)),
            "up": "UP" in link.get("flags", []),
            "addresses": [
                f"{address['local']}/{address['prefixlen']}"
                for address in link.get("addr_info", [])
                if "local" in address and address.get("scope") != "link"
            ],
        }
    return interfaces


def pci_address(target: str | None) -> str | None:
    """The PCI address in the resolved path of a device, the innermost one; a virtio device sits below its own."""
    parts = [part for part in (target or "").split("/") if _PCI_ADDRESS.fullmatch(part)]
    return parts[-1] if parts else None


def parse(
    name: str, link: dict[str, Any], ethtool: dict[str, str], facts: dict[str, Any], device: dict[str, Any] | None
) -> dict[str, Any]:
    """One interface. `facts` are sysfs's speed, carrier, numa_node and pci_address; `device` is its PCI device."""
    speed, node = facts["speed"], facts["numa_node"]
    return {
        "name": name,
        "mac": link["mac"],
        "driver": ethtool.get("driver", ""),
        # The kernel says -1 or 4294967295 for a speed it does not know.
        "speed_mbps": speed if speed is not None and 0 < speed < 2**31 else None,
        "link": facts["carrier"] == 1,
        "mtu": link["mtu"],
        "addresses": link["addresses"],
        "pci_address": facts["pci_address"],
        "vendor": device["vendor"] if device else None,
        "product": device["product"] if device else None,
        "firmware": ethtool.get("firmware-version"),
        "numa_node": node if node is not None and node >= 0 else None,
    }


def _bring_up(probe: Probe, names: list[str], links: dict[str, dict[str, Any]]) -> bool:
    """Bring up what is down and give links a moment to come; whether anything was changed."""
    down = [name for name in names if not links.get(name, {}).get("up")]
    for name in down:
        probe.try_run(["ip", "link", "set", "dev", name, "up"])
    until = time.monotonic() + min(_LINK_WAIT_SECONDS, probe.left() / 2)
    while down and time.monotonic() < until and any(probe.number(f"{_NET}/{name}/carrier") != 1 for name in down):
        time.sleep(0.2)
    return bool(down)


def collect(probe: Probe) -> dict[str, Any]:
    names = physical(probe)
    links = parse_addresses(probe.run(["ip", "-j", "addr"]))
    if _bring_up(probe, names, links):
        links = parse_addresses(probe.run(["ip", "-j", "addr"]))
    devices: dict[str, dict[str, Any]] = {}
    try:
        devices = {device["address"]: device for device in pci.parse(probe.run(pci.COMMAND))}
    except CommandFailed as error:
        probe.note(f"no vendor and product names: {error}")
    found = []
    for name in (name for name in names if name in links):
        ethtool = parse_ethtool(probe.try_run(["ethtool", "-i", name]).text)
        if "driver" not in ethtool:
            ethtool["driver"] = (probe.target(f"{_NET}/{name}/device/driver") or "").rsplit("/", 1)[-1]
        address = pci_address(str(probe.path(f"{_NET}/{name}/device").resolve()))
        facts = {
            "speed": probe.number(f"{_NET}/{name}/speed"),
            "carrier": probe.number(f"{_NET}/{name}/carrier"),
            "numa_node": probe.number(f"/sys/bus/pci/devices/{address}/numa_node") if address else None,
            "pci_address": address,
        }
        found.append(parse(name, links[name], ethtool, facts, devices.get(address or "")))
    return {"nics": found}
