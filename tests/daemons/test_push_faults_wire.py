"""Pushes that every checker and every daemon takes, and that are dead on the wire: only a client's question tells."""

from __future__ import annotations

import time

import pytest

from lab import namespace
from tests.daemons.push_lab import PushLab, edited

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]


def untouched(before: dict[str, int | None], lab: PushLab, *but: str) -> None:
    """Every other daemon is the same process."""
    after = lab.host.pids()

    assert {name: pid for name, pid in before.items() if name not in but} == {
        name: pid for name, pid in after.items() if name not in but
    }


def test_a_squid_that_refuses_its_own_subnet_is_put_back(lab: PushLab) -> None:
    """The access list is good squid and turns machines away: a request as a machine's is refused, so it goes back."""
    before = lab.host.pids()
    lab.change()
    deaf = edited(
        "squid", lambda text: text.replace("allow machine_port served machine_paths", "deny machine_port served")
    )
    squid = lab.push(deaf)["squid"]

    assert ("undone", "probe", True) == (squid.outcome, squid.stage, squid.undone_ok)
    untouched(before, lab)
    lab.assert_serves()
    lab.assert_said(
        "squid", "/boot/v1/start.ipxe is refused with status 403", "were put back and serve", "root: update"
    )


def test_a_zone_that_takes_no_records_is_put_back(lab: PushLab) -> None:
    """The zone answers for its SOA and would take no name: the structure goes back, and the next name arrives."""
    before = lab.host.pids()
    lab.change()
    closed = edited(
        "bind", lambda text: text.replace('allow-update { key "muster-update"; };', "allow-update { none; };")
    )
    bind = lab.push(closed)["bind"]

    assert ("undone", "probe", True) == (bind.outcome, bind.stage, bind.undone_ok)
    untouched(before, lab)
    lab.assert_serves()
    lab.assert_said("bind", "zone lab.muster. takes no records", "REFUSED", "were put back and serve", "root: update")


def test_kea_on_a_wrong_interface_is_put_back(lab: PushLab) -> None:
    """Kea takes an interface that is there and is not the machines': no offer comes on theirs, so it goes back."""
    namespace.batch(
        lab.host.inside, ["link add spare0 type veth peer name spare1", "link set spare0 up", "link set spare1 up"]
    )
    try:
        before = lab.host.pids()
        lab.change()
        kea = lab.push(
            edited(
                "kea4",
                lambda text: text.replace('"lan0/10.20.0.1"', '"spare0"').replace(
                    '"interface": "lan0"', '"interface": "spare0"'
                ),
            )
        )["kea4"]

        assert ("undone", "probe", True) == (kea.outcome, kea.stage, kea.undone_ok)
        untouched(before, lab)
        lab.assert_serves()
        lab.assert_said("kea4", "no offer from 10.20.0.1 on lan0", "were put back and serve", "root: update")
    finally:
        namespace.batch(lab.host.inside, ["link del spare0"])


def test_a_refused_push_waits_for_somebody_to_ask(lab: PushLab) -> None:
    """Neither a reconciliation nor time tries it again; `muster rack retry` does, and blames the same change."""
    lease = lab.change()
    broken = edited("chrony", lambda text: f"nonsense {text}")
    first = lab.offer(broken)
    lab.settled(first)
    cause = f"root: update subnet {lab.seeded.subnet_id} (lease_seconds {lease - 1} -> {lease})"
    lab.muster("rack", "reconcile", "rack-1")
    same = lab.offer(broken)
    said = lab.muster("rack", "retry", "rack-1")
    began = time.monotonic()
    again = lab.offer(broken)
    reports = lab.settled(again)

    assert first == same < again
    assert "rack-1 will try again: chrony" in said
    assert ("failed", "unchanged") == (reports["chrony"].outcome, reports["kea4"].outcome)
    assert time.monotonic() - began < 60
    lab.assert_said("chrony", cause, f"Offer {again} for chrony")
    lab.heal()
    lab.api("POST", f"{lab.path}/retry", 409)
