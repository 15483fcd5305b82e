"""Pushes that a daemon refuses, by its checker, when it is given them, or by dying: what served before serves on."""

from __future__ import annotations

import pytest

from tests.daemons.push_lab import PushLab, edited

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(600)]


def test_a_push_that_the_checker_refuses_touches_nothing(lab: PushLab) -> None:
    """No daemon is touched, and everybody is told what named's own checker said and whose change it was."""
    before = lab.host.pids()
    lease = lab.change()
    reports = lab.push(edited("bind", lambda text: text.replace("recursion yes;", "recursion perhaps;")))
    bind = reports["bind"]

    assert ("failed", "check") == (bind.outcome, bind.stage)
    assert before == lab.host.pids()
    lab.assert_serves()
    lab.assert_said(
        "bind",
        "was refused by the daemon's own checker",
        "boolean expected near 'perhaps'",
        f"root: update subnet {lab.seeded.subnet_id} (lease_seconds {lease - 1} -> {lease})",
        "Nothing was touched: bind goes on with the files of offer",
        "muster rack retry rack-1",
    )


def test_a_push_that_kea_takes_for_good_and_then_refuses_is_put_back(lab: PushLab) -> None:
    """A lease file that cannot be written passes kea-dhcp4 -t; Kea is deaf after config-set, and answers again."""
    before = lab.host.pids()
    lease = lab.change()
    path = lab.host.intent.layout.state_path("kea4", "kea-leases4.csv")
    reports = lab.push(edited("kea4", lambda text: text.replace(path, "/proc/muster/kea-leases4.csv")))
    kea = reports["kea4"]

    assert ("undone", "activate", True) == (kea.outcome, kea.stage, kea.undone_ok)
    assert before == lab.host.pids()
    lab.assert_serves()
    lab.assert_said(
        "kea4",
        "was refused by the running daemon",
        "/proc/muster/kea-leases4.csv",
        f"root: update subnet {lab.seeded.subnet_id} (lease_seconds {lease - 1} -> {lease})",
        "were put back and serve",
    )


def test_a_daemon_that_dies_on_activation_is_put_back(lab: PushLab) -> None:
    """dnsmasq --test passes an address that the host has not; dnsmasq ends, is put back, and its last words are told."""
    before = lab.host.pids()
    lab.change()
    reports = lab.push(edited("dnsmasq", lambda text: text.replace(f"={'10.20.0.1'}", "=10.99.99.99")))
    dnsmasq = reports["dnsmasq"]

    assert ("undone", True) == (dnsmasq.outcome, dnsmasq.undone_ok)
    assert dnsmasq.stage in ("activate", "probe")
    lab.assert_serves()
    others = {name: pid for name, pid in before.items() if name != "dnsmasq"}
    assert others == {name: pid for name, pid in lab.host.pids().items() if name != "dnsmasq"}
    lab.assert_said(
        "dnsmasq", "10.99.99.99", "Cannot assign requested address", "were put back and serve", "root: update"
    )
