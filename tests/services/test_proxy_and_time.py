"""The settings `proxy` and `ntp_upstreams`: what is right, and what racks and DHCP make of them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services import ranges, settings, subnets
from app.services.context import Context
from app.services.errors import Invalid
from app.store.intent import load_intent
from app.store.models import Rack
from renderers import registry
from renderers.intent import ProxyIntent, RackIntent
from tests.factories.control import Seeded, make_context, seed


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """What a small rack has."""
    return seed(context)


def _intent(context: Context, rack_id: int) -> RackIntent:
    with context.store.read() as session:
        return load_intent(session, rack_id)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("proxy", {"mode": "sideways"}, "one of built-in, none, external, peer"),
        ("proxy", {"mode": "none", "url": "http://p.example:1"}, "has no URL"),
        ("proxy", {"mode": "peer"}, "needs the URL"),
        ("proxy", {"mode": "peer", "url": "https://p.example"}, "write http://"),
        ("proxy", {"mode": "external", "url": "http://me:word@p.example"}, "without user name|no http or https URL"),
        ("proxy", {"mode": "external", "url": "http://p.example/path"}, "has no path"),
        ("proxy", {"mode": "external", "url": "http://2001:db8::7:3128"}, "no http or https URL"),
        ("proxy", {"mode": "none", "port": 7}, "must be"),
        ("ntp_upstreams", {"servers": ["pool.ntp.org"], "external_only": True}, "'pool.ntp.org' is a name"),
        ("ntp_upstreams", {"servers": [], "external_only": True}, "name at least one"),
        ("ntp_upstreams", {"servers": ["10.0.0.1"], "external_only": "yes"}, "true or false"),
        ("ntp_upstreams", {"external_only": False}, "must be"),
    ],
)
def test_what_cannot_be_is_refused(context: Context, name: str, value: dict[str, Any], words: str) -> None:
    """The refusal names the value and what to write; the setting stays."""
    before = settings.show(context)[name]
    with pytest.raises(Invalid, match=words):
        settings.change(context, name, value)

    assert before == settings.show(context)[name]


def test_racks_are_told_how_to_be_a_proxy(context: Context, seeded: Seeded) -> None:
    """Each mode reaches the intent; a subnet that may not use the proxy, or is unmanaged, is not among its clients."""
    found = [_intent(context, seeded.rack_id).proxy]
    for value in (
        {"mode": "peer", "url": "http://[2001:db8::7]:3128/"},
        {"mode": "peer", "url": "http://proxy.example.org"},
        {"mode": "external", "url": "https://proxy.example.org"},
    ):
        settings.change(context, "proxy", value)
        found.append(_intent(context, seeded.rack_id).proxy)
    clients = [_intent(context, seeded.rack_id).proxy_networks]
    ranges.delete(context, seeded.range_id)
    for change in ({"allow_proxy": False}, {"allow_proxy": True, "managed": False}):
        subnets.update(context, seeded.subnet_id, **change)
        clients.append(_intent(context, seeded.rack_id).proxy_networks)

    assert [
        ProxyIntent(),
        ProxyIntent("peer", "2001:db8::7", 3128),
        ProxyIntent("peer", "proxy.example.org", 80),
        ProxyIntent("external"),
    ] == found
    assert [("10.20.0.0/24",), (), ()] == clients


def test_machines_are_told_the_racks_or_only_the_external_servers(context: Context, seeded: Seeded) -> None:
    """Option 42 has the rack's address until external_only; servers of the other family are not for the subnet."""
    told = []
    for only in (False, True):
        settings.change(
            context, "ntp_upstreams", {"servers": ["192.0.2.9", "2001:db8::9", "192.0.2.8"], "external_only": only}
        )
        intent = _intent(context, seeded.rack_id)
        (kea,) = [file.text for file in registry.service("kea4").render(intent).files if file.path.endswith(".conf")]
        told.append((intent.subnets[0].ntp_servers, intent.ntp_upstreams, kea.count("192.0.2.9")))

    everything = ("192.0.2.9", "2001:db8::9", "192.0.2.8")
    assert (("10.20.0.1",), everything, 0) == told[0]
    assert (("192.0.2.9", "192.0.2.8"), everything) == told[1][:2]
    assert told[1][2] == 1 or "C0000209" in kea


