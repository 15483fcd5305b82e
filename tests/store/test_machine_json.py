"""The list of machines that the database writes says the same, to the byte, as what objects would be shown as."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
from flask import Flask, json
from sqlalchemy import delete

from app.api.answers import Written
from app.api.frame import written_page
from app.api.schemas.machine import MachinePage, MachineSchema
from app.lifecycle.states import State
from app.services import domains, machines, placement, power, users
from app.services.addressing import parse_address
from app.services.boot import canonical_mac
from app.services.context import Context
from app.services.errors import Invalid
from app.services.machines import MachineFilters
from app.store.models import Bmc, Interface, IpAddress, Machine
from tests.factories.control import Seeded, make_machine, seed

ODD_NAMES = (
    "ens3",
    "enp1s0f0np0",
    "br_lan",
    "Ethernet 2",
    "select",
    "2x",
    "",
    " ",
    'a"b',
    "a\\b",
    "a\tb\x01",
    "é😀\x7f",
    "$$",
)
"""Names of interfaces as systems may report them: identifiers of SQL, its keywords, and what JSON escapes."""


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """Machines of all kinds: in every state, with and without what may be left out."""
    made = seed(context)
    for number, state in enumerate(State):
        make_machine(context, made, f"m-{number}", state=state.value, tags=("b", "Z", "a-1")[: number % 4])
    full = make_machine(context, made, "full", owner_id=made.user_id, tags=("gpu",))
    odd = make_machine(context, made, "odd")
    with context.store.write() as session:
        machine = session.get_one(Machine, full)
        machine.state_reason = 'Größe "1\\2"\n\t\x7f €😀'
        machine.firmware, machine.system_uuid = "uefi", "4c4c4544-0042-3510-8051-b7c04f4a5931"
        machine.power_checked_at = dt.datetime(2026, 1, 2, 3, 4, 5, 120000, dt.UTC)
        machine.created_at = dt.datetime(2026, 1, 2, 3, 4, 5, 0, dt.timezone(dt.timedelta(hours=2)))
        machine.storage_bytes = 2**45
        session.execute(delete(Bmc).where(Bmc.machine_id != full))
        for number, link in enumerate((True, False, None)):
            one = Interface(machine_id=full, name=f"x{number}", mac=f"52:54:00:ff:00:0{number}", link=link)
            one.vlan_id, one.subnet_id, one.speed_mbps = made.vlan_id, made.subnet_id, 10_000
            words = {"subnet_id": made.subnet_id, "kind": "sticky"}
            one.addresses = [
                IpAddress(**words, address=f"10.20.0.{last}", address_key=f"{169082880 + last:032x}")
                for last in (40 - number, 50 + number)
            ]
            session.add(one)
        for number, name in enumerate(ODD_NAMES):
            machine = session.get_one(Machine, odd)
            machine.interfaces.append(Interface(name=name, driver=name, mac=f"52:54:00:fe:00:{number:02x}"))
            machine.architecture = machine.firmware = name
    return made


def of_objects(context: Context, only: set[str] | None, **words: int) -> str:
    found = machines.find(context, **words)
    more = len(found) >= words.get("limit", 100)
    names = None if only is None else {f"items.{name}" for name in only} | {"next"}
    shown = MachinePage(only=names).dump({"items": found, "next": found[-1].id if more else None})
    with Flask("as the API writes").app_context():
        return json.dumps(shown, separators=(",", ":"))


def test_pages_are_those_of_objects(context: Context, seeded: Seeded) -> None:
    """All fields, and each alone; a whole page, one that goes on, and an empty one."""
    every = sorted(MachineSchema().fields)
    for only in (None, *({name} for name in every), {"hostname", "interfaces", "tags"}):
        wanted = None if only is None else frozenset(only)
        for words in ({}, {"limit": 3, "after": 2}, {"after": 10_000}):
            found = machines.listed(context, only=wanted, **words)  # type: ignore[arg-type]
            written = written_page(found, words.get("limit", 100)).ascii()
            assert of_objects(context, only, **words) == written, (only, words)
    assert len(every) == len(json.loads(machines.listed(context)[0][1]))


def test_filters_choose_the_same(context: Context, seeded: Seeded) -> None:
    """By what the machine, its parts and its places are called."""
    cases = (
        MachineFilters(states=("READY", "NEW")), MachineFilters(owner="alice"), MachineFilters(tags=("b", "Z")),
        MachineFilters(text="FF:00"), MachineFilters(mac="52:54:00:ff:00:01"), MachineFilters(zone="default", pool="none"),
        MachineFilters(subnet_id=seeded.subnet_id, architecture="amd64"), MachineFilters(ids=(1, 3)),
    )  # fmt: skip
    for filters in cases:
        wanted = [one.id for one in machines.find(context, filters)]
        assert wanted == [number for number, _ in machines.listed(context, filters)], filters
        assert wanted or filters.pool == "none", filters


def test_text_beyond_ascii_is_escaped() -> None:
    """Pairs of surrogates for what lies beyond 16 bits."""
    assert r'{"a":"\u00e9\ud83d\ude00\u007f\n"}' == Written('{"a":"é😀\x7f\\n"}').ascii()


@pytest.mark.parametrize("odd", ['"', "\\", "\n", "\x1f"])
def test_what_is_written_without_escapes_can_hold_none(context: Context, seeded: Seeded, odd: str) -> None:
    """Names of machines, domains, places and people, MACs, addresses, UUIDs, drivers and power states."""
    name, macs = f"a{odd}b", ["52:54:00:12:34:56"]
    refused: tuple[Callable[[], object], ...] = (
        lambda: machines.create(context, macs, hostname=name),
        lambda: machines.update(context, 1, hostname=name),
        lambda: machines.update(context, 1, tags=[name]),
        lambda: machines.create(context, macs, system_uuid=f"4c4c4544-0042-3510-8051-b7c04f4a593{odd}"),
        lambda: machines.create(context, macs, power_driver=name),
        lambda: domains.create(context, f"{name}.example"),
        lambda: placement.create(context, "zone", name),
        lambda: placement.create(context, "pool", name),
        lambda: placement.create(context, "tag", name),
        lambda: users.create(context, name, "long enough to be one", "viewer"),
        lambda: canonical_mac(f"52:54:00:12:34:5{odd}"),
        lambda: parse_address(f"10.20.{odd}0.1"),
        lambda: power.finish(context, 1, 1, True, f"on{odd}", None, None),
    )
    for attempt in refused:
        with pytest.raises(Invalid):
            attempt()
