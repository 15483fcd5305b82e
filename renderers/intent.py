"""RackIntent: everything that one rack should serve, frozen, and all that a renderer may see.

It holds *structure* only (subnets, pools, zones, settings).  *Records* (one DHCP host, one RRset) are many and travel
on their own plane, so that a bundle costs the same at 50,000 hosts as at 100; see `workers.rack.records`.
Addresses and networks are text in canonical form here: renderers quote, they do not calculate policy.
Row ids are part of the intent where a daemon needs a number that is never reused (Kea's `subnet-id`).
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class RackLayout:
    """Where a rack host keeps its files; absolute paths, reported by the rack when it enrols.

    root: the rack's state directory.  `config_path` is where a service's activated bundle is found, `state_path` where
    its daemon may write, `run_path` where sockets and pid files are.
    kea_lease_hook, kea_host_hook: Kea's libraries of lease and host commands, as the rack has found them; empty where it
    has none.
    postgres_programs: directory of PostgreSQL's programs where the rack may keep a hosts database; empty where it may not.
    control_plane_ca: file of the authorities that the control plane's certificate is checked with; empty where the rack
    reaches it by plain http.
    """

    root: str = "/var/lib/muster-rack"
    boot_files: str = "/usr/lib/ipxe"
    kea_lease_hook: str = ""
    kea_host_hook: str = ""
    postgres_programs: str = ""
    control_plane_ca: str = ""

    def config_path(self, service: str, name: str = "") -> str:
        """Path of a file in the service's activated bundle (a symbolic link that is swapped atomically)."""
        return f"{self.root}/services/{service}/current" + (f"/{name}" if name else "")

    def state_path(self, service: str, name: str = "") -> str:
        """Path below the service's own writable directory, which outlives every bundle."""
        return f"{self.root}/services/{service}/state" + (f"/{name}" if name else "")

    def run_path(self, service: str, name: str = "") -> str:
        """Path below the service's directory for sockets and pid files."""
        return f"{self.root}/services/{service}/run" + (f"/{name}" if name else "")


@dataclass(frozen=True)
class RackPorts:
    """Ports the rack's daemons bind; other than the standard ones only on a rack without privileges."""

    dhcp4: int = 67
    dhcp6: int = 547
    dns: int = 53
    tftp: int = 69
    ntp: int = 123
    machine_http: int = 5248
    proxy: int = 3128
    rndc: int = 953
    omapi: int = 7911
    syslog: int = 514


@dataclass(frozen=True)
class SnippetIntent:
    """What people add to DHCP in one scope, in the order in which it counts (a later one goes over an earlier one).

    kind: option (lines of `NAME VALUE`), kea4, kea6 (a JSON object) or dhcpd (text of dhcpd.conf).
    """

    snippet_id: int
    name: str
    kind: str
    body: str


@dataclass(frozen=True)
class RouteIntent:
    """Clients of a subnet reach the network `destination` through `gateway`, an address of theirs."""

    destination: str
    gateway: str
    metric: int = 0


@dataclass(frozen=True)
class PoolIntent:
    """A dynamic range: addresses that DHCP leases to clients without a reservation. Both ends included."""

    range_id: int
    start: str
    end: str
    snippets: tuple[SnippetIntent, ...] = ()


@dataclass(frozen=True)
class SubnetIntent:
    """One subnet on a VLAN that this rack serves.

    subnet_id is the row id and never reused.  `rack_address` is the rack's own address in the subnet, the one clients
    are given as next-server, DNS and NTP server; None when the rack has none there (then DHCP does not serve it).  On a
    relayed VLAN it is the address at which the relay agent reaches the rack, and lies elsewhere.
    managed: DHCP never leases in an unmanaged one, whatever `pools` says.
    boot_lease_seconds: how long firmware that is booting keeps its address.
    disabled_boot_architectures: clients that get an address and no boot file; names of `renderers.dhcp.boot`.
    unknown_clients: serve, or ignore: then only clients that have a host record are answered.
    slaac: clients of an IPv6 /64 may make up their own addresses (RFC 4862).
    allow_proxy: whether machines of the subnet, if it is managed, may use the rack's package proxy.
    """

    subnet_id: int
    cidr: str
    gateway: str | None
    rack_address: str | None
    dns_servers: tuple[str, ...]
    ntp_servers: tuple[str, ...]
    domain: str
    pools: tuple[PoolIntent, ...] = ()
    lease_seconds: int = 600
    boot_lease_seconds: int = 120
    managed: bool = True
    disabled_boot_architectures: tuple[str, ...] = ()
    unknown_clients: str = "serve"
    routes: tuple[RouteIntent, ...] = ()
    snippets: tuple[SnippetIntent, ...] = ()
    slaac: bool = False
    allow_proxy: bool = True

    @property
    def family(self) -> int:
        """4 or 6."""
        return 6 if ":" in self.cidr else 4


@dataclass(frozen=True)
class VlanIntent:
    """One VLAN as this rack sees it: the interface on which it is served and what is switched on there.

    relayed: the rack is not on it; a relay agent brings its clients' questions to `interface`, which is another VLAN's.
    secondary: another rack is the VLAN's primary.
    """

    vlan_id: int
    name: str
    interface: str
    mtu: int
    dhcp_on: bool
    router_advertisements: bool
    subnets: tuple[SubnetIntent, ...] = ()
    relayed: bool = False
    snippets: tuple[SnippetIntent, ...] = ()
    secondary: bool = False


