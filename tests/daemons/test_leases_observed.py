"""Leases of a real Kea and a real dhcpd on their way to the control plane: read, told, kept, gone, and ended on demand."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from flask import Flask
from werkzeug.test import TestResponse

from app.config import load as load_config
from app.factory import create_app
from app.services import leases, subnet_use, tokens, users
from app.services.context import Context
from app.store.models import Lease, Rack, utc_now
from lab import dhcp_client, namespace
from renderers import registry
from tests.daemons.push_lab import serving
from tests.daemons.rack_root import SECRETS, at, eventually, network_of, rack_directory, running
from tests.daemons.requires import absent, require
from tests.factories.control import RACK_TOKEN, Seeded, make_context, seed
from tests.golden.case import load
from workers.rack.channels import kea
from workers.rack.client import ControlPlane
from workers.rack.files import ServiceDirectories
from workers.rack.lease_ends import LeaseEnder
from workers.rack.questions import Answerer, Questions
from workers.rack.secret_files import SecretFiles
from workers.rack.sensors.leases import LeaseSensor

MAC, OTHER = "52:54:00:20:00:0a", "52:54:00:20:00:0b"


@dataclass
class Stage:
    """A control plane and a rack's Kea, whose clients are in a namespace."""

    context: Context
    seeded: Seeded
    application: Flask
    token: str
    client: str
    sensor: LeaseSensor
    questions: Questions

    def lease(self, mac: str = MAC) -> str:
        """The address that a machine takes."""
        return namespace.inside(self.client, lambda: dhcp_client.discover_and_request("end0", mac)).address

    def release(self, lease_id: int, answering: bool = True) -> TestResponse:
        """An operator releases a lease, and the rack's thread answers."""
        stop = threading.Event()

        def answer() -> None:
            while not stop.wait(0.05):
                self.questions.turn()

        thread = threading.Thread(target=answer)
        if answering:
            thread.start()
        try:
            headers = {"Authorization": f"Bearer {self.token}"}
            return self.application.test_client().delete(f"/api/v1/leases/{lease_id}", headers=headers)
        finally:
            stop.set()
            if answering:
                thread.join()

    def told(self) -> list[Lease]:
        """The rack reads and tells at once; what the control plane knows then."""
        self.sensor.soon()
        self.sensor.tell()
        return leases.find(self.context)

    def delete_range(self) -> TestResponse:
        """An administrator deletes the range that Kea leases from."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.application.test_client().delete(f"/api/v1/ranges/{self.seeded.range_id}", headers=headers)


def on_rack(inside: str, answerer: Answerer) -> Answerer:
    """The answerer in the rack's namespace."""
    return lambda body: namespace.inside(inside, lambda: answerer(body))


@pytest.fixture(params=("kea4", "dhcpd"))
def stage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Stage]:
    """The golden case `lab`, which the seed's network is as well."""
    service = request.param
    require("ip", "dhcpd" if service == "dhcpd" else "kea-dhcp4")
    if service == "kea4" and not kea.hook(kea.LEASE_HOOK):
        absent("not installed: Kea's hook libdhcp_lease_cmds")
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(rack_directory())
        intent = replace(at(load("lab"), root), dhcp_server="dhcpd" if service == "dhcpd" else "kea")
        secrets = SecretFiles(Path(root))
        secrets.write("omapi", SECRETS["omapi"])
        inside = stack.enter_context(network_of(intent, f"lo-{os.getpid()}"))
        namespace.batch(f"{inside}-c", [f"link set end0 address {MAC}"])
        context = replace(make_context(tmp_path), clock=utc_now)
        stack.callback(context.store.engine.dispose)
        seeded = seed(context)
        with context.store.write() as session:
            session.get_one(Rack, seeded.rack_id).seen_at = utc_now()
        person = users.create(context, "root", "correct horse battery", "admin")
        token = tokens.create(context.acting_as(users.actor(person)), "test").text
        application = create_app(context, load_config({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
        url = stack.enter_context(serving(application))
        stack.enter_context(running(registry.service(service), intent, inside))

        def directories(name: str) -> ServiceDirectories:
            return ServiceDirectories(Path(root), name)

        sensor = LeaseSensor(directories, {service}.__contains__, ControlPlane(url, RACK_TOKEN))
        ender = LeaseEnder(directories, secrets, {service}.__contains__, sensor.soon)
        questions = Questions(ControlPlane(url, RACK_TOKEN), secrets, {"end-lease": on_rack(inside, ender)})
        yield Stage(context, seeded, application, token, f"{inside}-c", sensor, questions)


def test_a_lease_is_observed_guards_its_range_and_goes(stage: Stage) -> None:
    """It is a row with its holder and end; its range is not deleted, by name, while it lives; released, it is gone."""
    lease = eventually(
        lambda: namespace.inside(stage.client, lambda: dhcp_client.discover_and_request("end0", MAC)), 15
    )
    rows = stage.told()
    again = stage.told()
    refused = stage.delete_range()
    shown = {use.address: use for use in subnet_use.addresses(stage.context, stage.seeded.subnet_id)}

    assert [(lease.address, MAC)] == [(row.address, row.mac) for row in rows]
    assert [row.id for row in rows] == [row.id for row in again]
    seconds = int.from_bytes(lease.options[51])
    assert seconds == (rows[0].expires_at - rows[0].started_at).total_seconds()
    assert abs((rows[0].started_at - utc_now()).total_seconds()) < 30
    assert 409 == refused.status_code
    assert f"{lease.address} is leased to {MAC}" in refused.json["detail"]
    assert rows[0].expires_at == shown[lease.address].leased_until

    namespace.inside(stage.client, lambda: dhcp_client.release("end0", MAC, lease))

    def gone() -> None:
        assert [] == stage.told()

    eventually(gone, 10)
    assert 204 == stage.delete_range().status_code


def test_a_lease_is_released_on_demand(stage: Stage) -> None:
    """The server has it no more, the next client may have it, and it is gone here at once."""
    address = eventually(stage.lease, 15)
    (row,) = stage.told()
    answer = stage.release(row.id)

    assert 204 == answer.status_code, answer.text
    assert [] == leases.find(stage.context)
    assert [] == stage.told()
    assert (
        address
        == namespace.inside(
            stage.client, lambda: dhcp_client.discover_and_request("end0", OTHER, wanted=address)
        ).address
    )
    assert 404 == stage.release(row.id).status_code


def test_a_lease_that_is_anothers_by_now_stays(stage: Stage, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was listed may be old; and a rack that says nothing is told of, with nothing forgotten."""
    eventually(stage.lease, 15)
    (row,) = stage.told()
    with stage.context.store.write() as session:
        session.get_one(Lease, row.id).mac = OTHER
    refused = stage.release(row.id)
    monkeypatch.setattr(leases, "RELEASE_SECONDS", 0.3)
    silent = stage.release(row.id, answering=False)
    with stage.context.store.write() as session:
        session.get_one(Rack, stage.seeded.rack_id).seen_at = None
    unheard = stage.release(row.id, answering=False)

    assert (409, 409) == (refused.status_code, silent.status_code)
    assert f"is leased to {MAC} by now" in refused.json["detail"]
    assert "did not hear the question within 0.3 s; nothing was done" in silent.json["detail"]
    assert "it was never heard; nothing was asked" in unheard.json["detail"]
    stage.questions.turn()  # Nobody waits for it any more.
    assert 1 == len(stage.told())
