"""Allocation, machines by hand, BMCs, power orders, images: the rules of each."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest
from sqlalchemy import select

from app.services import bmc, images, lifecycle, machines, power, reports
from app.services.allocation import Constraints, allocate
from app.services.boot import canonical_mac, canonical_uuid
from app.services.commissioning import SCRIPTS, complaint
from app.services.context import Actor, Context
from app.services.errors import Conflict, Forbidden, Invalid, NotFound
from app.services.machines import MachineFilters
from app.store.models import ChangeEvent, Machine, PowerOperation, Rack, ScriptResult
from tests.factories.control import Seeded, make_context, make_machine, ring_of, seed


@pytest.fixture
def context(tmp_path: Path) -> Context:
    return make_context(tmp_path)


@pytest.fixture
def seeded(context: Context) -> Seeded:
    return seed(context)


def test_the_smallest_machine_that_serves_is_given(context: Context, seeded: Seeded) -> None:
    """Cost is processors plus GiB; then storage, then age; the caller owns it afterwards."""
    make_machine(context, seeded, "big", cpu_count=64, memory_mib=262_144)
    make_machine(context, seeded, "roomy", cpu_count=4, memory_mib=4096, disk_bytes=10**12)
    make_machine(context, seeded, "fitting", cpu_count=4, memory_mib=4096)
    make_machine(context, seeded, "small", cpu_count=2, memory_mib=2048)
    make_machine(context, seeded, "taken", cpu_count=4, memory_mib=4096, state="ALLOCATED")
    alice = context.acting_as(Actor("alice", "operator", seeded.user_id))

    first = allocate(alice, Constraints(cpu_count=3, memory_mib=4000)).machine
    assert (first.hostname, first.state, first.owner_id) == ("fitting", "ALLOCATED", seeded.user_id)
    assert allocate(alice, Constraints(storage_gb=500)).machine.hostname == "roomy"
    assert allocate(alice, Constraints(name="big")).machine.hostname == "big"


def test_tags_place_and_subnet_choose(context: Context, seeded: Seeded) -> None:
    """Wanted tags must all be there, unwanted ones not; zone, pool and subnet by name."""
    make_machine(context, seeded, "plain")
    make_machine(context, seeded, "gpu", tags=("gpu", "fast"), cpu_count=8)
    make_machine(context, seeded, "old", tags=("gpu", "fast", "old"), cpu_count=4)

    wanted = Constraints(
        tags=("gpu", "fast"),
        not_tags=("old",),
        zone="default",
        pool="default",
        subnet="10.20.0.0/24",
        architecture="amd64",
    )
    assert allocate(context, wanted).machine.hostname == "gpu"
    assert allocate(context, Constraints(subnet="machines")).machine.hostname == "plain"


def test_a_refusal_names_the_constraint(context: Context, seeded: Seeded) -> None:
    """It says how many machines each constraint left, and which excluded the last."""
    make_machine(context, seeded, cpu_count=4, memory_mib=2048)
    make_machine(context, seeded, cpu_count=2, memory_mib=2048)

    with pytest.raises(Conflict) as refusal:
        allocate(context, Constraints(zone="default", cpu_count=4, memory_mib=99_999))
    assert refusal.value.detail == (
        "no Ready machine serves: memory_mib 99999 excluded the last"
        " (2 Ready, zone default left 2, cpu_count 4 left 1, memory_mib 99999 left 0); ask for less"
    )
    with pytest.raises(Invalid, match="cpu_count is -1"):
        allocate(context, Constraints(cpu_count=-1))


def test_without_ready_machines_that_is_said(context: Context, seeded: Seeded) -> None:
    """An empty pool is not a matter of constraints."""
    with pytest.raises(Conflict, match="no machine is Ready; release or commission one"):
        allocate(context, Constraints(cpu_count=1))


def test_machines_are_found_by_what_they_are(context: Context, seeded: Seeded) -> None:
    """Filters narrow, pages go by id, and a MAC is found however it is written."""
    ids = [make_machine(context, seeded, f"node-{n}", tags=("web",) if n else ()) for n in range(3)]
    mac = machines.get(context, ids[0]).interfaces[0].mac

    assert [m.id for m in machines.find(context, limit=2)] == ids[:2]
    assert [m.id for m in machines.find(context, after=ids[1])] == ids[2:]
    assert [m.id for m in machines.find(context, MachineFilters(tags=("web",)))] == ids[1:]
    assert [m.id for m in machines.find(context, MachineFilters(mac=mac.upper().replace(":", "-")))] == ids[:1]
    assert [m.id for m in machines.find(context, MachineFilters(text="ODE-2"))] == ids[2:]
    assert machines.find(context, MachineFilters(states=("DEPLOYED",), zone="default", pool="default")) == []
    assert machines.get(context, "NODE-1").id == ids[1]
    with pytest.raises(Invalid, match="state 'HAPPY'"):
        machines.find(context, MachineFilters(states=("HAPPY",)))
    with pytest.raises(NotFound, match="machine nobody"):
        machines.get(context, "nobody")


def test_a_machine_is_made_changed_and_deleted_by_hand(context: Context, seeded: Seeded) -> None:
    """Names and MACs are unique, a stale version is refused, and what is deployed is not deleted."""
    made = machines.create(context, ["52-54-00-AA-00-01"], hostname="Web-1", power_driver="manual")
    changed = machines.update(context, made.id, hostname="web-2", tags=["a", "b"], version=made.version)

    assert (made.hostname, made.state, [i.mac for i in made.interfaces]) == ("web-1", "NEW", ["52:54:00:aa:00:01"])
    assert (changed.hostname, sorted(tag.name for tag in changed.tags)) == ("web-2", ["a", "b"])
    with pytest.raises(Conflict, match="has changed since you read it"):
        machines.update(context, made.id, hostname="web-3", version=made.version)
    with pytest.raises(Conflict, match="machine web-2 has it"):
        machines.create(context, ["52:54:00:aa:00:01"])
    with pytest.raises(Invalid, match="group address"):
        machines.create(context, ["01:00:5e:00:00:01"])
    with pytest.raises(Invalid, match="only digits"):
        machines.update(context, made.id, hostname="123")
    deployed = make_machine(context, seeded, state="DEPLOYED")
    with pytest.raises(Conflict, match="release it first"):
        machines.delete(context, deployed)
    machines.delete(context, made.id)
    assert [m.id for m in machines.find(context)] == [deployed]


def test_bmc_secrets_are_sealed_masked_and_kept(context: Context, seeded: Seeded) -> None:
    """A secret is shown to nobody; giving the mask back, or nothing, keeps it; a rack gets it for one operation."""
    machine_id = make_machine(context, seeded, firmware="uefi")
    parameters = {"address": "10.0.0.9", "username": "root", "password": "s3cret"}
    bmc.set_power(context, machine_id, "ipmi", parameters)
    view = bmc.set_power(
        context, machine_id, "ipmi", {"address": "10.0.0.10", "username": "root", "password": bmc.MASK}
    )
    order = power.request(context, machine_id, "on")
    claimed = power.claim(context, seeded.rack_id, order.id)

    assert view.parameters == {"address": "10.0.0.10", "username": "root", "password": bmc.MASK}
    assert claimed["driver"] == "ipmi"
    assert claimed["parameters"] == {
        "address": "10.0.0.10",
        "username": "root",
        "password": "s3cret",
        "firmware": "uefi",
    }
    with pytest.raises(Invalid, match="unknown parameter 'colour'"):
        bmc.set_power(context, machine_id, "ipmi", {"colour": "red"})
    with pytest.raises(Invalid, match="address"):
        bmc.set_power(context, machine_id, "ipmi", {"username": "root", "password": "x"})
    with pytest.raises(Invalid, match="power driver 'magic'"):
        bmc.set_power(context, machine_id, "magic", {})


def test_power_orders_go_to_the_machines_rack(context: Context, seeded: Seeded) -> None:
    """The rack is rung, sees the order, claims it once, and its answer is the machine's power."""
    machine_id = make_machine(context, seeded, "box")
    ring_of(context).take()
    order = power.request(context, machine_id, "on")

    assert ring_of(context).take() == [("rack", "rack-1")]
    assert power.waiting(context, seeded.rack_id) == [{"id": order.id, "machine": "box", "verb": "on"}]
    power.claim(context, seeded.rack_id, order.id)
    assert power.waiting(context, seeded.rack_id) == []
    with pytest.raises(Conflict, match="not waiting any more"):
        power.claim(context, seeded.rack_id, order.id)
    with pytest.raises(NotFound, match="none for this rack"):
        power.finish(context, seeded.rack_id + 1, order.id, True, "on", None, 1.0)
    power.finish(context, seeded.rack_id, order.id, True, "on", None, 1.0)
    power.finish(context, seeded.rack_id, order.id, False, "on", "late", 1.0)
    assert machines.get(context, machine_id).power_state == "on"
    with context.store.read() as session:
        assert session.get_one(PowerOperation, order.id).status == "done"
    assert reports.newest(context, seeded.rack_id)["power"] == order.id


