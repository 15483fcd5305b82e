"""The machine edge's own promises: who is believed, what a token may do, and what a wrong request is told."""

from __future__ import annotations

import base64
import hashlib
import io
import marshal
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from sqlalchemy import select

from app.metadata import agent_archive
from app.services import lifecycle, machines, settings
from app.store.models import BootToken, Event, Image
from tests.factories.control import clock_of, make_machine
from tests.factories.edge import Lab, SimulatedMachine, make_lab


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return make_lab(tmp_path)


def commissioning(lab: Lab) -> tuple[SimulatedMachine, int]:
    """A machine that has booted to be commissioned."""
    machine = lab.machine()
    machine_id = int(machine.enlist()["machine"])
    lifecycle.request(lab.context, machine_id, "commission")
    lab.settle(machine_id)
    assert machine.boot() == "ephemeral"
    return machine, machine_id


def warnings(lab: Lab) -> list[str]:
    with lab.context.store.read() as session:
        return list(session.scalars(select(Event.message).where(Event.level == "warning")))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"X-Muster-Rack": "rack-1:wrong", "X-Forwarded-For": "10.20.0.100"},
        {"X-Muster-Rack": "nobody:relay-token-of-the-tests", "X-Forwarded-For": "10.20.0.100"},
        {"X-Muster-Rack": "rack-1:relay-token-of-the-tests"},
        {"X-Muster-Rack": "rack-1:relay-token-of-the-tests", "X-Forwarded-For": "10.20.0.100, unknown"},
    ],
    ids=["none", "wrong token", "wrong rack", "no client", "no address"],
)
def test_only_racks_are_believed(lab: Lab, headers: dict[str, str]) -> None:
    """Without a right relay header and a client address nothing is served, image files neither."""
    client = lab.application.test_client()
    paths = [
        "/boot/v1/start.ipxe",
        "/boot/v1/script?mac=52:54:00:00:00:01",
        "/machine/v1/task",
        "/images/loader/snponly.efi",
    ]

    assert [client.get(path, headers=headers).status_code for path in paths] == [403] * 4
    assert client.get(paths[1], headers=headers).mimetype == "application/problem+json"


def test_the_script_carries_what_the_kernel_needs(lab: Lab) -> None:
    """An unknown machine is given the image's digests, the rack's address and a token, and no cache may keep it."""
    machine = lab.machine()
    machine.boot()
    digest = hashlib.sha256(b"root.squashfs").hexdigest()

    assert f"muster.root=http://10.20.0.1:5248/images/{digest}/root.squashfs" in machine.script
    assert "muster.url=http://10.20.0.1:5248/machine/v1" in machine.script
    answer = machine.client.get("/boot/v1/start.ipxe", headers=machine.headers())
    assert (answer.status_code, answer.headers["Cache-Control"]) == (200, "no-store")
    assert answer.text.startswith("#!ipxe")


def test_kernel_options_that_people_set_are_in_the_script(lab: Lab) -> None:
    """Behind Muster's own words; a console among them takes the place of Muster's."""
    machine = lab.machine()
    machine.boot()
    before = machine.script
    with lab.context.store.write() as session:
        settings.put(session, "kernel_options", {"options": ["console=tty0", "hugepages=64"]})
    machine.boot()

    assert "console=ttyS0,115200" in before
    assert "hugepages" not in before
    assert " console=tty0 hugepages=64 " in machine.script
    assert "ttyS0" not in machine.script


def test_enlisting_needs_the_policy(lab: Lab) -> None:
    """With the policy off an unknown machine boots its disk, and no token is made."""
    with lab.context.store.write() as session:
        settings.put(session, "enrolment_policy", {"on": False})
    machine = lab.machine()

    assert machine.boot() == "local"
    with lab.context.store.read() as session:
        assert session.scalars(select(BootToken)).all() == []


def test_without_an_image_machines_boot_their_disk(lab: Lab) -> None:
    """What is missing is said in the timeline; the machine is not kept from its disk."""
    with lab.context.store.write() as session:
        for image in session.scalars(select(Image)):
            image.current = False
    machine = lab.machine()

    assert machine.boot() == "local"
    with lab.context.store.read() as session:
        messages = session.scalars(select(Event.message).where(Event.level == "error")).all()
    assert len(messages) == 1
    assert "image debian-12-amd64: there is no current image" in messages[0]


def test_a_nonsense_mac_is_refused(lab: Lab) -> None:
    """422 names the field."""
    machine = lab.machine()
    answer = machine.client.get("/boot/v1/script?mac=hello", headers=machine.headers())

    assert (answer.status_code, answer.json["field"]) == (422, "mac")


def test_only_the_digest_of_a_token_is_kept(lab: Lab) -> None:
    """The database cannot give a token away."""
    machine, _ = commissioning(lab)
    with lab.context.store.read() as session:
        kept = [token.token_hash for token in session.scalars(select(BootToken))]

    assert machine.token is not None
    assert hashlib.sha256(machine.token.encode()).hexdigest() in kept
    assert machine.token not in kept


