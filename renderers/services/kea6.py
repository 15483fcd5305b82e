"""Kea's DHCPv6 server: addresses, options and the boot file URL for every IPv6 subnet in which the rack has an address.

It follows `kea4`, with what differs in DHCPv6 (RFC 8415):
- Clients are known by the MAC of the interface that asks, as everywhere in Muster, and not by their DUID, which
  firmware, iPXE and the system of one machine make up each for itself.  A DHCPv6 message carries no MAC, so Kea takes
  it from the relay agent's option 79 (RFC 6939), from a link-local address made of it (RFC 4291, appendix A), and from
  the DUID last: a DUID may name another interface of the machine.  Kea 2 believes a link-local address only if the MAC
  in it is a manufacturer's; a virtual machine's, locally administered, is told by its DUID or not at all, and such a
  client gets an address from the dynamic ranges.
- There is no next-server: the boot file is one URL (option 59, RFC 5970), chosen by the architecture (option 61) and
  iPXE's user class (option 15).  Firmware that boots over HTTP takes an answer only if its vendor class (option 16)
  says HTTPClient (UEFI 2.10, section 24.7.3.1).
- There is no gateway either: only router advertisements name one, and a rack never does.
- NTP servers go by option 56 (RFC 5908), which Kea 2 has no name for.
The server's DUID is made from the rack's name and its control plane, so that it outlives the rack's disk and the probe
knows whose answer it takes.
"""

from __future__ import annotations

import hashlib
import ipaddress

from renderers import kea, text
from renderers.bundle import Bundle, RenderedFile
from renderers.dhcp import kea_ha, kea_layers
from renderers.dhcp.boot import LOADERS, boot_files
from renderers.dhcp.kea_classes import TESTS6, ipxe_test, kinds
from renderers.dhcp.kea_options import option
from renderers.dhcp.subnets import network_of, servers
from renderers.intent import RackIntent, SubnetIntent, VlanIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "kea6"
FILE = "kea-dhcp6.conf"
LOADER = LOADERS["uefi-x64"]
Served = tuple[tuple[VlanIntent, tuple[SubnetIntent, ...]], ...]
_ENTERPRISE = 2495
"""ISC's number, under which Kea makes DUIDs of type EN (RFC 8415, section 11.3)."""
_UEFI_HTTP_CLASS = bytes.fromhex("00000157") + len(b"HTTPClient").to_bytes(2) + b"HTTPClient"
"""Option 16 as firmware sends it: enterprise number 343, then one vendor class with its length."""
_NTP_OPTION = 56
_SOCKET_RETRIES, _SOCKET_WAIT_MILLISECONDS = 60, 1000


def served_vlans(intent: RackIntent) -> Served:
    """The VLANs on which this rack serves DHCPv6, each with the subnets in which the rack has an address.

    Where it is secondary it does so as a partner or not at all.
    """
    pairs = [
        (vlan, tuple(sub for sub in vlan.subnets if sub.family == 6 and sub.rack_address is not None))
        for vlan in intent.vlans
        if vlan.dhcp_on and (not vlan.secondary or kea_ha.partners(intent, NAME) is not None)
    ]
    return tuple((vlan, subnets) for vlan, subnets in pairs if subnets)


def server_duid(intent: RackIntent) -> bytes:
    """The DUID by which this rack's server is known: type EN, an identifier of 12 bytes."""
    return (2).to_bytes(2) + _ENTERPRISE.to_bytes(4) + _identifier(intent)


def _identifier(intent: RackIntent) -> bytes:
    return hashlib.sha256(f"muster rack {intent.rack_name} of {intent.control_plane_host}".encode()).digest()[:12]


def render(intent: RackIntent) -> Bundle:
    """One JSON file. ValueError names what Kea's syntax or DHCPv6 cannot say."""
    configuration = RenderedFile(FILE, kea.dump({"Dhcp6": _dhcp6(intent)}), 0o640, "_kea")
    return Bundle(NAME, (*kea_ha.files(intent, NAME), configuration))


