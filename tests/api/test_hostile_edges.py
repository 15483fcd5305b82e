"""What a hostile machine on the provisioning network, and a hostile rack, do not get."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select

from app.api.streams import KEEP_ALIVE_SECONDS
from app.config import load
from app.factory import create_app
from app.services import lifecycle, machines, settings
from app.services.boot import ENLISTING_AT_ONE_ADDRESS
from app.store.models import BootToken, Event, Machine, PowerOperation, Rack, ScriptResult
from tests.factories.control import RACK_TOKEN, clock_of, make_machine, sha256
from tests.factories.edge import Lab, SimulatedMachine, make_lab

OTHER = "other-token"


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    """The whole application, with a second rack that serves nothing."""
    made = make_lab(tmp_path)
    made.application = create_app(made.context, load({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
    interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:02", "addresses": ["10.20.0.2/24"]}]
    with made.context.store.write() as session:
        row = Rack(name="b", token_hash=sha256(OTHER), relay_token_hash=sha256(OTHER), interfaces=interfaces)
        row.enrolled_at = made.context.clock()
        session.add(row)
    return made


def commissioning(lab: Lab) -> tuple[SimulatedMachine, int]:
    """A machine that has booted to be commissioned."""
    machine = lab.machine()
    machine_id = int(machine.enlist()["machine"])
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    assert machine.boot() == "ephemeral"
    assert machine.get("/task").status_code == 200
    return machine, machine_id


def rack_call(lab: Lab, path: str, body: Any, token: str = RACK_TOKEN) -> int:
    """POST as a rack; the status."""
    headers = {"Authorization": f"Bearer {token}"}
    return lab.application.test_client().post(f"/rack/v1/{path}", json=body, headers=headers).status_code


@pytest.mark.parametrize(
    "hop", ["", "junk", "10.20.0.100:80", "10.20.0.100, ", "10.20.0.256", "<b>", "unknown", "a" * 5000]
)
def test_a_relay_that_names_no_address_is_refused(lab: Lab, hop: str) -> None:
    """The last hop must be an address, nothing else."""
    headers = {"X-Muster-Rack": lab.seeded.relay_header, "X-Forwarded-For": f"10.20.0.100, {hop}"}

    assert 403 == lab.application.test_client().get("/boot/v1/start.ipxe", headers=headers).status_code


@pytest.mark.parametrize(
    ("hops", "address"),
    [
        ("10.20.0.7", "10.20.0.7"),
        ("10.9.9.9,evil, 10.20.0.7 ", "10.20.0.7"),
        ("::ffff:10.20.0.7", "10.20.0.7"),
        ("[2001:DB8::7]", "2001:db8::7"),
        ("fe80::7%<script>", "fe80::7"),
    ],
)
def test_only_the_last_hop_counts(lab: Lab, hops: str, address: str) -> None:
    """What a client wrote before it is not believed, and an address has one way of being written."""
    headers = {"X-Muster-Rack": lab.seeded.relay_header, "X-Forwarded-For": hops}
    lab.application.test_client().get("/boot/v1/script?mac=52:54:00:00:00:99", headers=headers)

    with lab.context.store.read() as session:
        (said,) = session.scalars(select(Event.detail).where(Event.kind == "machine.boot"))
    assert address == said["address"]


@pytest.mark.parametrize(
    "path",
    ["loader/../vmlinuz", "loader/%2e%2e%2fpasswd", "loader/ipxe.efi", "0/root.squashfs", f"{'a' * 64}/..%2f..%2fetc"],
)
def test_no_path_leads_out_of_the_images(lab: Lab, path: str) -> None:
    """Only files of images by digest, and the two loaders."""
    assert 404 == lab.application.test_client().get(f"/images/{path}", headers=lab.machine().headers()).status_code


@pytest.mark.parametrize("text", ["\nchain http://evil/", "x${net0/mac}", "' || shell", "%00", "é" * 300])
def test_no_parameter_reaches_the_script(lab: Lab, text: str) -> None:
    """Whatever stands in uuid, arch or platform, the script is the one of the table; a MAC address must be one."""
    query = {"mac": "52:54:00:aa:bb:01", "uuid": text, "arch": text, "platform": text, "hostname": text}
    client = lab.application.test_client()
    answer = client.get("/boot/v1/script", query_string=query, headers=lab.machine().headers())
    wrong = client.get("/boot/v1/script", query_string={"mac": text}, headers=lab.machine().headers())

    assert 200 == answer.status_code
    assert text not in answer.text
    assert 422 == wrong.status_code


def test_nothing_is_enlisted_when_enlisting_is_off(lab: Lab) -> None:
    """Unknown machines go to their disks, and leave nothing behind."""
    with lab.context.store.write() as session:
        settings.put(session, "enrolment_policy", {"on": False})

    assert "local" == lab.machine().boot()
    with lab.context.store.read() as session:
        assert 0 == session.scalar(select(func.count()).select_from(BootToken))


def test_one_address_enlists_only_so_many(lab: Lab) -> None:
    """A machine that makes up MAC addresses gets a bounded number of tokens; elsewhere, and later, one gets its own."""
    boots = [lab.machine(mac=f"52:54:00:bb:00:{number:02x}").boot() for number in range(ENLISTING_AT_ONE_ADDRESS + 4)]

    assert ["ephemeral"] * ENLISTING_AT_ONE_ADDRESS + ["local"] * 4 == boots
    assert "ephemeral" == lab.machine(mac="52:54:00:cc:00:01", address="10.20.0.101").boot()
    clock_of(lab.context).move(3600)
    assert "ephemeral" == lab.machine(mac="52:54:00:bb:00:ff").boot()
    with lab.context.store.read() as session:
        assert 1 == session.scalar(select(func.count()).select_from(BootToken))


def test_asking_again_leaves_one_token(lab: Lab) -> None:
    """A boot script fetched over and over by one machine keeps one live token, the last."""
    machine = lab.machine()
    for _ in range(5):
        assert "ephemeral" == machine.boot()

    with lab.context.store.read() as session:
        assert 1 == session.scalar(select(func.count()).select_from(BootToken))
    assert 200 == machine.get("/task").status_code


def test_another_rack_gets_nothing_of_a_machine(lab: Lab) -> None:
    """A rack that is neither the machine's nor its VLAN's gets the local disk for it, and its token is refused there."""
    machine, machine_id = commissioning(lab)
    stranger = lab.machine()
    stranger.relay = f"b:{OTHER}"

    assert 403 == stranger.get("/task", token=machine.token).status_code
    lifecycle.abort(lab.context, machine_id)
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    assert "local" == stranger.boot()
    assert "ephemeral" == machine.boot()


def test_odd_hardware_is_kept(lab: Lab) -> None:
    """NUL characters, half surrogates and NaN in results do not stop commissioning; they are replaced."""
    machine, machine_id = commissioning(lab)
    disk = {"name": "vda", "path": "/dev/vda", "size_bytes": 8 * 1024**3, "serial": "a\0b\ud800", "model": {"odd": 1}}
    for script in machine.get("/task").json["scripts"]:
        machine.report(script["name"])
    body = (
        b'{"script": "disks", "status": "passed", "seconds": 1, "stdout": "AAA=", "stderr": "", "result": {"n": NaN}}'
    )
    headers = machine.headers() | {"Content-Type": "application/json"}
    assert 204 == machine.client.post("/machine/v1/results", data=body, headers=headers).status_code
    assert 204 == machine.report("disks", result={"disks": [disk]})
    assert 204 == machine.status("finished")
    lab.settle(machine_id)

    assert "READY" == lab.row(machine_id).state
    (found,) = machines.disks(lab.context, machine_id)
    assert ("a\ufffdb\ufffd", "{'odd': 1}") == (found.serial, found.model)


def test_impossible_facts_fail_commissioning(lab: Lab) -> None:
    """A number that no column holds is a failure with a reason, not a worker that stumbles for ever."""
    machine, machine_id = commissioning(lab)
    for script in machine.get("/task").json["scripts"]:
        machine.report(script["name"])
    machine.report("memory", result={"total_mib": 10**30})
    machine.status("finished")
    lab.settle(machine_id)

    assert "FAILED_COMMISSIONING" == lab.row(machine_id).state
    assert "make no sense" in str(lab.row(machine_id).state_reason)


def test_only_scripts_of_the_task_are_kept(lab: Lab) -> None:
    """A machine cannot store megabytes under names of its own."""
    machine, _ = commissioning(lab)

    assert 422 == machine.report("mine")
    assert 413 == machine.report("cpu", stdout=base64.b64encode(b"x" * (1024 * 1024 + 1)).decode())
    with lab.context.store.read() as session:
        assert 0 == session.scalar(select(func.count()).select_from(ScriptResult))


@pytest.mark.parametrize(
    "body",
    [
        b"[" * 20_000,
        b'{"script":' + b'{"a":' * 900 + b"1" + b"}" * 901,
        b"\xff",
        b"null",
        b'{"exit_code": 1' + b"0" * 400 + b"}",
    ],
    ids=["deep", "deep object", "bytes", "null", "long number"],
)
@pytest.mark.parametrize("path", ["/machine/v1/results", "/rack/v1/reports/apply", "/api/v1/login"])
def test_hostile_documents_are_refused(lab: Lab, path: str, body: bytes) -> None:
    """Whatever is sent, the answer is a refusal that says nothing of the inside."""
    machine, _ = commissioning(lab)
    headers = machine.headers() | {"Content-Type": "application/json"}
    if path.startswith("/rack"):
        headers["Authorization"] = f"Bearer {RACK_TOKEN}"
    answer = lab.application.test_client().post(path, data=body, headers=headers)

    assert 400 <= answer.status_code < 500
    assert "Traceback" not in answer.text


def test_machines_do_not_take_the_names_of_racks(lab: Lab) -> None:
    """A machine that would like to be called as a rack is, gets another name: racks' names stand in every zone."""
    machine = lab.machine()
    assert machine.boot() == "ephemeral"
    made = machine.post("/enlist", machine.enlistment() | {"hostname_hint": "rack-1"}).get_json()

    assert "rack-1-2" == lab.row(int(made["machine"])).hostname


