"""One machine's whole life through the machine edge, the services and the runner."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from sqlalchemy import select
from sqlalchemy.orm import Session

from app.services import bmc, lifecycle, machines, package_repositories, results, settings, subnets
from app.services.addressing import address_key
from app.services.allocation import Constraints, allocate
from app.services.boot import ENROLMENT_POLICY
from app.services.context import Actor
from app.services.errors import Conflict
from app.store.models import Event, IpAddress, Rack, Subnet
from tests.factories.control import RELAY_TOKEN, sha256
from tests.factories.edge import Lab, SimulatedMachine, make_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


def commissioned(lab: Lab, machine: SimulatedMachine) -> int:
    machine_id = int(machine.enlist()["machine"])
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    machine.run_scripts()
    lab.settle(machine_id)
    return machine_id


def test_a_machine_lives_through_the_whole_circle(lab: Lab) -> None:
    """Enlisted, commissioned, allocated, deployed and released, it ends READY, switched off, without address or owner."""
    machine = lab.machine()
    alice = lab.context.acting_as(Actor("alice", "operator", lab.seeded.user_id))
    states = []

    machine_id = int(machine.enlist()["machine"])
    states.append(lab.row(machine_id).state)
    lifecycle.request(lab.context, machine_id, "commission")
    states.append(lab.row(machine_id).state)
    assert lab.settle(machine_id) == ["netboot"]
    machine.run_scripts()
    assert lab.settle(machine_id) == ["off"]
    states.append(lab.row(machine_id).state)
    assert allocate(alice, Constraints(cpu_count=4)).machine.id == machine_id
    states.append(lab.row(machine_id).state)
    lifecycle.request(alice, machine_id, "deploy", {"user_data": "#cloud-config\n{}\n"})
    states.append(lab.row(machine_id).state)
    assert lab.settle(machine_id) == ["netboot"]
    plan = machine.install()
    lab.settle(machine_id)
    states.append(lab.row(machine_id).state)
    assert machine.boot() == "local"
    call = json.loads(plan["files"][0]["content"])
    static = json.loads(plan["seed"]["network-config"])["ethernets"]["eth0"]["addresses"][0]
    body = {"hostname": "m", "ssh_host_keys": ["ssh-ed25519 AAAA"], "boot_id": "b", "addresses": [static]}
    answer = machine.post("/phone-home", body, token=call["token"], address=static.partition("/")[0])
    assert answer.status_code == 204
    lab.settle(machine_id)
    states.append(lab.row(machine_id).state)
    assert lab.row(machine_id).ssh_host_keys == ["ssh-ed25519 AAAA"]
    lifecycle.request(alice, machine_id, "release", {"erase": "quick"})
    states.append(lab.row(machine_id).state)
    assert lab.settle(machine_id) == ["netboot"]
    assert machine.boot() == "ephemeral"
    assert machine.get("/task").json["erase"] == {"mode": "quick"}
    assert machine.status("finished") == 204
    assert lab.settle(machine_id) == ["off"]
    states.append(lab.row(machine_id).state)

    assert states == [
        "NEW",
        "COMMISSIONING",
        "READY",
        "ALLOCATED",
        "DEPLOYING",
        "DEPLOYING",
        "DEPLOYED",
        "RELEASING",
        "READY",
    ]
    row = lab.row(machine_id)
    assert (row.owner_id, row.power_state, row.image_id, row.ssh_host_keys) == (None, "off", None, [])
    with lab.context.store.read() as session:
        assert session.scalars(select(IpAddress).where(IpAddress.kind == "auto")).all() == []


def test_an_enlisted_machine_is_described(lab: Lab) -> None:
    """It has a name from its MAC, its boot interface stands in the subnet it called from, and its BMC is sealed."""
    machine = lab.machine()
    answer = machine.enlist()
    found = machines.get(lab.context, int(answer["machine"]))

    assert answer["created"] is True
    assert (found.hostname, found.state, found.rack_id) == ("m-aabb01", "NEW", lab.seeded.rack_id)
    assert [(i.mac, i.boot, i.subnet_id, i.vlan_id) for i in found.interfaces] == [
        ("52:54:00:aa:bb:01", True, lab.seeded.subnet_id, lab.seeded.vlan_id)
    ]
    assert found.bmc is not None
    assert "bmc-secret" not in str(found.bmc.secrets) + str(found.bmc.parameters)
    assert bmc.masked(found.bmc).parameters == {"address": "10.20.1.7", "username": "muster", "password": bmc.MASK}


def test_a_machine_without_bmc_keeps_the_reason(lab: Lab) -> None:
    """No BMC leaves power unset and the machine's own words in its inventory."""
    found = machines.get(lab.context, int(lab.machine(bmc=False).enlist()["machine"]))

    assert found.bmc is None
    assert found.inventory == {"bmc": {"bmc": None, "reason": "/dev/ipmi0 is absent"}}