def test_power_requests_are_checked(context: Context, seeded: Seeded) -> None:
    """Unknown verbs, machines under way, machines of others, and machines that only a person can switch."""
    by_hand = make_machine(context, seeded, "byhand", bmc=False)
    busy = make_machine(context, seeded, "busy", state="NEW")
    owned = make_machine(context, seeded, "owned", state="DEPLOYED", owner_id=seeded.user_id)
    lifecycle.request(context, busy, "commission")

    with pytest.raises(Invalid, match="power verb 'explode'"):
        power.request(context, busy, "explode")
    with pytest.raises(Conflict, match="busy is commissioning: switching it now would break that"):
        power.request(context, busy, "off")
    with pytest.raises(Conflict, match="a person must switch it"):
        power.request(context, by_hand, "on")
    with pytest.raises(Forbidden, match="belongs to someone else"):
        power.request(context.acting_as(Actor("bob", "operator", 99)), owned, "off")


def test_with_several_racks_a_machine_needs_its_own(context: Context, seeded: Seeded) -> None:
    """A machine without a rack uses the only one; with two, nobody guesses."""
    machine_id = make_machine(context, seeded, rack_id=None)
    assert power.request(context, machine_id, "on").rack_id == seeded.rack_id
    with context.store.write() as session:
        session.add(Rack(name="rack-2", enrolled_at=context.clock()))
    with pytest.raises(Conflict, match="no rack serves its BMC"):
        power.request(context, machine_id, "on")


