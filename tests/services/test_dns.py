"""Domains, records that people add, reverse zones, names of leases, the internal domain, outside secondaries: the rules."""

from __future__ import annotations

import datetime as dt
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete, select

from app.services import (
    addresses,
    bulk_machines,
    census,
    devices,
    dns_records,
    dns_secondaries,
    domains,
    internal_names,
    lease_names,
    leases,
    links,
    machines,
    name_servers,
    overview,
    rack_interfaces,
    rack_overview,
    reports,
    reservations,
    subnets,
    vlans,
    zone_reports,
)
from app.services.addressing import address_key
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid, NotFound
from app.services.records import put_names
from app.store.intent import load_intent
from app.store.models import Device, Domain, IpAddress, Lease, Machine, Rack, RecordChange, Subnet
from tests.factories.control import Seeded, clock_of, make_context, make_machine, seed
from tests.store.test_query_counts import statements


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    found = seed(context)
    with context.store.write() as session:
        rack = session.get_one(Rack, found.rack_id)
        rack.seen_at = context.clock()

        rack_interfaces.attach_all(session, context)
    with changing(context) as session:
        name_servers.put_name_servers(session)
        internal_names.put(session, context.clock())
    return found


def live(context: Context, zone: str) -> dict[str, list[str]]:
    """Data by `owner TYPE` of everything that a zone holds now."""
    newest: dict[str, dict[str, Any] | None] = {}
    with context.store.read() as session:
        statement = select(RecordChange).where(RecordChange.scope == f"zone:{zone}").order_by(RecordChange.sequence)
        for row in session.scalars(statement):
            newest[row.key] = row.value
    return {f"{value['name']} {value['type']}": value["rdatas"] for value in newest.values() if value is not None}


def add(context: Context, seeded: Seeded, name: str, kind: str, data: str, ttl: int | None = None) -> int:
    row = dns_records.create(context, seeded.domain_id, name=name, type=kind, data=data, ttl_seconds=ttl)
    return row.id


def test_every_type_is_stored_in_the_form_that_answers_have(context: Context, seeded: Seeded) -> None:
    """Relative names become absolute, text is quoted, odd characters are escaped, the domain itself is `@`."""
    for name, kind, data in (
        ("www", "A", "192.0.2.1"),
        ("www", "AAAA", "2001:DB8:0::1"),
        ("Alias", "CNAME", "WWW"),
        ("@", "MX", "10 mail.example.org."),
        ("sub", "NS", "ns1.example.org."),
        ("_ldap._tcp", "SRV", "0 5 389 www"),
        ("www", "SSHFP", f"4 2 {'AB' * 32}"),
        ("@", "TXT", 'say "hello" \\'),
        ("*.wild", "A", "192.0.2.9"),
        ("odd name\\.x", "TXT", "x" * 300),
    ):
        add(context, seeded, name, kind, data)
    held = live(context, "lab.muster")

    assert ["192.0.2.1"] == held["www.lab.muster. A"]
    assert ["2001:db8::1"] == held["www.lab.muster. AAAA"]
    assert ["www.lab.muster."] == held["alias.lab.muster. CNAME"]
    assert ["10 mail.example.org."] == held["lab.muster. MX"]
    assert ["0 5 389 www.lab.muster."] == held["_ldap._tcp.lab.muster. SRV"]
    assert [f"4 2 {'ab' * 32}"] == held["www.lab.muster. SSHFP"]
    assert ['"say \\"hello\\" \\\\"'] == held["lab.muster. TXT"]
    assert ["192.0.2.9"] == held["*.wild.lab.muster. A"]
    assert [f'"{"x" * 255}" "{"x" * 45}"'] == held["odd\\032name\\.x.lab.muster. TXT"]


