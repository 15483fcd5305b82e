"""A real Kea's leases on their way to the control plane: read by the rack's sensor, told over HTTP, kept, and gone."""

from __future__ import annotations

import contextlib
import os
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
from app.store.models import Lease, utc_now
from lab import dhcp_client, namespace
from renderers import registry
from tests.daemons.push_lab import serving
from tests.daemons.rack_root import at, eventually, network_of, rack_directory, running
from tests.daemons.requires import absent, require
from tests.factories.control import RACK_TOKEN, Seeded, make_context, seed
from tests.golden.case import load
from workers.rack.channels import kea
from workers.rack.client import ControlPlane
from workers.rack.files import ServiceDirectories
from workers.rack.sensors.leases import LeaseSensor

MAC = "52:54:00:20:00:0a"


@dataclass
class Stage:
    """A control plane and a rack's Kea, whose clients are in a namespace."""

    context: Context
    seeded: Seeded
    application: Flask
    token: str
    client: str
    sensor: LeaseSensor

    def told(self) -> list[Lease]:
        """The rack reads and tells at once; what the control plane knows then."""
        self.sensor.soon()
        self.sensor.tell()
        return leases.find(self.context)

    def delete_range(self) -> TestResponse:
        """An administrator deletes the range that Kea leases from."""
        headers = {"Authorization": f"Bearer {self.token}"}
        return self.application.test_client().delete(f"/api/v1/ranges/{self.seeded.range_id}", headers=headers)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    """The golden case `lab`, which the seed's network is as well."""
    require("ip", "kea-dhcp4")
    if not kea.hook(kea.LEASE_HOOK):
        absent("not installed: Kea's hook libdhcp_lease_cmds")
    with contextlib.ExitStack() as stack:
        root = stack.enter_context(rack_directory())
        intent = at(load("lab"), root)
        inside = stack.enter_context(network_of(intent, f"lo-{os.getpid()}"))
        namespace.batch(f"{inside}-c", [f"link set end0 address {MAC}"])
        context = replace(make_context(tmp_path), clock=utc_now)
        stack.callback(context.store.engine.dispose)
        seeded = seed(context)
        person = users.create(context, "root", "correct horse battery", "admin")
        token = tokens.create(context.acting_as(users.actor(person)), "test").text
        application = create_app(context, load_config({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
        url = stack.enter_context(serving(application))
        stack.enter_context(running(registry.service("kea4"), intent, inside))
        sensor = LeaseSensor(
            lambda service: ServiceDirectories(Path(root), service),
            {"kea4"}.__contains__,
            ControlPlane(url, RACK_TOKEN),
        )
        yield Stage(context, seeded, application, token, f"{inside}-c", sensor)


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
