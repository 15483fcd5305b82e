"""What Redfish adds to what every driver promises: trust, logging in and out, ETags, systems, and vendors' habits."""

from __future__ import annotations

import base64
import json
import logging
import ssl
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from app.power.base import PowerError
from app.power.operation import operate
from app.power.registry import driver
from lab.redfish_bmc import SESSION_LIMIT
from tests.conformance.controllers import PASSWORD, SYSTEM_UUID, Controller, redfish
from tests.conformance.scripted import Answer, Request, Scripted, scripted

SYSTEMS = "/redfish/v1/Systems"
RESET = "Actions/ComputerSystem.Reset"


@pytest.fixture(scope="module")
def controller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Controller]:
    with redfish(tmp_path_factory.mktemp("redfish")) as made:
        yield made


def do(verb: str, parameters: dict[str, str], seconds: float = 30) -> str:
    """One operation, here; the power state."""
    return operate(driver("redfish"), verb, parameters, seconds).power


def refusal(verb: str, parameters: dict[str, str], seconds: float = 30) -> PowerError:
    """The error that an operation must end with."""
    with pytest.raises(PowerError) as error:
        do(verb, parameters, seconds)
    return error.value


# --- the lab's BMC ----------------------------------------------------------------------------------------------------


def certificate_of(controller: Controller) -> str:
    return ssl.get_server_certificate(("127.0.0.1", int(controller.parameters["port"])))


def test_a_self_signed_certificate_is_trusted_when_it_is_pinned_or_its_authority_given(controller: Controller) -> None:
    """Pinned by fingerprint in any usual spelling, or by authority, or not checked at all when that is said."""
    pin = controller.parameters["certificate"]
    spelled = ":".join(pin[i : i + 2] for i in range(0, 64, 2)).upper()
    ways: tuple[dict[str, str], ...] = (
        {"certificate": spelled},
        {"certificate": "", "authority": certificate_of(controller)},
        {"certificate": "", "verify": "no"},
    )

    assert ["off"] * 3 == [do("query", {**controller.parameters, **way}) for way in ways]


@pytest.mark.parametrize("way", [{"certificate": "0" * 64}, {"certificate": ""}], ids=["other pin", "no pin"])
def test_a_certificate_that_is_not_trusted_gets_no_password(tmp_path: Path, way: dict[str, str]) -> None:
    """Nothing at all is asked of a controller with another certificate than the one that is meant."""
    with scripted(tmp_path, lambda request: Answer({})) as server:
        known = {"address": "127.0.0.1", "username": "muster", "password": PASSWORD, "port": str(server.port)}
        error = refusal("query", {**known, **way})

    assert "untrusted" == error.kind
    assert [] == server.requests


@pytest.mark.parametrize("auth", ["auto", "session", "basic"])
def test_both_ways_to_log_in(controller: Controller, auth: str) -> None:
    """A session and basic authentication do the same."""
    known = {**controller.parameters, "auth": auth}

    assert ["on", "unknown", "off"] == [do(verb, known) for verb in ("on", "pxe", "off")]


def test_sessions_are_logged_out(controller: Controller) -> None:
    """Many operations in a row leave no session behind, also those that fail; the controller has few to give."""
    known = {**controller.parameters, "auth": "session"}
    for _ in range(SESSION_LIMIT + 1):
        do("query", known)
        refusal("query", {**known, "system": "9"})
    words = base64.b64encode(f"muster:{PASSWORD}".encode()).decode()
    request = urllib.request.Request(
        f"https://127.0.0.1:{known['port']}/redfish/v1/SessionService/Sessions",
        headers={"Authorization": f"Basic {words}"},
    )
    context = ssl.create_default_context(cadata=certificate_of(controller))
    with urllib.request.urlopen(request, context=context) as answer:
        left = json.load(answer)["Members"]

    assert [] == left


def test_the_password_is_in_no_log(controller: Controller, caplog: pytest.LogCaptureFixture) -> None:
    """With every logger at its most talkative neither the password nor the token of the session is written."""
    with caplog.at_level(logging.DEBUG):
        do("query", {**controller.parameters, "auth": "session"})
        refusal("query", {**controller.parameters, "username": PASSWORD, "auth": "basic"})

    assert PASSWORD not in caplog.text
    assert json.dumps(PASSWORD)[1:-1] not in caplog.text
    assert base64.b64encode(f"muster:{PASSWORD}".encode()).decode() not in caplog.text
    assert "X-Auth-Token" not in caplog.text


