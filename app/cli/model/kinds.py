"""The kinds of things in a model file: what they are named by, what may be said of them, and what is meant by silence.

A thing is a dictionary of all its fields.  Things are kept by kind and key, the values of the fields that name them.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Key = tuple[Any, ...]
Thing = dict[str, Any]
Model = dict[str, dict[Key, Thing]]
"""Things by kind and key.  A kind that is missing is one that a file says nothing of."""
REQUIRED = object()


@dataclass(frozen=True)
class Field:
    """Something that is said of a thing.

    form: text, words (free text), number, flag, mac, address, cidr; many: whether it is a list.  default: what is meant where
    a file is silent; a function is given the thing.  ref: the kind that it names one of.  column: what the API calls it.
    fixed: it cannot be changed, so that a thing with another value takes the place of the present one.
    """

    name: str
    form: str = "text"
    default: Any = REQUIRED
    many: bool = False
    ref: str | None = None
    column: str = ""
    choices: tuple[str, ...] = ()
    fixed: bool = False

    @property
    def api(self) -> str:
        """What the API calls it."""
        return self.column or (f"{self.name}_id" if self.ref else self.name)

    def silent(self, thing: Thing) -> Any:
        """What is meant where a file is silent."""
        made = self.default(thing) if callable(self.default) else self.default
        return list(made) if isinstance(made, tuple) else made


@dataclass(frozen=True)
class Kind:
    """One kind of thing.

    name: its section in a file, or in the thing that it lies `inside`.  inherits: its fields that are the outer thing's, by
    the outer thing's names.  label: how others refer to it.  goes_along: whether it goes with its outer thing.
    """

    name: str
    word: str
    key: tuple[str, ...]
    fields: tuple[Field, ...]
    path: str = ""
    inside: str | None = None
    inherits: tuple[tuple[str, str], ...] = ()
    label: Callable[[Key], str] = lambda key: str(key[0])
    goes_along: bool = False
    in_order: bool = False

    @property
    def own(self) -> tuple[Field, ...]:
        """The fields that a file says of it itself."""
        taken = {mine for mine, _ in self.inherits}
        return tuple(field for field in self.fields if field.name not in taken)

    def field(self, name: str) -> Field:
        """The field of a name."""
        return next(field for field in self.fields if field.name == name)

    def key_of(self, thing: Thing) -> Key:
        """What names a thing."""
        return tuple(thing[name] for name in self.key)

    def called(self, key: Key) -> str:
        """How people are told of a thing."""
        return f"{self.word} {' '.join(str(part) for part in key)}"


def _vlan_name(thing: Thing) -> str:
    return "untagged" if thing["vid"] == 0 else f"vlan-{thing['vid']}"


def _vlan_label(key: Key) -> str:
    return f"{key[0]}/{key[1]}"


ABOUT = Field("description", "words", "")
COMMENT = Field("comment", "words", "")
SERVING = ("relay_vlan", "rack", "secondary_rack", "dhcp_on", "router_advertisements")
"""What is said of a VLAN once the subnets are there in which its racks have addresses."""
SETTINGS = (
    "dns_forwarders", "dnssec_validation", "kernel_options", "network_discovery", "ntp_upstreams", "proxy", "rollout",
)  # fmt: skip
"""Settings of the network; those of people and of housekeeping are no part of a model."""
KINDS = {
    kind.name: kind
    for kind in (
        Kind("settings", "setting", ("name",), (Field("name"), Field("value", "value")), "/settings"),
        Kind("spaces", "space", ("name",), (Field("name"), ABOUT), "/spaces"),
        Kind("fabrics", "fabric", ("name",), (Field("name"), ABOUT), "/fabrics"),
        Kind(
            "vlans",
            "VLAN",
            ("fabric", "vid"),
            (
                Field("fabric", ref="fabrics"),
                Field("vid", "number"),
                Field("name", default=_vlan_name),
                Field("mtu", "number", 1500),
                Field("space", default=None, ref="spaces"),
                Field("relay_vlan", default=None, ref="vlans"),
                Field("rack", default=None, ref="racks"),
                Field("secondary_rack", default=None, ref="racks"),
                Field("dhcp_on", "flag", False),
                Field("router_advertisements", "flag", False),
            ),
            "/vlans",
            inside="fabrics",
            inherits=(("fabric", "name"),),
            label=_vlan_label,
            goes_along=True,
        ),
        Kind(
            "domains",
            "domain",
            ("name",),
            (Field("name"), Field("ttl_seconds", "number", 30), Field("primary_rack", default=None, ref="racks"), ABOUT),
            "/domains",
        ),
        Kind(
            "records",
            "record",
            ("domain", "name", "type", "data"),
            (
                Field("domain"),
                Field("name"),
                Field("type", choices=("A", "AAAA", "CNAME", "MX", "NS", "SRV", "SSHFP", "TXT")),
                Field("data", "words"),
                Field("ttl_seconds", "number", None),
            ),
            inside="domains",
            inherits=(("domain", "name"),),
            goes_along=True,
        ),
        Kind(
            "subnets",
            "subnet",
            ("cidr",),
            (
                Field("cidr", "cidr"),
                Field("name", default=lambda thing: thing["cidr"]),
                Field("vlan", ref="vlans"),
                Field("domain", ref="domains"),
                Field("gateway", "address", None),
                Field("dns_servers", "address", (), many=True),
                Field("managed", "flag", True),
                Field("lease_seconds", "number", 600),
                Field("boot_lease_seconds", "number", 120),
                Field("reverse_dns", default="rfc2317", choices=("off", "on", "rfc2317")),
                Field("allow_dns", "flag", True),
                Field("allow_proxy", "flag", True),
                Field("disabled_boot_architectures", default=(), many=True),
                Field("unknown_clients", default="serve", choices=("serve", "ignore")),
                Field("slaac", "flag", False),
                ABOUT,
            ),
            "/subnets",
        ),
        Kind(
            "ranges",
            "range",
            ("subnet", "start"),
            (
                Field("subnet", "cidr", ref="subnets"),
                Field("start", "address"),
                Field("end", "address"),
                Field("kind", choices=("dynamic", "reserved", "static_pool")),
                COMMENT,
            ),
            "/ranges",
            inside="subnets",
            inherits=(("subnet", "cidr"),),
            label=lambda key: str(key[1]),
        ),
        Kind(
            "routes",
            "route",
            ("source", "destination", "gateway"),
            (
                Field("source", "cidr", ref="subnets"),
                Field("destination", "cidr", ref="subnets"),
                Field("gateway", "address"),
                Field("metric", "number", 0),
            ),
            "/routes",
        ),
        Kind(
            "reservations",
            "reservation",
            ("address",),
            (Field("address", "address"), Field("mac", "mac"), Field("hostname", default=None), COMMENT),
            "/reservations",
        ),
        Kind(
            "reserved_addresses",
            "reserved address",
            ("address",),
            (Field("address", "address"), Field("hostname", default=None, fixed=True),
             Field("comment", "words", "", fixed=True)),
            "/addresses",
        ),
        Kind(
            "devices",
            "device",
            ("hostname",),
            (
                Field("hostname"),
                Field("domain"),
                Field("zone"),
                Field("owner", default=None),
                Field("parent", default=None),
                ABOUT,
            ),
            "/devices",
        ),
        Kind(
            "interfaces",
            "interface",
            ("device", "mac"),
            (Field("device"), Field("mac", "mac"), Field("name")),
            inside="devices",
            inherits=(("device", "hostname"),),
            goes_along=True,
            in_order=True,
        ),
        Kind(
            "links",
            "link",
            ("device", "mac", "subnet"),
            (
                Field("device"),
                Field("mac", "mac"),
                Field("subnet", "cidr", ref="subnets"),
                Field("mode", choices=("auto", "sticky", "static", "dhcp")),
                Field("address", "address", None),
            ),
            inside="interfaces",
            inherits=(("device", "device"), ("mac", "mac")),
            goes_along=True,
        ),
        Kind(
            "package_repositories",
            "package repository",
            ("name",),
            (
                Field("name"),
                Field("url"),
                Field("os", default="debian"),
                Field("main", "flag", False),
                Field("enabled", "flag", True),
                Field("suites", default=(), many=True),
                Field("components", default=(), many=True),
                Field("architectures", default=(), many=True),
                Field("key", "words", ""),
            ),
            "/package-repositories",
        ),
        Kind(
            "snippets",
            "DHCP snippet",
            ("name",),
            (
                Field("name"),
                Field("kind", choices=("option", "kea4", "kea6", "dhcpd"), fixed=True),
                Field("vlan", default=None, ref="vlans", fixed=True),
                Field("subnet", "cidr", None, ref="subnets", fixed=True),
                Field("range", "address", None, ref="ranges", fixed=True),
                Field("machine", default=None, ref="machines", fixed=True),
                Field("body", "words"),
                Field("enabled", "flag", True),
                ABOUT,
            ),
            "/dhcp-snippets",
        ),
    )
}  # fmt: skip
OUTER = tuple(kind for kind in KINDS.values() if kind.inside is None)


def inner(kind: Kind) -> list[Kind]:
    """The kinds of things that lie inside things of a kind."""
    return [one for one in KINDS.values() if one.inside == kind.name]


def outer_key(kind: Kind, thing: Thing) -> Key:
    """The key of the thing that a thing lies inside."""
    return tuple(thing[mine] for mine, _ in kind.inherits)


def complete(kind: Kind, said: Thing) -> Thing:
    """A thing with what is meant where it is silent."""
    made: Thing = {}
    for field in kind.fields:
        made[field.name] = said[field.name] if field.name in said else field.silent(made)
    return made


def sort_key(key: Key) -> list[tuple[int, Any]]:
    """An order of keys for people: networks and addresses by number, not by letter."""
    return [_place(part) for part in key]


def _place(part: Any) -> tuple[int, Any]:
    if isinstance(part, int):
        return (0, (part,))
    try:
        network = ipaddress.ip_network(part)
    except ValueError:
        return (1, (str(part),))
    return (0, (network.version, int(network.network_address), network.prefixlen))