def test_a_token_used_from_elsewhere_is_refused_and_alarmed(lab: Lab) -> None:
    """403, and the machine's timeline has a warning with both addresses."""
    machine, _ = commissioning(lab)

    assert machine.get("/task").status_code == 200
    assert machine.get("/task", address="10.20.0.177").status_code == 403
    assert any("belongs to 10.20.0.100 and was used from 10.20.0.177" in message for message in warnings(lab))


def test_a_token_is_for_its_purpose_only(lab: Lab) -> None:
    """A commissioning token may neither enlist nor call home; no token at all is 401."""
    machine, _ = commissioning(lab)

    assert machine.post("/enlist", machine.enlistment()).status_code == 403
    assert machine.post("/phone-home", {}).status_code == 403
    assert machine.get("/task", token="nonsense").status_code == 401
    machine.token = None
    assert machine.get("/task").status_code == 401


def test_a_token_dies_with_the_state(lab: Lab) -> None:
    """After an abort the machine's token is dead, and its next boot is from disk."""
    machine, machine_id = commissioning(lab)
    machine.get("/task")
    lifecycle.abort(lab.context, machine_id)

    assert machine.get("/task").status_code == 401
    assert machine.status("finished") == 401
    assert machine.boot() == "local"


def test_an_enlisting_token_expires(lab: Lab) -> None:
    """Half an hour after the boot it is dead."""
    machine = lab.machine()
    machine.boot()
    clock_of(lab.context).move(1801)

    assert machine.get("/task").status_code == 401


def test_someone_else_does_not_get_a_running_machines_token(lab: Lab) -> None:
    """Once a token is in use, a script request for the same MAC from another address gets the local disk and a warning."""
    machine, _ = commissioning(lab)
    machine.get("/task")
    thief = lab.machine(address="10.20.0.199")

    assert thief.boot() == "local"
    assert machine.get("/task").status_code == 200
    assert any("is under way from 10.20.0.100" in message for message in warnings(lab))


def test_a_machine_that_boots_again_gets_a_new_token(lab: Lab) -> None:
    """A power cut in the middle is survived: the new boot's token works, the old one's does not."""
    machine, _ = commissioning(lab)
    machine.get("/task")
    old = machine.token
    assert machine.boot() == "ephemeral"

    assert machine.get("/task").status_code == 200
    assert machine.get("/task", token=old).status_code == 401


def test_the_last_word_may_be_repeated_but_nothing_follows_it(lab: Lab) -> None:
    """A lost answer to `finished` costs nothing; a task or a result after it is refused."""
    machine, _ = commissioning(lab)
    machine.get("/task")

    assert [machine.status("finished"), machine.status("finished")] == [204, 204]
    assert machine.get("/task").status_code == 409
    assert machine.report("cpu") == 409


def test_a_repeated_result_replaces_the_first(lab: Lab) -> None:
    """The agent may send again what it does not know to have arrived."""
    machine, _ = commissioning(lab)
    machine.get("/task")

    assert [machine.report("cpu"), machine.report("cpu")] == [204, 204]


@pytest.mark.parametrize(
    ("path", "body", "field"),
    [
        ("/status", {"event": "dances", "step": "x", "message": ""}, "event"),
        ("/status", {"event": "progress", "step": "x", "message": "", "fraction": 2}, "fraction"),
        ("/status", {"event": "progress", "step": 7, "message": ""}, "step"),
        ("/results", {"script": "cpu", "status": "maybe", "seconds": 1}, "status"),
        ("/results", {"script": "cpu", "status": "passed", "seconds": True}, "seconds"),
        ("/results", {"script": "cpu", "status": "passed", "seconds": 1, "stdout": "%%"}, "stdout"),
        ("/results", {"script": "cpu", "status": "passed", "exit_code": "0", "seconds": 1}, "exit_code"),
    ],
)
def test_a_wrong_shape_is_named(lab: Lab, path: str, body: dict[str, object], field: str) -> None:
    """422 as a problem document that names the field."""
    machine, _ = commissioning(lab)
    answer = machine.post(path, body)

    assert (answer.status_code, answer.json["field"], answer.mimetype) == (422, field, "application/problem+json")


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b"\xff"], ids=["empty", "list", "half", "binary"])
def test_a_body_that_is_no_object_is_refused(lab: Lab, body: bytes) -> None:
    """422, never 500."""
    machine, _ = commissioning(lab)

    assert machine.client.post("/machine/v1/status", data=body, headers=machine.headers()).status_code == 422


