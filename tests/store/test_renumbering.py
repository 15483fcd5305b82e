"""A subnet is renumbered: everything keeps its place, each owner has one address at every moment, and it can be ended."""

from __future__ import annotations

import datetime as dt
import json
from dataclasses import dataclass
from typing import Any

import pytest
import sqlalchemy as sa
from sqlalchemy import select

from app.services import devices, jobs, ranges, renumber_plan, renumbering, reservations, routes, snippets, subnets
from app.services.addresses import reserve
from app.services.context import Actor, Context
from app.services.errors import Conflict, Forbidden, Invalid, ServiceError
from app.services.records import live
from app.store.models import (
    DhcpSnippet,
    Interface,
    InterfaceLink,
    IpAddress,
    IpRange,
    Lease,
    Machine,
    Offer,
    Rack,
    StaticRoute,
    Subnet,
)  # fmt: skip
from tests.factories.control import Seeded, seed
from tests.store.test_jobs import wanted
from tests.store.test_query_counts import statements

OLD, NEW = "10.40.0.0/22", "10.50.0.0/22"
MAC = "52:54:0a:00:{:02x}:{:02x}"


@dataclass(frozen=True)
class Site:
    """A subnet with everything in it."""

    subnet_id: int
    other_id: int


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


@pytest.fixture
def site(context: Context, seeded: Seeded) -> Site:
    return furnish(context, seeded, 30, 30)


def furnish(context: Context, seeded: Seeded, machine_count: int, reserved_count: int) -> Site:
    subnet = subnets.create(
        context, OLD, seeded.vlan_id, gateway="10.40.0.1", dns_servers=["10.40.0.2", "9.9.9.9"], lease_seconds=900
    ).id
    other = subnets.create(context, "10.41.0.0/24", seeded.vlan_id).id
    ranges.create(context, subnet, "dynamic", "10.40.1.100", "10.40.1.150", "guests")
    ranges.create(context, subnet, "reserved", "10.40.3.200", "10.40.3.210", "switches")
    routes.create(context, subnet, other, "10.40.0.3")
    routes.create(context, other, subnet, "10.41.0.3", 7)
    snippets.create(context, "wpad", "option", "subnet", "domain-search lab.example", force=True, subnet_id=subnet)
    reserve(context, subnet, "10.40.0.9", "printer", "third floor")
    card = {"mac": "52:54:0b:00:00:01", "links": [{"subnet_id": subnet, "mode": "static", "address": "10.40.3.5"}]}
    devices.create(context, "camera", interfaces=[card])
    made = [
        reservations.Wanted(f"10.40.2.{number}", MAC.format(1, number), f"promised-{number}")
        for number in range(1, reserved_count + 1)
    ]
    reservations.create_many(context, made)
    job = jobs.start(context, "machines.create", wanted(subnet, machine_count))
    jobs.run(context, job.id, patience=0)
    assert 0 == jobs.get(context, job.id).failed
    return Site(subnet, other)


def given(context: Context) -> dict[str, tuple[str, int]]:
    """Address and subnet by whose it is."""
    with context.store.read() as session:
        rows = session.scalars(select(IpAddress).where(IpAddress.kind != "rack"))
        return {str(row.mac or row.interface_id or row.hostname): (row.address, row.subnet_id) for row in rows}


def hosts(context: Context, seeded: Seeded) -> dict[str, list[str]]:
    """Every address that DHCP has promised, by MAC."""
    found: dict[str, list[str]] = {}
    with context.store.read() as session:
        for key, value in live(session, f"vlan:{seeded.vlan_id}"):
            found.setdefault(key.split(":", 2)[2], []).append(value["address"])
    return found