@pytest.mark.parametrize(
    ("name", "kind", "data", "rule"),
    [
        ("www", "CNAME", "other", "a CNAME stands alone"),
        ("alias", "A", "192.0.2.7", "a CNAME stands alone"),
        ("alias", "CNAME", "elsewhere.example.", "a CNAME stands alone"),
        ("@", "CNAME", "www", "no CNAME and no NS at the domain itself"),
        ("@", "NS", "ns1.example.org.", "no CNAME and no NS at the domain itself"),
        ("@", "MX", "10 alias", "MX, NS and SRV point to no CNAME"),
        ("x", "SRV", "0 0 80 alias", "MX, NS and SRV point to no CNAME"),
        ("mail", "CNAME", "www", "MX, NS and SRV point to no CNAME"),
        ("web1", "A", "192.0.2.7", "names of machines, devices, racks and reservations are Muster's"),
        ("eth1.web1", "AAAA", "2001:db8::7", "names of machines, devices, racks and reservations are Muster's"),
        ("switch", "CNAME", "www", "names of machines, devices, racks and reservations are Muster's"),
        ("rack-1", "A", "192.0.2.7", "names of machines, devices, racks and reservations are Muster's"),
        ("www", "A", "192.0.2.1", "a record is there once"),
    ],
)
def test_what_dns_would_break_is_refused_by_its_rule(
    context: Context, seeded: Seeded, name: str, kind: str, data: str, rule: str
) -> None:
    """Nothing is stored, and the refusal names the rule."""
    make_machine(context, seeded, hostname="web1")
    with context.store.write() as session:
        session.add(Device(hostname="switch", domain_id=seeded.domain_id, zone_id=seeded.zone_id))
    add(context, seeded, "www", "A", "192.0.2.1")
    add(context, seeded, "alias", "CNAME", "www")
    add(context, seeded, "other", "MX", "10 mail")
    before = live(context, "lab.muster")
    with pytest.raises(Conflict) as refused:
        add(context, seeded, name, kind, data)

    assert rule == refused.value.rule
    assert before == live(context, "lab.muster")


@pytest.mark.parametrize(
    ("name", "kind", "data"),
    [
        ("www.other.org.", "A", "192.0.2.1"),
        ("a..b", "A", "192.0.2.1"),
        ("x" * 64, "A", "192.0.2.1"),
        ("www", "A", "2001:db8::1"),
        ("www", "A", "192.0.2.1\n@ NS evil."),
        ("www", "CNAME", "web.example.org"),
        ("www", "SSHFP", "4 2 abcd"),
        ("www", "MX", "mail"),
    ],
)
def test_what_is_no_record_is_refused(context: Context, seeded: Seeded, name: str, kind: str, data: str) -> None:
    """Names outside, malformed data, targets that could mean two things."""
    with pytest.raises(Invalid):
        add(context, seeded, name, kind, data)


def test_a_machine_takes_no_name_that_a_person_gave_away(context: Context, seeded: Seeded) -> None:
    """Machines, one or many, and devices are refused the name of an address or alias in their domain, not of a text."""
    add(context, seeded, "web9", "CNAME", "www.example.com.")
    add(context, seeded, "web8", "TXT", "free")
    other = domains.create(context, "other.example")
    record = dns_records.create(context, other.id, name="web7", type="A", data="192.0.2.9", ttl_seconds=None)
    interface = {"name": "eth0", "mac": "52:54:00:99:00:01"}

    with pytest.raises(Conflict, match="hostname web9: a person's CNAME record has it"):
        machines.create(context, [interface["mac"]], hostname="web9")
    with pytest.raises(Conflict, match="hostname web9"), changing(context) as session:
        bulk_machines.put_many(session, context, [{"hostname": "web9", "interfaces": [interface]}])
    with pytest.raises(Conflict, match="hostname web9"):
        devices.create(context, "web9")
    with changing(context) as session:
        items = [{"hostname": "web8", "interfaces": [interface]}, {"hostname": "web7", "interfaces": []}]
        made = bulk_machines.put_many(session, context, items)
    assert record.domain_id != seeded.domain_id
    assert len(made) == 2


def test_txt_stands_beside_a_machine(context: Context, seeded: Seeded) -> None:
    """Only addresses and aliases of a machine's name are Muster's."""
    make_machine(context, seeded, hostname="web1")
    add(context, seeded, "web1", "TXT", "rack 4, unit 7")

    assert ['"rack 4, unit 7"'] == live(context, "lab.muster")["web1.lab.muster. TXT"]