def test_booting_again_does_not_enlist_twice(lab: Lab) -> None:
    """A NEW machine goes to its disk; the same UUID on another MAC is the same machine with one more interface."""
    first = lab.machine()
    machine_id = int(first.enlist()["machine"])
    second = lab.machine(mac="52:54:00:aa:bb:02")

    assert first.boot() == "local"
    assert second.enlist() == {"machine": str(machine_id), "created": False}
    assert len(machines.find(lab.context)) == 1
    assert len(machines.get(lab.context, machine_id).interfaces) == 2


def test_a_machine_entered_by_its_uuid_is_matched_when_it_boots(lab: Lab) -> None:
    """It enlists though enlisting is off for strangers, brings its interfaces, and keeps its name and the BMC entered."""
    settings.change(lab.context, ENROLMENT_POLICY, {"on": False})
    machine, stranger = lab.machine(), lab.machine(mac="52:54:00:aa:bb:09", uuid="22222222-2222-3333-4444-555555555555")
    bmc_given = {"address": "10.20.1.99", "username": "operator", "password": "by-hand"}
    entered = machines.create(
        lab.context,
        [],
        system_uuid=machine.uuid.upper(),
        hostname="web1",
        power_driver="ipmi",
        power_parameters=bmc_given,
    )
    with pytest.raises(Conflict, match="has no interface yet; switch it on"):
        lifecycle.request(lab.context, entered.id, "commission")

    assert "local" == stranger.boot()
    assert {"machine": str(entered.id), "created": False} == machine.enlist()
    found = machines.get(lab.context, entered.id)
    assert ("web1", "NEW", "bios", lab.seeded.rack_id) == (found.hostname, found.state, found.firmware, found.rack_id)
    assert [("52:54:00:aa:bb:01", True, lab.seeded.subnet_id)] == [
        (row.mac, row.boot, row.subnet_id) for row in found.interfaces
    ]
    assert found.bmc is not None
    assert ("10.20.1.99", "by-hand") == (found.bmc.address, found.bmc.found)
    said = [row.message for row in machines.timeline(lab.context, entered.id)]
    assert "web1, expected by its system UUID, boots from 10.20.0.100, to enlist." in said
    assert f"web1 was entered by its system UUID {machine.uuid}, and enlisted through rack rack-1." in said
    assert "local" == machine.boot()
    lifecycle.request(lab.context, entered.id, "commission")


def test_commissioning_fills_the_inventory(lab: Lab) -> None:
    """Totals, interface facts, disks and every script's output are there afterwards."""
    machine_id = commissioned(lab, lab.machine())
    found = machines.get(lab.context, machine_id)

    assert (found.state, found.cpu_count, found.memory_mib, found.storage_bytes) == ("READY", 4, 3900, 8 * 1024**3)
    assert [(i.driver, i.link) for i in found.interfaces] == [("virtio_net", True)]
    assert [(d.name, d.serial) for d in machines.disks(lab.context, machine_id)] == [("vda", "disk-1")]
    rows = results.for_machine(lab.context, machine_id)
    assert [row.script for row in rows] == ["cpu", "memory", "disks", "nics", "pci", "firmware", "lldp", "bmc", "lshw"]
    assert rows[0].stdout == "output of cpu"


def test_a_failed_script_fails_commissioning(lab: Lab) -> None:
    """The reason names the script and ends with what it said."""
    machine = lab.machine()
    machine_id = int(machine.enlist()["machine"])
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    machine.boot()
    for script in machine.get("/task").json["scripts"]:
        machine.report(script["name"])
    assert machine.report("memory", status="failed", exit_code=1, stderr="bm8gRElNTQ==", result=None) == 204
    machine.status("finished")
    lab.settle(machine_id)

    row = lab.row(machine_id)
    assert row.state == "FAILED_COMMISSIONING"
    assert row.state_reason == "commission failed at step inventory: script memory ended with 1: no DIMM"


