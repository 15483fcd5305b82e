"""`muster subnet`, `range`, `route`: networks, what is handed out of them, and how their clients reach each other."""

from __future__ import annotations

from app.cli.resource import FLAG, NUMBER, TEXT, TEXTS, Kind, make

SUBNET_OPTIONS = (
    ("name", TEXT, "Name."),
    ("description", TEXT, "Words about it."),
    ("domain_id", NUMBER, "Domain of its machines."),
    ("gateway", TEXT, "Default gateway; '' for none."),
    ("dns_servers", TEXTS, "DNS server of its clients, instead of the rack."),
    ("managed", FLAG, "Whether Muster hands out what lies outside the ranges, or only reserved ranges."),
    ("lease_seconds", NUMBER, "How long DHCP leases live."),
    ("boot_lease_seconds", NUMBER, "How long they live for clients that are booting."),
    ("reverse_dns", ("off", "on", "rfc2317"), "Whether it has a reverse zone; rfc2317: also when smaller than a /24."),
    ("allow_dns", FLAG, "Whether racks answer its clients' recursive queries."),
    ("allow_proxy", FLAG, "Whether racks' proxies serve its clients."),
    ("disabled_boot_architectures", TEXTS, "Firmware that may not boot there: bios, uefi-x64, uefi-http."),
    ("unknown_clients", ("serve", "ignore"), "What DHCP does for MAC addresses that nobody has heard of."),
)
RANGE_KIND = ("kind", ("dynamic", "reserved", "static_pool"), "What is done with it.")
COMMENT = ("comment", TEXT, "What it is for.")
METRIC = ("metric", NUMBER, "Preference among routes; the lowest wins.")
SUBNET = Kind(
    "subnet",
    "IP networks on VLANs.",
    ("id", "cidr", "name", "vlan_id", "domain", "gateway", "managed"),
    ("cidr",),
    (
        ("vlan_id", NUMBER, "VLAN it is on; the default fabric's untagged one otherwise."),
        ("fabric", TEXT, "Name of a new fabric that it is the first subnet of."),
        *SUBNET_OPTIONS,
    ),
    (("vlan_id", NUMBER, "VLAN it is on."), *SUBNET_OPTIONS),
    (("vlan_id", NUMBER, "On this VLAN."), ("address", TEXT, "The one that holds this address.")),
)
RANGE = Kind(
    "range",
    "Ranges of subnets: dynamic (DHCP), reserved, or static pools.",
    ("id", "subnet_id", "kind", "start", "end", "comment"),
    ("start", "end"),
    (("subnet_id", NUMBER, "Subnet."), RANGE_KIND, COMMENT),
    (RANGE_KIND, ("start", TEXT, "First."), ("end", TEXT, "Last."), COMMENT),
    (("subnet_id", NUMBER, "Of this subnet."), RANGE_KIND),
    forced=True,
)
ROUTE = Kind(
    "route",
    "Static routes: how clients of one subnet reach another.",
    ("id", "source", "destination", "gateway", "metric"),
    (),
    (
        ("source_id", NUMBER, "Subnet whose clients have the route."),
        ("destination_id", NUMBER, "Subnet that they reach by it."),
        ("gateway", TEXT, "Through which address of the source subnet."),
        METRIC,
    ),
    (
        ("destination_id", NUMBER, "Subnet that they reach by it."),
        ("gateway", TEXT, "Through which address of the source subnet."),
        METRIC,
    ),
    (("subnet_id", NUMBER, "That begin or end in this subnet."),),
)
COMMANDS = tuple(make(kind) for kind in (SUBNET, RANGE, ROUTE))
