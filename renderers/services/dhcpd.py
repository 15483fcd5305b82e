"""ISC dhcpd's DHCPv4 server, on racks that choose it, from the same intent as Kea's.

Hosts are not here: they are made, changed and destroyed by OMAPI and kept by dhcpd in its file of leases.
Each subnet says everything itself, its own first, then what people add from the widest scope to the narrowest, as in
dhcpd.conf(5) the last statement of a scope counts.  What a booting client is told is a chain of conditions in its
subnet, which dhcpd works through for every answer.
By default dhcpd renews no lease that is young (dhcp-cache-threshold), so that iPXE would keep the short one that firmware
got just before; that is switched off.
What differs from Kea: a change of structure is a restart (some tenths of a second); OMAPI listens on every address of
the rack and is closed by a key only (HMAC-SHA256, made on the rack); an address promised inside a dynamic range is not
kept from strangers by dhcpd; DHCPv6 stays Kea's.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.dhcp import dhcpd_form
from renderers.dhcp.boot import IPXE_LEASE_SECONDS, IPXE_OPTION, KINDS, NO_PROXY_DHCP, boot_files, ipxe_off
from renderers.dhcp.options import Option, of_snippets
from renderers.dhcp.routes import encode, with_default
from renderers.dhcp.subnets import check_range, ignores_strangers, is_authoritative, network_of, servers
from renderers.intent import PoolIntent, RackIntent, SubnetIntent, VlanIntent
from renderers.services import kea4
from renderers.spec import ProbeSpec, ServiceSpec, StateFile

NAME = "dhcpd"
FILE, LEASES = "dhcpd.conf", "leases"
USER = "root"
"""Debian's package has no user of its own; what root may do beyond sockets is taken away."""
KEY, SECRET = "muster-omapi", "omapi"
STANDARD_MTU = 1500
ROUTES, VENDOR_CLASS = 121, 60
_TESTS = {
    "ipxe": 'option user-class = "iPXE"',
    "uefi-http": 'option pxe-system-type = 00:10 and substring(option vendor-class-identifier, 0, 10) = "HTTPClient"',
    "uefi-x64": "(option pxe-system-type = 00:07 or option pxe-system-type = 00:09)",
    "bios": "option pxe-system-type = 00:00",
}
"""By kind, in dhcpd's words; the chain makes them exclude each other."""


def render(intent: RackIntent) -> Bundle:
    """The configuration, and an empty file of leases to start with. ValueError names what dhcpd cannot be told."""
    served = kea4.served_vlans(intent)
    lines = [
        "# Written by Muster.",
        "ddns-update-style none;",
        "deny bootp;",
        "deny duplicates;",
        "ping-check false;",
        "dhcp-cache-threshold 0;",
        f"omapi-port {text.port(intent.ports.omapi)};",
        f"key {KEY} {{",
        "  algorithm hmac-sha256;",
        f"  secret @secret:{SECRET}@;",
        "}",
        f"omapi-key {KEY};",
        *dhcpd_form.all_definitions(),
        *dhcpd_form.text(intent.snippets),
    ]
    for vlan, subnets in served:
        lines += ["", f"shared-network vlan-{vlan.vlan_id} {{", *_indented(_network(intent, vlan, subnets)), "}"]
    body = "\n".join(lines) + "\n"
    return Bundle(NAME, (RenderedFile(FILE, body, 0o640, USER), RenderedFile(LEASES, "", 0o644, USER)))


def _network(intent: RackIntent, vlan: VlanIntent, subnets: tuple[SubnetIntent, ...]) -> list[str]:
    lines = ["authoritative;" if is_authoritative(vlan) else "not authoritative;"]
    lines += dhcpd_form.text(vlan.snippets)
    for subnet in subnets:
        network = network_of(vlan, subnet)
        lines += [f"subnet {network.network_address} netmask {network.netmask} {{"]
        lines += [*_indented(_subnet(intent, vlan, subnet)), "}"]
    return lines


def _subnet(intent: RackIntent, vlan: VlanIntent, subnet: SubnetIntent) -> list[str]:
    rack = text.address(subnet.rack_address)
    lines = [f"next-server {rack};", *_lifetime(subnet.lease_seconds)]
    if subnet.gateway is not None:
        lines.append(f"option routers {text.address(subnet.gateway)};")
    if subnet.routes:
        lines.append(f"option muster-{ROUTES} = {encode(with_default(subnet.routes, subnet.gateway)).hex(':')};")
    lines.append(f"option domain-name-servers {', '.join(servers(subnet, 'DNS', subnet.dns_servers))};")
    lines.append(f"option ntp-servers {', '.join(servers(subnet, 'NTP', subnet.ntp_servers))};")
    if subnet.domain:
        domain = text.domain(subnet.domain)
        lines += [f'option domain-name "{domain}";', f'option domain-search "{domain}";']
    if vlan.mtu != STANDARD_MTU:
        lines.append(f"option interface-mtu {vlan.mtu};")
    added = _added(intent, vlan, subnet)
    lines += [*map(dhcpd_form.statement, added), *dhcpd_form.sent(option.code for option in added)]
    lines += _boot(intent, subnet, rack, [option.code for option in added])
    lines += dhcpd_form.text(subnet.snippets)
    for pool in subnet.pools if subnet.managed else ():
        lines += ["pool {", *_indented(_pool(subnet, pool, [option.code for option in added])), "}"]
    return lines


