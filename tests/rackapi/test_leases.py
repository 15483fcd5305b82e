"""Leases that racks report: who may tell of which, what is refused by name, and where they are shown."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from flask import Flask
from sqlalchemy import select
from werkzeug.test import TestResponse

from app import identity, rackapi
from app.api import errors
from app.config import load
from app.services import address_map as maps
from app.services import addresses, leases, neighbours, subnet_use, subnets, vlans
from app.services.context import Actor, Context
from app.store.models import Rack, RecordChange, Vlan
from app.web import address_cells
from tests.factories.control import RACK_TOKEN, Seeded, make_context, seed, sha256

OTHER_TOKEN = "token-of-another-rack"
MAC, DUID = "52:54:00:00:00:0a", "00:03:00:01:52:54:00:00:00:0a"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """rack-1 serves 10.20.0.0/24 and 2001:db8:20::/64, rack-2 serves 10.30.0.0/24."""
    made = seed(context)
    with context.store.write() as session:
        other = Rack(name="rack-2", token_hash=sha256(OTHER_TOKEN), layout={}, enrolled_at=context.clock())
        session.add(other)
        session.flush()
        rack_id = other.id
    vlan = vlans.create(context, made.fabric_id, 30)
    subnets.create(context, "10.30.0.0/24", vlan.id)
    subnets.create(context, "2001:db8:20::/64", made.vlan_id)
    with context.store.write() as session:
        session.get_one(Vlan, vlan.id).rack_id = rack_id
    return made


@pytest.fixture
def application(context: Context, seeded: Seeded, tmp_path: Path) -> Flask:
    """The edge alone."""
    made = Flask("app")
    made.config.update(MUSTER_CONFIG=load({"MUSTER_STATE_DIR": str(tmp_path / "state")}), RACK_WAITERS=8)
    identity.attach(made, context)
    errors.register(made)
    made.register_blueprint(rackapi.blueprint)
    return made


def lease(context: Context, address: str, **other: Any) -> dict[str, Any]:
    """One entry, as the agent sends it."""
    now = int(context.clock().timestamp())
    return {
        "address": address, "mac": MAC, "duid": None, "hostname": None, "started_at": now - 60, "expires_at": now + 600,
    } | other  # fmt: skip


def tell(application: Flask, items: list[Any], token: str = RACK_TOKEN, **other: Any) -> TestResponse:
    """Report as a rack."""
    headers = {"Authorization": f"Bearer {token}"}
    return application.test_client().post("/rack/v1/reports/leases", json={"leases": items, **other}, headers=headers)


def held(context: Context) -> list[str]:
    """Addresses of all leases there are, in order of their ids."""
    return [row.address for row in leases.find(context)]


def test_a_rack_tells_only_of_subnets_that_it_serves(application: Flask, context: Context) -> None:
    """Entries elsewhere are refused by name and rule, and the others are kept; the other rack may tell of them."""
    items = [lease(context, address) for address in ("10.20.0.100", "10.30.0.5", "192.0.2.1", "2001:DB8:20::5")]
    refused = {one["address"]: one["reason"] for one in tell(application, items).json["refused"]}
    mine = held(context)
    theirs = tell(application, [items[1]], OTHER_TOKEN)

    assert ["10.20.0.100", "2001:db8:20::5"] == mine
    assert {"10.30.0.5", "192.0.2.1"} == set(refused)
    assert "subnet 10.30.0.0/24, whose VLAN rack rack-1 does not serve" in refused["10.30.0.5"]
    assert "no subnet that Muster knows" in refused["192.0.2.1"]
    assert (200, {"refused": []}) == (theirs.status_code, theirs.json)
    assert "10.30.0.5" in held(context)


WRONG: list[tuple[str, Any, str]] = [
    ("no object", "10.20.0.7", "expected an object"),
    ("no address", {"address": None}, "no address"),
    ("an address that is none", {"address": "10.20.0.999"}, "is not an IP address"),
    ("a MAC that is none", {"mac": "52:54"}, "mac '52:54'"),
    ("a DUID of one byte", {"duid": "00"}, "duid '00'"),
    ("a host name with a control character", {"hostname": "a\x07"}, "printable"),
    ("a host name as long as a novel", {"hostname": "a" * 256}, "at most 255"),
    ("an end before its beginning", {"expires_at": 1}, "in this order"),
    ("an end in the year 5000", {"expires_at": 95_617_584_000}, "in this order"),
    ("a truth for a time", {"started_at": True}, "in this order"),
]


@pytest.mark.parametrize(("wrong", "says"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_malformed_entry_is_refused_by_name(application: Flask, context: Context, wrong: Any, says: str) -> None:
    """And the others are kept."""
    bad = {**lease(context, "10.20.0.7"), **wrong} if isinstance(wrong, dict) else wrong
    answer = tell(application, [bad, lease(context, "10.20.0.100")])

    assert 200 == answer.status_code
    assert [says] == [says for one in answer.json["refused"] if says in one["reason"]], answer.json
    assert ["10.20.0.100"] == held(context)


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422),
        ({"leases": {}}, 422),
        ({"leases": [{}] * 1001}, 422),
        ({"leases": [], "ended": "10.20.0.1"}, 422),
        ({"leases": [], "span": {"first": "10.20.0.9", "last": "10.20.0.1"}}, 422),
        ({"leases": [], "span": {"first": "10.20.0.9", "last": "::1"}}, 422),
        ({"leases": [], "span": {"first": "10.20.0.9"}}, 422),
        ({"leases": [{"hostname": "x" * 1_100_000}]}, 413),
    ],
    ids=lambda value: str(value)[:50],
)
def test_a_report_that_makes_no_sense_changes_nothing(
    application: Flask, context: Context, body: dict[str, Any], status: int
) -> None:
    """The rack's leases stay as they were."""
    tell(application, [lease(context, "10.20.0.100")])
    headers = {"Authorization": f"Bearer {RACK_TOKEN}"}
    answer = application.test_client().post("/rack/v1/reports/leases", json=body, headers=headers)

    assert (status, ["10.20.0.100"]) == (answer.status_code, held(context))


