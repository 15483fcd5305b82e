"""What the lab's operator sets up, through the REST API: the network, the image, a key, and the rack's enrolment code."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.api import Api, ApiRefused
from lab.namespace import exec_prefix
from lab.network import DEFAULT_VLANS, Uplink, VirtualSite, Vlan

DOMAIN = "lab.muster"
SUBNET, SUBNET6 = "10.20.0.0/24", "fd20::/64"
GATEWAY = "10.20.0.254"
DYNAMIC = ("10.20.0.100", "10.20.0.199")
SYNC_SECONDS = 90.0
SERVICES = ("bind", "chrony", "dnsmasq", "kea4", "kea6", "radvd", "rsyslog", "squid")


@dataclass(frozen=True)
class DemoSubnet:
    """One subnet; dynamic: first and last address of its range."""

    name: str
    cidr: str
    gateway: str | None = None
    dynamic: tuple[str, str] | None = None


@dataclass(frozen=True)
class DemoNetwork:
    """What is wired, what is entered for it, and what the rack must serve there."""

    vlans: tuple[Vlan, ...]
    uplink: Uplink
    subnets: tuple[DemoSubnet, ...]
    services: tuple[str, ...] = SERVICES


BOTH = DemoNetwork(DEFAULT_VLANS, Uplink(), (DemoSubnet("lan", SUBNET, GATEWAY, DYNAMIC), DemoSubnet("lan6", SUBNET6)))
SIX = DemoNetwork(
    (Vlan("lan", ("fd20::1/64",), ("fd20::fe/64",)),),
    Uplink("fd10::1/64", "fd10::2/64"),
    (DemoSubnet("lan6", SUBNET6, "fd20::fe", ("fd20::1:0", "fd20::1:ffff")),),
    tuple(name for name in SERVICES if name != "kea4"),
)
"""Not one IPv4 address, but for the BMCs."""


@dataclass(frozen=True)
class Enrolled:
    """The lab's rack as the control plane knows it."""

    rack_id: int
    name: str


def set_up_network(api: Api, network: DemoNetwork = BOTH) -> None:
    """One domain, the default fabric's untagged VLAN with router advertisements, its subnets and dynamic ranges."""
    domain = api.post("/domains", {"name": DOMAIN})
    vlan = next(one for one in api.get("/vlans")["items"] if one["vid"] == 0)
    for one in network.subnets:
        words = {"cidr": one.cidr, "name": one.name, "vlan_id": vlan["id"], "domain_id": domain["id"]}
        subnet = api.post("/subnets", words | ({"gateway": one.gateway} if one.gateway else {}))
        if one.dynamic is not None:
            start, end = one.dynamic
            api.post("/ranges", {"subnet_id": subnet["id"], "kind": "dynamic", "start": start, "end": end})
    api.call("PATCH", f"/vlans/{vlan['id']}", json={"router_advertisements": True})
    api.call("PUT", "/settings/enrolment_policy", json={"value": {"on": True}})


def set_kernel_options(api: Api, options: Sequence[str]) -> None:
    """Have the kernels of all machines told these, from their next boot from the network on."""
    api.call("PUT", "/settings/kernel_options", json={"value": {"options": list(options)}})


def switch_dhcp_on(api: Api) -> None:
    """Serve DHCP on the VLAN, now that a rack with an address there has enrolled."""
    vlan = next(one for one in api.get("/vlans")["items"] if one["vid"] == 0)
    api.call("PATCH", f"/vlans/{vlan['id']}", json={"dhcp_on": True})


def enrol_rack(
    api: Api,
    site: VirtualSite | None,
    root: Path,
    url: str,
    python: str,
    words: Sequence[str] = ("--no-hosts-database",),
) -> Enrolled:
    """Enrol the rack as a real one is: an administrator's one-time code, typed in on the rack host."""
    code = api.post("/racks/codes", {"name": "rack1"})["code"]
    argv = [
        python,
        "-m",
        "workers.rack",
        "enrol",
        "--url",
        url,
        "--code-file",
        "-",
        "--root",
        str(root),
        "--lab",
        *words,
    ]
    done = subprocess.run(
        [*(exec_prefix(site.rack) if site else ()), *argv], input=f"{code}\n", text=True, capture_output=True, check=False,
        cwd=Path(__file__).resolve().parent.parent,
    )  # fmt: skip
    if done.returncode != 0:
        raise ApiRefused(f"muster-rack enrol ended with exit code {done.returncode}: {done.stderr.strip()[-600:]}")
    rack = next(one for one in api.get("/racks")["items"] if one["name"] == "rack1")
    return Enrolled(rack["id"], rack["name"])


def wait_in_sync(api: Api, rack: Enrolled, services: tuple[str, ...] = SERVICES) -> dict[str, Any]:
    """The rack's state once every service runs what is wanted and its probes are green."""
    end = time.monotonic() + SYNC_SECONDS
    shown: dict[str, Any] = {}
    while time.monotonic() < end:
        shown = api.get(f"/racks/{rack.rack_id}")
        by_name = {one["service"]: one for one in shown["services"]}
        if shown["in_sync"] and all(by_name.get(name, {}).get("probes_ok") for name in services):
            return shown
        time.sleep(0.3)
    red = [f"{one['service']}: {one.get('detail')}" for one in shown.get("services", []) if not one.get("probes_ok")]
    raise ApiRefused(f"rack {rack.name} is not in sync after {SYNC_SECONDS:.0f} s: {'; '.join(red) or shown}")


def add_owner_key(api: Api, public_key: str) -> None:
    """The key that the walk logs in with."""
    api.post("/keys", {"public_key": public_key})