def test_records_of_one_name_and_type_share_their_ttl(context: Context, seeded: Seeded) -> None:
    """What joins an RRset takes its TTL; a change of one is a change of all; the domain's reaches all others."""
    first = add(context, seeded, "www", "A", "192.0.2.1", 600)
    second = add(context, seeded, "www", "A", "192.0.2.2")
    add(context, seeded, "plain", "A", "192.0.2.3")
    joined = dns_records.get(context, seeded.domain_id, second).ttl_seconds
    dns_records.update(context, seeded.domain_id, second, ttl_seconds=900)
    domains.update(context, seeded.domain_id, ttl_seconds=60)
    with context.store.read() as session:
        rows = session.scalars(select(RecordChange).order_by(RecordChange.sequence))
        ttls = {row.key: row.value["ttl"] for row in rows if row.value is not None}

    assert 600 == joined
    assert 900 == dns_records.get(context, seeded.domain_id, first).ttl_seconds
    assert 900 == ttls["rrset:www.lab.muster.:A"]
    assert 60 == ttls["rrset:plain.lab.muster.:A"] == ttls["rrset:rack-1.lab.muster.:A"]
    assert 60 == ttls["rrset:0.20.10.in-addr.arpa.:NS"]


def test_many_change_together_or_not_at_all(context: Context, seeded: Seeded) -> None:
    """What is deleted makes room for what is added; one that is wrong is named by its place."""
    old = add(context, seeded, "moved", "A", "192.0.2.1")
    wanted = [
        {"name": f"n{number}", "type": "A", "data": f"10.9.{number >> 8}.{number & 255}"} for number in range(700)
    ]
    done = dns_records.bulk(
        context, seeded.domain_id, [*wanted, {"name": "moved", "type": "CNAME", "data": "n1"}], [old]
    )
    held = live(context, "lab.muster")
    bad = [{"name": "ok", "type": "A", "data": "10.9.9.9"}, {"name": "bad", "type": "A", "data": "nonsense"}]
    with pytest.raises(Invalid) as refused:
        dns_records.bulk(context, seeded.domain_id, bad, [])

    assert dns_records.Bulk(701, 1) == done
    assert ["n1.lab.muster."] == held["moved.lab.muster. CNAME"]
    assert "moved.lab.muster. A" not in held
    assert "add.1" == refused.value.field
    assert "ok.lab.muster. A" not in live(context, "lab.muster")


def test_many_that_point_and_many_aliases_are_checked_together(context: Context, seeded: Seeded) -> None:
    """However many there are: the one that points to an alias, or that became one, is named; a few statements tell."""
    aim = "mail{}.far.away.example.org."
    pointing = [{"name": f"h{number}", "type": "MX", "data": f"10 {aim.format(number)}"} for number in range(500)]
    aliases = [{"name": f"a{number}", "type": "CNAME", "data": "www"} for number in range(500)]
    with statements(context) as seen:
        dns_records.bulk(context, seeded.domain_id, [*pointing, *aliases], [])
    bad = {"name": "late", "type": "SRV", "data": "0 0 80 a321"}
    with pytest.raises(Conflict, match=r"target a321\.lab\.muster\. is an alias of www"):
        dns_records.bulk(context, seeded.domain_id, [bad], [])
    add(context, seeded, "late", "SRV", "0 0 80 target")
    with pytest.raises(Conflict, match=r"CNAME record target in .*: the SRV record late points to that name"):
        add(context, seeded, "target", "CNAME", "www")

    assert 60 > len([one for one in seen if one.startswith("SELECT")])
    assert 1 == len(dns_records.find(context, seeded.domain_id, text="A321"))


def test_the_internal_domain_is_not_edited(context: Context, seeded: Seeded) -> None:
    """Nobody adds it or something below it."""
    for name in ("muster-internal", "x.muster-internal"):
        with pytest.raises(Conflict, match="muster-internal"):
            domains.create(context, name)