def test_a_system_is_checked_by_its_uuid(controller: Controller) -> None:
    """Another machine's controller is left alone; UUIDs are compared as such, not as text."""
    error = refusal("on", {**controller.parameters, "system_uuid": "00000000-1111-2222-3333-444444444444"})

    assert ("refused", False) == (error.kind, controller.machine.power)
    assert SYSTEM_UUID in error.sentence
    assert "off" == do("query", {**controller.parameters, "system_uuid": SYSTEM_UUID.upper()})


def test_firmware_and_way_of_network_boot_must_be_the_machines(controller: Controller) -> None:
    """UEFI HTTP is its own target; what the controller refuses is told; no mode is sent if nobody knows the firmware."""
    do("pxe", {**controller.parameters, "network_boot": "http"})
    http = controller.machine.boot
    legacy = refusal("pxe", {**controller.parameters, "firmware": "bios"})
    do("pxe", {**controller.parameters, "firmware": ""})

    assert ("http", "pxe", "refused") == (http, controller.machine.boot, legacy.kind)
    assert "BootSourceOverrideMode 'Legacy' is not one of UEFI" in legacy.sentence


# --- habits of others -------------------------------------------------------------------------------------------------


class Service:
    """A Redfish service as documents that a test changes."""

    def __init__(self) -> None:
        self.power = "Off"
        self.boot: dict[str, Any] = {"BootSourceOverrideEnabled": "Disabled", "BootSourceOverrideTarget": "None"}
        self.systems = ["blade1"]
        self.action: dict[str, Any] = {}
        self.root: dict[str, Any] = {
            "Systems": {"@odata.id": SYSTEMS},
            "Links": {"Sessions": {"@odata.id": "/redfish/v1/Sessions"}},
        }
        self.etag: str | None = None
        self.wants: Callable[[str | None], int | None] = lambda given: None
        self.extra: dict[str, Answer] = {}

    def __call__(self, request: Request) -> Answer:
        """The script."""
        path = request.path.rstrip("/")
        if path in self.extra:
            return self.extra[path]
        if path == "/redfish/v1":
            return Answer(self.root)
        if request.method == "POST" and path.endswith("/Sessions"):
            return Answer({}, 201, {"X-Auth-Token": "t0ken", "Location": "https://bmc.example/redfish/v1/Sessions/1"})
        if path == SYSTEMS:
            return Answer({"Members": [{"@odata.id": f"{SYSTEMS}/{name}"} for name in self.systems]})
        if request.method == "PATCH":
            if status := self.wants(request.headers.get("If-Match")):
                return Answer({}, status)
            self.boot |= json.loads(request.body)["Boot"]
            return Answer(b"", 204)
        if request.method == "POST" and path.endswith(RESET):
            self.power = "Off" if json.loads(request.body)["ResetType"] == "ForceOff" else "On"
            return Answer({}, 202)
        if request.method == "GET" and path.rpartition("/")[2] in self.systems:
            action = {"target": f"{path}/{RESET}", **self.action}
            document = {"PowerState": self.power, "Boot": self.boot, "UUID": f"00000000-0000-0000-0000-{len(path):012}"}
            headers = {"ETag": self.etag} if self.etag else {}
            return Answer({**document, "Actions": {"#ComputerSystem.Reset": action}}, headers=headers)
        return Answer({}, 204 if request.method == "DELETE" else 404)


@pytest.fixture
def service() -> Service:
    return Service()


@pytest.fixture
def server(tmp_path: Path, service: Service) -> Iterator[Scripted]:
    with scripted(tmp_path, service) as made:
        yield made


def known(server: Scripted, **other: str) -> dict[str, str]:
    """How to reach the scripted service."""
    return {
        "address": "127.0.0.1", "username": "muster", "password": PASSWORD, "port": str(server.port),
        "certificate": server.certificate, **other,
    }  # fmt: skip


def test_a_service_without_sessions_is_used_with_basic_authentication(server: Scripted, service: Service) -> None:
    """Whether its root names none or its path is not there; a session that was asked for in so many words is not replaced."""
    service.extra["/redfish/v1/Sessions"] = Answer({}, 405)
    by_status = do("query", known(server))
    service.root.pop("Links")
    by_root = do("query", known(server))
    service.root["Links"] = {"Sessions": {"@odata.id": "/redfish/v1/Sessions"}}
    error = refusal("query", known(server, auth="session"))

    assert ("off", "off", "refused") == (by_status, by_root, error.kind)
    assert any(request.headers.get("Authorization", "").startswith("Basic ") for request in server.requests)


def test_a_session_is_ended_where_it_is_and_not_on_another_host(server: Scripted) -> None:
    """Services give the whole URL of a session by a name of their own: its path counts."""
    do("query", known(server))

    assert ["/redfish/v1/Sessions/1"] == [request.path for request in server.asked("DELETE")]
    assert ["t0ken"] == [request.headers.get("X-Auth-Token") for request in server.asked("DELETE")]


