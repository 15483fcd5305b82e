"""What stands in the way of ranges, switches, reservations, links and devices: each refusal names both sides."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from app.services import (
    addresses,
    boot,
    devices,
    dns_records,
    enlistment,
    gateways,
    installed_names,
    installed_network,
    installed_routes,
    links,
    machines,
    ranges,
    reservations,
    routes,
    subnet_use,
    subnets,
)
from app.services.addressing import address_key
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, ServiceError
from app.services.installed_routes import Route
from app.store.models import (
    BootToken,
    Event,
    Interface,
    IpAddress,
    IpRange,
    Lease,
    Machine,
    Neighbour,
    Rack,
    RecordChange,
)
from tests.factories.control import Seeded, make_context, make_machine, seed

MAC = "52:54:00:bb:00:01"
WEB = "52:54:00:bb:00:02"
MAC_OF_NAS = "52:54:00:bb:00:77"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """An empty store."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """A small rack; web1 with a known MAC, a printer, and a client that leases .150 until noon and five minutes."""
    made = seed(context)
    machine_id = make_machine(context, made, "web1")
    with context.store.write() as session:
        session.scalars(select(Interface).where(Interface.machine_id == machine_id)).one().mac = WEB
        now = context.clock()
        session.add(
            Lease(
                rack_id=made.rack_id,
                subnet_id=made.subnet_id,
                address="10.20.0.150",
                address_key=address_key("10.20.0.150"),
                mac="02:00:00:00:99:01",
                hostname="laptop",
                started_at=now,
                expires_at=now + dt.timedelta(minutes=5),
            )
        )
    reservations.create(context, "10.20.0.210", MAC, hostname="printer")
    return made


def unmanaged(context: Context, seeded: Seeded) -> int:
    """A subnet that hands out .5 to .6 only."""
    subnet_id = subnets.create(context, "10.60.0.0/28", seeded.vlan_id, managed=False).id
    ranges.create(context, subnet_id, "reserved", "10.60.0.5", "10.60.0.6")
    return subnet_id


def given_there(context: Context, seeded: Seeded, subnet_id: int) -> str | None:
    """The address that a new machine is given in a subnet."""
    machine_id = make_machine(context, seeded)
    with changing(context) as session:
        session.scalars(select(Interface).where(Interface.machine_id == machine_id)).one().subnet_id = subnet_id
        session.flush()
        return addresses.claim(session, context, session.get_one(Machine, machine_id))


def dhcpd(context: Context, seeded: Seeded) -> None:
    """Have the rack run dhcpd."""
    with context.store.write() as session:
        session.get_one(Rack, seeded.rack_id).dhcp_server = "dhcpd"


def interface_of(context: Context, mac: str) -> int:
    """The id of the interface with a MAC."""
    with context.store.read() as session:
        return session.scalars(select(Interface.id).where(Interface.mac == mac)).one()


Ask = Callable[[Context, Seeded], Any]
REFUSALS: list[tuple[str, Ask, type[ServiceError], tuple[str, ...]]] = [
    (
        "a range with a live lease deleted",
        lambda c, s: ranges.delete(c, s.range_id),
        Conflict,
        ("10.20.0.150", "02:00:00:00:99:01", "laptop", "12:05:00", "force"),
    ),
    (
        "a range shrunk away from a live lease",
        lambda c, s: ranges.update(c, s.range_id, end="10.20.0.149"),
        Conflict,
        ("10.20.0.150", "02:00:00:00:99:01"),
    ),
    (
        "a range with a live lease made another kind",
        lambda c, s: ranges.update(c, s.range_id, kind="reserved"),
        Conflict,
        ("10.20.0.150",),
    ),
    (
        "a subnet with a dynamic range switched to unmanaged",
        lambda c, s: subnets.update(c, s.subnet_id, managed=False),
        Conflict,
        ("10.20.0.0/24", "10.20.0.100-10.20.0.199", "delete that range"),
    ),
    (
        "a dynamic range in an unmanaged subnet",
        lambda c, s: ranges.create(c, unmanaged(c, s), "dynamic", "10.60.0.8", "10.60.0.9"),
        Conflict,
        ("10.60.0.0/28", "dynamic range", "never leases"),
    ),
    (
        "an unmanaged subnet switched while its reserved range has given",
        lambda c, s: [given_there(c, s, n := unmanaged(c, s)), subnets.update(c, n, managed=True)],
        Conflict,
        ("10.60.0.5", "inside its reserved ranges"),
    ),
    (
        "a reserved range of an unmanaged subnet deleted under what it gave",
        lambda c, s: [given_there(c, s, n := unmanaged(c, s)), ranges.delete(c, ranges.find(c, n)[0].id)],
        Conflict,
        ("10.60.0.5", "force"),
    ),
    (
        "a static pool over the gateway",
        lambda c, s: ranges.create(c, s.subnet_id, "static_pool", "10.20.0.1", "10.20.0.9"),
        Conflict,
        ("gateway 10.20.0.1", "hand out"),
    ),
    (
        "a dynamic range over the gateway of a route",
        lambda c, s: [
            routes.create(c, s.subnet_id, subnets.create(c, "10.61.0.0/24", s.vlan_id).id, "10.20.0.250"),
            ranges.create(c, s.subnet_id, "dynamic", "10.20.0.245", "10.20.0.254"),
        ],
        Conflict,
        ("10.20.0.250", "route"),
    ),
    (
        "a reservation for a machine's MAC",
        lambda c, s: reservations.create(c, "10.20.0.9", WEB),
        Conflict,
        (WEB, "eth0 of machine web1", "mode static"),
    ),
    (
        "a second reservation for a MAC",
        lambda c, s: reservations.create(c, "10.20.0.9", MAC),
        Conflict,
        (MAC, "10.20.0.210"),
    ),
    (
        "a reservation of a given address",
        lambda c, s: reservations.create(c, "10.20.0.210", "52:54:00:bb:00:09"),
        Conflict,
        ("10.20.0.210", MAC),
    ),
    (
        "a reservation of the gateway",
        lambda c, s: reservations.create(c, "10.20.0.1", "52:54:00:bb:00:09"),
        Conflict,
        ("10.20.0.1", "gateway"),
    ),
    (
        "a reservation of the broadcast address",
        lambda c, s: reservations.create(c, "10.20.0.255", "52:54:00:bb:00:09"),
        Invalid,
        ("10.20.0.255", "no host address"),
    ),
    (
        "a reservation nowhere",
        lambda c, s: reservations.create(c, "192.0.2.1", "52:54:00:bb:00:09"),
        Invalid,
        ("192.0.2.1", "no subnet"),
    ),
    (
        "a reservation with a machine's name",
        lambda c, s: reservations.create(c, "10.20.0.9", "52:54:00:bb:00:09", hostname="web1"),
        Conflict,
        ("web1", "machine"),
    ),
    (
        "a reservation inside the range of a dhcpd",
        lambda c, s: [dhcpd(c, s), reservations.create(c, "10.20.0.120", "52:54:00:bb:00:09")],
        Conflict,
        ("10.20.0.100-10.20.0.199", "dhcpd"),
    ),
    (
        "a device with a machine's MAC",
        lambda c, s: devices.create(c, "switch", interfaces=[{"mac": WEB}]),
        Conflict,
        (WEB, "machine web1"),
    ),
    (
        "a device with a reservation's name",
        lambda c, s: devices.create(c, "printer"),
        Conflict,
        ("printer", MAC),
    ),
    (
        "a machine with a device's MAC",
        lambda c, s: [devices.create(c, "switch", interfaces=[{"mac": "52:54:00:bb:00:09"}]),
                      machines.create(c, ["52:54:00:bb:00:09"])],
        Conflict,
        ("52:54:00:bb:00:09", "device switch"),
    ),
    (
        "a machine with a device's name",
        lambda c, s: [devices.create(c, "switch"), machines.create(c, ["52:54:00:bb:00:09"], hostname="switch")],
        Conflict,
        ("switch", "device"),
    ),
    (
        "a static link into a dynamic range",
        lambda c, s: links.put(c, interface_of(c, WEB), s.subnet_id, "static", "10.20.0.120"),
        Conflict,
        ("10.20.0.120", "10.20.0.100-10.20.0.199"),
    ),
    (
        "a static link without an address",
        lambda c, s: links.put(c, interface_of(c, WEB), s.subnet_id, "static"),
        Invalid,
        ("name the address",),
    ),
    (
        "a subnet deleted under a link",
        lambda c, s: [links.put(c, interface_of(c, WEB), n := subnets.create(c, "10.62.0.0/24", s.vlan_id).id, "dhcp"),
                      subnets.delete(c, n)],
        Conflict,
        ("10.62.0.0/24", "eth0 of web1", "dhcp"),
    ),
]  # fmt: skip


@pytest.mark.parametrize(("ask", "kind", "words"), [row[1:] for row in REFUSALS], ids=[row[0] for row in REFUSALS])
def test_refusals_name_both_sides(
    context: Context, seeded: Seeded, ask: Ask, kind: type[ServiceError], words: tuple[str, ...]
) -> None:
    """What is wrong, with what, and what to do."""
    with pytest.raises(kind) as refused:
        ask(context, seeded)

    assert [] == [word for word in words if word not in refused.value.detail], refused.value.detail
    assert refused.value.rule


def test_a_range_with_live_leases_is_deleted_by_force(context: Context, seeded: Seeded) -> None:
    """With force, and by itself once the lease has ended."""
    ranges.delete(context, seeded.range_id, force=True)

    assert [] == ranges.find(context, seeded.subnet_id)


def test_a_range_that_keeps_the_leased_address_may_shrink(context: Context, seeded: Seeded) -> None:
    """What is leased stays inside."""
    ranges.update(context, seeded.range_id, start="10.20.0.140", end="10.20.0.160")
    with context.store.read() as session:
        row = session.get_one(IpRange, seeded.range_id)

    assert ("10.20.0.140", "10.20.0.160") == (row.start, row.end)


def test_unmanaged_subnets_and_static_pools_hand_out_their_ranges_only(context: Context, seeded: Seeded) -> None:
    """First to last, and then nothing."""
    subnet_id = unmanaged(context, seeded)
    ranges.create(context, seeded.subnet_id, "static_pool", "10.20.0.40", "10.20.0.40")
    given = [given_there(context, seeded, subnet_id) for _ in range(2)]
    pooled = given_there(context, seeded, seeded.subnet_id)

    assert (["10.60.0.5", "10.60.0.6"], "10.20.0.40") == (given, pooled)
    for place in (subnet_id, seeded.subnet_id):
        with pytest.raises(Conflict, match="no free address"):
            given_there(context, seeded, place)


def test_strangers_are_passed_over_with_an_event(context: Context, seeded: Seeded) -> None:
    """An address that somebody unknown was seen at is not given; one of our machine's is."""
    now = context.clock()
    with context.store.write() as session:
        for number, mac in ((2, "02:99:00:00:00:01"), (3, WEB)):
            address = f"10.20.0.{number}"
            words = {"address": address, "address_key": address_key(address), "first_seen_at": now, "seen_at": now}
            session.add(
                Neighbour(rack_id=seeded.rack_id, interface="eth0", subnet_id=seeded.subnet_id, mac=mac, **words)
            )
    first, second = (given_there(context, seeded, seeded.subnet_id) for _ in range(2))
    with context.store.read() as session:
        events = list(session.scalars(select(Event).where(Event.kind == "address.stranger").order_by(Event.id)))

    assert ("10.20.0.3", "10.20.0.4") == (first, second)
    assert ("10.20.0.2", "02:99:00:00:00:01") == (events[0].detail["address"], events[0].detail["mac"])


