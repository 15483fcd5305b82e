"""BIND: the zones this rack serves, and recursion for its machines.

Zones are dynamic: their contents travel as records and are changed by TSIG updates, so the bundle only says that a zone
exists.  A primary zone whose file is absent starts from a seed (SOA, NS and the name server's own addresses); after
that BIND owns the file.  `serial-update-method unixtime` keeps serials growing even if a zone file was lost and seeded
again.
Racks copy zones from each other and are known by address, because each rack makes its own update key and never shows
it to another; servers that are not ours show a TSIG key that Muster has made, and may ask any rack.
`notify-delay 0` and raised rates make a name be at every rack within milliseconds (BIND's own are made for the Internet).
"""

from __future__ import annotations

import re

from renderers import text
from renderers.bundle import Bundle, RenderedFile
from renderers.intent import RackIntent, ZoneIntent
from renderers.spec import ProbeSpec, ServiceSpec, StateFile

NAME = "bind"
FILE = "named.conf"
USER = "bind"
VALIDATION = ("auto", "yes", "no")


def zone_file(zone: ZoneIntent) -> str:
    """Path of a zone's file, relative to the state directory, which BIND may write to (journals lie beside it)."""
    return f"{text.domain(zone.name).replace('/', '%')}.zone"


def seed_file(zone: ZoneIntent) -> str:
    """Path of a zone's seed, relative to the bundle."""
    return f"seeds/{text.domain(zone.name).replace('/', '%')}.zone"


def _seed(zone: ZoneIntent) -> str:
    """The first contents of a primary zone: nothing but what makes it a zone."""
    name, server = text.domain(zone.name), text.domain(zone.nameserver)
    inside = server == name or server.endswith(f".{name}")
    return text.fill(
        "config/bind/seed.zone.j2",
        zone=name,
        nameserver=server,
        ttl=zone.ttl_seconds,
        addresses=[(("AAAA" if ":" in item else "A"), item) for item in zone.nameserver_addresses] if inside else [],
    )


def render(intent: RackIntent) -> Bundle:
    """named.conf, the control client's configuration, and a seed for each primary zone."""
    for zone in intent.zones:
        if zone.role not in ("primary", "secondary"):
            raise ValueError(f"zone {zone.name}: role {zone.role!r} is unknown; use primary or secondary")
        if zone.role == "secondary" and zone.primary_address is None:
            raise ValueError(f"zone {zone.name}: a secondary needs the address of its primary; set primary_address")
    if intent.dnssec_validation not in VALIDATION:
        raise ValueError(f"dnssec_validation {intent.dnssec_validation!r}: use one of {', '.join(VALIDATION)}")
    addresses = tuple(dict.fromkeys((*intent.rack_addresses, *intent.dns_addresses)))
    values = {
        "intent": intent,
        "layout": intent.layout,
        "state": intent.layout.state_path(NAME),
        "run": intent.layout.run_path(NAME),
        "addresses4": [item for item in addresses if ":" not in item],
        "addresses6": [item for item in addresses if ":" in item],
        "outsiders": lambda zone: intent.dns_secondaries if zone.outside else (),
        "zones": [(zone, f"{intent.layout.state_path(NAME)}/{zone_file(zone)}") for zone in intent.zones],
    }
    files = [
        RenderedFile(FILE, text.fill("config/bind/named.conf.j2", **values), 0o640, USER),
        RenderedFile("rndc.conf", text.fill("config/bind/rndc.conf.j2", **values), 0o600, "root"),
    ]
    files += [RenderedFile(seed_file(zone), _seed(zone), 0o644) for zone in intent.zones if zone.role == "primary"]
    return Bundle(NAME, tuple(sorted(files, key=lambda file: file.path)))


def _probes(intent: RackIntent) -> tuple[ProbeSpec, ...]:
    """The SOA of every zone, asked at the first address a machine would ask at; then, whether our own zones take records."""
    server = next(iter((*intent.rack_addresses, *intent.dns_addresses)), "127.0.0.1")
    port = intent.ports.dns
    return (
        *(
            ProbeSpec("dns", (("server", server), ("port", port), ("zone", f"{text.domain(zone.name)}.")))
            for zone in intent.zones
        ),
        *(
            ProbeSpec("dns_update", (("server", "127.0.0.1"), ("port", port), ("zone", f"{text.domain(zone.name)}.")))
            for zone in intent.zones
            if zone.role == "primary"
        ),
    )


SERVICE = ServiceSpec(
    name=NAME,
    title="DNS (BIND)",
    wanted=lambda intent: bool(intent.zones or intent.rack_addresses),
    render=render,
    command=("named", "-g", "-u", USER, "-c", f"{{current}}/{FILE}"),
    checker=("named-checkconf", f"{{staged}}/{FILE}"),
    user=USER,
    channel="bind",
    probes=_probes,
    packages=("bind9", "bind9-utils"),
    rival_units=("named.service",),
    state_files=lambda intent: tuple(
        StateFile(zone_file(zone), seed_file(zone)) for zone in intent.zones if zone.role == "primary"
    ),
    contents=lambda bundle: frozenset(
        f"zone {name}" for file in bundle.files for name in re.findall(r'^zone "([^"]+)"', file.text, re.MULTILINE)
    ),
)