def write_image(folder: Path, recipe: str = "r1") -> Path:
    """A built image whose files hold their own names."""
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for kind, name in (
        ("kernel", "vmlinuz"),
        ("initrd", "initrd"),
        ("squashfs", "root.squashfs"),
        ("rootfs", "r.tar.zst"),
    ):
        content = f"{recipe} {name}".encode()
        (folder / name).write_bytes(content)
        digest = hashlib.sha256(content).hexdigest()
        files.append({"name": name, "kind": kind, "sha256": digest, "size_bytes": len(content)})
    manifest = {
        "name": "test",
        "os": "debian",
        "release": "12",
        "architecture": "amd64",
        "recipe": recipe,
        "files": files,
    }
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_an_image_is_imported_and_replaced(context: Context, tmp_path: Path) -> None:
    """A second build becomes the current one, the first stays; importing the same again adds nothing."""
    first = images.import_folder(context, write_image(tmp_path / "one"))
    second = images.import_folder(context, write_image(tmp_path / "two", "r2"))
    images.import_folder(context, tmp_path / "two")

    assert [(image.id, image.current) for image in images.find(context)] == [(second.id, True), (first.id, False)]
    with context.store.read() as session:
        image = images.current(session, "test")
        kernel = images.file_of(image, "kernel")
    assert kernel.blake2b == hashlib.blake2b((tmp_path / "two" / "vmlinuz").read_bytes(), digest_size=32).hexdigest()
    assert images.open_file(context, kernel.sha256, "vmlinuz").path == str(tmp_path / "two" / "vmlinuz")