def test_finishing_without_results_fails_commissioning(lab: Lab) -> None:
    """A machine that says finished before every script has reported is not READY."""
    machine = lab.machine()
    machine_id = int(machine.enlist()["machine"])
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    machine.boot()
    machine.get("/task")
    machine.report("cpu")
    machine.status("finished")
    lab.settle(machine_id)

    row = lab.row(machine_id)
    assert row.state == "FAILED_COMMISSIONING"
    assert "memory, disks, nics" in str(row.state_reason)


def test_the_installers_failure_is_the_deployments(lab: Lab) -> None:
    """What the installer says is the machine's reason, and its token is dead."""
    machine = lab.machine()
    machine_id = commissioned(lab, machine)
    lifecycle.request(lab.context, machine_id, "deploy")
    lab.settle(machine_id)
    machine.boot()
    machine.get("/task")
    assert machine.status("failed", "disk vda: too small") == 204
    lab.settle(machine_id)

    row = lab.row(machine_id)
    assert row.state == "FAILED_DEPLOYMENT"
    assert row.state_reason == "deploy failed at step install: the machine reports: disk vda: too small"
    assert machine.get("/task").status_code == 401


def test_a_keyless_owner_is_warned_of(lab: Lab) -> None:
    """Deploying for someone without SSH keys says so in the answer and in the timeline."""
    machine_id = commissioned(lab, lab.machine())
    operation = lifecycle.request(lab.context, machine_id, "deploy")
    sentence = "muster has no SSH key, so nobody will be able to log in to m-aabb01; add a key first."

    assert operation.progress["warnings"] == [sentence]
    with lab.context.store.read() as session:
        events = session.scalars(select(Event).where(Event.level == "warning", Event.machine_id == machine_id)).all()
    assert sentence in [event.message for event in events]


def test_the_plan_tells_the_machine_where_things_are(lab: Lab) -> None:
    """Address, gateway, DNS, time, owner's key, root file system and phone-home point at the rack."""
    machine = lab.machine()
    machine_id = commissioned(lab, machine)
    alice = lab.context.acting_as(Actor("alice", "operator", lab.seeded.user_id))
    package_repositories.create(lab.context, "mirror", "http://10.20.0.60/debian", main=True)
    with lab.context.store.write() as session:
        settings.put(session, "kernel_options", {"options": ["hugepages=64"]})
    lifecycle.request(alice, machine_id, "deploy")
    lab.settle(machine_id)
    plan = machine.install()
    nic = json.loads(plan["seed"]["network-config"])["ethernets"]["eth0"]

    assert nic["routes"] == [{"to": "0.0.0.0/0", "via": "10.20.0.1"}]
    assert nic["nameservers"] == {"addresses": ["10.20.0.1"], "search": ["lab.muster"]}
    assert "alice@desk" in plan["seed"]["meta-data"]
    assert "m-aabb01.lab.muster" in plan["seed"]["vendor-data"]
    assert plan["rootfs"]["url"].startswith("http://10.20.0.1:5248/images/")
    assert plan["rootfs"]["format"] == "tar.zst"
    assert plan["kernel_options"] == "console=ttyS0,115200 hugepages=64"
    assert json.loads(plan["files"][0]["content"])["urls"] == ["http://10.20.0.1:5248/machine/v1/phone-home"]
    assert ("/etc/apt/sources.list.d/debian.sources", "0644") == (plan["files"][1]["path"], plan["files"][1]["mode"])
    assert "URIs: http://10.20.0.60/debian\n" in plan["files"][1]["content"]
    assert plan["storage"]["disk"]["serial"] == "disk-1"


@pytest.mark.parametrize(
    ("proxy", "may", "told"),
    [
        ({"mode": "built-in"}, True, "http://10.20.0.1:3128"),
        ({"mode": "built-in"}, False, None),
        ({"mode": "none"}, True, None),
        ({"mode": "external", "url": "http://proxy.example.org:8080"}, False, "http://proxy.example.org:8080"),
    ],
)
def test_the_plan_tells_the_machine_its_proxy_and_its_clocks(
    lab: Lab, proxy: dict[str, str], may: bool, told: str | None
) -> None:
    """The rack's proxy only where its subnet may use it; the external servers where machines are told only those."""
    machine = lab.machine()
    machine_id = commissioned(lab, machine)
    settings.change(lab.context, "proxy", proxy)
    settings.change(lab.context, "ntp_upstreams", {"servers": ["192.0.2.9"], "external_only": not may})
    subnets.update(lab.context, lab.seeded.subnet_id, allow_proxy=may)
    lifecycle.request(lab.context, machine_id, "deploy")
    lab.settle(machine_id)
    vendor = json.loads(machine.install()["seed"]["vendor-data"].removeprefix("#cloud-config\n"))

    assert ({"preserve_sources_list": True} | ({"proxy": told} if told else {})) == vendor["apt"]
    assert ["10.20.0.1" if may else "192.0.2.9"] == vendor["ntp"]["servers"]