def test_the_internal_domain_names_the_racks_that_live(context: Context, seeded: Seeded) -> None:
    """A rack that stops is taken out within its window, comes back with its report, and the last answer stays."""
    name = "10-20-0-0--24.muster-internal."
    with changing(context) as session:
        second = Rack(
            name="other",
            token_hash="t",
            enrolled_at=context.clock(),
            seen_at=context.clock(),
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}],
        )
        session.add(second)
        session.flush()

        rack_interfaces.attach(session, context, second)
    both = live(context, "muster-internal")[f"{name} A"]
    clock_of(context).move(60)
    reports.observation(context, seeded.rack_id, offer=0, records=0, services={})
    clock_of(context).move(60)
    internal_names.refresh(context)
    one = live(context, "muster-internal")[f"{name} A"]
    clock_of(context).move(600)
    internal_names.refresh(context)
    kept = live(context, "muster-internal")[f"{name} A"]
    reports.observation(context, second.id, offer=0, records=0, services={})
    back = live(context, "muster-internal")[f"{name} A"]

    assert ["10.20.0.1", "10.20.0.2"] == both
    assert ["10.20.0.1"] == one == kept
    assert ["10.20.0.2"] == back
    assert 0 == internal_names.refresh(context)
    assert "fd20----64.muster-internal" == internal_names.subnet_name("fd20::/64")


def test_small_networks_have_a_zone_of_their_own(context: Context, seeded: Seeded) -> None:
    """RFC 2317: the pointer is in `a-b`, the private /24 above is served with the CNAME and the delegation."""
    vlan = vlans.create(context, seeded.fabric_id, 7)
    with context.store.write() as session:
        rack = session.get_one(Rack, seeded.rack_id)
        rack.interfaces = [
            *rack.interfaces,
            {"name": "eth7", "mac": "02:00:00:00:00:17", "addresses": ["10.30.0.65/26"]},
        ]
    subnet = subnets.create(context, "10.30.0.64/26", vlan.id)

    machine_id = make_machine(context, seeded)
    with changing(context) as session:
        machine = session.get_one(Machine, machine_id)
        machine.interfaces[0].subnet_id, machine.interfaces[0].vlan_id = subnet.id, vlan.id
        session.flush()
        address = addresses.claim(session, context, machine)
        owner = f"{machine.hostname}.lab.muster."
    small, above = live(context, "64-127.0.30.10.in-addr.arpa"), live(context, "0.30.10.in-addr.arpa")
    with context.store.read() as session:
        names = [zone.name for zone in load_intent(session, seeded.rack_id).zones]

    assert "10.30.0.66" == address
    assert [owner] == small["66.64-127.0.30.10.in-addr.arpa. PTR"]
    assert ["66.64-127.0.30.10.in-addr.arpa."] == above["66.0.30.10.in-addr.arpa. CNAME"]
    assert ["rack-1.lab.muster."] == above["64-127.0.30.10.in-addr.arpa. NS"]
    assert {"64-127.0.30.10.in-addr.arpa", "0.30.10.in-addr.arpa"} <= set(names)


def observe(context: Context, seeded: Seeded, address: str, hostname: str | None) -> str | None:
    """A lease as a rack would report it, with its name put; the name."""
    now = context.clock()
    with changing(context) as session:
        lease = session.scalar(select(Lease).where(Lease.address == address))
        if lease is None:
            lease = Lease(
                rack_id=seeded.rack_id,
                subnet_id=seeded.subnet_id,
                address=address,
                address_key=address_key(address),
                mac="02:00:00:00:00:33",
                started_at=now,
                expires_at=now + dt.timedelta(seconds=600),
            )
            session.add(lease)
        lease.hostname = hostname
        session.flush()
        lease_names.put_lease_name(session, lease, session.get_one(Subnet, seeded.subnet_id))
        return lease.name


