"""Simulated machines on a standing lab: what a booting server sees of a real rack, and its whole life.

Nothing is faked but the machine: its DHCP is answered by Kea, its loader comes over TFTP, its HTTP goes through the
rack's squid, its names are asked of the rack's BIND. It has no BMC, so Muster waits for the machine to be switched.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest

from lab import namespace
from lab.dhcp_client import BIOS, exchange
from lab.simulated import SimulatedMachine
from lab.standing import Lab
from lab.tftp_client import read_file
from tests.daemons.standing import (
    ask,
    bare,
    boot_for,
    call_home,
    machine_of,
    static_addresses,
    tiny_lab,
    wait_state,
    wait_step,
    wait_until,
)

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(180)]

RACK = "10.20.0.1"
START = f"http://{RACK}:5248/boot/v1/start.ipxe"
LOADER = f"http://{RACK}:5248/images/loader/snponly.efi"
UEFI, HTTP = 7, 16


@pytest.fixture(scope="module")
def lab() -> Iterator[Lab]:
    with tiny_lab() as made:
        yield made


def test_an_unknown_machine_enlists_once(lab: Lab) -> None:
    """Its second boot goes to the disk; its other network card is the same machine, not a new one."""
    with SimulatedMachine(lab.site, "once", mac="52:54:00:01:00:01") as machine:
        first, second = machine.boot(), machine.boot()
        found = machine_of(lab, machine)
    with SimulatedMachine(lab.site, "once2", mac="52:54:00:01:00:02", system_uuid=machine.uuid) as other:
        third = other.boot()

    assert ("enlist", True, "local") == (first.purpose, first.enlisted["created"], second.purpose)
    assert ("NEW", Path("/usr/lib/ipxe/undionly.kpxe").stat().st_size) == (found["state"], first.loader_bytes)
    assert {"machine": first.enlisted["machine"], "created": False} == third.enlisted
    macs = [one["mac"] for one in lab.api.get(f"/machines/{found['id']}")["interfaces"]]
    assert ["52:54:00:01:00:01", "52:54:00:01:00:02"] == sorted(macs)


@pytest.mark.parametrize(
    ("architecture", "vendor_class", "user_class", "boot_file"),
    [
        pytest.param(BIOS, "PXEClient", None, "undionly.kpxe", id="BIOS"),
        pytest.param(UEFI, "PXEClient", None, "snponly.efi", id="UEFI"),
        pytest.param(HTTP, "HTTPClient", None, LOADER, id="UEFI by HTTP"),
        pytest.param(BIOS, "PXEClient", "iPXE", START, id="iPXE on BIOS"),
        pytest.param(UEFI, "PXEClient", "iPXE", START, id="iPXE on UEFI"),
    ],
)
def test_the_offer_names_what_this_firmware_can_boot(
    lab: Lab, architecture: int, vendor_class: str, user_class: str | None, boot_file: str
) -> None:
    """OFFER and ACK name the rack and the file for the architecture (option 93) and user class (option 77).

    Both in the fixed fields and in options 66 and 67; HTTP boot also hears HTTPClient in option 60, without which UEFI
    firmware ignores the offer (UEFI 2.10, 24.7.3.1).
    """
    with SimulatedMachine(lab.site, "dhcp", mac="52:54:00:01:01:01") as machine:
        answers = namespace.inside(
            machine.space,
            lambda: exchange(
                "eth0", machine.mac, architecture=architecture, vendor_class=vendor_class, user_class=user_class
            ),
        )

    for answer in answers:
        assert (RACK, RACK, boot_file) == (answer.server, answer.next_server, answer.boot_file)
        assert (RACK.encode(), boot_file.encode()) == (answer.options[66], answer.options[67].rstrip(b"\0"))
        assert (b"HTTPClient" if vendor_class == "HTTPClient" else None) == answer.options.get(60)
        assert ((RACK,), ("10.20.0.254",), 24) == (answer.addresses(6), answer.addresses(3), answer.prefix_length)


def test_loaders_come_whole(lab: Lab) -> None:
    """Both loaders by TFTP, and the UEFI one by HTTP through squid, are the files that Debian ships."""
    with SimulatedMachine(lab.site, "loader", mac="52:54:00:01:02:01") as machine:
        machine.start()
        names = ("undionly.kpxe", "snponly.efi")
        by_tftp = [namespace.inside(machine.space, lambda name=name: read_file(RACK, name)) for name in names]
        by_http = machine.request("GET", LOADER)

    shipped = [Path("/usr/lib/ipxe", name).read_bytes() for name in names]
    assert shipped == by_tftp
    assert (200, shipped[1]) == by_http


def test_without_an_enrolment_policy_unknown_machines_go_to_their_disk(lab: Lab) -> None:
    """The boot script hands over to the disk, holds no token, and nothing is recorded as a machine."""
    with SimulatedMachine(lab.site, "policy", mac="52:54:00:01:03:01") as machine:
        lab.api.call("PUT", "/settings/enrolment_policy", json={"value": {"on": False}})
        try:
            outcome = machine.boot()
        finally:
            lab.api.call("PUT", "/settings/enrolment_policy", json={"value": {"on": True}})
        found = machine_of(lab, machine)

    assert ("local", None) == (outcome.purpose, found)
    assert "muster.token" not in outcome.script


def test_a_token_is_good_only_where_it_was_given(lab: Lab) -> None:
    """A second machine that has overheard the first one's token is refused, and the timeline says so."""
    with (
        SimulatedMachine(lab.site, "mine", mac="52:54:00:01:04:01") as machine,
        SimulatedMachine(lab.site, "thief", mac="52:54:00:01:04:02") as thief,
    ):
        machine.boot()
        thief.boot()
        ask(lab, machine, "commission")
        wait_step(lab, machine, "boot")
        outcome = machine.start()
        stolen, _ = thief.request("GET", f"{machine.url}/task", machine.token)
        machine.run_task(outcome)
        found = wait_state(lab, machine, "READY")
        said = [event["message"] for event in lab.api.get(f"/machines/{found['id']}/events", limit=100)["items"]]

    assert (403, "commission") == (stolen, outcome.purpose)
    assert any("refused" in message and str(thief.address) in message for message in said), said


