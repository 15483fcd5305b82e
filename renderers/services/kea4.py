"""Kea's DHCPv4 server: structure as JSON, built as data and dumped, never templated.

Hosts are not here: they are in the hosts database, or in files that are included, see `renderers.kea`.  Client classes and boot
files are in `renderers.dhcp.kea_classes`, subnets and pools in `renderers.dhcp.kea_scopes4`.
Not Kea's defaults: `match-client-id` is off, because firmware, iPXE and the system of one machine send different client
ids and must get the same address; sockets are bound to one address per interface, or a client would get one offer per
address.
Firmware keeps its address for seconds (iPXE asks again, with the same MAC, and gets the same one); iPXE's is taken over
by an ephemeral system that never renews it, so it must outlast a commissioning.
The lease commands (hook `libdhcp_lease_cmds`, Kea ARM "The lease_cmds hook") let the rack end the lease of a machine
that has lost its address.  Where the library lies depends on the architecture, so the rack reports it; a rack without it
serves all the same, and an address that was freed waits for its old lease.
"""

from __future__ import annotations

import ipaddress

from renderers import kea, text
from renderers.bundle import Bundle, RenderedFile
from renderers.dhcp import kea_classes, kea_ha, kea_layers
from renderers.dhcp.kea_scopes4 import network_entry, subnet_entry
from renderers.intent import RackIntent, SubnetIntent, VlanIntent
from renderers.spec import ProbeSpec, ServiceSpec

NAME = "kea4"
FILE = "kea-dhcp4.conf"
Served = tuple[tuple[VlanIntent, tuple[SubnetIntent, ...]], ...]


def served_vlans(intent: RackIntent) -> Served:
    """The VLANs on which this rack serves DHCPv4, each with the subnets in which it has an address for clients."""
    pairs = [
        (vlan, tuple(sub for sub in vlan.subnets if sub.family == 4 and sub.rack_address is not None))
        for vlan in intent.vlans
        if vlan.dhcp_on and (not vlan.secondary or kea_ha.partners(intent, NAME) is not None)
    ]
    return tuple((vlan, subnets) for vlan, subnets in pairs if subnets)


def render(intent: RackIntent) -> Bundle:
    """One JSON file. ValueError names what Kea's syntax or DHCPv4 cannot say."""
    configuration = RenderedFile(FILE, kea.dump({"Dhcp4": _dhcp4(intent)}), 0o640, "_kea")
    return Bundle(NAME, (*kea_ha.files(intent, NAME), configuration))


def listening(served: Served) -> dict[str, str]:
    """The one address on each interface that Kea is bound to. A VLAN's own comes before what is relayed there."""
    found: dict[str, str] = {}
    for vlan, subnets in sorted(served, key=lambda pair: pair[0].relayed):
        found.setdefault(text.interface(vlan.interface), str(subnets[0].rack_address))
    return found


def _dhcp4(intent: RackIntent) -> dict[str, object]:
    served = served_vlans(intent)
    lists = [(vlan, [subnet_entry(intent, NAME, vlan, subnet) for subnet in subnets]) for vlan, subnets in served]
    shared = {vlan.vlan_id: kea_layers.is_shared(vlan, subnets, NAME) for vlan, subnets in lists}
    entry = {
        "interfaces-config": {
            "interfaces": sorted(f"{interface}/{address}" for interface, address in listening(served).items()),
            "dhcp-socket-type": "raw",
        },
        "control-socket": {"socket-type": "unix", "socket-name": intent.layout.run_path(NAME, "kea4-ctrl-socket")},
        "hooks-libraries": [*kea.hooks(intent), *kea_ha.hook(intent, NAME)],
        **kea_ha.settings(intent, NAME),
        **kea.hosts_database(intent),
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
            *kea_classes.kinds(served),
            *(made for _, subnets in served for subnet in subnets for made in kea_classes.answers(intent, subnet)),
        ],
        "shared-networks": [network_entry(vlan, subnets) for vlan, subnets in lists if shared[vlan.vlan_id]],
        "subnet4": [subnet for vlan, subnets in lists if not shared[vlan.vlan_id] for subnet in subnets]
        + kea_ha.known_subnets(intent, NAME),
        "loggers": [{"name": "kea-dhcp4", "output_options": [{"output": "stdout"}], "severity": "INFO"}],
    }
    return kea_layers.whole(entry, intent, NAME)


def probes(intent: RackIntent) -> tuple[ProbeSpec, ...]:
    """One DISCOVER for each served VLAN, answered from the address that Kea is bound to on its interface.

    A relayed VLAN's carries the address that its relay agent would have there (giaddr): the gateway's.
    """
    served = served_vlans(intent)
    bound = listening(served)
    return tuple(
        ProbeSpec(
            "dhcp4",
            (
                ("interface", vlan.interface),
                ("server", bound[vlan.interface]),
                ("subnet_id", subnets[0].subnet_id),
                ("port", intent.ports.dhcp4),
                *((("giaddr", _relay_address(subnets[0])),) if vlan.relayed else ()),
            ),
        )
        for vlan, subnets in served
    )


def _relay_address(subnet: SubnetIntent) -> str:
    network = ipaddress.IPv4Network(text.network(subnet.cidr))
    return subnet.gateway or str(network.network_address + (1 if network.prefixlen < 31 else 0))


SERVICE = ServiceSpec(
    name=NAME,
    title="DHCPv4 (Kea)",
    wanted=lambda intent: intent.dhcp_server == "kea" and bool(served_vlans(intent)),
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
    probes=probes,
    packages=("kea-dhcp4-server", "ipxe"),
    rival_units=("kea-dhcp4-server.service",),
    environment=kea.ENVIRONMENT,
    run_mode=kea.RUN_MODE,
    contents=lambda bundle: kea.contents(bundle.files[-1].text, "Dhcp4", "subnet4"),
)
