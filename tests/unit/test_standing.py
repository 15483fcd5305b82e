"""On which interface a rack serves a VLAN: the rule, row by row."""

from __future__ import annotations

from typing import Any

import pytest

from app.services.errors import Invalid
from app.services.rack_interfaces import checked_interfaces
from app.store.standing import Standings
from workers.rack.observe import parse_interfaces


def nic(name: str, *addresses: str, kind: str = "physical", carrier: bool | None = True) -> dict[str, Any]:
    """An interface as a rack reports it."""
    return {"name": name, "mac": "", "addresses": list(addresses), "kind": kind, "carrier": carrier}


A, B, SIX = "10.20.0.0/24", "10.21.0.0/24", "2001:db8::/64"
RULES: list[tuple[str, list[dict[str, Any]], list[str], str, str]] = [
    ("the only one", [nic("eth0", "10.20.0.1/24"), nic("eth1")], [A], "eth0", "only one"),
    (
        "physical before bond before VLAN before bridge",
        [
            nic("br0", "10.20.0.4/24", kind="bridge"),
            nic("eth9.7", "10.20.0.3/24", kind="vlan"),
            nic("bond0", "10.20.0.2/24", kind="bond"),
            nic("eth9", "10.20.0.1/24"),
        ],
        [A],
        "eth9",
        "eth9 (physical) goes before bond0 (bond), eth9.7 (VLAN interface), br0 (bridge): the order is physical",
    ),
    (
        "a bond with a carrier before a physical one without",
        [nic("eth0", "10.20.0.1/24", carrier=False), nic("bond0", "10.20.0.2/24", kind="bond")],
        [A],
        "bond0",
        "eth0 (physical, no carrier): it has a carrier",
    ),
    (
        "one with IPv4 before one with IPv6 only",
        [nic("eth0", "2001:db8::1/64"), nic("bond0", "10.20.0.2/24", kind="bond")],
        [SIX, A],
        "bond0",
        "IPv4",
    ),
    (
        "numbers as numbers",
        [nic("eth10", "10.20.0.10/24"), nic("eth9", "10.20.0.9/24")],
        [A],
        "eth9",
        "the first name",
    ),
    (
        "an older rack says no kind",
        [{"name": "eth0", "mac": "", "addresses": ["10.20.0.1/24"]}, nic("b", "10.20.0.2/24", kind="bond")],
        [A],
        "eth0",
        "physical",
    ),
    (
        "what nobody knows goes last",
        [nic("a-tun", "10.20.0.1/24", kind="wireguard"), nic("v", "10.20.0.2/24", kind="vlan")],
        [A],
        "v",
        "other",
    ),
]


@pytest.mark.parametrize(("nics", "cidrs", "wanted", "why"), [row[1:] for row in RULES], ids=[row[0] for row in RULES])
def test_the_rule(nics: list[dict[str, Any]], cidrs: list[str], wanted: str, why: str) -> None:
    """The interface, and the reason in words; the order of the report does not matter."""
    for order in (nics, nics[::-1]):
        standing = Standings(order).on(cidrs)

        assert standing is not None
        assert wanted == standing.interface
        assert why in standing.reason


def test_addresses_are_those_of_the_interface_first() -> None:
    """Where the chosen one has none in a subnet, another one's is told; where none has, none is."""
    nics = [nic("eth0", "10.20.0.1/24", "10.20.0.5/24"), nic("bond0", "10.20.0.2/24", "10.21.0.2/24", kind="bond")]
    standing = Standings(nics).on([B, A, SIX])

    assert standing is not None
    assert ({A: "10.20.0.1", B: "10.21.0.2"}, frozenset({A})) == (standing.addresses, standing.on_interface)
    assert Standings(nics).on([SIX]) is None
    assert Standings([]).on([A]) is None


LINKS: list[dict[str, Any]] = [
    {"ifname": "lo", "link_type": "loopback", "addr_info": [{"local": "127.0.0.1", "prefixlen": 8, "scope": "host"}]},
    {
        "ifname": "eth0",
        "address": "02:00:00:00:00:01",
        "mtu": 9000,
        "flags": ["BROADCAST", "UP", "LOWER_UP"],
        "master": "bond0",
        "addr_info": [],
    },
    {"ifname": "eth1", "address": "02:00:00:00:00:01", "mtu": 9000, "flags": ["NO-CARRIER", "UP"], "master": "bond0"},
    {
        "ifname": "bond0",
        "address": "02:00:00:00:00:01",
        "mtu": 9000,
        "flags": ["UP", "LOWER_UP"],
        "linkinfo": {"info_kind": "bond", "info_data": {"mode": "802.3ad"}},
        "addr_info": [
            {"local": "10.20.0.1", "prefixlen": 24, "scope": "global"},
            {"local": "fe80::1", "prefixlen": 64, "scope": "link"},
        ],
    },
    {
        "ifname": "bond0.30",
        "link": "bond0",
        "address": "02:00:00:00:00:01",
        "mtu": 1500,
        "flags": ["UP", "LOWER_UP"],
        "linkinfo": {"info_kind": "vlan", "info_data": {"protocol": "802.1Q", "id": 30}},
        "addr_info": [{"local": "2001:db8::1", "prefixlen": 64, "scope": "global"}],
    },
    {"ifname": "wg0", "flags": [], "mtu": 1420, "linkinfo": {"info_kind": "wireguard"}},
]


def test_a_rack_reports_what_its_interfaces_are() -> None:
    """Kind, parents, tag, MTU and carrier, as the kernel says them; the control plane keeps them as they come."""
    found = parse_interfaces(LINKS)
    told = [
        (one["name"], one["kind"], one["parents"], one["vid"], one["mtu"], one["carrier"], one["addresses"])
        for one in found
    ]
    kept = checked_interfaces(found)

    assert [
        ("eth0", "physical", [], None, 9000, True, []),
        ("eth1", "physical", [], None, 9000, False, []),
        ("bond0", "bond", ["eth0", "eth1"], None, 9000, True, ["10.20.0.1/24"]),
        ("bond0.30", "vlan", ["bond0"], 30, 1500, True, ["2001:db8::1/64"]),
        ("wg0", "other", [], None, 1420, False, []),
    ] == told
    assert ["bond0", "bond0.30", "eth0", "eth1", "wg0"] == [one["name"] for one in kept]
    assert ("vlan", ["bond0"], 30, 1500, True) == tuple(
        kept[1][name] for name in ("kind", "parents", "vid", "mtu", "carrier")
    )


@pytest.mark.parametrize(
    "wrong", [{"vid": 4095}, {"vid": True}, {"mtu": "1500"}, {"carrier": 1}, {"parents": 7}], ids=str
)
def test_malformed_interfaces_are_refused(wrong: dict[str, Any]) -> None:
    """What is of the wrong shape is named."""
    with pytest.raises(Invalid) as refused:
        checked_interfaces([{"name": "eth0", "mac": "", "addresses": [], **wrong}])

    assert "eth0" in refused.value.detail
