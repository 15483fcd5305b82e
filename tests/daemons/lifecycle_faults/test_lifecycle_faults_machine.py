"""What a machine, its BMC or its cable do wrong: the state and the reason are right, and the next try works."""

from typing import Any

import pytest

from lab.simulated import SimulatedMachine
from lab.standing import Lab
from tests.daemons.lifecycle_faults.faults import (
    boot_for,
    commissioned,
    context_of,
    enlisted,
    live_tokens,
    pass_deadline,
    recommission,
    redeploy,
    timeline,
    wait_running,
)
from tests.daemons.standing import (
    ask,
    bare,
    machine_of,
    static_address,
    static_addresses,
    wait_state,
    wait_until,
)
from workers.region.lifecycle import runner

pytestmark = [pytest.mark.daemons, pytest.mark.timeout(300)]

NOBODY = "10.30.0.250"


def hurry(lab: Lab, machine: SimulatedMachine) -> Any:
    """Have a worker look now instead of after the pause between two tries; the machine."""
    found = machine_of(lab, machine)
    context = context_of(lab)
    runner.advance(context, found["id"])
    context.store.engine.dispose()
    return machine_of(lab, machine)


def test_a_bmc_that_cannot_be_reached(lab: Lab) -> None:
    """Three tries by the rack's power process; the reason names the controller and what to check; by hand it works."""
    with SimulatedMachine(lab.site, "nobmc", mac="52:54:00:0b:01:01") as machine:
        machine_id = machine_of(lab, enlisted(lab, machine))["id"]
        parameters = {"address": NOBODY, "username": "admin", "password": "factory"}
        lab.api.call("PUT", f"/machines/{machine_id}/power", json={"driver": "ipmi", "parameters": parameters})
        ask(lab, machine, "commission")
        wait_until("three tries", lambda: hurry(lab, machine)["state"] == "FAILED_COMMISSIONING", 150)
        reason = machine_of(lab, machine)["state_reason"]
        lab.api.call("PUT", f"/machines/{machine_id}/power", json={"driver": "manual", "parameters": {}})
        recommission(lab, machine)

    assert "commission failed at step power-on: power netboot failed: unreachable: " in reason
    assert f"controller {NOBODY} does not answer" in reason
    assert "check its address and network" in reason
    assert "(tried 3 times)" in reason


@pytest.mark.parametrize(
    ("fault", "step", "seconds", "words"),
    [
        pytest.param("silent", "boot", 900, "did not boot from the network; look at its console", id="silent"),
        pytest.param("hung", "scripts", 1800, "the results say which one was last", id="hangs in its scripts"),
    ],
)
def test_a_commissioning_machine_goes_silent(lab: Lab, fault: str, step: str, seconds: int, words: str) -> None:
    """At the deadline it has failed, the reason says what was awaited, and its token is dead."""
    with SimulatedMachine(lab.site, fault, mac=f"52:54:00:0b:02:{len(fault):02x}") as machine:
        enlisted(lab, machine)
        ask(lab, machine, "commission")
        wait_running(lab, machine, "boot")
        if fault == "hung":
            machine.start()
            machine.call(machine.url, "GET", "/task", machine.token)
            wait_running(lab, machine, "scripts")
            body = {"event": "progress", "step": "lldp", "message": "running lldp", "fraction": 0.5}
            machine.call(machine.url, "POST", "/status", machine.token, body)
        found = pass_deadline(lab, machine)
        refused = machine.request("GET", f"{machine.url}/task", machine.token)[0] if fault == "hung" else 401
        recommission(lab, machine)

    assert "FAILED_COMMISSIONING" == found["state"]
    assert f"commission failed at step {step}: step {step} took longer than {seconds} seconds" in found["state_reason"]
    assert words in found["state_reason"]
    assert fault != "hung" or "(last heard: running lldp)" in found["state_reason"]
    assert 401 == refused


@pytest.mark.parametrize(
    ("report", "words"),
    [
        pytest.param(
            {"status": "failed", "exit_code": 3, "stderr": "bHNibGs6IG5vIHN1Y2ggcHJvZ3JhbQo=", "result": None},
            "script disks ended with 3: lsblk: no such program",
            id="fails",
        ),
        pytest.param(
            {"status": "timedout", "exit_code": None, "stderr": "ZGlza3M6IGRpZCBub3QgZW5kCg==", "result": None},
            "script disks took too long: disks: did not end",
            id="hangs",
        ),
        pytest.param({"result": {"disks": "none"}}, "the scripts' results make no sense", id="talks nonsense"),
    ],
)
def test_a_script_goes_wrong(lab: Lab, report: dict[str, Any], words: str) -> None:
    """The reason names the script, how it ended and what it said; after it is mended the machine is READY."""
    with SimulatedMachine(lab.site, "script", mac=f"52:54:00:0b:03:{len(words):02x}") as machine:
        enlisted(lab, machine)
        machine.script_faults["disks"] = report
        boot_for(lab, machine, "commission")
        failed = wait_state(lab, machine, "FAILED_COMMISSIONING")
        machine.script_faults.clear()
        recommission(lab, machine)

    assert words in failed["state_reason"]