def test_a_reserved_mac_that_becomes_a_machine_keeps_its_address(context: Context, seeded: Seeded) -> None:
    """It belongs to the interface, the machine has its name and its address, and gives both back when it is deleted."""
    machine = machines.create(context, [MAC])
    with context.store.read() as session:
        row = session.scalars(select(IpAddress).where(IpAddress.mac == MAC)).one()
        shown = (row.kind, row.interface_id == machine.interfaces[0].id)
    with changing(context) as session:
        given = addresses.claim(session, context, session.get_one(Machine, machine.id))
        addresses.free(session, context, session.get_one(Machine, machine.id))
    machines.delete(context, machine.id)
    with context.store.read() as session:
        row = session.scalars(select(IpAddress).where(IpAddress.mac == MAC)).one()
        newest: dict[str, Any] = {}
        for record in session.scalars(select(RecordChange).order_by(RecordChange.sequence)):
            newest[record.key] = record.value

    assert ("printer", ("reservation", True), "10.20.0.210") == (machine.hostname, shown, given)
    assert (None, "10.20.0.210", "printer") == (row.interface_id, row.address, row.hostname)
    assert "10.20.0.210" == newest[f"host:{seeded.subnet_id}:{MAC}"]["address"]
    assert ["10.20.0.210"] == newest["rrset:printer.lab.muster.:A"]["rdatas"]


