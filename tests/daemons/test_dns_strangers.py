"""Whom a rack's BIND serves: clients of managed subnets by recursion, racks by transfer, and everybody by our own names."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import dns.query
import dns.rcode
import dns.xfr
import dns.zone
import pytest

from app.services import settings, subnets
from app.services.context import Context
from app.store.intent import load_intent
from lab import binds, namespace
from lab.binds import NameHost, NameRack
from tests.daemons.rack_root import SECRETS, eventually
from tests.daemons.requires import require
from tests.factories.control import Seeded, make_context, seed

RACK, OFFICE, CLIENT, STRANGER = "10.20.0.1", "10.20.0.40", "10.20.0.60", "10.66.0.5"
ZONE, NAME, ANSWER = "lab.muster", "www.example.org", ("192.0.2.80",)


@dataclass
class Wire:
    """A rack, a resolver above it that knows one outside name, a client of the rack's subnet, and somebody else."""

    context: Context
    seeded: Seeded
    rack: NameRack
    client: NameHost
    stranger: NameHost

    def serve(self) -> None:
        """Have the rack's BIND serve what the services say now."""
        with self.context.store.read() as session:
            self.rack.serve(load_intent(session, self.seeded.rack_id), SECRETS)


@pytest.fixture
def wire(tmp_path: Path) -> Iterator[Wire]:
    """All of it, answering."""
    require("ip", "named", "rndc")
    context = make_context(tmp_path)
    seeded = seed(context)
    settings.change(context, "dns_forwarders", {"servers": [OFFICE]})
    settings.change(context, "dnssec_validation", {"mode": "no"})
    with binds.wire(binds.unique("ds"), (RACK,), (OFFICE, CLIENT, STRANGER)) as ((rack,), (office, client, stranger)):
        namespace.batch(stranger.space, ["route add 10.20.0.0/24 dev eth0"])
        namespace.batch(rack.space, [f"route add {STRANGER}/32 dev eth0"])
        office.start(_office(office))
        made = Wire(context, seeded, rack, client, stranger)
        try:
            made.serve()
            eventually(lambda: _same(("NOERROR", ANSWER), client.ask(OFFICE, NAME)), 20)
            eventually(lambda: _same("NOERROR", rack.ask(RACK, ZONE, "SOA")[0]), 20)
            yield made
        except BaseException:
            print((rack.root / "named.log").read_text()[-3000:])
            raise


def _office(host: NameHost) -> Path:
    zone, config = host.root / "example.org", host.root / "named.conf"
    zone.write_text(f"$TTL 60\n@ SOA ns x 1 60 60 60 60\n@ NS ns\nns A {OFFICE}\nwww A {ANSWER[0]}\n")
    binds._give(host.root, "bind")
    config.write_text(
        f'options {{ directory "{host.root}"; pid-file none; session-keyfile none; listen-on {{ {host.address}; }};'
        " listen-on-v6 { none; }; recursion no; dnssec-validation no; };\ncontrols { };\n"
        f'zone "example.org" {{ type primary; file "{zone}"; }};\n'
    )
    return config


def _same(expected: object, actual: object) -> None:
    assert expected == actual


def _transfer(host: NameHost) -> dns.rcode.Rcode:
    """What the rack says to a transfer of a zone."""
    zone = dns.zone.Zone(ZONE)
    try:
        host.inside(lambda: dns.query.inbound_xfr(RACK, zone, lifetime=5))
    except dns.xfr.TransferError as error:
        return error.rcode
    return dns.rcode.NOERROR


def test_a_stranger_is_refused_what_a_client_is_served(wire: Wire) -> None:
    """Recursion, cached answers and transfers are REFUSED to who is in no managed subnet; a client there gets the outside name.

    Muster's own names are for everybody, and a subnet that stops using the resolver is a stranger at once.
    """
    served = wire.client.ask(RACK, NAME, recurse=True)
    # The answer is in the cache now, and must not come out of it to others, asked for with recursion or without.
    refused = [wire.stranger.ask(RACK, NAME, recurse=recurse) for recurse in (True, False)]
    own = [host.ask(RACK, f"rack-1.{ZONE}", recurse=True)[0] for host in (wire.client, wire.stranger)]
    transfers = [_transfer(host) for host in (wire.client, wire.stranger)]

    assert ("NOERROR", ANSWER) == served
    assert [("REFUSED", ())] * 2 == refused
    assert [dns.rcode.REFUSED] * 2 == transfers
    assert {"REFUSED"}.isdisjoint(own)

    subnets.update(wire.context, wire.seeded.subnet_id, allow_dns=False)
    wire.serve()

    eventually(lambda: _same(("REFUSED", ()), wire.client.ask(RACK, NAME, recurse=True)), 10)
