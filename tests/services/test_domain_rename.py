"""A domain that is renamed takes everything with it that is named in it, in one change, or is refused in words."""

from __future__ import annotations

from pathlib import Path

import pytest

from app.services import (
    dns_records,
    domains,
    installed_names,
    name_servers,
    rack_interfaces,
    reservations,
    subnets,
)
from app.services.addresses import claim
from app.services.changes import changing
from app.services.context import Context
from app.services.domain_rename import follower
from app.services.errors import Conflict, Invalid
from app.services.records import after, live
from app.store.intent import load_intent
from app.store.models import ChangeEvent, Domain, InstalledName, Machine, RecordChange
from tests.factories.control import Seeded, make_context, make_machine, seed

NEW = "hall.example"


@pytest.fixture
def context(tmp_path: Path) -> Context:
    """A store with a rack that is a name server, a machine, a reservation, and people's records in two domains."""
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    found = seed(context)
    with changing(context) as session:
        rack_interfaces.attach_all(session, context)
        name_servers.put_name_servers(session)
    other = domains.create(context, "other.example")
    # A name that a domain below hides: there may be some from before that was refused.
    dns_records.create(context, found.domain_id, name="hidden.deep", type="A", data="192.0.2.3")
    with changing(context) as session:
        session.add(below := Domain(name="deep.lab.muster", ttl_seconds=30, description=""))
        name_servers.put_name_servers(session)
    machine = make_machine(context, found, "web-1")
    with changing(context) as session:
        claim(session, context, session.get_one(Machine, machine))
    reservations.create(context, "10.20.0.77", "02:00:00:00:00:77", hostname="printer")
    for domain, name, kind, data in (
        (found.domain_id, "www", "CNAME", "web-1"),
        (found.domain_id, "@", "MX", "10 web-1"),
        (found.domain_id, "@", "TXT", "of lab.muster."),
        (below.id, "www", "A", "192.0.2.1"),
        (other.id, "shop", "CNAME", "web-1.lab.muster."),
        (other.id, "deep", "CNAME", "www.deep.lab.muster."),
        (other.id, "lookalike", "CNAME", "web-1.notlab.muster."),
    ):
        dns_records.create(context, domain, name=name, type=kind, data=data)
    return found


def words(context: Context) -> dict[str, dict[str, list[str]]]:
    """Live RRsets by scope."""
    with context.store.read() as session:
        scopes = session.query(RecordChange.scope).filter(RecordChange.scope.startswith("zone:")).distinct()
        return {
            str(scope): {key.removeprefix("rrset:"): value["rdatas"] for key, value in live(session, scope)}
            for (scope,) in scopes
        }


def test_everything_follows(context: Context, seeded: Seeded) -> None:
    """Own names, pointers, name servers, targets in other domains; nothing that only looks like it, or has its own domain."""
    before = words(context)
    domains.update(context, seeded.domain_id, name=NEW.upper())
    found = words(context)
    with context.store.read() as session:
        intent = load_intent(session, seeded.rack_id)
        events = session.query(ChangeEvent).filter(ChangeEvent.thing == "domain", ChangeEvent.verb == "update")
        audited = [row.detail for row in events]

    old = {key.replace("lab.muster.:", f"{NEW}.:"): value for key, value in before["zone:lab.muster"].items()}
    assert old.keys() == found[f"zone:{NEW}"].keys()
    assert "zone:lab.muster" not in found
    mine = found[f"zone:{NEW}"]
    assert before["zone:lab.muster"]["web-1.lab.muster.:A"] == mine[f"web-1.{NEW}.:A"]
    assert [f"web-1.{NEW}."] == mine[f"www.{NEW}.:CNAME"]
    assert [f"10 web-1.{NEW}."] == mine[f"{NEW}.:MX"]
    assert [f"rack-1.{NEW}."] == mine[f"{NEW}.:NS"]
    assert ['"of lab.muster."'] == mine[f"{NEW}.:TXT"]
    assert ["10.20.0.77"] == mine[f"printer.{NEW}.:A"]
    reverse = found["zone:0.20.10.in-addr.arpa"]
    assert [f"printer.{NEW}."] == reverse["77.0.20.10.in-addr.arpa.:PTR"]
    assert [f"rack-1.{NEW}."] == reverse["0.20.10.in-addr.arpa.:NS"]
    assert not [one for rdatas in reverse.values() for one in rdatas if "lab.muster" in one]
    other = found["zone:other.example"]
    assert [f"web-1.{NEW}."] == other["shop.other.example.:CNAME"]
    assert ["www.deep.lab.muster."] == other["deep.other.example.:CNAME"]
    assert ["web-1.notlab.muster."] == other["lookalike.other.example.:CNAME"]
    assert before["zone:deep.lab.muster"] == found["zone:deep.lab.muster"]
    assert {f"web-1.{NEW}."} == {row.data for row in dns_records.find(context, seeded.domain_id, kind="CNAME")}
    assert NEW == intent.subnets[0].domain
    assert {NEW, "deep.lab.muster"} < {zone.name for zone in intent.zones}
    assert [["lab.muster", NEW]] == [detail["name"] for detail in audited]

    # The rack fetches the new zone's names after what it had; a later change goes where the domain is now.
    fetched = {row["scope"] for row in after(context, seeded.rack_id, 0)["records"]}
    assert f"zone:{NEW}" in fetched
    assert "zone:lab.muster" not in fetched
    dns_records.create(context, seeded.domain_id, name="late", type="A", data="192.0.2.7")
    assert ["192.0.2.7"] == words(context)[f"zone:{NEW}"][f"late.{NEW}.:A"]

    # What lay in the zone below is a name of this one now, and would be hidden again.
    assert ["192.0.2.3"] == mine[f"hidden.deep.{NEW}.:A"]
    with pytest.raises(Conflict, match=r"name hidden\.deep\.lab\.muster of domain lab\.muster would be looked for in"):
        domains.update(context, seeded.domain_id, name="lab.muster")
    hidden = next(row for row in dns_records.find(context, seeded.domain_id, kind="A") if row.name == "hidden.deep")
    dns_records.delete(context, seeded.domain_id, hidden.id)
    domains.update(context, seeded.domain_id, name="lab.muster")
    del before["zone:lab.muster"]["hidden.deep.lab.muster.:A"]
    assert before["zone:lab.muster"].keys() < words(context)["zone:lab.muster"].keys()