def test_racks_follow_the_control_plane_and_each_other(context: Context, seeded: Seeded) -> None:
    """The control plane's host, unless it is the rack itself or a server is named; each other enrolled rack by one address."""
    with context.store.write() as session:
        first = session.get_one(Rack, seeded.rack_id)
        first.control_plane_host = "control.example.org"
        for name, addresses, enrolled, ports in (
            ("two", ["10.20.0.2/24", "10.60.0.2/24"], True, {}),
            ("six", ["2001:db8::2/64"], True, {}),
            ("odd", ["10.20.0.4/24"], True, {"ntp": 1123}),
            ("new", ["10.20.0.5/24"], False, {}),
        ):
            interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": addresses}]
            token = name if enrolled else None
            session.add(Rack(name=name, token_hash=token, interfaces=interfaces, ports=ports))
    mine = _intent(context, seeded.rack_id)
    hosts = []
    for host in ("10.20.0.1", "127.0.0.1", "localhost", "2001:db8::1"):
        with context.store.write() as session:
            session.get_one(Rack, seeded.rack_id).control_plane_host = host
        hosts.append(_intent(context, seeded.rack_id).ntp_upstreams)
    settings.change(context, "ntp_upstreams", {"servers": ["pool.ntp.org"]})

    assert (("control.example.org",), ("10.20.0.2",)) == (mine.ntp_upstreams, mine.ntp_peers)
    assert [(), (), (), ("2001:db8::1",)] == hosts
    assert ("pool.ntp.org",) == _intent(context, seeded.rack_id).ntp_upstreams


def test_an_agent_on_the_control_plane_host_is_the_clock_of_all_racks(context: Context, seeded: Seeded) -> None:
    """It alone asks the external servers, unless everybody shall; racks follow it, by an address that they reach."""
    settings.change(context, "ntp_upstreams", {"servers": ["192.0.2.9"]})
    with context.store.write() as session:
        session.get_one(Rack, seeded.rack_id).control_plane_host = "10.255.0.1"
        for name, host, addresses in (
            ("clock", "::1", ["10.255.0.9/24", "10.255.0.1/24"]),
            ("second", "10.255.0.2", ["10.255.0.2/24"]),
            ("other", "muster.example.org", ["10.30.0.1/24"]),
            ("six", "muster.example.org", ["2001:db8::2/64"]),
        ):
            interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": addresses}]
            session.add(Rack(name=name, token_hash=name, interfaces=interfaces, control_plane_host=host))
        session.flush()
        numbers = {rack.name: rack.id for rack in session.scalars(select(Rack))}
    intents = {name: _intent(context, number) for name, number in numbers.items()}
    settings.change(context, "ntp_upstreams", {"servers": ["192.0.2.9"], "external_only": True})
    alone = {name: _intent(context, number).ntp_upstreams for name, number in numbers.items()}

    assert {
        "rack-1": ("10.255.0.1", "10.255.0.2"),
        "other": ("10.255.0.9", "10.255.0.2"),
        "six": ("192.0.2.9",),
        "clock": ("192.0.2.9",),
        "second": ("192.0.2.9",),
    } == {name: intent.ntp_upstreams for name, intent in intents.items()}
    assert (("10.255.0.2",), ("10.255.0.9",), ("10.30.0.1",)) == tuple(
        intents[name].ntp_peers for name in ("clock", "second", "rack-1")
    )
    assert ("10.20.0.1", "10.30.0.1", "2001:db8::2") == intents["second"].ntp_clients
    assert () == intents["other"].ntp_clients
    assert {("192.0.2.9",)} == set(alone.values())
