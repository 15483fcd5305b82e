"""Every DHCP option that people may set by name, with its code and the kind of its value.

DHCPv4: IANA "BOOTP Vendor Extensions and DHCP Options" (RFC 2132 and those named below).  DHCPv6: IANA "DHCPv6 Option
Codes" (RFC 8415 and those named below); its names have `dhcp6.` before them.  Names are Kea's, or where Kea has none the
registry's; `dhcpd` is ISC dhcpd's own name where it differs, empty where it has none.
What the protocol or Muster itself says to clients is no option that people set: `OWNED` tells where it is set instead.
Any other code can be set as `option-CODE` with bytes for its value.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import NamedTuple

PREFIX6 = "dhcp6."


@dataclass(frozen=True)
class Entry:
    """One option. kind: a name of `renderers.dhcp.values.ENCODERS`."""

    family: int
    code: int
    name: str
    kind: str
    dhcpd: str


class _Row(NamedTuple):
    code: int
    name: str
    kind: str
    dhcpd: str | None = None


_V4 = (
    _Row(2, "time-offset", "int32"),
    _Row(3, "routers", "ips"),
    _Row(4, "time-servers", "ips"),
    _Row(5, "name-servers", "ips", "ien116-name-servers"),
    _Row(6, "domain-name-servers", "ips"),
    _Row(7, "log-servers", "ips"),
    _Row(8, "cookie-servers", "ips"),
    _Row(9, "lpr-servers", "ips"),
    _Row(10, "impress-servers", "ips"),
    _Row(11, "resource-location-servers", "ips"),
    _Row(13, "boot-size", "uint16"),
    _Row(14, "merit-dump", "text"),
    _Row(15, "domain-name", "text"),
    _Row(16, "swap-server", "ip"),
    _Row(17, "root-path", "text"),
    _Row(18, "extensions-path", "text"),
    _Row(19, "ip-forwarding", "flag"),
    _Row(20, "non-local-source-routing", "flag"),
    _Row(21, "policy-filter", "pairs"),
    _Row(22, "max-dgram-reassembly", "uint16"),
    _Row(23, "default-ip-ttl", "uint8"),
    _Row(24, "path-mtu-aging-timeout", "uint32"),
    _Row(25, "path-mtu-plateau-table", "uint16s"),
    _Row(26, "interface-mtu", "uint16"),
    _Row(27, "all-subnets-local", "flag"),
    _Row(28, "broadcast-address", "ip"),
    _Row(29, "perform-mask-discovery", "flag"),
    _Row(30, "mask-supplier", "flag"),
    _Row(31, "router-discovery", "flag"),
    _Row(32, "router-solicitation-address", "ip"),
    _Row(33, "static-routes", "pairs"),
    _Row(34, "trailer-encapsulation", "flag"),
    _Row(35, "arp-cache-timeout", "uint32"),
    _Row(36, "ieee802-3-encapsulation", "flag"),
    _Row(37, "default-tcp-ttl", "uint8"),
    _Row(38, "tcp-keepalive-interval", "uint32"),
    _Row(39, "tcp-keepalive-garbage", "flag"),
    _Row(40, "nis-domain", "text"),
    _Row(41, "nis-servers", "ips"),
    _Row(42, "ntp-servers", "ips"),
    _Row(43, "vendor-encapsulated-options", "bytes"),
    _Row(44, "netbios-name-servers", "ips"),
    _Row(45, "netbios-dd-server", "ips"),
    _Row(46, "netbios-node-type", "uint8"),
    _Row(47, "netbios-scope", "text"),
    _Row(48, "font-servers", "ips"),
    _Row(49, "x-display-manager", "ips"),
    _Row(60, "vendor-class-identifier", "text"),
    _Row(64, "nisplus-domain-name", "text", "nisplus-domain"),
    _Row(65, "nisplus-servers", "ips"),
    _Row(66, "tftp-server-name", "text"),
    _Row(67, "boot-file-name", "text", "bootfile-name"),
    _Row(68, "mobile-ip-home-agent", "ips"),
    _Row(69, "smtp-server", "ips"),
    _Row(70, "pop-server", "ips"),
    _Row(71, "nntp-server", "ips"),
    _Row(72, "www-server", "ips"),
    _Row(73, "finger-server", "ips"),
    _Row(74, "irc-server", "ips"),
    _Row(75, "streettalk-server", "ips"),
    _Row(76, "streettalk-directory-assistance-server", "ips"),
    _Row(85, "nds-servers", "ips"),  # RFC 2241
    _Row(86, "nds-tree-name", "text"),
    _Row(87, "nds-context", "text"),
    _Row(88, "bcms-controller-names", "names", ""),  # RFC 4280
    _Row(89, "bcms-controller-address", "ips"),
    _Row(100, "pcode", "text"),  # RFC 4833
    _Row(101, "tcode", "text"),
    _Row(112, "netinfo-server-address", "ips"),  # RFC 3679
    _Row(113, "netinfo-server-tag", "text"),
    _Row(114, "v4-captive-portal", "text", ""),  # RFC 8910
    _Row(116, "auto-config", "uint8", ""),  # RFC 2563
    _Row(119, "domain-search", "names"),  # RFC 3397
    _Row(121, "classless-static-route", "routes", ""),  # RFC 3442
    _Row(124, "vivco-suboptions", "bytes", ""),  # RFC 3925
    _Row(125, "vivso-suboptions", "bytes", ""),
    _Row(136, "pana-agent", "ips"),  # RFC 5192
    _Row(137, "v4-lost", "name"),  # RFC 5223
    _Row(138, "capwap-ac-v4", "ips"),  # RFC 5417
    _Row(141, "sip-ua-cs-domains", "names"),  # RFC 6011
    _Row(150, "tftp-server-address", "ips", ""),  # RFC 5859
    _Row(209, "config-file", "text", "loader-configfile"),  # RFC 5071
    _Row(210, "path-prefix", "text", "loader-pathprefix"),
    _Row(211, "reboot-time", "uint32", "loader-reboottime"),
    _Row(252, "wpad-url", "text", ""),
)
_V6 = (
    _Row(21, "sip-server-dns", "names", "sip-servers-names"),  # RFC 3319
    _Row(22, "sip-server-addr", "ip6s", "sip-servers-addresses"),
    _Row(23, "dns-servers", "ip6s", "name-servers"),  # RFC 3646
    _Row(24, "domain-search", "names"),
    _Row(27, "nis-servers", "ip6s"),  # RFC 3898
    _Row(28, "nisp-servers", "ip6s"),
    _Row(29, "nis-domain-name", "names"),
    _Row(30, "nisp-domain-name", "names"),
    _Row(31, "sntp-servers", "ip6s"),  # RFC 4075
    _Row(32, "information-refresh-time", "uint32", "info-refresh-time"),  # RFC 8415
    _Row(33, "bcmcs-server-dns", "names", ""),  # RFC 4280
    _Row(34, "bcmcs-server-addr", "ip6s", ""),
    _Row(41, "new-posix-timezone", "text", ""),  # RFC 4833
    _Row(42, "new-tzdb-timezone", "text", ""),
    _Row(51, "v6-lost", "name", ""),  # RFC 5223
    _Row(52, "capwap-ac-v6", "ip6s", ""),  # RFC 5417
    _Row(56, "ntp-server", "bytes", ""),  # RFC 5908: suboptions
    _Row(59, "bootfile-url", "text"),  # RFC 5970
    _Row(64, "aftr-name", "name", ""),  # RFC 6334
    _Row(82, "sol-max-rt", "uint32", "solmax-rt"),  # RFC 8415
    _Row(83, "inf-max-rt", "uint32", ""),
    _Row(103, "v6-captive-portal", "text", ""),  # RFC 8910
)
CATALOGUE = MappingProxyType(
    {
        **{
            row.name: Entry(4, row.code, row.name, row.kind, row.name if row.dhcpd is None else row.dhcpd)
            for row in _V4
        },
        **{
            PREFIX6 + row.name: Entry(
                6,
                row.code,
                PREFIX6 + row.name,
                row.kind,
                PREFIX6 + (row.name if row.dhcpd is None else row.dhcpd) if row.dhcpd != "" else "",
            )
            for row in _V6
        },
    }
)
"""Entries by name."""

_ANSWER = "the protocol sets it in every answer"
_NAME = "names come from machines and devices: rename the machine"
OWNED = MappingProxyType(
    {
        4: {
            0: "it is the protocol's padding",
            1: "it follows from the subnet's network",
            12: _NAME,
            50: _ANSWER,
            51: "set lease_seconds or boot_lease_seconds of the subnet",
            **dict.fromkeys((52, 53, 54, 55, 56, 57), _ANSWER),
            58: "it follows from the lease time",
            59: "it follows from the lease time",
            61: "it is the client's own",
            77: "it is the client's own",
            81: _NAME,
            82: "it is the relay agent's own",
            90: _ANSWER,
            93: "it is the client's own",
            94: "it is the client's own",
            97: "it is the client's own",
            118: "it is the client's own",
            255: "it is the protocol's end mark",
        },
        6: {
            **dict.fromkeys((*range(1, 10), 11, 13, 14, 17, 18, 19, 20, 25, 26), _ANSWER),
            0: "it is reserved",
            12: "clients that answer to it go past relay agents",
            15: "it is the client's own",
            16: "it is the client's own",
            39: _NAME,
            61: "it is the client's own",
            62: "it is the client's own",
            79: "it is the relay agent's own",
        },
    }
)
"""Codes that nobody sets, by family, and what to do instead."""
BOOTING = MappingProxyType({4: frozenset({60, 66, 67}), 6: frozenset({59})})
"""What names the boot file: Muster's own for whole networks, people's for a range or a machine."""
