"""Addresses of a subnet against a naive model: whatever people and machines do to it, in whatever order.

Never twice, never outside, never in a dynamic range, never the gateway, never where a stranger answers; the lowest one
that the rules allow; and what is refused changes nothing.
"""

from __future__ import annotations

import atexit
import ipaddress
import itertools
import shutil
import tempfile
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule
from sqlalchemy import select

from app.services import addresses, ranges, reservations, subnet_use, subnets
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict
from app.services.free_space import LATELY
from app.store.models import Interface, IpAddress, IpRange, Machine, Neighbour, RecordChange, Subnet
from tests.factories.control import Seeded, clock_of, make_context, make_machine, seed

place = st.integers(0, 13)
"""Which of the fourteen hosts of a /28."""


@cache
def database() -> tuple[Context, Seeded]:
    """One SQLite database for all examples, each of which has a subnet of its own in it."""
    folder = tempfile.mkdtemp(prefix="muster-model-")
    context = make_context(Path(folder))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return context, seed(context)


class Addresses(RuleBasedStateMachine):
    """One small subnet, three machines, and everything that may be done to them."""

    numbers = itertools.count()

    @initialize()
    def begin(self) -> None:
        """An empty subnet."""
        self.context, seeded = database()
        self.network = ipaddress.ip_network((f"10.30.{next(self.numbers)}.0", 28))
        self.hosts = [str(host) for host in self.network.hosts()]
        self.subnet_id = subnets.create(self.context, str(self.network), seeded.vlan_id).id
        self.machines = [make_machine(self.context, seeded) for _ in range(3)]
        with self.context.store.write() as session:
            for interface in session.scalars(select(Interface).where(Interface.machine_id.in_(self.machines))):
                interface.subnet_id = self.subnet_id
        self.rack_id = seeded.rack_id
        self.macs = 0

    def attempt(self, call: Any, *words: Any, **more: Any) -> None:
        """Do it, or be refused."""
        with suppress(Conflict):
            call(self.context, *words, **more)

    @rule(kind=st.sampled_from(ranges.KINDS), ends=st.tuples(place, place))
    def draw_range(self, kind: str, ends: tuple[int, int]) -> None:
        """A range anywhere."""
        start, end = sorted(ends)
        self.attempt(ranges.create, self.subnet_id, kind, self.hosts[start], self.hosts[end])

    @rule(which=st.integers(0, 5), force=st.booleans())
    def delete_range(self, which: int, force: bool) -> None:
        """One of them goes."""
        spans = ranges.find(self.context, self.subnet_id)
        if spans:
            self.attempt(ranges.delete, spans[which % len(spans)].id, force=force)

    @rule(managed=st.booleans())
    def switch(self, managed: bool) -> None:
        """To managed or unmanaged."""
        self.attempt(subnets.update, self.subnet_id, managed=managed)

    @rule(gateway=st.none() | place)
    def set_gateway(self, gateway: int | None) -> None:
        """To anything."""
        self.attempt(subnets.update, self.subnet_id, gateway=None if gateway is None else self.hosts[gateway])

    @rule(which=place)
    def reserve(self, which: int) -> None:
        """Keep one by hand."""
        self.attempt(addresses.reserve, self.subnet_id, self.hosts[which])

    @rule(which=place)
    def promise(self, which: int) -> None:
        """Reserve one for a MAC."""
        self.macs += 1
        self.attempt(reservations.create, self.hosts[which], f"52:54:01:00:00:{self.macs:02x}")

    @rule(which=st.integers(0, 9))
    def break_promise(self, which: int) -> None:
        """A reservation goes."""
        rows = reservations.find(self.context, self.subnet_id)
        if rows:
            reservations.delete(self.context, rows[which % len(rows)].id)

    @rule(which=place)
    def stranger(self, which: int) -> None:
        """Somebody answers at an address; an hour later nobody remembers."""
        address = self.hosts[which]
        with self.context.store.write() as session:
            row = session.scalar(select(Neighbour).where(Neighbour.address == address))
            if row is None:
                key, now = f"{int(ipaddress.ip_address(address)):032x}", self.context.clock()
                row = Neighbour(
                    rack_id=self.rack_id, interface="eth0", address=address, address_key=key, first_seen_at=now
                )
                row.subnet_id, row.mac = self.subnet_id, "02:99:00:00:00:01"
                session.add(row)
            row.seen_at = self.context.clock()

    @rule()
    def wait(self) -> None:
        """An hour goes by."""
        clock_of(self.context).move(LATELY.total_seconds())

    @rule(which=st.integers(0, 2))
    def deploy(self, which: int) -> None:
        """A machine gets the lowest address that the model allows, or keeps what it has."""
        expected = self.expected(which)
        with changing(self.context) as session:
            try:
                given = addresses.claim(session, self.context, session.get_one(Machine, self.machines[which]))
            except Conflict:
                given = None

        assert expected == given

    @rule(which=st.integers(0, 2))
    def release(self, which: int) -> None:
        """It gives it back."""
        with changing(self.context) as session:
            addresses.free(session, self.context, session.get_one(Machine, self.machines[which]))

    def expected(self, which: int) -> str | None:
        """What the machine should be given: every address tried, in order, by the rules as they are written down."""
        with self.context.store.read() as session:
            subnet = session.get_one(Subnet, self.subnet_id)
            spans = list(session.scalars(select(IpRange).where(IpRange.subnet_id == subnet.id)))
            rows = list(session.scalars(select(IpAddress).where(IpAddress.subnet_id == subnet.id)))
            mine = session.scalars(select(Interface.id).where(Interface.machine_id == self.machines[which])).one()
            since = self.context.clock() - LATELY
            seen = set(session.scalars(select(Neighbour.address).where(Neighbour.seen_at > since)))
        if held := [row.address for row in rows if row.interface_id == mine]:
            return held[0]
        pools = any(span.kind == "static_pool" for span in spans)
        for address in self.hosts:
            number = ipaddress.ip_address(address)
            kind = next(
                (s.kind for s in spans if ipaddress.ip_address(s.start) <= number <= ipaddress.ip_address(s.end)), None
            )
            wanted = ("static_pool" if pools else None) if subnet.managed else "reserved"
            taken = {row.address for row in rows} | seen | {subnet.gateway}
            if kind == wanted and address not in taken:
                return address
        return None

    @invariant()
    def holds(self) -> None:
        """What must always be true of the rows, of the records, and of what is shown of them."""
        if not hasattr(self, "context"):
            return
        with self.context.store.read() as session:
            subnet = session.get_one(Subnet, self.subnet_id)
            rows = list(session.scalars(select(IpAddress).where(IpAddress.subnet_id == subnet.id)))
            spans = list(session.scalars(select(IpRange).where(IpRange.subnet_id == subnet.id)))
            mine = RecordChange.key.startswith(f"host:{self.subnet_id}:")
            newest = {
                record.key: record.value
                for record in session.scalars(select(RecordChange).where(mine).order_by(RecordChange.sequence))
            }
        given = [row.address for row in rows]
        leasing = [span for span in spans if span.kind == "dynamic"]
        hosts = {value["address"] for value in newest.values() if value}

        assert len(set(given)) == len(given)
        assert set(given) <= set(self.hosts)
        assert subnet.gateway not in given
        assert not [
            row.address
            for row in rows
            for span in leasing
            if span.start_key <= row.address_key <= span.end_key and row.kind != "reservation"
        ]
        assert subnet.managed or not [span for span in spans if span.kind != "reserved"]
        assert {row.address for row in rows if row.kind != "user_reserved"} == hosts

    @rule()
    def look(self) -> None:
        """What is shown is what is there."""
        numbers = subnet_use.statistics(self.context, self.subnet_id)
        shown = subnet_use.addresses(self.context, self.subnet_id, limit=3)
        while more := subnet_use.addresses(self.context, self.subnet_id, shown[-1].address, limit=3) if shown else []:
            shown += more
        free = subnet_use.free(self.context, self.subnet_id)
        with self.context.store.read() as session:
            given = set(session.scalars(select(IpAddress.address).where(IpAddress.subnet_id == self.subnet_id)))

        assert len(given) == sum(numbers.by_kind.values())
        assert given == {use.address for use in shown if use.kind != "discovered"}
        assert numbers.available == sum(part.count for part in free)


TestAddresses = Addresses.TestCase
TestAddresses.settings = settings(
    max_examples=12, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck), derandomize=True
)
