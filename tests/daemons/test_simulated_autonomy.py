"""A standing rack through faults: what it serves without a control plane, and what it leaves alone.

The lab's broker is a directory of the control plane's, carried by the same processes: stopping these stops the broker.
Its listening sockets stay open meanwhile, so that a rack's calls are not refused but get no answer, which is worse.
"""

import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from lab import demo, namespace
from lab.dhcp_client import Lease, discover_and_request
from lab.process import name_process
from lab.simulated import SimulatedMachine
from lab.standing import Lab
from lab.tftp_client import read_file
from tests.daemons.standing import ask, deploy, machine_of, tiny_lab, wait_state, wait_step, wait_until

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(240)]

RACK = "10.20.0.1"
RESTART_SECONDS = 60.0


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with tiny_lab() as made:
        yield made


@pytest.fixture(scope="module")
def server(lab: Lab) -> Iterator[SimulatedMachine]:
    """A deployed machine."""
    with SimulatedMachine(lab.site, "server", mac="52:54:00:02:00:01") as machine:
        deploy(lab, machine)
        yield machine


def daemons(lab: Lab) -> dict[str, int]:
    """Process ids of the rack's daemons; Muster's own processes left out."""
    entries = lab.supervisor.call("getAllProcessInfo")
    return {one["name"]: one["pid"] for one in entries if not one["name"].startswith("muster-rack")}


def config_sets(lab: Lab) -> int:
    """How many times Kea was given a configuration, by its own log."""
    log = (lab.rack_root / "log" / "kea4.log").read_text(encoding="utf-8", errors="replace")
    return log.count("Received command 'config-set'")


def lease(machine: SimulatedMachine) -> Lease:
    """What DHCP gives this machine now."""
    return namespace.inside(machine.space, lambda: discover_and_request("eth0", machine.mac))


def rack(lab: Lab) -> Any:
    """The rack as the API shows it."""
    return lab.api.get(f"/racks/{lab.rack.rack_id}")


def test_an_unchanged_state_touches_no_daemon(lab: Lab, server: SimulatedMachine) -> None:
    """Neither a reconciliation nor the same offer once more restarts a daemon or sends Kea a configuration."""
    before, sets, shown = daemons(lab), config_sets(lab), demo.wait_in_sync(lab.api, lab.rack)
    lab.api.post(f"/racks/{lab.rack.rack_id}/reconcile")
    wait_until("the reconciliation", lambda: rack(lab)["in_sync"])
    reconciled = rack(lab)["rack"]["offer_number"]
    newest = max((apply["id"] for apply in shown["applies"]), default=0)
    (lab.rack_root / "offers" / "done.json").unlink()
    lab.supervisor.call("stopProcess", "muster-rack-agent")
    lab.supervisor.call("startProcess", "muster-rack-agent")
    wait_until("every service's report", lambda: len(new_applies(lab, newest)) >= len(demo.SERVICES))

    assert shown["rack"]["offer_number"] == reconciled
    assert dict.fromkeys(demo.SERVICES, "unchanged") == {
        one["service"]: one["outcome"] for one in new_applies(lab, newest)
    }
    assert (before, sets) == (daemons(lab), config_sets(lab))


def new_applies(lab: Lab, newest: int) -> list[Any]:
    """Reports of applies that are younger than `newest`."""
    return [apply for apply in rack(lab)["applies"] if apply["id"] > newest]


def test_a_change_of_names_leaves_dhcp_alone(lab: Lab, server: SimulatedMachine) -> None:
    """A new domain reaches BIND, which is not restarted; Kea keeps its process and its configuration."""
    before, sets = daemons(lab), config_sets(lab)
    lab.api.post("/domains", {"name": "second.muster"})
    wait_until("the zone", lambda: lab.outside.dig(RACK, "second.muster", "SOA") != [])
    demo.wait_in_sync(lab.api, lab.rack)

    assert (before, sets) == (daemons(lab), config_sets(lab))


def test_a_restarted_rack_serves_without_a_control_plane(lab: Lab, server: SimulatedMachine) -> None:
    """DHCP, DNS and TFTP answer after every rack process was restarted alone; then the rack is in sync untouched."""
    fqdn = machine_of(lab, server)["fqdn"]
    address = str(server.address)
    lab.control.stop()
    lab.supervisor.end()
    assert {} == {name: 1 for name in ("kea4",) if lab.outside.dig(RACK, fqdn, "A") == [address]}
    lab.supervisor.__enter__()
    wait_until("DNS", lambda: lab.outside.dig(RACK, fqdn, "A") == [address], RESTART_SECONDS)
    wait_until("all daemons", lambda: set(demo.SERVICES) == {n for n, p in daemons(lab).items() if p}, RESTART_SECONDS)
    restarted = daemons(lab)

    assert f"{fqdn} <-> {address} at {RACK}" == lab.outside.names(RACK, fqdn, address)
    assert address == lease(server).address
    with SimulatedMachine(lab.site, "stranger", mac="52:54:00:02:01:01") as stranger:
        given = lease(stranger)
        stranger.use_address(f"{given.address}/{given.prefix_length}")
        loader = namespace.inside(stranger.space, lambda: read_file(RACK, given.boot_file))
    assert ("10.20.0.1", Path("/usr/lib/ipxe/undionly.kpxe").read_bytes()) == (given.next_server, loader)
    lab.control.start()
    demo.wait_in_sync(lab.api, lab.rack)
    assert restarted == daemons(lab)


def children(pid: int) -> list[int]:
    """Children of a process's main thread."""
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def region_pid(lab: Lab) -> int:
    """The region worker of the lab's control plane; 0 while there is none."""
    for child in children(lab.control.pid):
        if b"workers.region" in Path(f"/proc/{child}/cmdline").read_bytes():
            return child
    return 0


def test_a_killed_region_worker_carries_on(lab: Lab) -> None:
    """SIGKILL in the middle of commissioning: the next worker goes on from the stored step; the old timer is gone too."""
    with SimulatedMachine(lab.site, "killed", mac="52:54:00:02:02:01") as machine:
        machine.boot()
        ask(lab, machine, "commission")
        wait_step(lab, machine, "boot")
        operation = machine_of(lab, machine)["operation"]
        killed = name_process(region_pid(lab))
        assert killed is not None
        timers = [name for child in children(killed.pid) if (name := name_process(child))]
        os.kill(killed.pid, signal.SIGKILL)
        outcome = machine.boot()
        found = wait_state(lab, machine, "READY")
        operations = lab.api.get(f"/machines/{found['id']}/operations")["items"]
        events = lab.api.get(f"/machines/{found['id']}/events", limit=200)["items"]

    assert ("commission", False) == (outcome.purpose, killed.is_alive())
    assert [(operation["id"], "succeeded")] == [(one["id"], one["status"]) for one in operations]
    assert 1 == sum("Allow one network boot" in event["message"] for event in events)
    assert killed.pid != region_pid(lab) != 0
    assert [False] == [timer.is_alive() for timer in timers]
