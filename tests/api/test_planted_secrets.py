"""Secrets planted through a machine's whole life are found nowhere but in the one answer that shows each."""

from __future__ import annotations

import contextlib
import io
import json
import logging
import re
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography.fernet import Fernet
from flask.testing import FlaskClient

from app.config import load
from app.factory import create_app
from app.services import bootstrap, broker, users
from app.services.allocation import Constraints, allocate
from app.services.context import Actor
from app.store.models import Base, Rack
from app.wiring import log as logs
from app.wiring.secret_box import FernetBox
from tests.factories.control import make_context, seed
from tests.factories.edge import Lab
from workers.region.reconcile import reconcile

BMC_PASSWORD = "planted-Bmc-Pa55word"
OTHER_BMC_PASSWORD = "planted-other-Bmc-Pa55word"
USER_PASSWORD = "planted user password"
USER_DATA = "#cloud-config\nchpasswd: {list: 'root:planted-user-data'}\n"
PAGES = ("/machines", "/machines/{}", "/machines/{}/live", "/racks", "/racks/1")
LISTS = (
    "machines", "machines/{}", "machines/{}/events", "machines/{}/operations", "machines/{}/power",
    "machines/{}/results", "machines/{}/results/bmc", "operations/1", "operations/2", "operations/3", "audit", "events", "users",
    "tokens", "keys", "racks", "racks/1", "racks/1/plans", "plans/1", "settings", "session", "images", "power-drivers",
    "openapi.json", "broker/acl",
)  # fmt: skip


