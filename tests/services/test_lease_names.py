"""Names of leases: what a client is called in DNS, and whose names it never takes."""

from __future__ import annotations

import datetime as dt

import pytest
from sqlalchemy import select

from app.services import addresses, devices, lease_names, leases, links, machines, reservations
from app.services.addressing import address_key
from app.services.changes import changing
from app.services.context import Context
from app.services.errors import Conflict
from app.services.records import put_names
from app.store.models import Lease, Rack, Subnet
from tests.factories.control import Seeded, clock_of, make_machine
from tests.services.conftest import add, live


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