def is_true(context: Context, seeded: Seeded) -> bool:
    """Whether every promised address is the one that is written, in the subnet where it is written, and nothing else."""
    with context.store.read() as session:
        rows = session.execute(
            select(IpAddress.subnet_id, sa.func.coalesce(IpAddress.mac, Interface.mac), IpAddress.address)
            .outerjoin(Interface, Interface.id == IpAddress.interface_id)
            .where(IpAddress.kind.not_in(("rack", "user_reserved")))
        )
        wanted = {f"host:{subnet_id}:{mac}": address for subnet_id, mac, address in rows}
        found = {key: value["address"] for key, value in live(session, f"vlan:{seeded.vlan_id}")}
        links = session.execute(
            select(InterfaceLink.subnet_id, IpAddress.subnet_id)
            .join(IpAddress, IpAddress.interface_id == InterfaceLink.interface_id)
        ).all()  # fmt: skip
        return wanted == found and all(one == other for one, other in links)


def renumbered(address: str) -> str:
    return address.replace("10.40.", "10.50.")


def finish(context: Context, subnet_id: int, cidr: str, **words: Any) -> Any:
    job = renumbering.start(context, subnet_id, cidr, **words)
    jobs.run(context, job.id, patience=0)
    return jobs.get(context, job.id)


def test_everything_keeps_its_place(context: Context, seeded: Seeded, site: Site) -> None:
    """Addresses, hosts, names, pointers, gateway, DNS servers, ranges, routes and snippets; the old subnet is gone."""
    before, promised = given(context), hosts(context, seeded)
    seen = renumber_plan.preview(context, site.subnet_id, NEW)
    job = finish(context, site.subnet_id, NEW)

    assert ([], 30, 1, 31) == (seen.refusals, seen.machines, seen.devices, seen.addresses)
    assert ("succeeded", 0) == (job.status, job.failed), job.errors
    with context.store.read() as session:
        subnet = session.scalars(select(Subnet).where(Subnet.cidr == NEW)).one()
        spans = {
            (one.kind, one.start, one.end, one.comment)
            for one in session.scalars(select(IpRange).where(IpRange.subnet_id == subnet.id))
        }
        ways = {
            (one.source_id, one.destination_id, one.gateway, one.metric) for one in session.scalars(select(StaticRoute))
        }
        snippet = session.scalars(select(DhcpSnippet)).one()
        names = dict(live(session, "zone:lab.muster"))
        zones = [f"zone:{third}.{second}.10.in-addr.arpa" for second in (40, 50) for third in range(4)]
        back = {key for zone in zones for key, _ in live(session, zone) if key.endswith(":PTR")}

        assert None is session.get(Subnet, site.subnet_id)
        assert ("10.50.0.1", ["10.50.0.2", "9.9.9.9"], NEW, 900) == (
            subnet.gateway, subnet.dns_servers, subnet.name, subnet.lease_seconds,
        )  # fmt: skip
        assert {
            ("dynamic", "10.50.1.100", "10.50.1.150", "guests"), ("reserved", "10.50.3.200", "10.50.3.210", "switches"),
        } == spans  # fmt: skip
        assert {(subnet.id, site.other_id, "10.50.0.3", 0), (site.other_id, subnet.id, "10.41.0.3", 7)} == ways
        assert ("wpad", subnet.id) == (snippet.name, snippet.subnet_id)
        assert [] == session.scalars(select(InterfaceLink.id).where(InterfaceLink.subnet_id == site.subnet_id)).all()
        assert {subnet.id, None} == set(session.scalars(select(Interface.subnet_id)))
    assert {who: (renumbered(one), subnet.id) for who, (one, _) in before.items()} == given(context)
    assert {mac: [renumbered(one) for one in found] for mac, found in promised.items()} == hosts(context, seeded)
    assert ["10.50.2.7"] == names["rrset:promised-7.lab.muster.:A"]["rdatas"]
    assert ["10.50.3.5"] == names["rrset:camera.lab.muster.:A"]["rdatas"]
    assert "rrset:7.2.50.10.in-addr.arpa.:PTR" in back
    assert not any(".40.10." in key for key in back)
    assert is_true(context, seeded)


