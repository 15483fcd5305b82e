"""Which DHCP servers that are not ours answer on the networks that this rack serves.

A second server on a network is the commonest reason why a machine gets the wrong address or no boot file.  Every
LOOK_SECONDS a DISCOVER goes out on each served interface, with the MAC that this rack's probes use, and whoever offers
something is noted: its server identifier (RFC 2132, section 9.7), what it offers, and the MAC that the frame came from.
Nothing is accepted, so no server keeps anything but an offer.  Relayed networks are not looked at: what a relay agent
does not pass on cannot be heard here.
"""

from __future__ import annotations

import os
import select
import threading
import time
from collections.abc import Callable, Iterable
from typing import Protocol

import structlog

from renderers.spec import ProbeSpec
from workers.rack.client import ControlPlaneDown
from workers.rack.probes.base import ProbeFailure, text
from workers.rack.probes.dhcp4 import Dhcp4Probe, build_discover, parse_mac, parse_offer, wire

LOOK_SECONDS = 120.0
LISTEN_SECONDS = 3.0
QUESTIONS = 2
"""Of each look: one may be lost, and a server may have begun to listen in between."""
MOST = 64
"""Servers in one report."""
log = structlog.get_logger(__name__)
Report = dict[str, list[str] | list[dict[str, str]]]


class Listener(Protocol):
    """The control plane."""

    def report_foreign_dhcp(self, report: Report) -> None:
        """Say where was looked and who answered."""


def served(probes: Iterable[ProbeSpec]) -> dict[str, frozenset[str]]:
    """The interfaces on which machines themselves ask our DHCPv4 server, each with the addresses that it answers from."""
    found: dict[str, set[str]] = {}
    for spec in probes:
        if spec.kind == Dhcp4Probe.kind and "giaddr" not in dict(spec.parameters):
            found.setdefault(text(spec, "interface"), set()).add(text(spec, "server"))
    return {interface: frozenset(servers) for interface, servers in found.items()}


def answers(interface: str, mac: str, ours: frozenset[str], seconds: float = LISTEN_SECONDS) -> list[dict[str, str]]:
    """Who offers something on an interface and is none of ours, by server identifier.  ProbeFailure."""
    hardware, transaction = parse_mac(mac), int.from_bytes(os.urandom(4), "big")
    question = build_discover(hardware, transaction)
    found: dict[str, dict[str, str]] = {}
    with wire(interface) as link:
        for _ in range(QUESTIONS):
            link.send(question)
            end = time.monotonic() + seconds / QUESTIONS
            while (left := end - time.monotonic()) > 0 and select.select([link], [], [], left)[0]:
                frame = link.recv(65535)
                offer = parse_offer(frame, hardware, transaction)
                if offer is None or offer.server in ours or len(found) >= MOST:
                    continue
                found[offer.server] = {
                    "interface": interface,
                    "server": offer.server,
                    "mac": frame[6:12].hex(":"),
                    "offered": offer.address,
                }
    return [found[server] for server in sorted(found)]


class ForeignDhcpSensor(threading.Thread):
    """Looks on its own, beside the agent's turns, which it must not hold up for seconds.

    probes: how what runs here is asked, which says where and by which identifiers we serve.
    """

    def __init__(
        self, probes: Callable[[], Iterable[ProbeSpec]], mac: str, listener: Listener, stop: threading.Event
    ) -> None:
        super().__init__(name="foreign-dhcp", daemon=True)
        self._probes, self._mac, self._listener, self._end = probes, mac, listener, stop
        self._told: bool | None = None

    def run(self) -> None:
        """Until a stop is asked for."""
        while not self._end.wait(LOOK_SECONDS if self._told is not None else LISTEN_SECONDS):
            try:
                self.look()
            except ControlPlaneDown as error:
                log.info("foreign_dhcp.later", reason=str(error))
            except Exception:
                log.exception("foreign_dhcp.failed")

    def look(self) -> None:
        """Once, on every served interface; told when there is something, or when there was. Raises what the listener raises."""
        looked: list[str] = []
        found: list[dict[str, str]] = []
        for interface, ours in served(self._probes()).items():
            try:
                found += answers(interface, self._mac, ours)
            except ProbeFailure as error:
                log.info("foreign_dhcp.not_looked", interface=interface, reason=str(error))
                continue
            looked.append(interface)
        if looked and (found or self._told is not False):
            self._listener.report_foreign_dhcp({"looked": looked, "servers": found[:MOST]})
            self._told = bool(found)
