"""Names that a domain below would hide are refused on both databases, whichever comes first: the name or the domain."""

from __future__ import annotations

import pytest

from app.services import bulk_machines, devices, dns_records, domains, machines, reservations
from app.services.addresses import claim
from app.services.changes import changing
from app.services.context import Context
from app.services.enlistment import free_hostname
from app.services.errors import Conflict
from app.store.models import Machine
from tests.factories.control import Seeded, make_machine, seed

MAC = "52:54:00:99:00:01"


@pytest.fixture
def seeded(context: Context) -> Seeded:
    """The domain lab.muster."""
    return seed(context)


def test_a_domain_is_not_made_over_names_of_the_one_above(context: Context, seeded: Seeded) -> None:
    """A machine's name, and one below a person's; not a delegation, and not names that only look alike."""
    machine = make_machine(context, seeded, "web-1")
    with changing(context) as session:
        claim(session, context, session.get_one(Machine, machine))
    for name, kind, data in (("a.deep", "TXT", "x"), ("sub", "NS", "ns.example.org."), ("notsub", "TXT", "x")):
        dns_records.create(context, seeded.domain_id, name=name, type=kind, data=data)

    for name, hidden in (("web-1.lab.muster", "web-1.lab.muster"), ("deep.lab.muster", "a.deep.lab.muster")):
        with pytest.raises(
            Conflict, match=rf"domain {name}, name {hidden} of domain lab\.muster would be looked for in"
        ):
            domains.create(context, name)
    for name in ("sub.lab.muster", "b-1.lab.muster", "muster-too"):
        assert name == domains.create(context, name).name


def test_no_record_is_added_where_a_domain_below_hides_it(context: Context, seeded: Seeded) -> None:
    """At the lower domain's name and below, but for its name servers; in the lower domain itself there is room."""
    below = domains.create(context, "sub.lab.muster")
    for name, kind, data in (
        ("sub", "A", "192.0.2.1"),
        ("www.sub", "A", "192.0.2.1"),
        ("x.sub", "NS", "ns.example.org."),
    ):
        with pytest.raises(Conflict, match=r"is looked for in domain sub\.lab\.muster"):
            dns_records.create(context, seeded.domain_id, name=name, type=kind, data=data)
    dns_records.create(context, seeded.domain_id, name="sub", type="NS", data="ns.example.org.")
    dns_records.create(context, below.id, name="www", type="A", data="192.0.2.1")
    dns_records.create(context, seeded.domain_id, name="www", type="A", data="192.0.2.1")


def test_nobody_is_called_as_a_domain_below(context: Context, seeded: Seeded) -> None:
    """Machines, one or many, devices and reservations are refused the name; who enlists gets another. Elsewhere it is free."""
    domains.create(context, "sub.lab.muster")
    other = domains.create(context, "other.example")
    domains.create(context, "far.sub.lab.muster")

    with pytest.raises(Conflict, match="hostname sub: a domain, where the host would be looked for, has it"):
        machines.create(context, [MAC], hostname="sub")
    with pytest.raises(Conflict, match="hostname sub"), changing(context) as session:
        bulk_machines.put_many(session, context, [{"hostname": "sub", "interfaces": []}])
    with pytest.raises(Conflict, match="hostname sub"):
        devices.create(context, "sub")
    with pytest.raises(Conflict, match="hostname sub"):
        reservations.create(context, "10.20.0.77", MAC, hostname="sub")
    with context.store.read() as session:
        assert "sub-2" == free_hostname(session, seeded.domain_id, "sub", MAC)
        assert "sub" == free_hostname(session, other.id, "sub", MAC)
    made = machines.create(context, [MAC], hostname="sub", domain=other.name)
    assert made.fqdn == "sub.other.example"
    assert "far" == machines.create(context, ["52:54:00:99:00:02"], hostname="far").hostname
    with pytest.raises(Conflict, match="hostname sub"):
        machines.update(context, made.id, domain="lab.muster")
