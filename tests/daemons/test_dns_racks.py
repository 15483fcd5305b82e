"""Three racks' BINDs, an outside secondary and a stranger on one wire; changes come from the services, as at a customer's."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dns.exception
import dns.query
import dns.zone
import pytest

from app.services import (
    dns_records,
    dns_secondaries,
    domains,
    name_servers,
    rack_interfaces,
    records,
    reservations,
    zone_reports,
)
from app.services.changes import changing, put_record
from app.services.context import Context
from app.store.intent import load_intent
from app.store.models import Rack
from app.store.queries.scopes import scopes_of_rack
from lab import binds
from lab.binds import NameHost, NameRack
from renderers.intent import RackIntent, ZoneIntent
from tests.daemons.rack_root import SECRETS, eventually
from tests.daemons.requires import require
from tests.factories.control import Seeded, make_context, seed
from workers.rack.channels.bind import BindUpdater, Replacement, RrsetChange
from workers.rack.files import ServiceDirectories
from workers.rack.offer import Offer
from workers.rack.record_flow import change_of
from workers.rack.record_store import RecordChange, RecordStore
from workers.rack.zones import ZoneKeeper, primaries

ADDRESSES = ("10.20.0.1", "10.20.0.2", "10.20.0.3")
OUTSIDE, STRANGER = "10.20.0.40", "10.20.0.50"
ZONE = "lab.muster"
MANY = 10_000


@dataclass
class Hand:
    """The rack worker's hands on one rack."""

    host: NameRack
    rack_id: int
    keeper: ZoneKeeper
    store: RecordStore
    intent: RackIntent | None = None
    sequence: int = 0
    failed: dict[tuple[str, str], str] = field(default_factory=dict)


@dataclass
class Names:
    """All of it."""

    context: Context
    seeded: Seeded
    hands: list[Hand]
    outside: NameHost
    stranger: NameHost
    secrets: dict[str, str]

    def offer(self, hand: Hand) -> Offer:
        assert hand.intent is not None
        with self.context.store.read() as session:
            scopes = frozenset(scopes_of_rack(session, hand.rack_id))
        return Offer(1, 1, (), (), {}, {}, {}, scopes, hand.intent.zones, ())

    def configure(self, *hands: Hand, zone: str = ZONE) -> None:
        """Render what each rack should serve now, and have its BIND serve it."""
        for hand in hands:
            with self.context.store.read() as session:
                hand.intent = load_intent(session, hand.rack_id)
            hand.host.serve(hand.intent, self.secrets)
            if hand.store.serve_scopes(self.offer(hand).scopes):
                hand.sequence = 0

        for hand in hands:
            eventually(lambda hand=hand: self._up(hand, zone), 20)

    def _up(self, hand: Hand, zone: str) -> None:
        assert hand.host.ask(hand.host.address, zone, "SOA")[1]

    def apply(self, *hands: Hand) -> dict[tuple[str, str], str]:
        """Fetch and make live, as the rack worker does; what failed."""
        failed: dict[tuple[str, str], str] = {}
        for hand in hands:
            offer = self.offer(hand)
            page = records.after(self.context, hand.rack_id, hand.sequence)
            changes = [change_of(item) for item in page["records"]]
            for scope in sorted({change.scope for change in changes if change.scope.startswith("zone:")}):
                mine = [change for change in changes if change.scope == scope]
                hand.host.inside(lambda: hand.keeper.apply(scope, mine, offer, failed))  # noqa: B023
                hand.store.commit(item for item in mine if (item.scope, item.key) not in failed)
            hand.host.inside(lambda: hand.keeper.raise_serials(offer))  # noqa: B023
            hand.sequence = page["last"]
        return failed

    def add(self, name: str, kind: str, data: str) -> int:
        return dns_records.create(self.context, self.seeded.domain_id, name=name, type=kind, data=data).id

    def serials(self, *hosts: NameHost) -> set[str]:
        found = set()
        for host in hosts:
            _, (soa,) = host.ask(host.address, ZONE, "SOA")
            found.add(soa.split()[2])
        return found

    def agreed(self) -> None:
        """All servers have the zone with one serial."""
        found = self.serials(*(hand.host for hand in self.hands), self.outside)
        assert len(found) == 1, found

    def everywhere(self, name: str, kind: str, *data: str, hosts: list[NameHost] | None = None) -> None:
        """Wait until every server answers so."""
        for host in hosts or [*(hand.host for hand in self.hands), self.outside]:
            eventually(lambda host=host: _same(host, data, host.ask(host.address, f"{name}.{ZONE}", kind)[1]), 10)


