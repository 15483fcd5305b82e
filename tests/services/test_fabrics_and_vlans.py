"""Fabrics, VLANs and spaces: what new things join, what is refused, what a merge moves."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services import addresses, fabrics, merging, rack_interfaces, ranges, spaces, subnets, vlans
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound, ServiceError
from app.store.models import Fabric, Interface, IpRange, Machine, Rack, RecordChange, Subnet, Vlan
from app.store.queries.scopes import scopes_of_rack
from tests.factories.control import Seeded, make_context, make_machine, seed

EDGE = "10.60.0.0/24"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """What a small rack has; the rack's own address has a row."""
    made = seed(context)
    with changing(context) as session:
        rack_interfaces.attach_all(session, context)
    return made


def add_rack(context: Context, name: str, *addresses_: str, dhcp_server: str = "kea") -> int:
    """A rack with these addresses on one interface; its id."""
    with changing(context) as session:
        rack = Rack(
            name=name,
            token_hash=name,
            dhcp_server=dhcp_server,
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": list(addresses_)}],
            enrolled_at=context.clock(),
        )
        session.add(rack)
        session.flush()
        rack_interfaces.attach_all(session, context)
        return rack.id


def test_new_things_join_the_default_fabric(context: Context) -> None:
    """A subnet without a VLAN joins the untagged one of the oldest fabric, which is made if there is none."""
    seed(context)
    with context.store.write() as session:
        default = session.scalars(select(Fabric).order_by(Fabric.id)).first()
        untagged = session.scalars(select(Vlan.id).where(Vlan.vid == 0)).one()
    fabrics.create(context)
    joined = subnets.create(context, EDGE)
    own = subnets.create(context, "10.61.0.0/24", fabric="edge")
    vlan = vlans.create(context, None, 7)

    assert default is not None
    assert untagged == joined.vlan_id
    assert ("edge", 0) == (own.vlan.fabric.name, own.vlan.vid)
    assert default.id == vlan.fabric_id
    assert ["fabric-0", "fabric-1", "edge"] == [fabric.name for fabric in fabrics.find(context)]
    with pytest.raises(Invalid):
        subnets.create(context, "10.62.0.0/24", untagged, fabric="another")


def test_spaces_are_inherited_and_flagged(context: Context, seeded: Seeded) -> None:
    """Subnets are in their VLAN's space; a space without any is said to be; one in use stays."""
    space, empty = spaces.create(context, "inside", "10/8"), spaces.create(context, "nowhere")
    vlans.update(context, seeded.vlan_id, space_id=space.id)
    seen = spaces.get(context, space.id)

    assert (1, 1, False) == (seen.vlans, seen.subnets, seen.without_subnets)
    assert spaces.get(context, empty.id).without_subnets
    assert [seeded.subnet_id] == [subnet.id for subnet in subnets.find(context, space_id=space.id)]
    with pytest.raises(Conflict) as refused:
        spaces.delete(context, space.id)
    assert "inside" in refused.value.detail
    assert "untagged (0" in refused.value.detail
    vlans.update(context, seeded.vlan_id, space_id=None)
    spaces.delete(context, space.id)
    assert ["nowhere"] == [one.name for one in spaces.find(context)]


def _relayed(context: Context, seeded: Seeded, vid: int = 70) -> Vlan:
    return vlans.create(context, seeded.fabric_id, vid, relay_vlan_id=seeded.vlan_id)