@dataclass(frozen=True)
class HaPeerIntent:
    """One of two racks whose Kea servers are partners. address: at which the other reaches it; certificate: PEM."""

    name: str
    address: str
    primary: bool
    certificate: str


@dataclass(frozen=True)
class HaIntent:
    """The pair that this rack is one of. lease_only: id and network of the primary's subnets that it does not serve.

    dhcp4, dhcp6: whether both racks serve the family; else the primary serves it alone.
    """

    name: str
    peers: tuple[HaPeerIntent, ...]
    lease_only: tuple[tuple[int, str], ...] = ()
    dhcp4: bool = True
    dhcp6: bool = False


@dataclass(frozen=True)
class ZoneIntent:
    """A DNS zone served by this rack. Its RRsets travel as records; the bundle only says that the zone exists.

    role: `primary` or `secondary`.  `primary_address` is set for secondaries; `nameserver` is the primary's absolute name.
    serial_above: the zone's serial has to be above this one, which some server may have (RFC 1982 arithmetic).
    outside: whether servers that are not ours may copy it.
    """

    zone_id: int
    name: str
    role: str
    nameserver: str
    nameserver_addresses: tuple[str, ...]
    ttl_seconds: int = 30
    primary_address: str | None = None
    secondaries: tuple[str, ...] = ()
    serial_above: int = 0
    outside: bool = True


@dataclass(frozen=True)
class SecondaryIntent:
    """A server that is not ours and may copy zones: where it is told of changes, and the key that it shows (RFC 8945).

    secret: name of the secret that the rack fetches and substitutes; it changes with every new key.
    """

    name: str
    address: str
    port: int
    key_name: str
    algorithm: str
    secret: str


@dataclass(frozen=True)
class ProxyIntent:
    """How the rack is a proxy for packages.

    mode: built-in, peer (it asks the parent proxy at `parent_host`:`parent_port` for everything), none or external (in
    both the rack is no proxy).
    """

    mode: str = "built-in"
    parent_host: str = ""
    parent_port: int = 0

    @property
    def here(self) -> bool:
        """Whether the rack is a proxy at all."""
        return self.mode in ("built-in", "peer")


@dataclass(frozen=True)
class RackIntent:
    """Everything one rack should serve at one generation of desired state.

    dhcp_server: which server answers DHCPv4, kea or dhcpd.
    disciplines_clock: chrony may step and slew the rack's own clock; off where the host's clock belongs to somebody
    else (a container, a namespace): chrony then serves corrected time all the same.
    cache_megabytes: disk that squid may fill with images and packages.
    dns_addresses: all addresses of the rack, as a name server answers there too where it serves no VLAN.
    dns_clients: networks whose hosts may use the rack as their resolver.  dns_peers: all addresses of the other racks,
    which copy zones from each other.  dns_secondaries: outside servers that may copy them.
    ntp_upstreams: servers that the rack's clock follows.  ntp_peers: an address of each other rack, with which it
    agrees on the time where no server is in reach.  ntp_clients: addresses of the racks that follow this one, which is on
    the control plane's host; none on any other.
    on_control_plane: the rack is the control plane's own host, which gives the other racks their time.
    dnssec_validation: auto (by the root's key), yes (by keys that the operator adds) or no.
    """

    rack_id: int
    rack_name: str
    generation: int
    control_plane_host: str
    control_plane_port: int
    vlans: tuple[VlanIntent, ...] = ()
    zones: tuple[ZoneIntent, ...] = ()
    dns_forwarders: tuple[str, ...] = ()
    dnssec_validation: str = "auto"
    dns_clients: tuple[str, ...] = ()
    dns_addresses: tuple[str, ...] = ()
    dns_peers: tuple[str, ...] = ()
    dns_secondaries: tuple[SecondaryIntent, ...] = ()
    ntp_upstreams: tuple[str, ...] = ()
    ntp_peers: tuple[str, ...] = ()
    ntp_clients: tuple[str, ...] = ()
    on_control_plane: bool = False
    layout: RackLayout = field(default_factory=RackLayout)
    ports: RackPorts = field(default_factory=RackPorts)
    disciplines_clock: bool = False
    cache_megabytes: int = 20_000
    dhcp_server: str = "kea"
    snippets: tuple[SnippetIntent, ...] = ()
    ha: HaIntent | None = None
    proxy: ProxyIntent = field(default_factory=ProxyIntent)

    @property
    def subnets(self) -> tuple[SubnetIntent, ...]:
        """All subnets of all VLANs, in the order of the VLANs."""
        return tuple(subnet for vlan in self.vlans for subnet in vlan.subnets)

    @property
    def rack_addresses(self) -> tuple[str, ...]:
        """The rack's own addresses in the subnets it serves, each once, IPv4 first."""
        found = dict.fromkeys(subnet.rack_address for subnet in self.subnets if subnet.rack_address is not None)
        return tuple(sorted(found, key=lambda address: ":" in address))

    @property
    def served_networks(self) -> tuple[str, ...]:
        """The networks whose machines may use this rack, each once, IPv4 first."""
        found = dict.fromkeys(subnet.cidr for subnet in self.subnets)
        return tuple(sorted(found, key=lambda cidr: ":" in cidr))

    @property
    def proxy_networks(self) -> tuple[str, ...]:
        """The networks whose machines may use the rack's package proxy, each once, IPv4 first."""
        found = dict.fromkeys(subnet.cidr for subnet in self.subnets if subnet.managed and subnet.allow_proxy)
        return tuple(sorted(found, key=lambda cidr: ":" in cidr))