def test_ended_in_the_middle_everybody_has_one_address_and_it_can_be_taken_back(
    context: Context, seeded: Seeded
) -> None:
    """After any batch each owner is whole in one of the two networks; asked the other way, all is as it was."""
    site = furnish(context, seeded, 230, 40)
    before, promised = given(context), hosts(context, seeded)

    class Died(BaseException):
        pass

    def die(*ignored: Any) -> bool:
        raise Died

    job = renumbering.start(context, site.subnet_id, NEW)
    whole, jobs._racks_have_it = jobs._racks_have_it, die
    try:
        with pytest.raises(Died):
            jobs.run(context, job.id)
    finally:
        jobs._racks_have_it = whole
    jobs.cancel(context, job.id)
    jobs.sweep(context)
    between = given(context)
    new_id = next(subnet_id for one, subnet_id in between.values() if one.startswith("10.50."))

    assert ("cancelled", 200) == (lambda row: (row.status, row.done))(jobs.get(context, job.id))
    assert 200 == sum(subnet_id == new_id for _, subnet_id in between.values())
    assert all(one in (before[who][0], renumbered(before[who][0])) for who, (one, _) in between.items())
    assert dict.fromkeys(promised, 1) == {mac: len(found) for mac, found in hosts(context, seeded).items()}
    assert is_true(context, seeded)
    # What nobody was moved into yet is not handed out to others.
    taken = wanted(new_id, 1, 900)
    jobs.run(context, (other := jobs.start(context, "machines.create", taken)).id, patience=0)
    assert "0 addresses are free" in jobs.get(context, other.id).errors[0]["detail"]

    back = finish(context, new_id, OLD)
    assert ("succeeded", 0) == (back.status, back.failed), back.errors
    assert before == given(context)
    assert promised == hosts(context, seeded)
    with context.store.read() as session:
        assert None is session.get(Subnet, new_id)
        assert 2 == len(session.scalars(select(IpRange).where(IpRange.subnet_id == site.subnet_id)).all())
        assert 2 == len(session.scalars(select(StaticRoute)).all())
        assert ["wpad"] == session.scalars(select(DhcpSnippet.name)).all()
    assert is_true(context, seeded)


def test_it_can_be_taken_back_from_a_larger_network_too(context: Context, seeded: Seeded, site: Site) -> None:
    """What keeps the new network closed is nobody's: it neither has to fit into the old one nor is said to move."""
    before = given(context)
    job = renumbering.start(context, site.subnet_id, "10.50.0.0/20")
    jobs.cancel(context, job.id)
    jobs.sweep(context)
    with context.store.read() as session:
        new_id = session.scalars(select(Subnet.id).where(Subnet.cidr == "10.50.0.0/20")).one()
    seen = renumber_plan.preview(context, new_id, OLD)
    back = finish(context, new_id, OLD)

    assert ([], [("dynamic", "10.40.1.100")]) == (seen.refusals, [(one.kind, one.new_start) for one in seen.ranges])
    assert ("succeeded", 0) == (back.status, back.failed), back.errors
    assert before == given(context)


def test_no_dynamic_range_comes_to_where_somebody_is(context: Context, seeded: Seeded, site: Site) -> None:
    """An address that was given meanwhile in the other network is named, and nothing is begun."""
    job = renumbering.start(context, site.subnet_id, NEW)
    jobs.cancel(context, job.id)
    jobs.sweep(context)
    reserve(context, site.subnet_id, "10.40.1.120", "scanner", "")
    with context.store.read() as session:
        new_id = session.scalars(select(Subnet.id).where(Subnet.cidr == NEW)).one()
    with pytest.raises(Conflict) as refusal:
        renumbering.start(context, new_id, OLD)

    assert "range 10.40.1.100-10.40.1.150 holds 10.40.1.120, which is given to scanner" in refusal.value.detail
    assert [refusal.value.detail] == renumber_plan.preview(context, new_id, OLD).refusals