@pytest.mark.parametrize(
    ("servers", "allowed", "word"),
    [
        ([], True, "10-20-0-0--24.muster-internal"),
        (["192.0.2.53"], True, "10.20.0.1"),
        ([], False, "10.20.0.1"),
    ],
)
def test_the_installed_system_calls_its_rack_by_name_where_it_can_be_resolved(
    lab: Lab, servers: list[str], allowed: bool, word: str
) -> None:
    """By name where the rack is the only name server; DNS, time and the image go by address in any case."""
    machine = lab.machine()
    machine_id = commissioned(lab, machine)
    with lab.context.store.write() as session:
        put_rack(session, lab, "10.20.0.1", lab.seeded.rack_id)
    subnets.update(lab.context, lab.seeded.subnet_id, dns_servers=servers, allow_dns=allowed)
    lifecycle.request(lab.context, machine_id, "deploy")
    lab.settle(machine_id)
    plan = machine.install()
    vendor = json.loads(plan["seed"]["vendor-data"].removeprefix("#cloud-config\n"))
    nic = json.loads(plan["seed"]["network-config"])["ethernets"]["eth0"]
    files = {file["path"]: file["content"] for file in plan["files"]}

    assert f"http://{word}:3128" == vendor["apt"]["proxy"]
    assert f'target="{word}" port="514" protocol="tcp"' in files["/etc/rsyslog.d/60-muster.conf"]
    assert (["10.20.0.1"], servers or ["10.20.0.1"]) == (vendor["ntp"]["servers"], nic["nameservers"]["addresses"])
    assert plan["rootfs"]["url"].startswith("http://10.20.0.1:5248/")
    call = json.loads(files["/etc/muster/phone-home.json"])
    urls = [f"http://{host}:5248/machine/v1/phone-home" for host in dict.fromkeys((word, "10.20.0.1"))]
    assert (urls, urls[-1]) == (call["urls"], call["url"])


def put_rack(session: Session, lab: Lab, address: str, rack_id: int) -> None:
    session.add(
        IpAddress(
            subnet_id=lab.seeded.subnet_id, address=address, address_key=address_key(address), kind="rack",
            rack_id=rack_id,
        )
    )  # fmt: skip


def test_a_rack_beside_the_installer_s_may_pass_on_the_first_call(lab: Lab) -> None:
    """The name stands for both; a rack elsewhere is refused, and so is every other token through a rack that has not given it."""
    machine = lab.machine()
    machine_id = commissioned(lab, machine)
    lifecycle.request(lab.context, machine_id, "deploy")
    with lab.context.store.write() as session:
        racks = [
            Rack(name=name, token_hash=name, relay_token_hash=sha256(RELAY_TOKEN), enrolled_at=lab.context.clock())
            for name in ("beside", "elsewhere")
        ]
        session.add_all(racks)
        session.flush()
        put_rack(session, lab, "10.20.0.1", lab.seeded.rack_id)
        put_rack(session, lab, "10.20.0.3", racks[0].id)
    lab.settle(machine_id)
    plan = machine.install()
    lab.settle(machine_id)
    call = json.loads(plan["files"][0]["content"])
    static = json.loads(plan["seed"]["network-config"])["ethernets"]["eth0"]["addresses"][0].partition("/")[0]
    body = {"hostname": "m", "ssh_host_keys": [], "boot_id": "b", "addresses": []}
    answers = {}
    for name in ("elsewhere", "beside"):
        machine.relay = f"{name}:{RELAY_TOKEN}"
        answers[f"install through {name}"] = machine.get("/task").status_code
        answers[name] = machine.post("/phone-home", body, token=call["token"], address=static).status_code

    assert {"install through elsewhere": 403, "install through beside": 403, "elsewhere": 403, "beside": 204} == answers


def test_a_rack_does_not_hear_unmanaged_subnets(lab: Lab) -> None:
    """So a machine there is not told to send it what it logs."""
    machine = lab.machine()
    machine_id = commissioned(lab, machine)
    lifecycle.request(lab.context, machine_id, "deploy")
    lab.settle(machine_id)
    with lab.context.store.write() as session:
        session.get_one(Subnet, lab.seeded.subnet_id).managed = False

    assert "/etc/rsyslog.d/60-muster.conf" not in {file["path"] for file in machine.install()["files"]}
