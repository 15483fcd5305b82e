"""Asks for a router advertisement as iPXE does (RFC 4861, sections 4.1 and 4.2).

radvd on this very host answers, to the link or, more often, to the one that asked: this host's own address, so that the
advertisement travels over the loopback interface.  Frames are watched by AF_PACKET on both, because the kernel does not
hand a host its own multicast on every kind of interface.  A solicitation that leaves this host is heard by the local
radvd only when it is looped back, so the socket asks for loopback of multicast.
"""

from __future__ import annotations

import select
import socket
import struct
import time

from renderers.spec import ProbeSpec
from workers.rack.probes.base import ProbeContext, ProbeFailure, text

SECONDS = 3.0
SOLICITATION, ADVERTISEMENT = 133, 134
ALL_ROUTERS = "ff02::2"
LOOPBACK = "lo"
_ETHERTYPE_IPV6 = 0x86DD
_ALL = 0x0003


def build_solicitation() -> bytes:
    """An ICMPv6 router solicitation without options; the kernel fills in the checksum."""
    return struct.pack("!BBHI", SOLICITATION, 0, 0, 0)


def parse_advertisement(frame: bytes) -> int | None:
    """The router lifetime in seconds of an advertisement in an Ethernet frame; None for every other frame.

    The hop limit must be 255: such a packet has not been forwarded (RFC 4861, section 6.1.2).
    """
    if len(frame) < 14 + 40 + 16 or frame[12:14] != struct.pack("!H", _ETHERTYPE_IPV6):
        return None
    head, body = frame[14:54], frame[54:]
    if head[0] >> 4 != 6 or head[6] != socket.IPPROTO_ICMPV6 or head[7] != 255 or body[0] != ADVERTISEMENT:
        return None
    return int(struct.unpack("!H", body[6:8])[0])


class RouterSolicitationProbe:
    """Parameters: interface."""

    kind = "router_solicitation"

    def ask(self, spec: ProbeSpec, context: ProbeContext) -> str:
        """That an advertisement comes, and its lifetime."""
        interface = text(spec, "interface")
        index = socket.if_nametoindex(interface)
        with (
            socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL)) as watch,
            socket.socket(socket.AF_INET6, socket.SOCK_RAW, socket.IPPROTO_ICMPV6) as wire,
        ):
            wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_HOPS, 255)
            wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, index)
            wire.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_LOOP, 1)
            wire.sendto(build_solicitation(), (ALL_ROUTERS, 0, 0, index))
            end = time.monotonic() + SECONDS
            while (left := end - time.monotonic()) > 0:
                if not select.select([watch], [], [], left)[0]:
                    break
                frame, (seen_on, *_) = watch.recvfrom(65535)
                lifetime = parse_advertisement(frame) if seen_on in (interface, LOOPBACK) else None
                if lifetime is not None:
                    return f"a router advertisement came on {interface}, router lifetime {lifetime} s"
        raise ProbeFailure(f"no router advertisement on {interface} within {SECONDS:g} s")


PROBE = RouterSolicitationProbe()