def test_an_enlisting_machine_takes_its_reserved_name(context: Context, seeded: Seeded) -> None:
    """The name that is reserved for its MAC comes first; nobody takes that of another, nor one that a person gave away."""
    dns_records.create(context, seeded.domain_id, name="www", type="CNAME", data="web1")
    with context.store.write() as session:
        third = enlistment.free_hostname(session, seeded.domain_id, "www", WEB, [WEB])
        mine = enlistment.free_hostname(session, seeded.domain_id, "debian", MAC, [MAC])
        other = enlistment.free_hostname(session, seeded.domain_id, "printer", WEB, [WEB])

    assert ("printer", "printer-2", "www-2") == (mine, other, third)


def test_a_device_that_asks_what_to_boot_is_left_alone(context: Context, seeded: Seeded) -> None:
    """It is known and not ours to install, so it does not enlist, whatever the policy is."""
    devices.create(context, "nas", interfaces=[{"mac": MAC_OF_NAS}])
    with context.store.read() as session:
        rack = session.get_one(Rack, seeded.rack_id)
    decision = boot.decide(context, rack, "10.20.0.150", MAC_OF_NAS)
    unknown = boot.decide(context, rack, "10.20.0.151", "52:54:00:bb:00:78")
    with context.store.read() as session:
        tokens = list(session.scalars(select(BootToken.mac)))

    assert ("local", True) == (decision.kind, "device nas" in decision.reason)
    assert ["52:54:00:bb:00:78"] == tokens
    assert "ephemeral" == unknown.kind


