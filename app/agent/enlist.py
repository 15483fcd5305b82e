"""Enlisting: make this machine known by its interfaces and, if it has a BMC, hand over an account on it."""

from typing import Any

from . import bmc
from .cmdline import BootParameters
from .edge import Edge
from .errors import AgentError
from .inventory import cpu, firmware, nics
from .probe import Probe
from .runner import say

# Host names that say nothing: what images, DHCP servers and kernels use when they know none.
_GENERIC_HOSTNAMES = {"", "localhost", "debian", "muster", "host", "(none)"}


def hostname_hint(hostname: str | None) -> str | None:
    """The name that the boot gave us, unless it is one that anything could have."""
    name = (hostname or "").split(".")[0].lower()
    return None if name in _GENERIC_HOSTNAMES else name


def interfaces(names: list[str], links: dict[str, dict[str, Any]], boot_mac: str | None) -> list[dict[str, Any]]:
    """The physical interfaces with a MAC; `boot` marks the one whose MAC the loader passed on."""
    return [
        {"name": name, "mac": links[name]["mac"], "boot": links[name]["mac"] == boot_mac}
        for name in names
        if links.get(name, {}).get("mac")
    ]


def find_bmc(probe: Probe) -> tuple[dict[str, Any] | None, str | None]:
    """The BMC with our new account, or None and the reason; a BMC that misbehaves does not stop enlisting."""
    try:
        found, reason = bmc.read(probe)
        if found is None:
            return None, reason
        account = bmc.make_account(probe, found)
    except AgentError as error:
        return None, str(error)
    return {
        "type": "ipmi",
        "address": found.address,
        "mac": found.mac,
        "username": account.username,
        "password": account.password,
        "version": found.version,
    }, None


def payload(probe: Probe, boot: BootParameters) -> dict[str, Any]:
    """What POST /enlist takes."""
    machine = probe.run(["uname", "-m"]).strip()
    described, reason = find_bmc(probe)
    links = nics.parse_addresses(probe.run(["ip", "-j", "addr"]))
    return {
        "hostname_hint": hostname_hint(boot.hostname),
        "architecture": cpu.ARCHITECTURES.get(machine, machine),
        "firmware": firmware.kind(probe),
        "uuid": firmware.system_uuid(probe.read("/sys/class/dmi/id/product_uuid")),
        "interfaces": interfaces(nics.physical(probe), links, boot.boot_mac),
        "bmc": described,
        "bmc_reason": reason,
    }


def enlist(edge: Edge, boot: BootParameters, probe: Probe | None = None) -> str:
    """Enlist; the sentence that ends the run."""
    body = payload(probe or Probe(seconds=240.0), boot)
    if not body["interfaces"]:
        raise AgentError("enlist: this machine has no network interface with a MAC address; check its drivers")
    say(f"enlist: {len(body['interfaces'])} interfaces; {body['bmc_reason'] or 'BMC at ' + body['bmc']['address']}")
    answer = edge.enlist(body)
    return f"enlisted as machine {answer.get('machine')} ({'new' if answer.get('created') else 'known already'})"
