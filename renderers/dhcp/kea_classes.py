"""Kea's client classes: what a client is, how long it keeps its address, which boot file it is told.

What a client is, is the same everywhere.  What it is told differs by subnet (the rack's address there), so each subnet
*requires* classes of its own, which Kea evaluates after it has chosen the subnet and before it fills in next-server and
the boot file name.  Lifetimes of such late classes do not count (Kea assigns the lease before), and Kea's expressions do
not know the chosen subnet.  So where boot leases differ, a class for each VLAN carries them, which tells the VLAN by
the interface a question came in on and by the relay agent's address; the longest lease of a VLAN's subnets counts.
"""

from __future__ import annotations

import ipaddress

from renderers import text
from renderers.dhcp.boot import IPXE_LEASE_SECONDS, IPXE_OPTION, NO_PROXY_DHCP, boot_files, ipxe_off
from renderers.dhcp.kea_options import option, raw
from renderers.intent import RackIntent, SubnetIntent, VlanIntent

Served = tuple[tuple[VlanIntent, tuple[SubnetIntent, ...]], ...]
Tests = tuple[tuple[str, str], ...]
TESTS: Tests = (
    ("ipxe", "option[77].exists and option[77].hex == 'iPXE'"),
    (
        "uefi-http",
        "not member('ipxe') and option[93].exists and option[93].hex == 0x0010"
        " and substring(option[60].hex,0,10) == 'HTTPClient'",
    ),
    (
        "uefi-x64",
        "not member('ipxe') and not member('uefi-http') and option[93].exists"
        " and (option[93].hex == 0x0007 or option[93].hex == 0x0009)",
    ),
    (
        "bios",
        "not member('ipxe') and not member('uefi-http') and not member('uefi-x64') and option[93].exists"
        " and option[93].hex == 0x0000",
    ),
)
TESTS6: Tests = (
    # Each user class has its length before it (RFC 8415, section 21.15).
    ("ipxe", "option[15].exists and substring(option[15].hex,2,4) == 'iPXE'"),
    (
        "uefi-http",
        "not member('ipxe') and option[61].exists and substring(option[61].hex,0,2) == 0x0010"
        " and substring(option[16].hex,6,10) == 'HTTPClient'",
    ),
    (
        "uefi-x64",
        "not member('ipxe') and not member('uefi-http') and option[61].exists"
        " and (substring(option[61].hex,0,2) == 0x0007 or substring(option[61].hex,0,2) == 0x0009)",
    ),
)
"""The same in DHCPv6: architecture in option 61 (RFC 5970), iPXE by its user class (option 15). BIOS has no IPv6."""


def kinds(
    served: Served, tests: Tests = TESTS, lifetimes: tuple[str, ...] = ("valid-lifetime",)
) -> list[dict[str, object]]:
    """The classes that say what a client is and how long it keeps its address; a class's lifetime goes before the subnet's."""
    longest = max((subnet.lease_seconds for _, subnets in served for subnet in subnets), default=0)
    leases = {vlan.vlan_id: max(subnet.boot_lease_seconds for subnet in subnets) for vlan, subnets in served}
    common = len(set(leases.values())) == 1
    made: list[dict[str, object]] = []
    for name, test in tests:
        made.append({"name": name, "test": test})
        if name == "ipxe":
            made[-1] |= dict.fromkeys(lifetimes, max(IPXE_LEASE_SECONDS, longest))
        elif common:
            made[-1] |= dict.fromkeys(lifetimes, next(iter(leases.values())))
    if not common:
        booting = " or ".join(f"member('{name}')" for name, _ in tests if name != "ipxe")
        made += [
            {
                "name": f"boot-vlan-{vlan.vlan_id}",
                "test": f"({booting}) and {_from(vlan, subnets)}",
                **dict.fromkeys(lifetimes, leases[vlan.vlan_id]),
            }
            for vlan, subnets in served
        ]
    return made


def answers(intent: RackIntent, subnet: SubnetIntent) -> list[dict[str, object]]:
    """The classes that say what a booting client is told in this subnet; options 66 and 67 asked for or not."""
    rack = str(subnet.rack_address)
    made: list[dict[str, object]] = []
    for name, file in boot_files(intent, subnet).items():
        options = [option("tftp-server-name", rack), option("boot-file-name", file)]
        if name == "uefi-http":
            # The firmware takes an offer only if it calls itself HTTPClient (UEFI 2.10, section 24.7.3.1).
            options.append(option("vendor-class-identifier", "HTTPClient"))
        elif name == "ipxe":
            options.append(raw(IPXE_OPTION, NO_PROXY_DHCP, "no-pxedhcp: ask no other server what to boot", always=True))
        made.append(
            {
                "name": f"{name}-{subnet.subnet_id}",
                "test": ipxe_test(subnet) if name == "ipxe" else f"member('{name}')",
                "only-if-required": True,
                "next-server": rack,
                "boot-file-name": file,
                "option-data": options,
            }
        )
    return made


def ipxe_test(subnet: SubnetIntent) -> str:
    """The test of the class that iPXE gets in the subnet: not on an architecture that is switched off."""
    code, said = (93, "option[93].hex") if subnet.family == 4 else (61, "substring(option[61].hex,0,2)")
    types = " or ".join(f"{said} == 0x{number:04x}" for number in ipxe_off(subnet))
    return f"member('ipxe') and not (option[{code}].exists and ({types}))" if types else "member('ipxe')"


def _from(vlan: VlanIntent, subnets: tuple[SubnetIntent, ...]) -> str:
    """A test for questions of a VLAN's clients."""
    if not vlan.relayed:
        direct = "pkt4.giaddr == 0.0.0.0" if subnets[0].family == 4 else "relay6[0].linkaddr == ''"
        return f"pkt.iface == '{text.interface(vlan.interface)}' and {direct}"
    return "(" + " or ".join(test for subnet in subnets for test in _relay_in(subnet.cidr)) + ")"


def _relay_in(cidr: str) -> list[str]:
    """Tests of which one is true when the relay agent's address is in a network.

    Kea compares whole bytes only, so the byte in which the prefix ends is spelled out: at most 128 tests.
    In DHCPv6 it is the agent next to the client that counts.
    """
    network = ipaddress.ip_network(text.network(cidr))
    agent = "pkt4.giaddr" if network.version == 4 else "relay6[-1].linkaddr"
    whole, bits = divmod(network.prefixlen, 8)
    length = whole + (bits > 0)
    head, base = network.network_address.packed[:whole], network.network_address.packed
    last = [bytes([value]) for value in range(base[whole], base[whole] + (1 << (8 - bits)))] if bits else [b""]
    return [f"substring({agent},0,{length}) == 0x{(head + end).hex()}" for end in last] if length else ["true"]