def _dhcp6(intent: RackIntent) -> dict[str, object]:
    served = served_vlans(intent)
    lists = [(vlan, [_subnet(intent, vlan, subnet) for subnet in subnets]) for vlan, subnets in served]
    shared = {vlan.vlan_id: kea_layers.is_shared(vlan, subnets, NAME) for vlan, subnets in lists}
    entry: dict[str, object] = {
        "interfaces-config": {
            "interfaces": _sockets(served),
            # An interface that has just come up has no link-local address yet (RFC 4862, section 5.4).
            "service-sockets-max-retries": _SOCKET_RETRIES,
            "service-sockets-retry-wait-time": _SOCKET_WAIT_MILLISECONDS,
        },
        "server-id": {
            "type": "EN",
            "enterprise-id": _ENTERPRISE,
            "identifier": _identifier(intent).hex().upper(),
            "persist": False,
        },
        "data-directory": intent.layout.state_path(NAME),
        "control-socket": {"socket-type": "unix", "socket-name": intent.layout.run_path(NAME, "kea6-ctrl-socket")},
        "hooks-libraries": [*kea.hooks(intent), *kea_ha.hook(intent, NAME)],
        **kea_ha.settings(intent, NAME),
        **kea.hosts_database(intent),
        "lease-database": {
            "type": "memfile",
            "persist": True,
            "name": intent.layout.state_path(NAME, "kea-leases6.csv"),
            "lfc-interval": 3600,
        },
        "mac-sources": ["client-link-addr-option", "ipv6-link-local", "duid"],
        "host-reservation-identifiers": ["hw-address"],
        "reservations-global": False,
        "reservations-in-subnet": True,
        # A host may be given an address inside a pool; Kea then keeps it from everybody else.
        "reservations-out-of-pool": False,
        "decline-probation-period": 300,
        "expired-leases-processing": {"reclaim-timer-wait-time": 10, "hold-reclaimed-time": 3600},
        "dhcp-ddns": {"enable-updates": False},
        "option-def": [{"name": "ntp-server", "code": _NTP_OPTION, "space": "dhcp6", "type": "binary"}],
        "client-classes": [
            *kinds(served, TESTS6, ("preferred-lifetime", "valid-lifetime")),
            *(made for _, subnets in served for subnet in subnets for made in _answers(intent, subnet)),
        ],
        "shared-networks": [
            kea_layers.network({"name": f"vlan-{vlan.vlan_id}", **_on_link(vlan), "subnet6": subnets}, vlan, NAME)
            for vlan, subnets in lists
            if shared[vlan.vlan_id]
        ],
        "subnet6": [subnet for vlan, subnets in lists if not shared[vlan.vlan_id] for subnet in subnets]
        + kea_ha.known_subnets(intent, NAME),
        "loggers": [{"name": "kea-dhcp6", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    }
    return kea_layers.whole(entry, intent, NAME)


def _answers(intent: RackIntent, subnet: SubnetIntent) -> list[dict[str, object]]:
    """The classes that say what a booting client is told in this subnet, asked for or not."""
    made: list[dict[str, object]] = []
    for name, url in _boot_urls(intent, subnet).items():
        options = [option("bootfile-url", url)]
        if name == "uefi-http":
            options.append(_binary("vendor-class", _UEFI_HTTP_CLASS))
        made.append(
            {
                "name": f"{name}-{subnet.subnet_id}",
                "test": ipxe_test(subnet) if name == "ipxe" else f"member('{name}')",
                "only-if-required": True,
                "option-data": options,
            }
        )
    return made


def _boot_urls(intent: RackIntent, subnet: SubnetIntent) -> dict[str, str]:
    """Boot file by kind, for the kinds that are told one in the subnet."""
    rack = text.bracketed(str(subnet.rack_address))
    files = boot_files(intent, subnet)
    return {
        name: files[name] if files[name].startswith("http") else f"tftp://{rack}/{files[name]}"
        for name, _ in TESTS6
        if name in files
    }


def _binary(name: str, value: bytes) -> dict[str, object]:
    """One option by its bytes."""
    return {"name": name, "csv-format": False, "data": value.hex().upper(), "always-send": True}


def ntp_option(addresses: list[str]) -> bytes:
    """The value of option 56: one server address suboption (RFC 5908, section 4.1) for each address."""
    packed = (ipaddress.IPv6Address(address).packed for address in addresses)
    return b"".join((1).to_bytes(2) + len(value).to_bytes(2) + value for value in packed)


def _subnet(intent: RackIntent, vlan: VlanIntent, subnet: SubnetIntent) -> dict[str, object]:
    network_of(vlan, subnet)
    options = [
        option("dns-servers", *servers(subnet, "DNS", subnet.dns_servers)),
        _binary("ntp-server", ntp_option(servers(subnet, "NTP", subnet.ntp_servers))),
    ]
    if subnet.domain:
        options.append(option("domain-search", text.domain(subnet.domain)))
    entry: dict[str, object] = {
        "id": subnet.subnet_id,
        "subnet": subnet.cidr,
        **_on_link(vlan),
        "preferred-lifetime": subnet.lease_seconds,
        "valid-lifetime": subnet.lease_seconds,
        "calculate-tee-times": True,
        "rapid-commit": False,
        "option-data": kea_layers.subnet_options(options, intent, vlan, subnet, NAME),
        "require-client-classes": [f"{kind}-{subnet.subnet_id}" for kind in _boot_urls(intent, subnet)],
        "pools": [kea_layers.pool(subnet, pool, NAME) for pool in subnet.pools if subnet.managed],
        "reservations": kea.reservations(intent, NAME, subnet.subnet_id),
    }
    return kea_layers.subnet(entry, subnet, NAME)


def _on_link(vlan: VlanIntent) -> dict[str, object]:
    """Where clients ask directly.  A relayed VLAN's subnets are found by the relay agent's address alone."""
    return {} if vlan.relayed else {"interface": vlan.interface}


def _sockets(served: Served) -> list[str]:
    """The interfaces; where relay agents ask, also the address at which they do: the interface alone means multicast."""
    found = {text.interface(vlan.interface) for vlan, _ in served}
    relayed = [(vlan.interface, subnet) for vlan, subnets in served if vlan.relayed for subnet in subnets]
    return sorted(found | {f"{interface}/{text.address(subnet.rack_address)}" for interface, subnet in relayed})


def _probes(intent: RackIntent) -> tuple[ProbeSpec, ...]:
    """One SOLICIT for each served VLAN, answered under our own DUID.

    A relayed VLAN's is one that a relay agent brings, with an address of its network as the client's link.
    """
    return tuple(
        ProbeSpec(
            "dhcp6",
            (
                ("interface", vlan.interface),
                ("server", server_duid(intent).hex()),
                ("subnet_id", subnets[0].subnet_id),
                ("port", intent.ports.dhcp6),
                *((("link", _link(subnets[0])), ("source", str(subnets[0].rack_address))) if vlan.relayed else ()),
            ),
        )
        for vlan, subnets in served_vlans(intent)
    )


def _link(subnet: SubnetIntent) -> str:
    """An address of the subnet; a gateway's link-local one would name no subnet."""
    network = ipaddress.IPv6Network(text.network(subnet.cidr))
    return str(network.network_address + (1 if network.prefixlen < 127 else 0))


SERVICE = ServiceSpec(
    name=NAME,
    title="DHCPv6 (Kea)",
    wanted=lambda intent: bool(served_vlans(intent)),
    render=render,
    # A port below 1024 is all that Kea needs of root: DHCPv6 has no raw sockets.
    command=(
        *("setpriv", "--reuid", "_kea", "--regid", "_kea", "--clear-groups"),
        *("--inh-caps", "+net_bind_service", "--ambient-caps", "+net_bind_service"),
        *("kea-dhcp6", "-c", f"{{current}}/{FILE}"),
    ),
    arguments=lambda intent: () if intent.ports.dhcp6 == 547 else ("-p", text.port(intent.ports.dhcp6)),
    # The checker may run as another user than the daemon, and must not leave it a lock file it cannot open.
    checker=("env", "KEA_LOCKFILE_DIR=none", "kea-dhcp6", "-t", f"{{staged}}/{FILE}"),
    user="_kea",
    channel="kea",
    probes=_probes,
    packages=("kea-dhcp6-server", "ipxe"),
    rival_units=("kea-dhcp6-server.service",),
    environment=kea.ENVIRONMENT,
    run_mode=kea.RUN_MODE,
    contents=lambda bundle: kea.contents(bundle.files[-1].text, "Dhcp6", "subnet6"),
)