def test_leases_have_names_and_steal_none(context: Context, seeded: Seeded) -> None:
    """A client's own name if it is fit and free, else one of its address; forward and back; gone with the lease."""
    make_machine(context, seeded, hostname="web1")
    add(context, seeded, "www2", "A", "192.0.2.1")
    names = {
        said: observe(context, seeded, f"10.20.0.{100 + place}", said)
        for place, said in enumerate(
            ["Alice's Laptop.local", "web1", "www2", "rack-1", "wpad", None, "-- --", "printer", "Printer"]
        )
    }
    held = live(context, "lab.muster")
    changed = observe(context, seeded, "10.20.0.107", "scanner")
    after = live(context, "lab.muster")
    with changing(context) as session:
        lease = session.scalars(select(Lease).where(Lease.name == "scanner")).one()
        lease_names.drop_lease_name(session, lease, session.get_one(Subnet, seeded.subnet_id))
    gone, back = live(context, "lab.muster"), live(context, "0.20.10.in-addr.arpa")

    assert names == {
        "Alice's Laptop.local": "alice-s-laptop",
        "web1": "10-20-0-101",
        "www2": "10-20-0-102",
        "rack-1": "10-20-0-103",
        "wpad": "10-20-0-104",
        None: "10-20-0-105",
        "-- --": "10-20-0-106",
        "printer": "printer",
        "Printer": "10-20-0-108",
    }
    assert ["10.20.0.100"] == held["alice-s-laptop.lab.muster. A"]
    assert ["192.0.2.1"] == held["www2.lab.muster. A"]
    assert "scanner" == changed
    assert "printer.lab.muster. A" not in after
    assert "scanner.lab.muster. A" not in gone
    assert ["alice-s-laptop.lab.muster."] == back["100.0.20.10.in-addr.arpa. PTR"]
    assert "107.0.20.10.in-addr.arpa. PTR" not in back


def test_leases_are_kept_and_expire_with_their_names(context: Context, seeded: Seeded) -> None:
    """What racks report is kept once an address; what ends or expires is gone, with its name."""
    now = context.clock()

    def seen(address: str, hostname: str | None, seconds: int) -> leases.SeenLease:
        return leases.SeenLease(address, "02:00:00:00:00:44", None, hostname, now, now + dt.timedelta(seconds=seconds))

    first = leases.observe(
        context,
        seeded.rack_id,
        [seen("10.20.0.150", "pad", 60), seen("10.20.0.151", None, 600), seen("10.9.9.9", "x", 60)],
    )
    again = leases.observe(context, seeded.rack_id, [seen("10.20.0.150", "pad", 120)])
    clock_of(context).move(130)
    expired = leases.expire(context)
    held = live(context, "lab.muster")
    ended = leases.observe(context, seeded.rack_id, [], ["10.20.0.151"])

    assert (2, 1, 1, 1) == (first, again, expired, ended)
    assert "pad.lab.muster. A" not in held
    assert ["10.20.0.151"] == held["10-20-0-151.lab.muster. A"]
    assert "10-20-0-151.lab.muster. A" not in live(context, "lab.muster")
    assert 0 == leases.expire(context)


@pytest.mark.parametrize("kind", ["machine", "device", "reservation", "rack"])
def test_a_name_that_somebody_took_from_a_lease_stays_theirs(context: Context, seeded: Seeded, kind: str) -> None:
    """A lease that ends takes no record away that belongs to a machine, a device, a reservation or a rack by now."""
    mac = "52:54:00:00:00:77"
    observe(context, seeded, "10.20.0.150", "pad")
    if kind == "machine":
        made = machines.create(context, [mac], hostname="pad")
        links.put(context, made.interfaces[0].id, seeded.subnet_id, "static", "10.20.0.50")
    elif kind == "device":
        link = {"subnet_id": seeded.subnet_id, "mode": "static", "address": "10.20.0.50"}
        devices.create(context, "pad", interfaces=[{"mac": mac, "links": [link]}])
    elif kind == "reservation":
        reservations.create(context, "10.20.0.50", mac, hostname="pad")
    else:
        with context.store.write() as session:
            session.get_one(Rack, seeded.rack_id).name = "pad"
        with changing(context) as session:
            put_names(session, "lab.muster", "pad.lab.muster.", 30, ["10.20.0.50"])
    leases.observe(context, seeded.rack_id, [], ["10.20.0.150"])

    assert ["10.20.0.50"] == live(context, "lab.muster")["pad.lab.muster. A"]