def test_a_machine_walks_from_unknown_to_deployed_and_back(lab: Lab, tmp_path: Path) -> None:
    """Every step through the real rack: names live when deployed, gone when released, and every token dead."""
    with SimulatedMachine(lab.site, "walk", mac="52:54:00:01:05:01") as machine:
        tokens = {}
        assert "enlist" == machine.boot().purpose
        tokens["enlist"] = machine.token
        machine_id = machine_of(lab, machine)["id"]
        lab.api.call("PUT", f"/machines/{machine_id}/power", json={"driver": "manual", "parameters": {}})
        assert "commission" == boot_for(lab, machine, "commission").purpose
        tokens["commission"] = machine.token
        ready = wait_state(lab, machine, "READY")
        assert (2, 2048, "manual") == (ready["cpu_count"], ready["memory_mib"], ready["power_driver"])
        allocated = lab.api.post("/machines/allocate", {"name": ready["hostname"]})
        assert ("ALLOCATED", machine_id, "admin") == (allocated["state"], allocated["id"], allocated["owner"])
        outcome = boot_for(lab, machine, "deploy")
        tokens["install"], tokens["phone-home"] = machine.token, machine.phone_home_token
        assert "install" == outcome.purpose
        wait_step(lab, machine, "first-boot")
        assert "local" == machine.boot().purpose
        said = call_home(machine, outcome, tmp_path, RACK)
        assert "phone-home: http://10-20-0-0--24.muster-internal:5248/machine/v1/phone-home heard us\n" == said
        deployed = wait_state(lab, machine, "DEPLOYED")
        assert ["10.20.0.2", "fd20::2"] == bare(static_addresses(outcome)) == deployed["addresses"]
        for one in deployed["addresses"]:
            lab.outside.names(RACK, deployed["fqdn"], one)
        assert "erase" == boot_for(lab, machine, "release", erase="quick").purpose
        tokens["erase"] = machine.token
        released = wait_state(lab, machine, "READY")
        answers = {
            purpose: machine.request("GET", f"{machine.url}/task", token)[0] for purpose, token in tokens.items()
        }

    assert dict.fromkeys(("enlist", "commission", "install", "phone-home", "erase"), 401) == answers
    assert ([], None) == (released["addresses"], released["owner"])
    for kind in ("A", "AAAA"):
        wait_until("the name to go", lambda kind=kind: lab.outside.dig(RACK, deployed["fqdn"], kind) == [])
    for one in deployed["addresses"]:
        assert [] == lab.outside.run(["dig", "+short", f"@{RACK}", "-x", one]).stdout.split()
