"""Each rendered daemon starts from its bundle and answers a client as it should."""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import dns.flags
import dns.message
import dns.query
import dns.rcode
import dns.resolver
import dns.tsigkeyring
import dns.update
import pytest

from lab import dhcp_client, namespace, tftp_client
from renderers import registry
from renderers.intent import RackIntent
from renderers.kea import hosts_path
from tests.daemons.rack_root import SECRETS, at, eventually, network_of, rack_directory, running
from tests.daemons.requires import require
from tests.golden.case import load

MAC = "52:54:00:20:00:0a"


@pytest.fixture
def rack() -> Iterator[tuple[RackIntent, str, str]]:
    """The intent of the golden case `lab`, the rack's namespace and a client's, which has 10.20.0.50 and fd20::50."""
    require("ip", "kea-dhcp4", "kea-dhcp6", "named", "dnsmasq", "chronyd", "radvd", "squid")
    with rack_directory() as root:
        intent = at(load("lab"), root)
        with network_of(intent, f"ms-{os.getpid()}") as inside:
            client = f"{inside}-c"
            namespace.batch(
                client,
                [
                    f"link set end0 address {MAC}",
                    "addr add 10.20.0.50/24 dev end0",
                    "addr add fd20::50/64 dev end0 nodad",
                ],
            )
            yield intent, inside, client


def test_dnsmasq_serves_the_loaders_by_tftp(rack: tuple[RackIntent, str, str]) -> None:
    """A client reads the whole BIOS loader, and nothing outside the directory of loaders."""
    intent, inside, client = rack
    with running(registry.service("dnsmasq"), intent, inside):
        read = eventually(lambda: namespace.inside(client, lambda: tftp_client.read_file("10.20.0.1", "undionly.kpxe")))
        with pytest.raises(tftp_client.TftpError):
            namespace.inside(client, lambda: tftp_client.read_file("10.20.0.1", "../../../etc/passwd"))

    assert Path("/usr/lib/ipxe/undionly.kpxe").read_bytes() == read


def test_kea_tells_each_kind_of_client_its_boot_file(rack: tuple[RackIntent, str, str]) -> None:
    """BIOS, UEFI, HTTP boot and iPXE get their own boot file and the rack's address; a host keeps its reservation."""
    intent, inside, client = rack
    asked = {
        "bios": (None, 0x0000, "PXEClient"),
        "uefi": (None, 0x0007, "PXEClient"),
        "uefi-ebc": (None, 0x0009, "PXEClient"),
        "http": (None, 0x0010, "HTTPClient"),
        "ipxe": ("iPXE", 0x0000, "PXEClient"),
        "system": (None, 0x0006, "PXEClient"),
    }
    with running(registry.service("kea4"), intent, inside):
        # The first answer proves that Kea is up.
        eventually(lambda: _lease(client, *asked["bios"]))
        leases = {name: _lease(client, *what) for name, what in asked.items()}
    http = "http://10.20.0.1:5248"

    assert {
        "bios": "undionly.kpxe",
        "uefi": "snponly.efi",
        "uefi-ebc": "snponly.efi",
        "http": f"{http}/images/loader/snponly.efi",
        "ipxe": f"{http}/boot/v1/start.ipxe",
        "system": "",
    } == {name: lease.boot_file for name, lease in leases.items()}
    assert {"10.20.0.1"} == {lease.next_server for lease in leases.values()}
    assert {"10.20.0.1"} == {lease.server for lease in leases.values()}
    assert [b"HTTPClient"] == [lease.options[60] for lease in leases.values() if 60 in lease.options]
    assert {name: lease.boot_file.encode() for name, lease in leases.items() if name != "system"} == {
        name: lease.options[67].rstrip(b"\0") for name, lease in leases.items() if 67 in lease.options
    }
    assert {"bios": 120, "uefi": 120, "uefi-ebc": 120, "http": 120, "ipxe": 3600, "system": 600} == {
        name: struct.unpack("!I", lease.options[51])[0] for name, lease in leases.items()
    }
    given = leases["bios"]
    assert (("10.20.0.254",), ("10.20.0.1",), ("10.20.0.1",)) == tuple(given.addresses(item) for item in (3, 6, 42))
    assert (b"lab.muster", 24) == (given.options[15], given.prefix_length)


def _lease(client: str, user_class: str | None, architecture: int, vendor: str) -> dhcp_client.Lease:
    return namespace.inside(
        client,
        lambda: dhcp_client.discover_and_request(
            "end0", MAC, user_class=user_class, architecture=architecture, vendor_class=vendor
        ),
    )


def test_kea_serves_hosts_from_the_included_file(rack: tuple[RackIntent, str, str]) -> None:
    """A reservation in the hosts file is given to its MAC, also inside the pool, and to nobody else."""
    intent, inside, client = rack
    spec = registry.service("kea4")
    hosts = Path(hosts_path(intent, "kea4", 1))
    hosts.parent.mkdir(parents=True)
    hosts.write_text(f'{{"hw-address": "{MAC}", "ip-address": "10.20.0.10", "hostname": "one"}}')
    with running(spec, intent, inside):
        own = eventually(lambda: _lease(client, None, 0, "PXEClient"))
        other = namespace.inside(client, lambda: dhcp_client.discover_and_request("end0", "52:54:00:20:00:0b"))

    assert ("10.20.0.10", "10.20.0.100") == (own.address, other.address)