def test_a_machine_calls_from_its_address_in_the_subnet_of_its_rack(context: Context, seeded: Seeded) -> None:
    """The token of its first call is bound to the address that the kernel will take, not to the lowest one."""
    lower = subnets.create(context, "10.10.0.0/24", seeded.vlan_id)
    machine = machines.create(context, ["52:54:00:bb:00:11"], hostname="db1")
    links.put(context, machine.interfaces[0].id, lower.id, "static", "10.10.0.50")
    links.put(context, machine.interfaces[0].id, seeded.subnet_id, "static", "10.20.0.50")
    with changing(context) as session:
        row = session.get_one(Machine, machine.id)
        near = installed_network.plan(session, context, row, "10.20.0.1")[1]
        far = installed_network.plan(session, context, row, "10.99.0.1")[1]

    assert ("10.20.0.50", "10.10.0.50") == (near, far)


def test_every_interface_has_a_name(context: Context, seeded: Seeded) -> None:
    """The boot interface has the machine's own, others one below it; renaming moves them all."""
    other = subnets.create(context, "10.63.0.0/24", seeded.vlan_id)
    machine = machines.create(context, ["52:54:00:bb:00:11", "52:54:00:bb:00:12"], hostname="db1")
    first, second = (interface.id for interface in machine.interfaces)
    links.put(context, first, seeded.subnet_id, "static", "10.20.0.50")
    links.put(context, second, other.id, "static", "10.63.0.50")
    machines.update(context, machine.id, hostname="db2")
    with context.store.read() as session:
        newest: dict[str, Any] = {}
        for record in session.scalars(select(RecordChange).order_by(RecordChange.sequence)):
            newest[record.key] = record.value and (record.value.get("rdatas") or record.value["address"])
    found = {key: value for key, value in newest.items() if "db" in f"{key} {value}"}

    assert {key: value for key, value in found.items() if value} == {
        "rrset:db2.lab.muster.:A": ["10.20.0.50"],
        "rrset:eth1.db2.lab.muster.:A": ["10.63.0.50"],
        "rrset:50.0.20.10.in-addr.arpa.:PTR": ["db2.lab.muster."],
        "rrset:50.0.63.10.in-addr.arpa.:PTR": ["eth1.db2.lab.muster."],
    }


def test_a_machine_is_installed_with_its_routes_and_gateways(context: Context, seeded: Seeded) -> None:
    """Routes of its subnets, one default gateway, DHCP where it is linked so; a later gateway leaves it stale."""
    far = subnets.create(context, "10.64.0.0/16", seeded.vlan_id, gateway="10.64.0.1")
    near = subnets.create(context, "10.65.0.0/24", seeded.vlan_id, gateway="10.65.0.1")
    routes.create(context, seeded.subnet_id, far.id, "10.20.0.253", 5)
    machine = machines.create(context, ["52:54:00:bb:00:11", "52:54:00:bb:00:12"], hostname="db1")
    first, second = (interface.id for interface in machine.interfaces)
    links.put(context, first, seeded.subnet_id, "static", "10.20.0.50")
    links.put(context, second, near.id, "dhcp")
    with changing(context) as session:
        row = session.get_one(Machine, machine.id)
        nics, calling = installed_network.plan(session, context, row, "10.20.0.1")
        row.state = "DEPLOYED"
    before = gateways.stale(context, seeded.subnet_id)
    subnets.update(context, seeded.subnet_id, gateway="10.20.0.254")
    after = gateways.stale(context, seeded.subnet_id)

    assert [("10.64.0.0/16", "10.20.0.253", 5)] == [(one.to, one.via, one.metric) for one in nics[0].routes]
    assert (("10.20.0.1",), (), False, True) == (nics[0].gateways, nics[1].gateways, nics[0].dhcp4, nics[1].dhcp4)
    assert calling is None  # DHCP on one of its interfaces decides from where it calls.
    assert [] == before
    assert [("db1", "eth0", "10.20.0.1", "10.20.0.254")] == [
        (one.hostname, one.interface, one.installed_gateway, one.gateway) for one in after
    ]
    with pytest.raises(Conflict, match="release it first"):
        links.put(context, first, seeded.subnet_id, "auto")