def test_a_kept_address_without_a_name_in_dns_leaves_its_word_to_people(context: Context, seeded: Seeded) -> None:
    """An address that is kept by hand has a word for people; only reservations have names."""
    addresses.reserve(context, seeded.subnet_id, "10.20.0.40", "nas")
    reservations.create(context, "10.20.0.41", "52:54:00:00:00:77", hostname="printer")
    add(context, seeded, "nas", "A", "10.20.0.40")
    with pytest.raises(Conflict, match="the reservation of printer"):
        add(context, seeded, "printer", "A", "10.20.0.40")

    assert ["10.20.0.40"] == live(context, "lab.muster")["nas.lab.muster. A"]


def test_pointers_move_with_the_mode_of_their_subnet(context: Context, seeded: Seeded) -> None:
    """Off: none; on: in the /24's zone; rfc2317: in a zone of their own, and the CNAME leads there."""
    vlan = vlans.create(context, seeded.fabric_id, 7)
    subnet = subnets.create(context, "10.30.0.64/26", vlan.id, reverse_dns="off")
    machine_id = make_machine(context, seeded, hostname="web7")
    with changing(context) as session:
        machine = session.get_one(Machine, machine_id)
        machine.interfaces[0].subnet_id, machine.interfaces[0].vlan_id = subnet.id, vlan.id
        session.flush()
        addresses.claim(session, context, machine)
    small, above = "64-127.0.30.10.in-addr.arpa", "0.30.10.in-addr.arpa"
    found = {}
    for mode in ("off", "on", "rfc2317", "on", "off"):
        subnets.update(context, subnet.id, reverse_dns=mode)
        mine = {
            key: data for zone in (small, above) for key, data in live(context, zone).items() if not key.endswith(" NS")
        }
        found.setdefault(mode, []).append(mine)

    assert found == {
        "off": [{}, {}],
        "on": [{f"65.{above}. PTR": ["web7.lab.muster."]}] * 2,
        "rfc2317": [
            {
                f"65.{small}. PTR": ["web7.lab.muster."],
                f"65.{above}. CNAME": [f"65.{small}."],
            }
        ],
    }


def test_another_rack_becomes_primary_above_all_serials(context: Context, seeded: Seeded) -> None:
    """The promoted rack has the role in its intent, applies the zone's records, and knows which serial to be above."""
    with changing(context) as session:
        second = Rack(
            name="other",
            token_hash="t",
            enrolled_at=context.clock(),
            interfaces=[{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}],
        )
        session.add(second)
    zone_reports.observe(context, seeded.rack_id, {"lab.muster": 2_000_000_100}, [])
    zone_reports.observe(context, second.id, {"lab.muster": 2_000_000_090}, [])
    before = [(one.rack, one.role, one.in_sync) for one in zone_reports.servers(context, seeded.domain_id)]
    domains.update(context, seeded.domain_id, primary_rack_id=second.id)
    with context.store.read() as session:
        zones = {zone.name: zone for zone in load_intent(session, second.id).zones}
        old = {zone.name: zone for zone in load_intent(session, seeded.rack_id).zones}
    zone_reports.observe(context, second.id, {"lab.muster": 2_000_000_101}, [])
    after = [(one.rack, one.role, one.in_sync) for one in zone_reports.servers(context, seeded.domain_id)]

    assert [("rack-1", "primary", True), ("other", "secondary", False)] == before
    assert ("primary", 2_000_000_100) == (zones["lab.muster"].role, zones["lab.muster"].serial_above)
    assert ("secondary", "10.20.0.2") == (old["lab.muster"].role, old["lab.muster"].primary_address)
    assert "secondary" == zones["muster-internal"].role
    assert [("other", "primary", True), ("rack-1", "secondary", False)] == after
    with pytest.raises(NotFound):
        domains.update(context, seeded.domain_id, primary_rack_id=999)