def test_a_snippets_copy_is_as_well_checked_and_has_its_history(context: Context, site: Site) -> None:
    """Both networks have the snippet for a while; the copy says who has judged it, and what it says."""
    with context.store.write() as session:
        original = session.scalars(select(DhcpSnippet)).one()
        original.checked, original.checked_by = True, "kea-dhcp4 for rack-1"
        number = original.id
    renumbering.start(context, site.subnet_id, NEW)
    copy = next(one for one in snippets.find(context) if one.id != number)

    assert ("wpad (10.50.0.0/22)", True, "kea-dhcp4 for rack-1") == (copy.name, copy.checked, copy.checked_by)
    assert [(1, copy.body)] == [(one.revision, one.body) for one in snippets.revisions(context, copy.id)]


def test_more_moves_than_one_may_send(context: Context, site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """How many items a request may send is no bound of what a subnet may hold."""
    monkeypatch.setattr(jobs, "MOST_ITEMS", 5)

    assert 64 == finish(context, site.subnet_id, NEW).done


def test_installed_machines_keep_their_address_until_they_are_released(
    context: Context, seeded: Seeded, site: Site
) -> None:
    """They are named before and after, the old network stays for them alone, and asking again takes the rest."""
    with context.store.write() as session:
        session.scalars(select(Machine).where(Machine.hostname == "bulk-3")).one().state = "DEPLOYED"
    before = given(context)
    seen = renumber_plan.preview(context, site.subnet_id, NEW)
    job = finish(context, site.subnet_id, NEW)
    left = {who: one for who, (one, subnet_id) in given(context).items() if subnet_id == site.subnet_id}

    assert (1, ["bulk-3"], 29) == (seen.staying_count, [one.hostname for one in seen.staying], seen.machines)
    assert 1 == job.failed
    assert "1 of its addresses are given" in job.errors[0]["detail"]
    assert "(bulk-3)" in job.errors[0]["detail"]
    assert 1 == len(left)
    assert all(before[who][0] == one for who, one in left.items())
    assert is_true(context, seeded)
    with context.store.write() as session:
        session.scalars(select(Machine).where(Machine.hostname == "bulk-3")).one().state = "READY"
    again = finish(context, site.subnet_id, NEW)

    assert (3, 0) == (again.total, again.failed), again.errors
    assert all(one.startswith("10.50.") for one, _ in given(context).values())


def test_a_machine_that_is_installed_meanwhile_stays(context: Context, seeded: Seeded, site: Site) -> None:
    """Between the request and its batch somebody deploys: that one is named, the others of its batch move."""
    job = renumbering.start(context, site.subnet_id, NEW)
    with context.store.write() as session:
        session.scalars(select(Machine).where(Machine.hostname == "bulk-9")).one().state = "DEPLOYING"
    jobs.run(context, job.id, patience=0)
    job = jobs.get(context, job.id)

    assert 2 == job.failed
    assert "bulk-9 is Deploying" in job.errors[0]["detail"]
    assert 61 == sum(one.startswith("10.50.") for one, _ in given(context).values())


@pytest.mark.parametrize(
    ("cidr", "said"),
    [
        ("10.50.0.0/23", "has no place in 10.50.0.0/23"),
        ("10.41.0.0/22", "overlaps subnet 10.41.0.0/24"),
        ("10.40.0.0/21", "they share addresses"),
        ("2001:db8::/64", "one is IPv4, the other IPv6"),
    ],
)
def test_what_cannot_be_is_refused_whole(context: Context, site: Site, cidr: str, said: str) -> None:
    """A smaller network, one that is taken, one that overlaps itself, another family: nothing was begun."""
    before = given(context)
    with pytest.raises((Conflict, Invalid)) as refusal:
        renumbering.start(context, site.subnet_id, cidr)

    assert said in refusal.value.detail
    assert 1 == sum(said in one for one in renumber_plan.preview(context, site.subnet_id, cidr).refusals)
    assert before == given(context)
    with context.store.read() as session:
        assert {OLD, "10.41.0.0/24", "10.20.0.0/24"} >= set(session.scalars(select(Subnet.cidr)))


def test_leases_racks_and_roles_are_asked(context: Context, seeded: Seeded, site: Site) -> None:
    """A live lease of a dynamic range holds it up unless it is forced; a rack needs an address there; admins alone."""
    now = context.clock()
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.40.3.240/22"]}]
        session.add(
            IpAddress(subnet_id=site.subnet_id, address="10.40.3.240", address_key=f"{0x0A2803F0:032x}", kind="rack",
                      rack_id=rack.id, hostname=rack.name, created_at=now)
        )  # fmt: skip
        session.add(
            Lease(rack_id=rack.id, subnet_id=site.subnet_id, address="10.40.1.101", address_key=f"{0x0A280165:032x}",
                  mac="52:54:0c:00:00:01", started_at=now, expires_at=now.replace(year=2030))
        )  # fmt: skip

    def refused(**words: Any) -> str:
        with pytest.raises(ServiceError) as refusal:
            renumbering.start(context, site.subnet_id, NEW, **words)
        return refusal.value.detail

    assert "rack rack-1 has 10.40.3.240 in it and none in 10.50.0.0/22" in refused()
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [{**rack.interfaces[0], "addresses": ["10.40.3.240/22", "10.50.3.240/22"]}]
    assert "10.40.1.101 is leased" in refused()
    with pytest.raises(Forbidden):
        renumbering.start(context.acting_as(Actor("olga", "operator")), site.subnet_id, NEW)
    job = finish(context, site.subnet_id, NEW, force=True)

    assert ("succeeded", 0) == (job.status, job.failed), job.errors


def test_nothing_moves_before_the_racks_serve_the_new_network(context: Context, seeded: Seeded, site: Site) -> None:
    """The job waits for a rack that is there and runs an offer without it; a look later, with it, all goes.

    A rack that has nothing to tell is there though it was not heard of for most of a minute.
    """

    def offer(number: int, *subnet_ids: int) -> None:
        content = json.dumps({"subnets": [{"subnet_id": one} for one in subnet_ids]})
        with context.store.write() as session:
            session.add(
                Offer(rack_id=seeded.rack_id, number=number, generation=number, content=content, signature="-",
                      created_at=context.clock())
            )  # fmt: skip
            rack = session.get_one(Rack, seeded.rack_id)
            rack.applied_offer, rack.seen_at = number, context.clock() - dt.timedelta(seconds=45)

    offer(1, site.subnet_id)
    job = finish(context, site.subnet_id, NEW)
    assert ("running", 0) == (job.status, job.done)
    assert all(one.startswith("10.40.") for one, _ in given(context).values())
    with context.store.read() as session:
        target = session.scalars(select(Subnet.id).where(Subnet.cidr == NEW)).one()

    offer(2, site.subnet_id, target)
    jobs.run(context, job.id, patience=0)
    assert "succeeded" == jobs.get(context, job.id).status


def test_a_batch_costs_a_constant_number_of_statements(context: Context, seeded: Seeded) -> None:
    """A hundred and sixty machines and reservations cost as many statements as ten."""
    counts = []
    site = furnish(context, seeded, 5, 5)
    for cidr, more in ((NEW, 150), ("10.60.0.0/22", 0)):
        job = renumbering.start(context, site.subnet_id, cidr)
        with statements(context) as seen:
            jobs.run(context, job.id, patience=0)
        assert 0 == jobs.get(context, job.id).failed
        # How far it is, is told by the second.
        telling = ("BEGIN", "PRAGMA", "INSERT INTO event", "SELECT job.")
        counts.append(len([one for one in seen if not one.startswith(telling)]))
        with context.store.read() as session:
            site = Site(session.scalars(select(Subnet.id).where(Subnet.cidr == cidr)).one(), site.other_id)
        if more:
            job = jobs.start(context, "machines.create", wanted(site.subnet_id, more, 500))
            jobs.run(context, job.id, patience=0)

    assert counts[0] == counts[1]