def test_machines_on_old_routes_are_listed(context: Context, seeded: Seeded) -> None:
    """What was installed and is no more, and what came since; of deployed machines with an address there, a page at a time."""
    far, near = (subnets.create(context, cidr, seeded.vlan_id) for cidr in ("10.64.0.0/16", "10.65.0.0/24"))
    first = routes.create(context, seeded.subnet_id, far.id, "10.20.0.253", 5)

    def install(hostname: str, mac: str, subnet_id: int, address: str, state: str = "DEPLOYED") -> int:
        machine = machines.create(context, [mac], hostname=hostname)
        links.put(context, machine.interfaces[0].id, subnet_id, "static", address)
        with changing(context) as session:
            row = session.get_one(Machine, machine.id)
            installed_network.plan(session, context, row, "10.20.0.1")
            installed_names.note(session, context, row.id, f"{row.hostname}.{row.domain.name}")
            row.state = state
        return machine.id

    install("db1", "52:54:00:bb:00:21", seeded.subnet_id, "10.20.0.50")
    install("db2", "52:54:00:bb:00:22", seeded.subnet_id, "10.20.0.51")
    install("ready", "52:54:00:bb:00:23", seeded.subnet_id, "10.20.0.52", "READY")
    install("elsewhere", "52:54:00:bb:00:24", near.id, "10.65.0.50")
    before = installed_routes.stale(context, seeded.subnet_id)
    routes.update(context, first.id, metric=7)
    second = routes.create(context, seeded.subnet_id, near.id, "10.20.0.254")
    install("new", "52:54:00:bb:00:25", seeded.subnet_id, "10.20.0.53")
    changed = installed_routes.stale(context, seeded.subnet_id)
    (paged,) = installed_routes.stale(context, seeded.subnet_id, after=changed[0].id, limit=1)
    routes.delete(context, second.id)
    less = installed_routes.stale(context, seeded.subnet_id)
    routes.update(context, first.id, metric=5)
    back = installed_routes.stale(context, seeded.subnet_id)

    old, now = Route("10.64.0.0/16", "10.20.0.253", 5), Route("10.64.0.0/16", "10.20.0.253", 7)
    added = Route("10.65.0.0/24", "10.20.0.254", 0)
    assert [] == before
    assert [("db1", [old], [now, added]), ("db2", [old], [now, added])] == _stale(changed)
    assert paged == changed[1]
    assert [("db1", [old], [now]), ("db2", [old], [now]), ("new", [added], [])] == _stale(less)
    assert [("new", [now, added], [old])] == _stale(back)
    assert [] == installed_routes.stale(context, near.id)


def _stale(found: list[installed_routes.StaleRoutes]) -> list[tuple[str, list[Route], list[Route]]]:
    return [(one.hostname, one.keeps, one.lacks) for one in found]


def test_a_subnet_is_told_in_numbers_and_one_by_one(context: Context, seeded: Seeded) -> None:
    """Given, leased and seen are counted apart and shown side by side."""
    given_there(context, seeded, seeded.subnet_id)
    numbers = subnet_use.statistics(context, seeded.subnet_id)
    uses = {use.address: use for use in subnet_use.addresses(context, seeded.subnet_id)}
    kept = [(part.start, part.end, part.purpose) for part in subnet_use.kept(context, seeded.subnet_id)]
    free = subnet_use.free(context, seeded.subnet_id, after="10.20.0.99")

    assert (254, {"auto": 1, "reservation": 1}, 100, 1) == (
        numbers.total, numbers.by_kind, numbers.dynamic, numbers.leased,
    )  # fmt: skip
    assert (153, 151) == (numbers.open, numbers.available)
    assert ["auto", "discovered", "reservation"] == [uses[key].kind for key in sorted(uses, key=address_key)]
    assert ("laptop", "02:00:00:00:99:01") == (uses["10.20.0.150"].hostname, uses["10.20.0.150"].mac)
    assert [("10.20.0.1", "10.20.0.1", "gateway"), ("10.20.0.100", "10.20.0.199", "dynamic")] == kept
    assert [("10.20.0.200", "10.20.0.209"), ("10.20.0.211", "10.20.0.254")] == [(one.start, one.end) for one in free]
