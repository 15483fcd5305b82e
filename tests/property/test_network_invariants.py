"""Whatever is made, moved, merged, found and deleted, in whatever order: the network stays whole."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from app.services import discovery, fabrics, merging, spaces, subnets, vlans
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import ServiceError
from app.services.fabrics import NETWORK_LOCK
from app.store.locks import hold
from app.store.models import Fabric, Interface, Rack, RecordChange, Space, Subnet, Vlan
from app.store.queries.serving import racks_of_vlans
from tests.factories.control import Seeded, make_context, make_machine, seed

PLACES = st.integers(0, 5)
TAGS = st.sampled_from([0, 1, 2, 30])
CIDRS = st.sampled_from(["10.20.0.0/24", "10.21.0.0/24", "10.21.0.0/16", "10.22.0.0/24", "fd21::/64"])
FLAGS = st.none() | st.booleans()


def _pick(session: Any, model: Any, place: int) -> int:
    ids = list(session.scalars(select(model.id).order_by(model.id)))
    return ids[place % len(ids)] if ids else 999


def _id(context: Context, model: Any, place: int) -> int:
    with context.store.read() as session:
        return _pick(session, model, place)


def _found(context: Context, place: int, cidr: str, tag: int) -> None:
    """A rack reports an interface with an address there."""
    host = cidr.replace("0/", "9/").replace("::/", "::9/")
    nics = [
        {"name": "eth5", "mac": "", "addresses": [host] if not tag else [], "kind": "physical"},
        {"name": "eth5.x", "mac": "", "addresses": [host], "kind": "vlan", "vid": tag, "parents": ["eth5"]},
    ]
    with changing(context) as session:
        hold(session, NETWORK_LOCK)
        rack = session.get_one(Rack, _pick(session, Rack, place))
        rack.interfaces = nics if tag else nics[:1]
        discovery.of_rack(session, context, rack)


Step = Callable[[Context], Any]
STEPS: st.SearchStrategy[Step] = st.one_of(
    st.builds(lambda: lambda c: fabrics.create(c)),
    st.builds(lambda p, t: lambda c: vlans.create(c, _id(c, Fabric, p), t), PLACES, TAGS),
    st.builds(
        lambda p, q, t: lambda c: vlans.create(c, _id(c, Fabric, p), t, relay_vlan_id=_id(c, Vlan, q)),
        PLACES, PLACES, TAGS,
    ),
    st.builds(lambda p, q: lambda c: subnets.create(c, q, _id(c, Vlan, p)), PLACES, CIDRS),
    st.builds(lambda q: lambda c: subnets.create(c, q), CIDRS),
    st.builds(lambda p, q: lambda c: subnets.update(c, _id(c, Subnet, p), vlan_id=_id(c, Vlan, q)), PLACES, PLACES),
    st.builds(lambda p, q: lambda c: vlans.update(c, _id(c, Vlan, p), fabric_id=_id(c, Fabric, q)), PLACES, PLACES),
    st.builds(lambda p, t: lambda c: vlans.update(c, _id(c, Vlan, p), vid=t), PLACES, TAGS),
    st.builds(
        lambda p, q, d: lambda c: vlans.update(
            c, _id(c, Vlan, p), relay_vlan_id=_id(c, Vlan, q), **({} if d is None else {"dhcp_on": d})
        ),
        PLACES, PLACES, FLAGS,
    ),
    st.builds(lambda p, d: lambda c: vlans.update(c, _id(c, Vlan, p), dhcp_on=d), PLACES, st.booleans()),
    st.builds(
        lambda p, q, r: lambda c: vlans.update(
            c, _id(c, Vlan, p), rack_id=_id(c, Rack, q), secondary_rack_id=_id(c, Rack, r) if r else None
        ),
        PLACES, PLACES, PLACES,
    ),
    st.builds(lambda p, q: lambda c: vlans.update(c, _id(c, Vlan, p), space_id=_id(c, Space, q)), PLACES, PLACES),
    st.builds(lambda: lambda c: spaces.create(c, "inside")),
    st.builds(lambda p: lambda c: spaces.delete(c, _id(c, Space, p)), PLACES),
    st.builds(lambda p, q: lambda c: merging.fabrics(c, _id(c, Fabric, p), _id(c, Fabric, q)), PLACES, PLACES),
    st.builds(lambda p, q: lambda c: merging.vlans(c, _id(c, Vlan, p), _id(c, Vlan, q)), PLACES, PLACES),
    st.builds(lambda p: lambda c: fabrics.delete(c, _id(c, Fabric, p)), PLACES),
    st.builds(lambda p: lambda c: vlans.delete(c, _id(c, Vlan, p)), PLACES),
    st.builds(lambda p: lambda c: subnets.delete(c, _id(c, Subnet, p)), PLACES),
    st.builds(lambda p, q, t: lambda c: _found(c, p, q, t), PLACES, CIDRS, TAGS),
)  # fmt: skip


def check(context: Context) -> None:
    """What is always true."""
    with context.store.read() as session:
        all_fabrics = set(session.scalars(select(Fabric.id)))
        rows = {row.id: row for row in session.scalars(select(Vlan))}
        all_subnets = {row.id: row for row in session.scalars(select(Subnet))}
        interfaces = session.scalars(select(Interface)).all()
        served = racks_of_vlans(session, rows)
        scopes = {row.partition(":")[2] for row in session.scalars(select(RecordChange.scope)) if row[:5] == "vlan:"}

    assert all(vlan.fabric_id in all_fabrics for vlan in rows.values())
    assert all_fabrics == {vlan.fabric_id for vlan in rows.values() if vlan.vid == 0}
    assert len({(vlan.fabric_id, vlan.vid) for vlan in rows.values()}) == len(rows)
    assert all(subnet.vlan_id in rows for subnet in all_subnets.values())
    for interface in interfaces:
        assert interface.vlan_id is None or interface.vlan_id in rows
        if interface.subnet_id is not None:
            assert interface.vlan_id == all_subnets[interface.subnet_id].vlan_id
    for vlan in rows.values():
        if vlan.relay_vlan_id is not None:
            assert rows[vlan.relay_vlan_id].relay_vlan_id is None
            assert (None, None) == (vlan.rack_id, vlan.secondary_rack_id)
        assert not vlan.dhcp_on or served[vlan.id]
        assert vlan.secondary_rack_id is None or vlan.rack_id not in (None, vlan.secondary_rack_id)
    own = [vlan for vlan in rows.values() if vlan.dhcp_on and vlan.relay_vlan_id is None]
    standbys = {vlan.secondary_rack_id for vlan in own} - {None}
    assert not standbys & {vlan.rack_id for vlan in own}
    assert {int(one) for one in scopes} <= set(rows)


@settings(
    max_examples=settings().max_examples // 4,
    deadline=None,
    derandomize=True,
    suppress_health_check=[HealthCheck.too_slow],
)
@given(steps=st.lists(STEPS, min_size=4, max_size=14))
def test_the_network_stays_whole(steps: list[Step]) -> None:
    """A step is done or refused in words; either way every VLAN has a fabric, every subnet a VLAN, and so on."""
    with tempfile.TemporaryDirectory() as folder:
        context = make_context(Path(folder))
        seeded: Seeded = seed(context)
        make_machine(context, seeded)
        with context.store.write() as session:
            nics = [{"name": "eth0", "mac": "", "addresses": ["10.20.0.2/24", "10.21.0.2/24"]}]
            session.add(Rack(name="alpha", token_hash="a", interfaces=nics, enrolled_at=context.clock()))
        for step in steps:
            with suppress(ServiceError):
                step(context)
            check(context)
        context.store.engine.dispose()


def test_a_failing_check_is_seen(tmp_path: Path) -> None:
    """The check itself notices a fabric without its untagged VLAN."""
    context = make_context(tmp_path)
    seed(context)
    with context.store.write() as session:
        session.add(Fabric(name="bare"))
    with pytest.raises(AssertionError):
        check(context)