@pytest.mark.parametrize("verb", ["commission", "deploy"])
def test_a_machine_that_boots_twice(lab: Lab, verb: str) -> None:
    """The second boot gets a token of its own, the first one's is dead, and the run of the second is what counts."""
    with SimulatedMachine(lab.site, "twice", mac=f"52:54:00:0b:04:{len(verb):02x}") as machine:
        (enlisted if verb == "commission" else commissioned)(lab, machine)
        ask(lab, machine, verb)
        wait_running(lab, machine, "boot")
        machine.start()
        first = machine.token
        machine.call(machine.url, "GET", "/task", first)
        machine.start()
        stale = machine.request("GET", f"{machine.url}/task", first)[0]
        outcome = machine.boot()
        if verb == "deploy":
            wait_running(lab, machine, "first-boot")
            assert "local" == machine.start().purpose
            machine.phone_home(static_address(outcome), outcome.task["hostname"])
        wait_state(lab, machine, "READY" if verb == "commission" else "DEPLOYED")
        said = timeline(lab, machine)

    assert 401 == stale
    assert any("once more" in message for message in said)


@pytest.mark.parametrize("verb", ["deploy", "release"])
def test_the_wrong_machine_on_the_port(lab: Lab, verb: str) -> None:
    """A system with another UUID behind the known network card gets its disk, and nothing on it is overwritten."""
    mac = f"52:54:00:0b:05:{len(verb):02x}"
    with SimulatedMachine(lab.site, "right", mac=mac) as machine:
        commissioned(lab, machine)
        if verb == "release":
            redeploy(lab, machine)
        ask(lab, machine, verb)
        wait_running(lab, machine, "boot")
        own = machine.uuid
        machine.uuid = "99999999-aaaa-4bbb-8ccc-dddddddddddd"
        wrong = machine.start().purpose
        machine.uuid = own
        failed = pass_deadline(lab, machine)
        if verb == "deploy":
            redeploy(lab, machine)
        else:
            boot_for(lab, machine, "release")
            wait_state(lab, machine, "READY")

    assert "local" == wrong
    assert f"FAILED_{'DEPLOYMENT' if verb == 'deploy' else 'RELEASING'}" == failed["state"]
    assert "the system that asks has UUID 99999999-aaaa" in failed["state_reason"]
    assert f"but {failed['hostname']} has {own}" in failed["state_reason"]
    assert "commission the machine again" in failed["state_reason"]


def test_a_phone_home_that_never_comes(lab: Lab) -> None:
    """The deployment has failed, the address is kept for the next try, and the late call of the old system is refused."""
    with SimulatedMachine(lab.site, "mute", mac="52:54:00:0b:06:01") as machine:
        commissioned(lab, machine)
        outcome = boot_for(lab, machine, "deploy")
        wait_running(lab, machine, "first-boot")
        failed = pass_deadline(lab, machine)
        tokens = live_tokens(lab, machine)
        machine.use_address(static_address(outcome))
        late, _ = machine.request(
            "POST", f"{machine.url}/phone-home", machine.phone_home_token,
            {"hostname": "late", "ssh_host_keys": [], "boot_id": "late", "addresses": []},
        )  # fmt: skip
        again = redeploy(lab, machine)

    assert "FAILED_DEPLOYMENT" == failed["state"]
    assert "the installed system did not call home; look at its console" in failed["state_reason"]
    assert ([], 401) == (tokens, late)
    assert bare(static_addresses(outcome)) == failed["addresses"] == again["addresses"]


def test_tokens_that_are_reused_or_used_elsewhere(lab: Lab) -> None:
    """403 from another address and 401 after the end, each a warning in the timeline, and the machine is unharmed."""
    with (
        SimulatedMachine(lab.site, "owner", mac="52:54:00:0b:07:01") as machine,
        SimulatedMachine(lab.site, "thief", mac="52:54:00:0b:07:02") as thief,
    ):
        commissioned(lab, machine)
        enlisted(lab, thief)
        outcome = boot_for(lab, machine, "deploy")
        wait_running(lab, machine, "first-boot")
        body = {"hostname": "thief", "ssh_host_keys": ["ssh-ed25519 AAAA"], "boot_id": "x", "addresses": []}
        elsewhere, _ = thief.request("POST", f"{machine.url}/phone-home", machine.phone_home_token, body)
        before = machine_of(lab, machine)["state"]
        machine.phone_home(static_address(outcome), outcome.task["hostname"])
        wait_state(lab, machine, "DEPLOYED")
        reused, _ = machine.request("POST", f"{machine.url}/phone-home", machine.phone_home_token, body)
        old, _ = machine.request("GET", f"{machine.url}/task", machine.token)
        after = machine_of(lab, machine)
        events = lab.api.get(f"/machines/{after['id']}/events", limit=200)["items"]

    alarms = [event["message"] for event in events if event["level"] == "warning" and "refused" in event["message"]]
    assert (403, 401, 401) == (elsewhere, reused, old)
    assert ("DEPLOYING", "DEPLOYED", []) == (before, after["state"], after["ssh_host_keys"])
    assert any(f"was used from {thief.address}" in message for message in alarms), alarms
    assert 2 == sum("it is dead, because what it was made for has ended" in message for message in alarms), alarms
