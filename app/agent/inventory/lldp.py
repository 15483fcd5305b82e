"""
Neighbours on the wire, as lldpd heard them (IEEE 802.1AB).

A switch announces itself every 30 seconds by default, so at this moment lldpd may have heard nothing. We wait a few
seconds at most; no neighbour is an answer, not an error.
"""

import json
import time
from typing import Any

from ..errors import CommandFailed
from ..probe import Probe

# json0 always uses lists and never objects keyed by name (lldpcli(8)), which makes it the form to parse.
COMMAND = ["lldpcli", "-f", "json0", "show", "neighbors"]
_WAIT_SECONDS = 4.0
_PAUSE_SECONDS = 1.0


def _value(owner: dict[str, Any], name: str) -> str:
    for entry in owner.get(name) or []:
        if entry.get("value") is not None:
            return str(entry["value"])
    return ""


def _vlan(interface: dict[str, Any]) -> int | None:
    """The VLAN of untagged frames (the port VLAN), else the only one announced."""
    vlans = interface.get("vlan") or []
    chosen = [vlan for vlan in vlans if vlan.get("pvid")] or (vlans if len(vlans) == 1 else [])
    number = str(chosen[0].get("vlan-id", "")) if chosen else ""
    return int(number) if number.isdigit() and int(number) > 0 else None


def parse(text: str) -> list[dict[str, Any]]:
    """The neighbours in `lldpcli -f json0 show neighbors`."""
    neighbours = []
    for group in json.loads(text or "{}").get("lldp") or []:
        for interface in group.get("interface") or []:
            chassis = (interface.get("chassis") or [{}])[0]
            port = (interface.get("port") or [{}])[0]
            neighbours.append(
                {
                    "interface": interface.get("name", ""),
                    "chassis_id": _value(chassis, "id"),
                    "chassis_name": _value(chassis, "name"),
                    "port_id": _value(port, "id"),
                    "port_description": _value(port, "descr"),
                    "vlan": _vlan(interface),
                }
            )
    return neighbours


def collect(probe: Probe) -> dict[str, Any]:
    until = time.monotonic() + min(_WAIT_SECONDS, probe.left() / 2)
    started = False
    while True:
        done = probe.try_run(COMMAND)
        neighbours = parse(done.text) if done.ok else []
        if neighbours or time.monotonic() + _PAUSE_SECONDS > until:
            break
        if not done.ok and not started:
            started = True
            probe.try_run(["systemctl", "start", "lldpd"])
        time.sleep(_PAUSE_SECONDS)
    if not done.ok:
        raise CommandFailed(done.complaint(), done.exit_code, timed_out=done.exit_code is None)
    return {"neighbours": neighbours}
