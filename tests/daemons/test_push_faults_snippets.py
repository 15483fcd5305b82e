"""Snippets on a real rack: a good one is on the wire, one that Kea takes and clients suffer from goes back by itself."""

from __future__ import annotations

import pytest

from app.services import addresses, snippets
from app.services.changes import changing
from app.store.models import Machine, Rack
from lab import dhcp_client, namespace
from tests.daemons.push_lab import PATIENCE, PushLab
from tests.daemons.rack_host import MAC
from tests.daemons.rack_root import eventually
from tests.factories.control import make_machine

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]
DEAF = '{"client-classes": [{"name": "DROP", "test": "pkt.iface == \'lan0\'"}]}'


def lease(lab: PushLab, mac: str = MAC) -> dhcp_client.Lease:
    """What a client gets."""
    return namespace.inside(f"{lab.host.inside}-c", lambda: dhcp_client.discover_and_request("end0", mac))


def offered(lab: PushLab) -> int:
    """The number of the rack's newest offer."""
    with lab.context.store.read() as session:
        return session.get_one(Rack, lab.seeded.rack_id).offer_number


def test_a_snippet_that_passes_the_checker_and_silences_dhcp_is_undone(lab: PushLab) -> None:
    """The class drops everybody: no offer comes, last-good goes back, the person behind it is named, others go on."""
    before = lab.host.pids()
    row = snippets.create(lab.admin, "quiet", "kea4", "global", DEAF)
    kea = lab.push()["kea4"]

    assert row.checked
    assert ("undone", "probe", True) == (kea.outcome, kea.stage, kea.undone_ok)
    assert before == lab.host.pids()
    lab.assert_serves()
    lab.assert_said("kea4", "no offer from 10.20.0.1 on lan0", "were put back and serve", "root: create dhcp_snippet")
    snippets.update(lab.admin, row.id, enabled=False)
    lab.heal()


def test_options_of_a_scope_and_of_a_machine_are_on_the_wire(lab: PushLab) -> None:
    """A subnet's comes by an offer, a machine's with its host record and over the subnet's, without an offer."""
    subnet_id = lab.seeded.subnet_id
    row = snippets.create(lab.admin, "log", "option", "subnet", "log-servers 10.20.0.7", subnet_id=subnet_id)
    lab.push()
    by_subnet = lease(lab)
    machine_id = make_machine(lab.context, lab.seeded, "snippeted")
    with changing(lab.context) as session:
        machine = session.get_one(Machine, machine_id)
        mac = machine.interfaces[0].mac
        address = addresses.claim(session, lab.context, machine)
    offers = offered(lab)
    snippets.create(lab.admin, "own", "option", "machine", "log-servers 10.20.0.8", machine_id=machine_id)

    def of_machine() -> dhcp_client.Lease:
        found = lease(lab, mac)
        assert ("10.20.0.8",) == found.addresses(7)
        return found

    found = eventually(of_machine, PATIENCE)

    assert row.checked
    assert ("10.20.0.7",) == by_subnet.addresses(7)
    assert address == found.address
    assert offers == offered(lab)