def _same(host: NameHost, expected: tuple[str, ...], actual: tuple[str, ...]) -> None:
    log = host.root / "named.log"
    assert tuple(sorted(expected)) == actual, f"{host.address}: {log.read_text()[-3000:]}"


def _outside_config(host: NameHost, made: dns_secondaries.NewKey) -> Path:
    """An operator's own BIND, secondary of two racks by the key that Muster has shown."""
    state = host.root / "state"
    state.mkdir()
    binds._give(state, "bind")
    key = made.secondary.key_name
    racks = "; ".join(f'{address} port 53 key "{key}"' for address in ADDRESSES[:2])
    config = host.root / "named.conf"
    config.write_text(
        f'key "{key}" {{ algorithm {made.secondary.algorithm}; secret "{made.secret}"; }};\n'
        f'options {{ directory "{state}"; pid-file none; session-keyfile none; listen-on {{ {host.address}; }};'
        " listen-on-v6 { none; }; recursion no; allow-query { any; }; dnssec-validation no; };\n"
        "controls { };\n"
        f'zone "{ZONE}" {{ type secondary; file "{ZONE}"; primaries {{ {racks}; }}; }};\n'
    )
    return config


@pytest.fixture
def names(tmp_path: Path) -> Iterator[Names]:
    """Three racks that serve the same zones, the first as primary; an outside secondary of the first two."""
    require("ip", "named", "rndc", "named-checkzone")
    context = make_context(tmp_path)
    seeded = seed(context)
    with changing(context) as session:
        rack_ids = [seeded.rack_id]
        session.get_one(Rack, seeded.rack_id).seen_at = context.clock()
        for number, address in enumerate(ADDRESSES[1:], 2):
            interfaces = [{"name": "eth0", "mac": f"02:00:00:00:00:0{number}", "addresses": [f"{address}/24"]}]
            rack = Rack(name=f"{'ab'[number - 2]}-rack", token_hash=address, interfaces=interfaces)
            rack.enrolled_at = rack.seen_at = context.clock()
            session.add(rack)
            session.flush()
            rack_ids.append(rack.id)
        rack_interfaces.attach_all(session, context)
        name_servers.put_name_servers(session)
    made = dns_secondaries.create(context, "office", OUTSIDE)
    with binds.wire(binds.unique("dn"), ADDRESSES, (OUTSIDE, STRANGER)) as (hosts, (outside, stranger)):
        hands = []
        for host, rack_id in zip(hosts, rack_ids, strict=True):
            store = RecordStore(host.root / "records.db")
            keeper = ZoneKeeper(
                store,
                lambda: BindUpdater(SECRETS["tsig-update"]),
                lambda service: True,
                ServiceDirectories(host.root, "bind"),
            )
            hands.append(Hand(host, rack_id, keeper, store))
        secrets = {**SECRETS, f"dns-secondary-{made.secondary.id}-1": made.secret}
        found = Names(context, seeded, hands, outside, stranger, secrets)
        found.configure(*hands)
        outside.start(_outside_config(outside, made))
        assert found.apply(*hands) == {}
        try:
            yield found
        except BaseException:
            for host in (*hosts, outside):
                print(host.address, (host.root / "named.log").read_text()[-3000:])
            raise