def _pool(subnet: SubnetIntent, pool: PoolIntent, sent: list[int]) -> list[str]:
    check_range(subnet, pool)
    lines = [f"range {pool.start} {pool.end};"]
    if ignores_strangers(subnet):
        lines.append("deny unknown-clients;")
    options = _of(pool)
    if options:
        codes = [*sent, *(option.code for option in options), VENDOR_CLASS]
        lines += [*map(dhcpd_form.statement, options), *dhcpd_form.sent(codes)]
    return [*lines, *dhcpd_form.text(pool.snippets)]


def _boot(intent: RackIntent, subnet: SubnetIntent, rack: str, sent: list[int]) -> list[str]:
    """The chain of conditions: every kind has its lifetime, and a boot file unless its architecture is off."""
    files = boot_files(intent, subnet)
    lines: list[str] = []
    for kind in KINDS:
        lines.append(f"{'if' if not lines else '} elsif'} {_TESTS[kind]} {{")
        ipxe = max(IPXE_LEASE_SECONDS, subnet.lease_seconds)
        lines += _indented(_lifetime(ipxe if kind == "ipxe" else subnet.boot_lease_seconds))
        if kind not in files:
            continue
        told = _told(rack, files[kind], kind, sent)
        off = ipxe_off(subnet) if kind == "ipxe" else ()
        if off:
            types = " or ".join(f"option pxe-system-type = {number >> 8:02x}:{number & 255:02x}" for number in off)
            told = [f"if not ({types}) {{", *_indented(told), "}"]
        lines += _indented(told)
    return [*lines, "}"]


def _told(rack: str, file: str, kind: str, sent: list[int]) -> list[str]:
    if '"' in text.plain(file) or "\\" in file:
        raise ValueError(f"boot file {file!r}: holds a quote or a backslash")
    lines = [f'filename "{file}";', f'option tftp-server-name "{rack}";', f'option bootfile-name "{file}";']
    if kind == "uefi-http":
        # The firmware takes an offer only if it calls itself HTTPClient (UEFI 2.10, section 24.7.3.1), and does not ask.
        lines += ['option vendor-class-identifier "HTTPClient";', *dhcpd_form.sent([*sent, VENDOR_CLASS])]
    elif kind == "ipxe" and IPXE_OPTION not in sent:
        lines.append(f"option muster-{IPXE_OPTION} = {NO_PROXY_DHCP.hex(':')};")
    return lines


def _lifetime(seconds: int) -> list[str]:
    """Clients may ask for another time and do not get it."""
    return [f"{word}-lease-time {seconds};" for word in ("min", "default", "max")]


def _added(intent: RackIntent, vlan: VlanIntent, subnet: SubnetIntent) -> list[Option]:
    """The options that people add for a whole subnet, the widest scope first."""
    scopes = ((intent.snippets, "global"), (vlan.snippets, "vlan"), (subnet.snippets, "subnet"))
    return [option for snippets, scope in scopes for option in of_snippets(snippets, scope, 4)]


def _of(pool: PoolIntent) -> tuple[Option, ...]:
    return of_snippets(pool.snippets, "range", 4)


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _probes(intent: RackIntent) -> tuple[ProbeSpec, ...]:
    """Those of Kea where dhcpd answers a stranger: it does not count what it hears, so silence says nothing."""
    answering = {
        subnets[0].subnet_id
        for vlan, subnets in kea4.served_vlans(intent)
        if not vlan.relayed and any(one.pools and one.managed and not ignores_strangers(one) for one in subnets)
    }
    return tuple(probe for probe in kea4.probes(intent) if probe.parameter("subnet_id") in answering)


def _contents(bundle: Bundle) -> frozenset[str]:
    words = (line.split() for file in bundle.files if file.path == FILE for line in file.text.splitlines())
    found = set()
    for line in words:
        if line[:1] == ["subnet"] and line[-1:] == ["{"]:
            found.add(f"subnet {ipaddress.IPv4Network(f'{line[1]}/{line[3]}')}")
        elif line[:1] == ["range"] and len(line) == 3:
            found.add(f"range {line[1]} - {line[2].rstrip(';')}")
    return frozenset(found)


SERVICE = ServiceSpec(
    name=NAME,
    title="DHCPv4 (ISC dhcpd)",
    wanted=lambda intent: intent.dhcp_server == NAME and bool(kea4.served_vlans(intent)),
    render=render,
    command=(
        *("setpriv", "--clear-groups", "--bounding-set", "-all,+net_raw,+net_bind_service"),
        *("dhcpd", "-4", "-d", "--no-pid", "-cf", f"{{current}}/{FILE}", "-lf", "{state}/dhcpd.leases"),
    ),
    arguments=lambda intent: (
        *(() if intent.ports.dhcp4 == 67 else ("-p", text.port(intent.ports.dhcp4))),
        *sorted({text.interface(vlan.interface) for vlan, _ in kea4.served_vlans(intent)}),
    ),
    checker=("dhcpd", "-4", "-t", "-cf", f"{{staged}}/{FILE}", "-lf", "/dev/null"),
    user=USER,
    channel="dhcpd",
    probes=_probes,
    packages=("isc-dhcp-server", "ipxe"),
    rival_units=("isc-dhcp-server.service",),
    state_files=lambda intent: (StateFile("dhcpd.leases", LEASES),),
    contents=_contents,
)