@pytest.mark.parametrize(
    ("etag", "wants", "tried"),
    [
        pytest.param(None, lambda given: None, [None], id="no ETags"),
        pytest.param('"7"', lambda given: None if given == '"7"' else 428, ['"7"'], id="asks for the ETag"),
        pytest.param(
            'W/"7"', lambda given: None if given == '"7"' else 412, ['W/"7"', '"7"'], id="weak, and wants it strong"
        ),
        pytest.param(
            'W/"7"', lambda given: 412 if given else None, ['W/"7"', '"7"', None], id="gives ETags and takes none"
        ),
    ],
)
def test_etags_in_every_habit(
    server: Scripted,
    service: Service,
    etag: str | None,
    wants: Callable[[str | None], int | None],
    tried: list[str | None],
) -> None:
    """If-Match is given where there is an ETag, and what a service makes of it is borne."""
    service.etag, service.wants = etag, wants
    do("pxe", known(server))

    assert tried == [request.headers.get("If-Match") for request in server.asked("PATCH")]
    assert "Pxe" == service.boot["BootSourceOverrideTarget"]


def test_several_systems_must_be_told_apart(server: Scripted, service: Service) -> None:
    """Their names are in the refusal; one is chosen by its Id or its UUID."""
    service.systems = ["blade1", "blade20"]
    error = refusal("query", known(server))
    chosen = [do("query", known(server, system="blade20"))]
    uuid = f"00000000-0000-0000-0000-{len(SYSTEMS + '/blade20'):012}"
    chosen.append(do("query", known(server, system_uuid=uuid)))
    wrong = refusal("query", known(server, system="blade3"))

    assert "several systems (blade1, blade20); say which in `system`" in error.sentence
    assert ["off", "off"] == chosen
    assert "has no system 'blade3'; it has blade1, blade20" in wrong.sentence


def test_a_boot_target_that_is_not_allowed_is_not_tried(server: Scripted, service: Service) -> None:
    """What the controller allows is named."""
    service.boot["BootSourceOverrideTarget@Redfish.AllowableValues"] = ["None", "Pxe"]
    error = refusal("pxe", known(server, network_boot="http"))

    assert "cannot boot by UefiHttp: it allows None, Pxe; set `network_boot`" in error.sentence
    assert [] == server.asked("PATCH")


def test_reset_types_by_action_info(server: Scripted, service: Service) -> None:
    """What is allowed may stand in another document; a type that is not allowed is not tried."""
    info = f"{SYSTEMS}/blade1/ResetActionInfo"
    service.action = {"@Redfish.ActionInfo": info}
    service.extra[info] = Answer({"Parameters": [{"Name": "ResetType", "AllowableValues": ["ForceOn", "ForceOff"]}]})
    do("on", known(server))
    error = refusal("soft_off", known(server))

    bodies = [json.loads(request.body) for request in server.asked("POST") if request.path.endswith(RESET)]
    assert [{"ResetType": "ForceOn"}] == bodies
    assert "cannot do soft_off: it allows ForceOn, ForceOff" in error.sentence


def test_a_redirect_to_another_host_takes_no_token_along(server: Scripted, service: Service, tmp_path: Path) -> None:
    """The other host is not even asked."""
    (tmp_path / "other").mkdir()
    with scripted(tmp_path / "other", lambda request: Answer({})) as other:
        service.extra[SYSTEMS] = Answer({}, 307, {"Location": f"https://127.0.0.1:{other.port}{SYSTEMS}"})
        error = refusal("query", known(server))

    assert "garbage" == error.kind
    assert f"redirects to another host (https://127.0.0.1:{other.port})" in error.sentence
    assert [] == other.requests


@pytest.mark.parametrize(
    ("document", "said"),
    [
        pytest.param(Answer(b"<html>"), "is not JSON", id="no JSON"),
        pytest.param(Answer([1]), "no JSON object", id="a list"),
        pytest.param(Answer({"Members": 7}), "makes no sense", id="a number for a list"),
        pytest.param(Answer(b" " * (5 * 2**20)), "longer than 4 MiB", id="endless"),
        pytest.param(Answer({"error": {"message": f"no {PASSWORD} here"}}, 500), "no ******** here", id="repeats it"),
    ],
)
def test_answers_that_make_no_sense(server: Scripted, service: Service, document: Answer, said: str) -> None:
    """Each ends in a sentence that says what is wrong; a password that is sent back is masked."""
    service.extra[SYSTEMS] = document
    error = refusal("query", known(server))

    assert said in error.sentence
    assert PASSWORD not in error.sentence