class Life:
    """A life with secrets in it: `secrets` are all that were planted or made, `answers` all that anybody can read."""

    def __init__(self, folder: Path) -> None:
        context = replace(make_context(folder), secrets=FernetBox([Fernet.generate_key().decode()]))
        (folder / "image").mkdir()
        seeded = seed(context, image_folder=folder / "image")
        with context.store.write() as session:
            session.get_one(Rack, seeded.rack_id).control_plane_host = "192.0.2.10"
        application = create_app(context, load({"MUSTER_STATE_DIR": str(folder / "state")}))
        self.folder = folder
        self.lab = Lab(context, seeded, application)
        self.secrets: dict[str, str] = {"BMC password": BMC_PASSWORD, "user password": USER_PASSWORD}
        self.admin = users.create(context, "root", USER_PASSWORD, "admin")
        self.api = Asking(application.test_client(), self._token("root"))
        self.live()

    def _token(self, name: str) -> str:
        credentials = {"name": name, "password": USER_PASSWORD}
        answer = self.lab.application.test_client().post("/api/v1/login", json=credentials)
        assert 201 == answer.status_code, answer.text
        token: str = answer.get_json()["token"]
        self.secrets["API token"] = token
        return token

    def live(self) -> None:
        """Enrol, enlist, commission, deploy, call home, release; with refusals and failures on the way."""
        lab = self.lab
        self.enrol_a_rack()
        machine = lab.machine()
        refused = machine.client.post(
            "/machine/v1/enlist", json={}, headers=machine.headers(token="planted-wrong-token")
        )
        assert 401 == refused.status_code
        self.secrets["wrong token"] = "planted-wrong-token"
        assert machine.boot() == "ephemeral"
        self.secrets["enlist token"] = str(machine.token)
        words = machine.enlistment()
        words["bmc"]["password"] = BMC_PASSWORD
        self.machine_id = int(machine.post("/enlist", words).get_json()["machine"])
        self.api.post(f"machines/{self.machine_id}/commission", {}, 202)
        lab.settle(self.machine_id)
        machine.run_scripts()
        self.secrets["commission token"] = str(machine.token)
        lab.settle(self.machine_id)
        power = {
            "driver": "ipmi",
            "parameters": {"address": "10.20.1.8", "username": "u", "password": OTHER_BMC_PASSWORD},
        }
        self.secrets["BMC password set by hand"] = OTHER_BMC_PASSWORD
        assert OTHER_BMC_PASSWORD not in self.api.send("PUT", f"machines/{self.machine_id}/power", power, 200)
        alice = lab.context.acting_as(Actor("root", "admin", self.admin.id))
        allocate(alice, Constraints(cpu_count=4))
        self.api.post(f"machines/{self.machine_id}/deploy", {"user_data": USER_DATA}, 202)
        lab.settle(self.machine_id)
        plan = machine.install()
        assert "planted-user-data" in plan["seed"]["user-data"]
        self.secrets["install token"] = str(machine.token)
        call = json.loads(plan["files"][0]["content"])
        self.secrets["phone-home token"] = call["token"]
        elsewhere = machine.post("/phone-home", {}, token=call["token"], address="10.20.0.77")
        assert 403 == elsewhere.status_code
        lab.settle(self.machine_id)
        assert machine.boot() == "local"
        static = json.loads(plan["seed"]["network-config"])["ethernets"]["eth0"]["addresses"][0]
        body = {"hostname": "m", "ssh_host_keys": ["ssh-ed25519 AAAA"], "boot_id": "b", "addresses": [static]}
        home = machine.post("/phone-home", body, token=call["token"], address=static.partition("/")[0])
        assert 204 == home.status_code
        lab.settle(self.machine_id)
        assert "DEPLOYED" == lab.row(self.machine_id).state
        reconcile(lab.context, lab.seeded.rack_id)

    def enrol_a_rack(self) -> None:
        """A second rack enrols with a code."""
        code = json.loads(self.api.post("racks/codes", {"name": "other"}, 201))["code"]
        body = {
            "code": code,
            "name": "other",
            "layout": {},
            "ports": {},
            "interfaces": [{"name": "eth0", "mac": "02:00:00:00:00:02", "addresses": ["10.30.0.1/24"]}],
        }
        client = self.lab.application.test_client()
        enrolled = client.post("/rack/v1/enrol", json=body)
        assert 201 == enrolled.status_code, enrolled.text
        self.secrets["enrolment code"] = code
        self.secrets["rack token"] = enrolled.get_json()["token"]
        self.secrets["relay token"] = enrolled.get_json()["relay_token"]
        rack_id = enrolled.get_json()["rack"]["id"]
        self.secrets["replaced broker password"] = broker.password_for_rack(self.lab.context, rack_id)
        self.api.post(f"racks/{rack_id}/new-broker-password", {}, 200)
        self.secrets["broker password"] = broker.password_for_rack(self.lab.context, rack_id)
        assert 401 == client.post("/rack/v1/enrol", json=body).status_code

    def release(self) -> None:
        """Give the machine back, and erase it."""
        machine = self.lab.machine()
        self.api.post(f"machines/{self.machine_id}/release", {"erase": "quick"}, 202)
        self.lab.settle(self.machine_id)
        assert machine.boot() == "ephemeral"
        self.secrets["erase token"] = str(machine.token)
        assert 204 == machine.status("finished")
        self.lab.settle(self.machine_id)

    def found_in(self, text: str) -> list[str]:
        """Which secrets stand in a text, as they are or as JSON, HTML or a URL would write them."""
        spaced = USER_PASSWORD.replace(" ", "(?:[ +]|%20)")
        plain = [name for name, secret in self.secrets.items() if secret in text]
        return plain + (["user password"] if re.search(spaced, text) else [])


class Asking:
    """The API with one token."""

    def __init__(self, client: FlaskClient, token: str) -> None:
        self.client, self.headers = client, {"Authorization": f"Bearer {token}"}

    def send(self, method: str, path: str, body: Any, status: int) -> str:
        """One call; the answer's text."""
        answer = self.client.open(f"/api/v1/{path}", method=method, json=body, headers=self.headers)
        assert status == answer.status_code, answer.text
        return answer.text

    def post(self, path: str, body: Any, status: int) -> str:
        """POST."""
        return self.send("POST", path, body, status)


@pytest.fixture
def logged(caplog: pytest.LogCaptureFixture) -> Callable[[], str]:
    """The log as it is written in service, at its most talkative; call it for what was written so far."""
    written = io.StringIO()
    with contextlib.redirect_stderr(written):
        logs.set_up("json")
    caplog.set_level(logging.DEBUG)
    return lambda: written.getvalue() + caplog.text