def test_a_zone_that_stays_behind_makes_its_rack_not_in_sync(context: Context, seeded: Seeded) -> None:
    """After a moment's patience, counted from when it fell behind, however often the primary goes on; said in words."""
    with context.store.write() as session:
        interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:09", "addresses": ["10.20.0.2/24"]}]
        second = Rack(name="other", token_hash="x", interfaces=interfaces, seen_at=context.clock())
        session.add(second)
    domains.create(context, "gone.example")
    for zone in ("lab.muster", "gone.example"):
        zone_reports.observe(context, seeded.rack_id, {zone: 100}, [])
        zone_reports.observe(context, second.id, {zone: 100}, [])

    def zones_of(rack_id: int) -> list[str]:
        return [one for one in rack_overview.of_rack(context, rack_id).reasons if one.startswith("zone ")]

    said = []
    for serial in (101, 102, 103):
        zone_reports.observe(context, seeded.rack_id, {"lab.muster": serial, "gone.example": serial}, [])
        clock_of(context).move(15)
        said.append(len(zones_of(second.id)))
    gone = domains.find(context, name="gone.example")[0]
    domains.delete(context, gone.id)
    (reason,) = zones_of(second.id)
    numbers = {rack.name: rack.in_sync for rack in census.take(context).racks}
    home = {one.name: one.reasons for one in overview.look(context).troubles}
    zone_reports.observe(context, second.id, {"lab.muster": 102}, [])
    still = zones_of(second.id)
    zone_reports.observe(context, second.id, {"lab.muster": 103}, [])

    assert [0, 2, 2] == said
    assert reason.startswith(
        "zone lab.muster is behind its primary rack-1 for 45 s (serial 100, there 103): look whether"
    )
    assert not numbers["other"]
    assert ("zone lab.muster is behind its primary rack-1",) == home["other"]
    assert 1 == len(still)
    assert [] == zones_of(second.id) == zones_of(seeded.rack_id)


def test_serials_wrap_around() -> None:
    """RFC 1982: half of the numbers come after each."""
    assert zone_reports.not_behind(5, (1 << 32) - 5)
    assert not zone_reports.not_behind((1 << 32) - 5, 5)


def test_an_outside_secondary_gets_its_key_once(context: Context, seeded: Seeded) -> None:
    """The key is sealed, racks fetch it by a name that changes with it, and bundles hold the name only."""
    made = dns_secondaries.create(context, "office", "198.51.100.9")
    with context.store.read() as session:
        (outside,) = load_intent(session, seeded.rack_id).dns_secondaries
    again = dns_secondaries.new_key(context, made.secondary.id)
    with context.store.read() as session:
        (newer,) = load_intent(session, seeded.rack_id).dns_secondaries

    assert made.secret != again.secret
    assert made.secret not in made.secondary.secret
    assert f"dns-secondary-{made.secondary.id}-1" == outside.secret
    assert f"dns-secondary-{made.secondary.id}-2" == newer.secret
    assert again.secret == dns_secondaries.secret_for_rack(context, newer.secret)
    for name in (outside.secret, "offer_key", "dns-secondary-9-1"):
        with pytest.raises(NotFound):
            dns_secondaries.secret_for_rack(context, name)


def test_a_domain_in_use_stays(context: Context, seeded: Seeded) -> None:
    """A device keeps its domain; one that nobody uses goes with its records."""
    domain = domains.create(context, "gear.example", description="Switches", primary_rack_id=seeded.rack_id)
    dns_records.create(context, domain.id, name="www", type="A", data="192.0.2.1")
    with context.store.write() as session:
        session.add(Device(hostname="pdu", domain_id=domain.id, zone_id=seeded.zone_id))
    with pytest.raises(Conflict, match="device pdu"):
        domains.delete(context, domain.id)
    with context.store.write() as session:
        session.delete(session.scalars(select(Device)).one())
    domains.delete(context, domain.id)
    with context.store.write() as session:
        session.execute(delete(IpAddress))
        session.execute(delete(Subnet))
    with pytest.raises(Conflict, match="it is the only one"):
        domains.delete(context, seeded.domain_id)

    assert {} == live(context, "gear.example")
    with context.store.read() as session:
        assert session.get(Domain, domain.id) is None