def test_bind_serves_a_seeded_zone_and_takes_signed_updates_only(rack: tuple[RackIntent, str, str]) -> None:
    """SOA and NS come from the seed; an update with the key is there at once and in the file's place; one without is refused."""
    intent, inside, client = rack
    keyring = dns.tsigkeyring.from_text({"muster-update": ("hmac-sha256", SECRETS["tsig-update"])})

    def ask(name: str, kind: str, server: str = "10.20.0.1") -> dns.message.Message:
        return namespace.inside(client, lambda: dns.query.udp(dns.message.make_query(name, kind), server, timeout=2))

    def update(signed: bool) -> int:
        change = dns.update.Update("lab.muster", keyring=keyring if signed else None)
        change.replace("node", 30, "A", "10.20.0.10")
        return namespace.inside(client, lambda: dns.query.tcp(change, "10.20.0.1", timeout=5)).rcode()

    with running(registry.service("bind"), intent, inside) as base:
        soa = eventually(lambda: ask("lab.muster", "SOA"))
        codes = update(signed=False), update(signed=True)
        node, reverse = ask("node.lab.muster", "A"), ask("0.20.10.in-addr.arpa", "NS", "fd20::1")
        serial = ask("lab.muster", "SOA").answer[0][0].serial
        transfer = namespace.inside(
            client, lambda: dns.query.tcp(dns.message.make_query("lab.muster", "AXFR"), "10.20.0.1", timeout=5)
        ).rcode()
        journal = (base / "state" / "lab.muster.zone.jnl").exists()

    assert 1 == soa.answer[0][0].serial
    assert dns.flags.AA & soa.flags
    assert (dns.rcode.REFUSED, dns.rcode.NOERROR) == codes
    assert ["10.20.0.10"] == [item.to_text() for item in node.answer[0]]
    assert ["rack-1.lab.muster."] == [item.to_text() for item in reverse.answer[0]]
    assert (dns.rcode.REFUSED, True) == (transfer, journal)
    # Serials follow the clock, so a zone that was lost and seeded again does not fall behind its secondaries.
    assert abs(serial - time.time()) < 60


def test_bind_answers_rndc_with_the_rendered_key(rack: tuple[RackIntent, str, str]) -> None:
    """The rendered rndc.conf opens the control channel."""
    intent, inside, _ = rack
    with running(registry.service("bind"), intent, inside) as base:
        argv = [*namespace.exec_prefix(inside), "rndc", "-c", str(base / "current" / "rndc.conf"), "status"]
        said = eventually(lambda: namespace.run(argv))

    assert "server is up and running" in said


def test_chrony_gives_time_from_its_own_clock(rack: tuple[RackIntent, str, str]) -> None:
    """An NTP client is answered at stratum 10 with the time of the host; chronyc's socket is in the run directory."""
    intent, inside, client = rack

    def ask(address: str) -> tuple[int, float]:
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        with namespace.socket_in(client, family, socket.SOCK_DGRAM) as link:
            link.settimeout(1)
            link.sendto(b"\x23" + bytes(39) + b"ABCDEFGH", (address, 123))
            answer = link.recv(512)
        assert b"ABCDEFGH" == answer[24:32]
        return answer[1], struct.unpack("!I", answer[40:44])[0] - 2_208_988_800

    with running(registry.service("chrony"), intent, inside) as base:
        answers = [eventually(lambda address=address: ask(address)) for address in ("10.20.0.1", "fd20::1")]
        is_socket = (base / "run" / "command" / "chronyd.sock").is_socket()

    assert ([10, 10], True) == ([stratum for stratum, _ in answers], is_socket)
    assert all(abs(seconds - time.time()) < 30 for _, seconds in answers)


def test_radvd_answers_a_solicitation_without_becoming_a_router(rack: tuple[RackIntent, str, str]) -> None:
    """The lifetime is 0 and the rack is name server; M, O and A flags say who gives addresses: DHCPv6, nobody, the client."""
    intent, inside, client = rack
    lan, spec = intent.vlans[0], registry.service("radvd")
    slaac = tuple(replace(item, slaac=item.family == 6) for item in lan.subnets)
    kinds = {"dhcp": lan, "silent": replace(lan, dhcp_on=False), "slaac": replace(lan, subnets=slaac)}

    def solicit() -> bytes:
        with namespace.socket_in(client, socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as link:
            index = namespace.inside(client, lambda: socket.if_nametoindex("end0"))
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            link.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            link.settimeout(2)
            link.sendto(struct.pack("!BBHI", 133, 0, 0, 0), ("ff02::2", 0, 0, index))
            while True:
                packet = link.recv(2048)
                if packet[0] == 134:
                    return packet

    packets: dict[str, bytes] = {}
    for name, vlan in kinds.items():
        with rack_directory() as root, running(spec, at(replace(intent, vlans=(vlan,)), root), inside):
            packets[name] = eventually(solicit, 20)
    # M and O are the upper bits of the flags; L and A those of a prefix (RFC 4861, sections 4.2 and 4.6.2).
    prefixes = {name: packet[packet.index(b"\x03\x04\x40") :] for name, packet in packets.items()}

    assert {"dhcp": 0xC0, "silent": 0, "slaac": 0x40} == {name: packet[5] & 0xC0 for name, packet in packets.items()}
    assert {"dhcp": 0x80, "silent": 0x80, "slaac": 0xC0} == {name: prefix[3] for name, prefix in prefixes.items()}
    assert {0} == {struct.unpack("!H", packet[6:8])[0] for packet in packets.values()}
    for packet, prefix in zip(packets.values(), prefixes.values(), strict=True):
        assert socket.inet_pton(socket.AF_INET6, "fd20::") == prefix[16:32]
        assert socket.inet_pton(socket.AF_INET6, "fd20::1") in packet[16:]