def test_bodies_are_bounded(lab: Lab) -> None:
    """A status of more than 128 KiB is too large; a script's two streams of 1 MiB are taken whole."""
    machine, _ = commissioning(lab)
    mebibyte = base64.b64encode(b"x" * 1024 * 1024).decode()
    too_much = base64.b64encode(b"x" * (1024 * 1024 + 1)).decode()

    assert machine.post("/status", {"message": "x" * 200_000}).status_code == 413
    assert machine.report("cpu", stdout=mebibyte, stderr=mebibyte) == 204
    assert machine.report("cpu", stdout=too_much) == 413


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"interfaces": []}, "interfaces"),
        ({"interfaces": [{"name": "eth0", "mac": "nonsense"}]}, "mac"),
        ({"interfaces": [{"name": "eth0", "mac": "52:54:00:aa:bb:77", "boot": True}]}, "interfaces"),
        ({"architecture": "vax"}, "architecture"),
        ({"bmc": {"type": "ipmi", "address": "here", "username": "u", "password": "p"}}, "bmc.address"),
    ],
)
def test_a_wrong_enlistment_is_named(lab: Lab, change: dict[str, object], field: str) -> None:
    """Nothing is enlisted; an interface that did not boot cannot pass for the one that did."""
    machine = lab.machine()
    machine.boot()
    answer = machine.post("/enlist", machine.enlistment() | change)

    assert (answer.status_code, answer.json["field"]) == (422, field)


def test_a_stranger_cannot_take_over_a_known_machines_bmc(lab: Lab) -> None:
    """Enlisting with the UUID of a machine that is in use changes nothing of how that machine is switched."""
    known = make_machine(lab.context, lab.seeded, state="DEPLOYED", system_uuid="11111111-2222-3333-4444-555555555555")
    answer = lab.machine().enlist()

    assert answer == {"machine": str(known), "created": False}
    bmc = machines.get(lab.context, known).bmc
    assert bmc is not None
    assert bmc.parameters["address"] != "10.20.1.7"


def test_the_agent_is_a_program(lab: Lab, tmp_path: Path) -> None:
    """The zipapp runs with the system's Python alone, and says what its command line lacks."""
    machine, _ = commissioning(lab)
    answer = machine.get("/agent")
    path = tmp_path / "agent.pyz"
    path.write_bytes(answer.data)
    done = subprocess.run([sys.executable, "-I", "-S", str(path)], capture_output=True, text=True, check=False, cwd="/")

    assert (answer.status_code, answer.mimetype) == (200, "application/zip")
    bundle = zipfile.ZipFile(io.BytesIO(answer.data))
    names = [name for name in bundle.namelist() if name.startswith("agent/") and name.endswith(".py")]
    assert "agent/main.py" in names
    for name in names:  # Behind the header's 16 bytes (PEP 552) is what its source says, and nothing else.
        code = marshal.loads(bundle.read(f"{name}c")[16:])  # noqa: S302 - what we have just made
        assert code == compile(bundle.read(name), name, "exec", dont_inherit=True), name
    assert (done.returncode, "muster.url" in done.stdout) == (2, True)
    agent_archive.archive.cache_clear()
    assert agent_archive.archive() == answer.data


def test_image_files_are_served_for_ever_and_in_parts(lab: Lab) -> None:
    """By digest: immutable, with an ETag, whole or a range, and not at all under a wrong name."""
    machine = lab.machine()
    digest = hashlib.sha256(b"vmlinuz").hexdigest()
    url = f"/images/{digest}/vmlinuz"
    whole = machine.client.get(url, headers=machine.headers())
    part = machine.client.get(url, headers=machine.headers() | {"Range": "bytes=2-4"})
    again = machine.client.get(url, headers=machine.headers() | {"If-None-Match": f'"{digest}"'})

    assert (whole.status_code, whole.data, whole.headers["ETag"]) == (200, b"vmlinuz", f'"{digest}"')
    assert "immutable" in whole.headers["Cache-Control"]
    assert (part.status_code, part.data) == (206, b"lin")
    assert again.status_code == 304
    for wrong in (f"/images/{digest}/initrd", f"/images/{'0' * 64}/vmlinuz", "/images/x/vmlinuz", "/images/loader/sh"):
        assert machine.client.get(wrong, headers=machine.headers()).status_code == 404


def test_a_machine_entered_by_its_uuid_becomes_whole_when_it_enlists(lab: Lab) -> None:
    """It brings its interfaces, rack and firmware; its BMC stays the one that a person entered, and no second is made."""
    bmc = {"address": "10.30.0.9", "username": "admin", "password": "s3cret-9"}
    entered = machines.create(
        lab.context,
        [],
        hostname="rf-1",
        system_uuid="11111111-2222-3333-4444-555555555555",
        power_driver="redfish",
        power_parameters=bmc,
    )
    machine = lab.machine()
    answer = machine.enlist()
    found = machines.get(lab.context, entered.id)

    assert answer == {"machine": str(entered.id), "created": False}
    assert [machine.mac] == [interface.mac for interface in found.interfaces if interface.boot]
    assert found.bmc is not None
    assert ("redfish", "10.30.0.9", "by-hand") == (found.bmc.driver, found.bmc.address, found.bmc.found)
    assert ("rf-1", "NEW") == (found.hostname, found.state)
    assert (found.rack_id, found.firmware) == (lab.seeded.rack_id, "bios")
    assert 1 == len(machines.find(lab.context))