def everything_stored(folder: Path) -> str:
    """All bytes of the database's files, the write-ahead log included, before and after it is folded in."""
    before = b"".join(path.read_bytes() for path in sorted(folder.glob("muster.db*")))
    connection = sqlite3.connect(folder / "muster.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return (before + b"".join(path.read_bytes() for path in sorted(folder.glob("muster.db*")))).decode("latin-1")


def test_secrets_are_kept_nowhere_in_the_clear(tmp_path: Path, logged: Callable[[], str]) -> None:
    """Neither the database's bytes nor the log hold any of them, after a whole life."""
    life = Life(tmp_path)
    life.release()
    stored, written = everything_stored(tmp_path), logged()

    assert len(life.secrets) >= 12
    assert "m-aabb01" in stored
    assert [] == life.found_in(stored)
    assert "planted-user-data" not in stored
    assert "request.done" in written
    assert [] == life.found_in(written)
    assert "planted-user-data" not in written


def test_nobody_reads_a_secret(tmp_path: Path) -> None:
    """No answer of the API and no page shows one, to an administrator neither; user data is shown to nobody."""
    life = Life(tmp_path)
    browser = life.lab.application.test_client()
    browser.post("/api/v1/session", json={"name": "root", "password": USER_PASSWORD})
    found: dict[str, list[str]] = {}
    for path in LISTS:
        answer = life.api.client.get(f"/api/v1/{path.format(life.machine_id)}", headers=life.api.headers)
        assert 200 == answer.status_code, (path, answer.text)
        found[path] = life.found_in(answer.text) + ["user data"] * ("planted-user-data" in answer.text)
    for path in PAGES:
        answer = browser.get(path.format(life.machine_id))
        assert 200 == answer.status_code, (path, answer.text)
        found[path] = life.found_in(answer.text) + ["user data"] * ("planted-user-data" in answer.text)

    assert {} == {path: names for path, names in found.items() if names}


def test_offers_and_records_hold_no_secret(tmp_path: Path) -> None:
    """What a rack fetches has none of a machine's or another rack's secrets, before and after its power orders."""
    life = Life(tmp_path)
    client, rack = life.lab.application.test_client(), {"Authorization": f"Bearer {life.secrets['rack token']}"}
    reconcile(life.lab.context, life.lab.seeded.rack_id + 1)
    life.api.post(f"machines/{life.machine_id}/power/query", {}, 202)
    texts = [client.get(f"/rack/v1/{path}", headers=rack).text for path in ("offer", "records", "power/operations")]

    assert "content" in texts[0]
    assert [] == life.found_in("".join(texts))


def test_a_bmc_password_leaves_once_and_to_its_rack_only(tmp_path: Path) -> None:
    """The claim of the machine's own rack shows it; a second claim, another rack's claim and result are refused."""
    life = Life(tmp_path)
    life.api.post(f"machines/{life.machine_id}/power/query", {}, 202)
    client = life.lab.application.test_client()
    own = {"Authorization": "Bearer rack-token-of-the-tests"}
    other = {"Authorization": f"Bearer {life.secrets['rack token']}"}
    (order,) = client.get("/rack/v1/power/operations", headers=own).get_json()["operations"]
    path = f"/rack/v1/power/operations/{order['id']}"

    assert [] == client.get("/rack/v1/power/operations", headers=other).get_json()["operations"]
    assert 404 == client.post(f"{path}/claim", headers=other).status_code
    assert 404 == client.post(f"{path}/result", json={"ok": True, "power": "on"}, headers=other).status_code
    assert OTHER_BMC_PASSWORD == client.post(f"{path}/claim", headers=own).get_json()["parameters"]["password"]
    assert 409 == client.post(f"{path}/claim", headers=own).status_code


def test_the_first_password_is_shown_by_nothing_but_its_return(tmp_path: Path, logged: Callable[[], str]) -> None:
    """A new installation's administrator password and signing key are in neither store nor log."""
    context = replace(make_context(tmp_path), secrets=FernetBox([Fernet.generate_key().decode()]))
    Base.metadata.create_all(context.store.engine)
    password = bootstrap.prepare(context)

    assert password is not None
    assert password not in everything_stored(tmp_path)
    assert password not in logged()