def test_names_are_at_every_rack_and_outside_and_survive_the_primary(names: Names) -> None:
    """Added, changed, undone, replaced after a foreign hand; then the primary dies, another is promoted, the old one returns."""
    first, second, third = names.hands

    # Every rack is a name server of the zone, and has what is added; so has the outside one, which two racks tell of it.
    odd = "a b\\.c"
    names.add("www", "A", "192.0.2.1")
    names.add(odd, "TXT", 'say "hi"; \\ $ @ ( )')
    names.add("*.wild", "A", "192.0.2.9")
    names.add("_under_score", "A", "192.0.2.10")

    assert names.apply(*names.hands) == {}
    names.everywhere("www", "A", "192.0.2.1")
    names.everywhere("a\\032b\\.c", "TXT", '"say \\"hi\\"; \\\\ $ @ ( )"')
    names.everywhere("any.wild", "A", "192.0.2.9")
    names.everywhere("_under_score", "A", "192.0.2.10")
    nameservers = tuple(f"{name}.{ZONE}." for name in ("a-rack", "b-rack", "rack-1"))
    assert nameservers == first.host.ask(ADDRESSES[2], ZONE, "NS")[1]
    eventually(names.agreed, 30)

    # Delete and add of one name in one batch: the A goes, a CNAME comes; and back again, seen outside too.
    held = {row.name: row.id for row in dns_records.find(names.context, names.seeded.domain_id)}
    alias = [{"name": "www", "type": "CNAME", "data": "other.example.org."}]
    dns_records.bulk(names.context, names.seeded.domain_id, alias, [held["www"]])

    assert names.apply(first) == {}
    names.everywhere("www", "CNAME", "other.example.org.")

    held = {row.name: row.id for row in dns_records.find(names.context, names.seeded.domain_id)}
    address = [{"name": "www", "type": "A", "data": "192.0.2.1"}]
    dns_records.bulk(names.context, names.seeded.domain_id, address, [held["www"]])

    assert names.apply(first) == {}
    names.everywhere("www", "A", "192.0.2.1")
    names.everywhere("www", "CNAME")

    # A record that the services would refuse comes by another way: BIND takes it silently, and it is found and undone.
    with changing(names.context) as session:
        bad = {"name": f"www.{ZONE}.", "type": "CNAME", "ttl": 30, "rdatas": ["x.example."]}
        put_record(session, f"zone:{ZONE}", f"rrset:www.{ZONE}.:CNAME", bad)
    failed = names.apply(first)

    assert ["stands against it" in reason for reason in failed.values()] == [True]
    names.everywhere("www", "A", "192.0.2.1")
    with changing(names.context) as session:
        put_record(session, f"zone:{ZONE}", f"rrset:www.{ZONE}.:CNAME", None)
    names.apply(first)

    # Somebody else's change is seen when ours comes over it, and found by reading back when it does not.
    meddle(first, RrsetChange(f"www.{ZONE}.", "A", 30, ("203.0.113.66",)))
    held = {row.name: row.id for row in dns_records.find(names.context, names.seeded.domain_id)}
    dns_records.update(names.context, names.seeded.domain_id, held["www"], data="192.0.2.2")

    assert names.apply(first) == {}
    assert [("203.0.113.66", f"rrset:www.{ZONE}.:A")] == [
        (item["found"], item["key"]) for item in first.keeper.take_foreign()
    ]
    names.everywhere("www", "A", "192.0.2.2")

    assert drift(names, first) == {}
    meddle(first, RrsetChange(f"rogue.{ZONE}.", "A", 30, ("203.0.113.67",)))
    meddle(first, RrsetChange(f"any.wild.{ZONE}.", "A", 30, ("203.0.113.68",)))
    wrong = drift(names, first)

    assert {f"rrset:rogue.{ZONE}.:A": None, f"rrset:any.wild.{ZONE}.:A": None} == wrong
    assert drift(names, first) == {}
    names.everywhere("rogue", "A")

    # Who may what: a stranger gets answers of our zones and nothing else.
    assert ("NOERROR", ("192.0.2.2",)) == names.stranger.ask(ADDRESSES[1], f"www.{ZONE}")
    with pytest.raises(dns.exception.DNSException):
        names.stranger.inside(lambda: dns.zone.from_xfr(dns.query.xfr(ADDRESSES[0], ZONE, lifetime=5)))

    # The primary dies with a change that nobody got; another is promoted, and no name is lost.  All have what was before:
    # a BIND that is in the middle of a refresh when its primary dies hangs on it for longer than this test waits.
    names.everywhere("www", "A", "192.0.2.2")
    eventually(names.agreed, 30)
    for hand in names.hands:
        serial = int(names.serials(hand.host).pop())
        zone_reports.observe(names.context, hand.rack_id, {ZONE: serial + (1000 if hand is first else 0)}, [])
    before = int(names.serials(second.host).pop())
    first.host.stop()
    names.add("while-down", "A", "192.0.2.20")
    domains.update(names.context, names.seeded.domain_id, primary_rack_id=second.rack_id)
    names.configure(second, third)

    assert names.apply(second, third) == {}
    for name, data in (("www", "192.0.2.2"), ("_under_score", "192.0.2.10"), ("while-down", "192.0.2.20")):
        names.everywhere(name, "A", data, hosts=[second.host, third.host, names.outside])
    assert int(names.serials(second.host).pop()) > before + 1000
    assert second.keeper.take_foreign() == []

    # The old one comes back with its old files and is a secondary; updates go on.
    names.configure(first)
    names.add("after", "A", "192.0.2.21")

    assert names.apply(second) == {}
    names.everywhere("after", "A", "192.0.2.21")
    eventually(names.agreed, 30)
    servers = zone_reports.servers(names.context, names.seeded.domain_id)
    assert [("a-rack", "primary"), ("rack-1", "secondary"), ("b-rack", "secondary")] == [
        (one.rack, one.role) for one in servers
    ]