def test_a_damaged_image_is_refused(context: Context, tmp_path: Path) -> None:
    """Missing, changed and wandering files are named."""
    folder = write_image(tmp_path / "bad")
    (folder / "initrd").write_bytes(b"r1 INITRD")
    with pytest.raises(Invalid, match="initrd: its SHA-256 is"):
        images.import_folder(context, folder)
    (folder / "initrd").unlink()
    with pytest.raises(Invalid, match="is not there"):
        images.import_folder(context, folder)
    with pytest.raises(Invalid, match="cannot be read"):
        images.import_folder(context, tmp_path)
    folder = write_image(tmp_path / "bad")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"][0]["name"] = "../bad/vmlinuz"
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Invalid, match="is not there"):
        images.import_folder(context, folder)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("52-54-00-AA-BB-01", "52:54:00:aa:bb:01"),
        ("5254.00aa.bb01", "52:54:00:aa:bb:01"),
        ("525400aabb01", "52:54:00:aa:bb:01"),
    ],
)
def test_mac_addresses_have_one_form(text: str, expected: str) -> None:
    """However it is written, it is stored in lower case with colons."""
    assert canonical_mac(text) == expected


def test_uuids_that_many_machines_share_are_none() -> None:
    """Placeholders of board makers identify nobody."""
    assert canonical_uuid("00000000-0000-0000-0000-000000000000") is None
    assert canonical_uuid("03000200-0400-0500-0006-000700080009") is None
    assert canonical_uuid("not one") is None
    assert canonical_uuid("11111111-2222-3333-4444-55555555555A") == "11111111-2222-3333-4444-55555555555a"


def test_a_skipped_script_is_good_unless_it_is_needed() -> None:
    """lldp may be skipped; without disks there is no inventory."""
    made = {name: ScriptResult(script=name, status="passed", exit_code=0, stderr="", result={}) for name, _ in SCRIPTS}
    made["lldp"].status = "skipped"
    assert complaint(made.values()) is None
    made["disks"].status, made["disks"].result, made["disks"].stderr = "skipped", None, "no such script\n"
    assert complaint(made.values()) == "script disks was skipped without a result: no such script"


def test_a_claim_that_takes_credentials_is_audited(context: Context, seeded: Seeded) -> None:
    """Which rack was given which BMC's credentials for which order; of its own regular queries the first only."""
    machine_id = make_machine(context, seeded)
    bmc.set_power(context, machine_id, "ipmi", {"address": "10.0.0.9", "username": "root", "password": "s3cret"})
    rack = context.acting_as(Actor("rack-1", "rack"))
    numbers = []
    for verb in ("on", "query", "query", "off"):
        numbers.append(power.request(context, machine_id, verb).id)
        power.claim(rack, seeded.rack_id, numbers[-1])
        power.finish(rack, seeded.rack_id, numbers[-1], True, "on", None, 1.0)
    with context.store.read() as session:
        rows = session.scalars(select(ChangeEvent).where(ChangeEvent.verb == "fetch credentials")).all()
        found = [(row.actor, row.thing, row.detail["machine_id"], row.detail["order"]) for row in rows]
        bmc_id = session.get_one(Machine, machine_id).bmc

    assert [("rack-1", "bmc", machine_id, numbers[number]) for number in (0, 1, 3)] == found
    assert {bmc_id.id if bmc_id else None} == {row.thing_id for row in rows}
    assert "s3cret" not in str([row.detail for row in rows])