def test_what_cannot_follow_is_refused(context: Context, seeded: Seeded) -> None:
    """A name that is taken, is Muster's own, or too long; a machine that is being worked on; two changes in one."""
    subnets.create(context, "10.30.0.0/24", seeded.vlan_id)
    dns_records.create(context, seeded.domain_id, name=".".join(["x" * 60] * 2), type="A", data="192.0.2.1")
    dns_records.create(context, domains.create(context, "example").id, name="www.room", type="A", data="192.0.2.1")
    domains.create(context, "web-1.below")
    long = ".".join(["y" * 60] * 3)
    before = words(context)
    for name, rule in (
        ("other.example", "domain names differ"),
        ("0.20.10.in-addr.arpa", "zone names differ"),
        ("x.muster-internal", "the internal domain is not edited"),
        (long, "a DNS name has at most 253 characters"),
        ("room.example", "a name lies in the nearest domain above it"),
        ("below", "a name lies in the nearest domain above it"),
    ):
        with pytest.raises(Conflict) as refused:
            domains.update(context, seeded.domain_id, name=name)
        assert rule == refused.value.rule
    for name in ("rack room.example", "-.example", "a..b", "x" * 64, "", "späth.example", "*.example"):
        with pytest.raises(Invalid, match="use letters, digits and hyphens"):
            domains.update(context, seeded.domain_id, name=name)
    with pytest.raises(Invalid, match="one after the other"):
        domains.update(context, seeded.domain_id, name=NEW, ttl_seconds=77)
    make_machine(context, seeded, "busy", state="DEPLOYING")
    with pytest.raises(Conflict, match="busy is Deploying and has been told its name") as refused:
        domains.update(context, seeded.domain_id, name=NEW)

    assert "a domain is renamed while its machines are at rest" == refused.value.rule
    assert before == words(context)


def test_machines_that_keep_their_old_name_are_listed(context: Context, seeded: Seeded) -> None:
    """Deployed ones only, and only those that were installed under another name."""
    for name, state in (("old", "DEPLOYED"), ("ready", "READY")):
        machine = make_machine(context, seeded, name, state=state)
        with context.store.write() as session:
            session.add(InstalledName(machine_id=machine, name=f"{name}.lab.muster", at=context.clock()))
    before = installed_names.stale(context, seeded.domain_id)
    domains.update(context, seeded.domain_id, name=NEW)
    (found,) = installed_names.stale(context, seeded.domain_id)

    assert [] == before
    assert ("old", "old.lab.muster", f"old.{NEW}") == (found.hostname, found.installed_name, found.name)


def test_names_follow_by_labels() -> None:
    """Whole labels count; domains below keep their names."""
    follow = follower("lab.x", "y", frozenset({"deep.lab.x"}))

    assert ["y.", "a.y.", "a.deep.lab.x.", "deep.lab.x.", "alab.x.", "lab.x.z."] == [
        follow(name) for name in ("lab.x.", "a.lab.x.", "a.deep.lab.x.", "deep.lab.x.", "alab.x.", "lab.x.z.")
    ]