def test_what_is_told_twice_is_one_and_what_is_not_in_a_whole_has_ended(application: Flask, context: Context) -> None:
    """By an address that ended, by a span that does not name it; other families, spans and racks are left alone."""
    four = [lease(context, f"10.20.0.{number}") for number in (100, 101, 102, 103)]
    six = lease(context, "2001:db8:20::5", mac=None, duid=DUID)
    tell(application, [*four, six])
    tell(application, [lease(context, "10.30.0.5")], OTHER_TOKEN)
    first = held(context)
    for _ in range(2):
        tell(application, [*four, six])
    again = held(context)
    for _ in range(2):
        tell(application, [], ended=["10.20.0.101", "10.30.0.5", "nonsense"])
    ended = held(context)
    span = {"first": "10.20.0.102", "last": "255.255.255.255"}
    outside = tell(application, [four[3], four[0]], span=span)
    left = held(context)
    tell(application, [], span={"first": "0.0.0.0", "last": "255.255.255.255"})

    assert first == again
    assert {"10.20.0.100", "10.20.0.102", "10.20.0.103", "2001:db8:20::5", "10.30.0.5"} == set(ended)
    assert ["10.20.0.100"] == [one["address"] for one in outside.json["refused"]]
    assert {"10.20.0.100", "10.20.0.103", "2001:db8:20::5", "10.30.0.5"} == set(left)
    assert {"2001:db8:20::5", "10.30.0.5"} == set(held(context))


