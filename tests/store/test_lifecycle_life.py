"""A machine's whole life on both databases, with deadlines, sweeps and an abort on the way."""

from __future__ import annotations

import json
from pathlib import Path

from app.services import lifecycle, machines
from app.services.allocation import Constraints, allocate
from app.services.context import Actor, Context
from app.services.machines import MachineFilters
from tests.factories.control import clock_of, seed
from tests.factories.edge import Lab, make_edge
from workers.region.lifecycle import runner


def test_a_machine_lives_on_either_database(context: Context, tmp_path: Path) -> None:
    """Every query of enlisting, commissioning, deploying and releasing is understood by SQLite and PostgreSQL."""
    lab = Lab(context, seed(context, image_folder=tmp_path), make_edge(context))
    machine = lab.machine()
    alice = context.acting_as(Actor("alice", "operator", lab.seeded.user_id))
    machine_id = int(machine.enlist()["machine"])

    lifecycle.request(context, machine_id, "commission")
    lab.settle(machine_id)
    clock_of(context).move(2000)
    runner.sweep(context)
    lab.carry_out_power()
    states = [lab.row(machine_id).state]
    lifecycle.request(context, machine_id, "commission")
    lab.settle(machine_id)
    lifecycle.abort(context, machine_id)
    lab.carry_out_power()
    states.append(lab.row(machine_id).state)
    lifecycle.request(context, machine_id, "commission")
    lab.settle(machine_id)
    machine.run_scripts()
    lab.settle(machine_id)
    states.append(lab.row(machine_id).state)
    allocate(alice, Constraints(tags=(), zone="default", subnet="machines", storage_gb=1, architecture="amd64"))
    lifecycle.request(alice, machine_id, "deploy")
    lab.settle(machine_id)
    plan = machine.install()
    lab.settle(machine_id)
    static = json.loads(plan["seed"]["network-config"])["ethernets"]["eth0"]["addresses"][0].partition("/")[0]
    token = json.loads(plan["files"][0]["content"])["token"]
    body = {"hostname": "m", "ssh_host_keys": [], "boot_id": "b", "addresses": [static]}
    assert machine.post("/phone-home", body, token=token, address=static).status_code == 204
    lab.settle(machine_id)
    states.append(lab.row(machine_id).state)
    lifecycle.request(alice, machine_id, "release", {"erase": "none"})
    lab.settle(machine_id)
    states.append(lab.row(machine_id).state)
    found = machines.find(context, MachineFilters(states=("READY",), text="aabb", mac=machine.mac, pool="default"))
    machines.delete(context, machine_id)

    assert states == ["FAILED_COMMISSIONING", "FAILED_COMMISSIONING", "READY", "DEPLOYED", "READY"]
    assert [row.id for row in found] == [machine_id]
    assert machines.find(context) == []
