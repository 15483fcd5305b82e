"""Records that people add: their forms, and what may stand beside what."""

from __future__ import annotations

import pytest
from sqlalchemy import select

from app.services import bulk_machines, devices, dns_records, domains, machines
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict, Invalid
from app.store.models import Device, RecordChange
from tests.factories.control import Seeded, make_machine
from tests.services.conftest import add, live
from tests.store.test_query_counts import statements


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