REPORT = {"offer": 1, "service": "kea4", "outcome": "kept", "stage": "probe"}


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("reports/apply", REPORT | {"service": "x" * 100}),
        ("reports/apply", REPORT | {"outcome": "great"}),
        ("reports/apply", REPORT | {"probes": [1] * 2000}),
        ("reports/apply", REPORT | {"offer": -1}),
        ("reports/observation", {"offer": 1, "records": 1, "services": {"x" * 100: {"running": True}}}),
        ("reports/observation", {"offer": 10**30, "records": 1, "services": {}}),
        (
            "reports/records",
            {"applied": 1, "failed": [{"sequence": 1, "scope": "x" * 1000, "key": "k", "reason": "r"}]},
        ),
        ("enrol", {"code": "x" * 1000, "layout": {}, "ports": {}, "interfaces": []}),
    ],
)
def test_reports_are_bounded(lab: Lab, path: str, body: Any) -> None:
    """A rack's words are as long as words are."""
    assert 422 == rack_call(lab, path, body)


@pytest.mark.parametrize("host", ["a:99999999", "a b", 'x"y', "evil\u00e9"])
def test_the_host_that_a_rack_reached_is_one(lab: Lab, host: str) -> None:
    """It ends up in the configuration of the rack's relay, so nothing else is taken."""
    body = {"code": "x", "layout": {}, "ports": {}, "interfaces": []}
    answer = lab.application.test_client().post("/rack/v1/enrol", json=body, headers={"Host": host})

    assert answer.status_code in (400, 422)


def test_power_orders_are_their_racks(lab: Lab) -> None:
    """Another rack sees no order, claims none and answers none."""
    machine_id = make_machine(lab.context, lab.seeded)
    with lab.context.store.write() as session:
        now = clock_of(lab.context)()
        order = PowerOperation(
            machine_id=machine_id, rack_id=lab.seeded.rack_id, verb="off", created_at=now, deadline_at=now
        )
        session.add(order)
        session.flush()
        number = order.id

    assert 404 == rack_call(lab, f"power/operations/{number}/claim", {}, token=OTHER)
    assert 404 == rack_call(lab, f"power/operations/{number}/result", {"ok": True, "power": "on"}, token=OTHER)
    with lab.context.store.read() as session:
        assert "off" == session.get_one(Machine, machine_id).power_state
        assert "waiting" == session.get_one(PowerOperation, number).status


def test_abandoned_streams_are_noticed_soon() -> None:
    """Something is written to every stream at least each five seconds."""
    assert KEEP_ALIVE_SECONDS <= 5
