"""Kea's DHCPv4 server: structure as JSON, built as data and dumped, never templated.

Hosts are not here.  Each subnet includes ``state/hosts/<subnet_id>.json``, which the rack's record keeper writes, so
that Kea restarts into the same hosts with the control plane down.  Kea's parser replaces ``<?include "path"?>``
wherever white space may stand (Kea ARM, "JSON syntax"); the file may be empty, but it must exist.

Boot files: the classes `bios`, `uefi-x64`, `uefi-http` and `ipxe` exclude each other and say what a client is.  What it
is told differs by subnet (the rack's address there), so each subnet *requires* its own four classes, which Kea
evaluates after it has chosen the subnet and before it fills in next-server and the boot file name.
Not Kea's defaults: `match-client-id` is off, because firmware, iPXE and the system of one machine send different client
ids and must get the same address; sockets are bound to one address per interface, or a client would get one offer per
address.
The lease commands (hook `libdhcp_lease_cmds`, Kea ARM "The lease_cmds hook") let the rack end the lease of a machine
that has lost its address.  Where the library lies depends on the architecture, so the rack reports it; a rack without it
serves all the same, and an address that was freed waits for its old lease.
"""

from __future__ import annotations

import ipaddress
import json
import re

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent, SubnetIntent, VlanIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "kea4"
FILE = "kea-dhcp4.conf"
LOADERS = {"bios": "undionly.kpxe", "uefi-x64": "snponly.efi"}
"""TFTP boot file by client class; both are in Debian's package `ipxe`."""
FIRMWARE_LEASE_SECONDS = 120
"""Firmware keeps its address for seconds: iPXE asks again, with the same MAC, and gets the same one."""
IPXE_LEASE_SECONDS = 3600
"""An ephemeral system takes iPXE's address over and never renews it, so it must outlast a commissioning."""
STANDARD_MTU = 1500
CLASSES = (
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
"""What a client is: architecture in option 93 (RFC 4578, types of RFC 5970), iPXE by its user class (option 77)."""
_INCLUDE = re.compile(r'"\\u0000include ([^"\\]+)"')


def hosts_path(intent: RackIntent, subnet_id: int) -> str:
    """Path on the rack of the hosts of one subnet: comma separated objects without brackets, may be empty."""
    return intent.layout.state_path(NAME, f"hosts/{subnet_id}.json")


def served_vlans(intent: RackIntent) -> tuple[tuple[VlanIntent, tuple[SubnetIntent, ...]], ...]:
    """The VLANs on which this rack serves DHCPv4, each with the subnets in which the rack has an address."""
    pairs = [
        (vlan, tuple(sub for sub in vlan.subnets if sub.family == 4 and sub.rack_address is not None))
        for vlan in intent.vlans
        if vlan.dhcp_on
    ]
    return tuple((vlan, subnets) for vlan, subnets in pairs if subnets)


def render(intent: RackIntent) -> Bundle:
    """One JSON file. ValueError names what Kea's syntax or DHCPv4 cannot say."""
    dumped = json.dumps({"Dhcp4": _dhcp4(intent)}, indent=2)
    body = _INCLUDE.sub(lambda match: f'<?include "{match.group(1)}"?>', dumped) + "\n"
    return Bundle(NAME, (RenderedFile(FILE, body, 0o640, "_kea"),))


def _include(path: str) -> str:
    """A mark that no checked text can equal (it starts with a zero byte), turned into an include after dumping."""
    if not re.fullmatch(r"/[A-Za-z0-9/._-]+", path):
        raise ValueError(f"{path!r}: Kea cannot include this path; use letters, digits, dots, dashes and slashes")
    return f"\0include {path}"


def _dhcp4(intent: RackIntent) -> dict[str, object]:
    served = served_vlans(intent)
    lists = [(vlan, [_subnet(intent, vlan, subnet) for subnet in subnets]) for vlan, subnets in served]
    longest = max((subnet.lease_seconds for _, subnets in served for subnet in subnets), default=0)
    return {
        "interfaces-config": {
            "interfaces": sorted({f"{text.interface(vlan.interface)}/{subs[0].rack_address}" for vlan, subs in served}),
            "dhcp-socket-type": "raw",
        },
        "control-socket": {"socket-type": "unix", "socket-name": intent.layout.run_path(NAME, "kea4-ctrl-socket")},
        "hooks-libraries": [{"library": path} for path in [intent.layout.kea_lease_hook] if path],
        "lease-database": {
            "type": "memfile",
            "persist": True,
            "name": intent.layout.state_path(NAME, "kea-leases4.csv"),
            "lfc-interval": 3600,
        },
        "authoritative": True,
        "match-client-id": False,
        "echo-client-id": True,
        "host-reservation-identifiers": ["hw-address"],
        "reservations-global": False,
        "reservations-in-subnet": True,
        # A host may be given an address inside a pool; Kea then keeps it from everybody else.
        "reservations-out-of-pool": False,
        "decline-probation-period": 300,
        "expired-leases-processing": {"reclaim-timer-wait-time": 10, "hold-reclaimed-time": 3600},
        "dhcp-ddns": {"enable-updates": False},
        "client-classes": [
            *_kinds(longest),
            *(made for _, subnets in served for subnet in subnets for made in _answers(intent, subnet)),
        ],
        "shared-networks": [
            {"name": f"vlan-{vlan.vlan_id}", "interface": vlan.interface, "subnet4": subnets}
            for vlan, subnets in lists
            if len(subnets) > 1
        ],
        "subnet4": [subnet for _, subnets in lists if len(subnets) == 1 for subnet in subnets],
        "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    }


def _kinds(longest_lease: int) -> list[dict[str, object]]:
    """The classes that say what a client is; a class's lifetime goes before the subnet's."""
    made: list[dict[str, object]] = []
    for name, test in CLASSES:
        seconds = max(IPXE_LEASE_SECONDS, longest_lease) if name == "ipxe" else FIRMWARE_LEASE_SECONDS
        made.append({"name": name, "test": test, "valid-lifetime": seconds})
    return made


def _answers(intent: RackIntent, subnet: SubnetIntent) -> list[dict[str, object]]:
    """The four classes that say what a booting client is told in this subnet; options 66 and 67 asked for or not."""
    rack = str(subnet.rack_address)
    base = f"http://{text.bracketed(rack)}:{text.port(intent.ports.machine_http)}"
    files = {"ipxe": f"{base}/boot/v1/start.ipxe", "uefi-http": f"{base}/images/loader/snponly.efi", **LOADERS}
    made: list[dict[str, object]] = []
    for name, _ in CLASSES:
        options = [_option("tftp-server-name", rack), _option("boot-file-name", files[name])]
        if name == "uefi-http":
            # The firmware takes an offer only if it calls itself HTTPClient (UEFI 2.10, section 24.7.3.1).
            options.append(_option("vendor-class-identifier", "HTTPClient"))
        made.append(
            {
                "name": f"{name}-{subnet.subnet_id}",
                "test": f"member('{name}')",
                "only-if-required": True,
                "next-server": rack,
                "boot-file-name": files[name],
                "option-data": options,
            }
        )
    return made


def _option(name: str, *values: str) -> dict[str, object]:
    """One option, sent even if the client has not asked. In Kea's text form commas separate values: refuse them."""
    for value in values:
        if "," in text.plain(value) or "\\" in value or '"' in value:
            raise ValueError(f"DHCP option {name}: {value!r} holds a comma, quote or backslash; Kea splits there")
    return {"name": name, "data": ", ".join(values), "always-send": True}


def _subnet(intent: RackIntent, vlan: VlanIntent, subnet: SubnetIntent) -> dict[str, object]:
    network = ipaddress.IPv4Network(text.network(subnet.cidr))
    name = f"subnet {subnet.cidr}"
    if ipaddress.IPv4Address(text.address(subnet.rack_address)) not in network:
        raise ValueError(f"{name}: the rack's address {subnet.rack_address} is not in it; correct the address")
    for pool in subnet.pools:
        start, end = ipaddress.IPv4Address(text.address(pool.start)), ipaddress.IPv4Address(text.address(pool.end))
        if start > end or start not in network or end not in network:
            raise ValueError(f"{name}: range {pool.start}-{pool.end} is upside down or not inside; correct the range")
    options = []
    if subnet.gateway is not None:
        options.append(_option("routers", text.address(subnet.gateway)))
    options.append(_option("domain-name-servers", *_addresses(name, "DNS", subnet.dns_servers, subnet.rack_address)))
    options.append(_option("ntp-servers", *_addresses(name, "NTP", subnet.ntp_servers, subnet.rack_address)))
    if subnet.domain:
        options += [
            _option("domain-name", text.domain(subnet.domain)),
            _option("domain-search", text.domain(subnet.domain)),
        ]
    if vlan.mtu != STANDARD_MTU:
        options.append(_option("interface-mtu", str(vlan.mtu)))
    return {
        "id": subnet.subnet_id,
        "subnet": subnet.cidr,
        "interface": vlan.interface,
        "next-server": subnet.rack_address,
        "valid-lifetime": subnet.lease_seconds,
        "calculate-tee-times": True,
        "option-data": options,
        "require-client-classes": [f"{name}-{subnet.subnet_id}" for name, _ in CLASSES],
        "pools": [{"pool": f"{pool.start} - {pool.end}"} for pool in subnet.pools],
        "reservations": [_include(hosts_path(intent, subnet.subnet_id))],
    }


def _addresses(subnet: str, kind: str, given: tuple[str, ...], rack_address: str | None) -> list[str]:
    """The IPv4 addresses among `given`, the rack's own if there are none; names cannot be sent by DHCP."""
    found = []
    for value in given:
        try:
            parsed = ipaddress.ip_address(value)
        except ValueError as error:
            raise ValueError(f"{subnet}: {kind} server {value!r} is no address; DHCP sends addresses only") from error
        if parsed.version == 4:
            found.append(str(parsed))
    return found or [str(rack_address)]


def _contents(bundle: Bundle) -> frozenset[str]:
    """The subnets and pools of a bundle, read back from its text."""
    data = json.loads(re.sub(r"<\?include [^?]*\?>", "", bundle.files[0].text))["Dhcp4"]
    subnets = data["subnet4"] + [sub for network in data["shared-networks"] for sub in network["subnet4"]]
    return frozenset(
        name
        for subnet in subnets
        for name in (f"subnet {subnet['subnet']}", *(f"range {pool['pool']}" for pool in subnet["pools"]))
    )


def _probes(intent: RackIntent) -> tuple[ProbeSpec, ...]:
    """One DISCOVER on each served interface, answered from the address that Kea is bound to there."""
    return tuple(
        ProbeSpec(
            "dhcp4",
            (
                ("interface", vlan.interface),
                ("server", str(subnets[0].rack_address)),
                ("subnet_id", subnets[0].subnet_id),
                ("port", intent.ports.dhcp4),
            ),
        )
        for vlan, subnets in served_vlans(intent)
    )


SERVICE = ServiceSpec(
    name=NAME,
    title="DHCPv4 (Kea)",
    wanted=lambda intent: bool(served_vlans(intent)),
    render=render,
    # Raw sockets and a port below 1024 are all that Kea needs of root.
    command=(
        *("setpriv", "--reuid", "_kea", "--regid", "_kea", "--clear-groups"),
        *("--inh-caps", "+net_raw,+net_bind_service", "--ambient-caps", "+net_raw,+net_bind_service"),
        *("kea-dhcp4", "-c", f"{{current}}/{FILE}"),
    ),
    arguments=lambda intent: () if intent.ports.dhcp4 == 67 else ("-p", text.port(intent.ports.dhcp4)),
    # The checker may run as another user than the daemon, and must not leave it a lock file it cannot open.
    checker=("env", "KEA_LOCKFILE_DIR=none", "kea-dhcp4", "-t", f"{{staged}}/{FILE}"),
    user="_kea",
    channel="kea",
    probes=_probes,
    packages=("kea-dhcp4-server", "ipxe"),
    environment=(("KEA_LOCKFILE_DIR", "none"), ("KEA_PIDFILE_DIR", "{run}")),
    contents=_contents,
)