def test_very_many_names_go_in_one_piece(names: Names, monkeypatch: pytest.MonkeyPatch) -> None:
    """The zone is written whole, without one update; racks and the outside server have it; single changes are updates."""
    first = names.hands[0]
    before = int(names.serials(first.host).pop())
    scope = f"zone:{ZONE}"
    changes = [
        RecordChange(
            number,
            scope,
            f"rrset:n{number}.{ZONE}.:A",
            {
                "name": f"n{number}.{ZONE}.",
                "type": "A",
                "ttl": 30,
                "rdatas": [f"10.{number >> 16}.{number >> 8 & 255}.1"],
            },
        )
        for number in range(MANY)
    ]
    failed: dict[tuple[str, str], str] = {}
    with monkeypatch.context() as only:
        refuse_updates(only)
        first.host.inside(lambda: first.keeper.apply(scope, changes, names.offer(first), failed))
    first.store.commit(changes)
    names.add("single", "A", "192.0.2.30")

    assert failed == {}
    assert names.apply(first) == {}
    names.everywhere(f"n{MANY - 1}", "A", "10.0.39.1")
    names.everywhere("single", "A", "192.0.2.30")
    names.everywhere("rack-1", "A", "10.20.0.1")
    assert int(names.serials(first.host).pop()) > before

    # A zone that is lost is written whole again from the rack's own copy, above the serial that the others have.
    seen = int(names.serials(first.host).pop())
    first.host.stop()
    for path in (first.host.base / "state").glob(f"{ZONE}.zone*"):
        path.unlink()
    names.configure(first)

    assert not first.host.inside(lambda: first.keeper.are_whole(names.offer(first)))
    with monkeypatch.context() as only:
        refuse_updates(only)
        first.host.inside(lambda: first.keeper.refill(names.offer(first)))
    names.add("again", "A", "192.0.2.31")

    assert names.apply(first) == {}
    names.everywhere("again", "A", "192.0.2.31")
    names.everywhere(f"n{MANY - 1}", "A", "10.0.39.1")
    assert int(names.serials(first.host).pop()) > seen


def test_a_renamed_domain_is_served_under_its_new_name_only(names: Names) -> None:
    """Every rack answers the new names and their pointers, and knows nothing of the old zone; changes go on there."""
    first, new = names.hands[0], "hall.example"
    reservations.create(names.context, "10.20.0.77", "02:00:00:00:00:77", hostname="printer")
    names.add("www", "CNAME", "printer")

    assert names.apply(first) == {}
    names.everywhere("printer", "A", "10.20.0.77")
    domains.update(names.context, names.seeded.domain_id, name=new)
    names.configure(*names.hands, zone=new)
    names.add("late", "A", "192.0.2.7")

    assert names.apply(*names.hands) == {}
    for hand in names.hands:
        for name, kind, data in (
            (f"printer.{new}", "A", "10.20.0.77"),
            (f"www.{new}", "CNAME", f"printer.{new}."),
            (f"late.{new}", "A", "192.0.2.7"),
            ("77.0.20.10.in-addr.arpa", "PTR", f"printer.{new}."),
        ):
            eventually(
                lambda hand=hand, name=name, kind=kind, data=data: _same(
                    hand.host, (data,), hand.host.ask(hand.host.address, name, kind)[1]
                ),
                10,
            )
        for name, kind in ((ZONE, "SOA"), (f"printer.{ZONE}", "A")):
            assert names.stranger.ask(hand.host.address, name, kind)[1] == ()
    servers = tuple(f"{name}.{new}." for name in ("a-rack", "b-rack", "rack-1"))
    assert servers == first.host.ask(ADDRESSES[1], "0.20.10.in-addr.arpa", "NS")[1]


def refuse_updates(patch: pytest.MonkeyPatch) -> None:
    """Have an update of the zone fail the test."""
    update = BindUpdater.update

    def refuse(updater: BindUpdater, zone: str, changes: Sequence[RrsetChange | Replacement]) -> None:
        assert zone != ZONE, f"an update with {len(changes)} changes was sent"
        update(updater, zone, changes)

    patch.setattr(BindUpdater, "update", refuse)


def meddle(hand: Hand, change: RrsetChange) -> None:
    """Somebody's nsupdate at the rack."""
    hand.host.inside(lambda: BindUpdater(SECRETS["tsig-update"]).update(ZONE, [change]))


def drift(names: Names, hand: Hand) -> dict[str, dict[str, Any] | None]:
    """What reading back finds in the zone; it is put back."""
    offer = names.offer(hand)
    zone: ZoneIntent = next(zone for zone in primaries(offer) if zone.name == ZONE)
    found = hand.host.inside(lambda: hand.keeper.drifted(zone))
    if found:
        assert hand.host.inside(lambda: hand.keeper.put_back(zone, found, offer)) == {}
    return found