def test_leases_are_found_by_each_filter(application: Flask, context: Context, seeded: Seeded) -> None:
    """In pages by id, by a viewer; one that has expired is none, before the timer has taken it away."""
    brief = int(context.clock().timestamp()) + 30
    tell(
        application, [lease(context, "10.20.0.100", hostname="pad"), lease(context, "10.20.0.101", mac=MAC[:-1] + "b")]
    )
    tell(application, [lease(context, "10.20.0.102", expires_at=brief)])
    tell(application, [lease(context, "10.30.0.5")], OTHER_TOKEN)
    viewer = context.acting_as(Actor("vera", "viewer"))

    def found(**asked: Any) -> list[str]:
        return [row.address for row in leases.find(viewer, **asked)]

    everything = leases.find(viewer)
    shown = {use.address: use.leased_until for use in subnet_use.addresses(viewer, seeded.subnet_id)}

    assert ["10.20.0.100"] == found(hostname="pad") == found(address="10.20.0.100") == found(limit=1)
    assert ["10.20.0.101"] == found(mac=(MAC[:-1] + "b").upper()) == found(after=everything[0].id, limit=1)
    assert 3 == len(found(subnet_id=seeded.subnet_id)) == len(found(rack_id=seeded.rack_id))
    assert everything[0].expires_at == shown["10.20.0.100"]
    context.clock.move(31)  # type: ignore[attr-defined]
    assert "10.20.0.102" not in found()


def test_the_name_of_a_lease_that_two_racks_tell_goes_with_the_last(context: Context, seeded: Seeded) -> None:
    """A pair's servers tell each other their leases, so both racks tell of each."""
    with context.store.write() as session:
        second = session.query(Rack).filter_by(name="rack-2").one().id
    now = context.clock()
    seen = [leases.SeenLease("10.20.0.100", MAC, None, "pad", now, now + dt.timedelta(seconds=60))]
    for rack_id in (seeded.rack_id, second):
        leases.observe(context, rack_id, seen)
    names = [row.name for row in leases.find(context)]
    records = []
    for rack_id in (seeded.rack_id, second):
        leases.observe(context, rack_id, [], ["10.20.0.100"])
        with context.store.read() as session:
            newest = session.execute(lease_record()).first()
            records.append(newest is not None and newest[0] is not None)

    assert ["pad", "pad"] == names
    assert [True, False] == records


def lease_record() -> Any:
    """The newest word on the name `pad`."""
    statement = select(RecordChange.value).where(RecordChange.key.endswith("pad.lab.muster.:A"))
    return statement.order_by(RecordChange.sequence.desc()).limit(1)


def test_the_address_map_shows_what_was_only_observed(context: Context, seeded: Seeded) -> None:
    """Leased or seen addresses that nobody was given are cells of their own kind; one that was given stays what it is."""
    now = context.clock()
    until = now + dt.timedelta(seconds=600)
    leases.observe(
        context,
        seeded.rack_id,
        [leases.SeenLease(address, MAC, None, "pad", now, until) for address in ("10.20.0.100", "10.20.0.60")],
    )
    neighbours.report(
        context,
        seeded.rack_id,
        [{"interface": "eth0", "address": address, "mac": MAC} for address in ("10.20.0.100", "10.20.0.70")],
    )
    addresses.reserve(context, seeded.subnet_id, "10.20.0.60", "printer")
    drawn = address_cells.draw(maps.read(context, seeded.subnet_id))
    cells = {cell.label: cell for cell in drawn.cells}
    wide = subnets.create(context, "10.64.0.0/16", seeded.vlan_id)
    leases.observe(context, seeded.rack_id, [leases.SeenLease("10.64.9.9", MAC, None, None, now, until)])
    blocks = {cell.label: cell for cell in address_cells.draw(maps.read(context, wide.id)).cells}

    assert 2 == drawn.counts["discovered"]
    assert "discovered" == cells["100"].kind == cells["70"].kind
    assert "kept" == cells["60"].kind
    assert "pad" in cells["100"].words
    assert "leased by DHCP until" in cells["100"].words
    assert "seen by rack-1" in cells["70"].words
    assert ("discovered", "free") == (blocks["9"].kind, blocks["10"].kind)
    assert "1 discovered" in blocks["9"].words