REFUSALS: list[tuple[str, Callable[[Context, Seeded], Any], type[ServiceError], tuple[str, ...]]] = [
    (
        "a rack without an address, DHCP on or off",
        lambda c, s: vlans.update(c, vlans.create(c, s.fabric_id, 7).id, rack_id=s.rack_id),
        Conflict,
        ("vlan-7", "rack-1", "no address", "relay"),
    ),
    (
        "a secondary without an address",
        lambda c, s: vlans.update(c, s.vlan_id, secondary_rack_id=add_rack(c, "other", "192.0.2.1/24")),
        Conflict,
        ("untagged", "other", "10.20.0.0/24"),
    ),
    (
        "a secondary that is the primary",
        lambda c, s: vlans.update(c, s.vlan_id, secondary_rack_id=s.rack_id),
        Conflict,
        ("rack-1", "its own secondary"),
    ),
    (
        "a secondary that runs dhcpd",
        lambda c, s: vlans.update(
            c, s.vlan_id, secondary_rack_id=add_rack(c, "other", "10.20.0.2/24", dhcp_server="dhcpd")
        ),
        Conflict,
        ("other", "dhcpd", "Kea"),
    ),
    ("a relay to itself", lambda c, s: vlans.update(c, s.vlan_id, relay_vlan_id=s.vlan_id), Conflict, ("itself",)),
    (
        "a relay beside a rack",
        lambda c, s: vlans.update(c, s.vlan_id, relay_vlan_id=vlans.create(c, s.fabric_id, 9).id),
        Conflict,
        ("untagged", "rack-1", "vlan-9"),
    ),
    (
        "a relay chain",
        lambda c, s: vlans.create(c, s.fabric_id, 71, relay_vlan_id=_relayed(c, s).id),
        Conflict,
        ("vlan-71", "vlan-70", "itself relayed"),
    ),
    (
        "a relay loop",
        lambda c, s: vlans.update(
            c, (a := vlans.create(c, s.fabric_id, 8)).id,
            relay_vlan_id=vlans.create(c, s.fabric_id, 9, relay_vlan_id=a.id).id,
        ),
        Conflict,
        ("vlan-8", "vlan-9"),
    ),
    ("a relay to nowhere", lambda c, s: vlans.create(c, s.fabric_id, 9, relay_vlan_id=999), NotFound, ("999",)),
    (
        "DHCP through a relay to a VLAN without a rack",
        lambda c, s: vlans.update(
            c, vlans.create(c, s.fabric_id, 9, relay_vlan_id=vlans.create(c, s.fabric_id, 8).id).id, dhcp_on=True
        ),
        Conflict,
        ("vlan-9", "vlan-8"),
    ),
    (
        "deleting the VLAN that a relay leads to",
        lambda c, s: (
            one := vlans.create(c, s.fabric_id, 8),
            vlans.create(c, s.fabric_id, 9, relay_vlan_id=one.id),
            vlans.delete(c, one.id),
        ),
        Conflict,
        ("vlan-8", "vlan-9"),
    ),
    ("another tag for the untagged VLAN", lambda c, s: vlans.update(c, s.vlan_id, vid=5), Conflict, ("untagged",)),
    (
        "the untagged VLAN to another fabric",
        lambda c, s: vlans.update(c, s.vlan_id, fabric_id=fabrics.create(c).id),
        Conflict,
        ("untagged", "fabric-0"),
    ),
    ("deleting the untagged VLAN", lambda c, s: vlans.delete(c, s.vlan_id), Conflict, ("untagged", "fabric-0")),
    (
        "merging the untagged VLAN away",
        lambda c, s: merging.vlans(c, s.vlan_id, vlans.create(c, s.fabric_id, 9).id),
        Conflict,
        ("untagged", "vlan-9"),
    ),
    ("merging a fabric into itself", lambda c, s: merging.fabrics(c, s.fabric_id, s.fabric_id), Invalid, ("itself",)),
    (
        "merging VLANs of two MTUs",
        lambda c, s: merging.vlans(c, subnets.create(c, EDGE, vlans.create(c, s.fabric_id, 9, mtu=9000).id).vlan_id, s.vlan_id),
        Conflict,
        ("vlan-9", "untagged", "9000", "1500"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "kind", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refused(
    context: Context, seeded: Seeded, ask: Callable[..., Any], kind: type[ServiceError], words: tuple[str, ...]
) -> None:
    """What breaks a rule is refused in words that name the things in conflict."""
    with pytest.raises(kind) as refused:
        ask(context, seeded)

    assert type(refused.value) is kind
    assert [word for word in words if word not in refused.value.detail] == []


def _two_vlans(context: Context, seeded: Seeded, first: int, second: int | None = None) -> tuple[int, int, int]:
    """Rack a with rack b as secondary on one VLAN, and `first` and `second` to be on another; ids of it, a and b."""
    b = add_rack(context, "bbbbbb", "10.20.0.2/24", "10.60.0.2/24")
    with changing(context) as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [
            *rack.interfaces,
            {"name": "eth1", "mac": "02:00:00:00:00:02", "addresses": ["10.60.0.1/24"]},
        ]
    subnet = subnets.create(context, EDGE, vlans.create(context, seeded.fabric_id, 60).id)
    vlans.update(context, seeded.vlan_id, secondary_rack_id=b)
    return subnet.vlan_id, seeded.rack_id, b


def test_partners_serve_all_their_vlans_in_the_same_roles(context: Context, seeded: Seeded) -> None:
    """A standby is primary nowhere, a rack has one partner; the same two racks may share many VLANs, and one may not."""
    vlan_id, a, b = _two_vlans(context, seeded, 0)
    c = add_rack(context, "cccccc", "10.60.0.3/24")
    with pytest.raises(Conflict) as standby:
        vlans.update(context, vlan_id, rack_id=b, secondary_rack_id=None, dhcp_on=True)
    with pytest.raises(Conflict) as second:
        vlans.update(context, vlan_id, rack_id=a, secondary_rack_id=c, dhcp_on=True)
    alone = vlans.update(context, vlan_id, rack_id=a, secondary_rack_id=None, dhcp_on=True)
    both = vlans.update(context, vlan_id, secondary_rack_id=b)

    assert [word for word in ("bbbbbb", "untagged", "vlan-60", "standby") if word not in standby.value.detail] == []
    assert [word for word in ("rack-1", "bbbbbb", "cccccc", "vlan-60") if word not in second.value.detail] == []
    assert (a, None, True) == (alone.rack_id, alone.secondary_rack_id, alone.dhcp_on)
    assert b == both.secondary_rack_id
    with context.store.read() as session:
        assert {f"vlan:{seeded.vlan_id}", f"vlan:{vlan_id}"} == set(scopes_of_rack(session, b))


def test_a_relayed_vlan_is_served_by_the_racks_it_leads_to(context: Context, seeded: Seeded) -> None:
    """Its records are theirs, and they cannot leave while DHCP is on there."""
    vlan = _relayed(context, seeded)
    subnets.create(context, EDGE, vlan.id)
    vlans.update(context, vlan.id, dhcp_on=True)
    vlans.update(context, seeded.vlan_id, dhcp_on=False)
    with context.store.read() as session:
        scopes = scopes_of_rack(session, seeded.rack_id)
    with pytest.raises(Conflict) as refused:
        vlans.update(context, seeded.vlan_id, rack_id=None)

    assert {f"vlan:{vlan.id}", f"vlan:{seeded.vlan_id}", "zone:0.60.10.in-addr.arpa"} <= set(scopes)
    assert "vlan-70" in refused.value.detail


def test_merged_fabrics_are_one(context: Context, seeded: Seeded) -> None:
    """VLANs of one tag become one with subnets, ranges, interfaces, hosts and DHCP; the others move as they are."""
    machine = make_machine(context, seeded, "m-one")
    address = addresses.reserve(context, seeded.subnet_id, "10.20.0.210", "printer")
    with changing(context) as session:
        addresses.claim(session, context, session.get_one(Machine, machine))
    into = fabrics.create(context, "hall")
    tagged = vlans.create(context, seeded.fabric_id, 30)
    other = vlans.create(context, into.id, 31)
    relayed = _relayed(context, seeded)
    kept = merging.fabrics(context, seeded.fabric_id, into.id)
    with context.store.read() as session:
        rows = session.scalars(select(Vlan).order_by(Vlan.vid)).all()
        untagged = rows[0]
        hosts = {row.scope for row in session.scalars(select(RecordChange)) if row.key.startswith("host:")}
        subnet = session.get_one(Subnet, seeded.subnet_id)
        on = set(session.scalars(select(Interface.vlan_id)))
        drawn = session.scalars(select(IpRange.subnet_id)).all()

    assert [kept.id] == [fabric.id for fabric in fabrics.find(context)]
    assert [(0, into.id), (30, into.id), (31, into.id), (70, into.id)] == [(row.vid, row.fabric_id) for row in rows]
    assert [tagged.id, other.id, relayed.id] == [row.id for row in rows[1:]]
    assert (True, seeded.rack_id, 1500) == (untagged.dhcp_on, untagged.rack_id, untagged.mtu)
    assert untagged.id == rows[3].relay_vlan_id
    assert (untagged.id, {untagged.id}, [seeded.subnet_id]) == (subnet.vlan_id, on, list(drawn))
    assert {f"vlan:{untagged.id}"} == hosts
    assert address.subnet_id == seeded.subnet_id


def test_vlans_in_use_merge_when_they_agree(context: Context, seeded: Seeded) -> None:
    """The one that stays keeps its name and tag and serves the subnets of both."""
    one = vlans.create(context, seeded.fabric_id, 60)
    subnet = subnets.create(context, EDGE, one.id)
    drawn = ranges.create(context, subnet.id, "dynamic", "10.60.0.100", "10.60.0.110")
    kept = merging.vlans(context, one.id, seeded.vlan_id)

    assert (0, "untagged", True, seeded.rack_id) == (kept.vid, kept.name, kept.dhcp_on, kept.rack_id)
    assert {seeded.subnet_id, subnet.id} == {row.id for row in subnets.find(context, kept.id)}
    assert drawn.subnet_id == subnet.id
    with pytest.raises(NotFound):
        vlans.get(context, one.id)
