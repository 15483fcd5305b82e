"""Where the control plane's host has no DHCP server, the rack that runs it judges a snippet before it is saved."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.config import load as load_config
from app.factory import create_app
from app.services import daemon_check, racks, snippet_check, snippets
from app.services.context import Actor, Context
from app.services.errors import Conflict, Invalid
from app.store.models import DhcpSnippet, Rack, RackQuestion, utc_now
from renderers import registry
from tests.daemons.push_lab import serving
from tests.daemons.requires import require
from tests.factories.control import RACK_TOKEN, make_context, seed
from workers.rack.client import ControlPlane
from workers.rack.config_check import ConfigChecker
from workers.rack.questions import Questions
from workers.rack.secret_files import SecretFiles

SPECS = {spec.name: spec for spec in registry.services()}


@contextlib.contextmanager
def answering(url: str, folder: Path) -> Iterator[None]:
    """The rack's thread that answers, over HTTP."""
    stop = threading.Event()
    questions = Questions(ControlPlane(url, RACK_TOKEN), SecretFiles(folder), {"check": ConfigChecker(SPECS)})

    def answer() -> None:
        while not stop.wait(0.02):
            questions.turn()

    thread = threading.Thread(target=answer)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


@pytest.fixture(params=("kea4", "dhcpd"))
def context(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    """An administrator of a control plane on whose host no DHCP server is, with a rack that runs one."""
    require("kea-dhcp4" if request.param == "kea4" else "dhcpd")
    monkeypatch.setattr(daemon_check, "_path", lambda program: None)
    context = replace(make_context(tmp_path), clock=utc_now)
    seeded = seed(context)
    if request.param == "dhcpd":
        racks.change(context, seeded.rack_id, dhcp_server="dhcpd")
    with context.store.write() as session:
        session.get_one(Rack, seeded.rack_id).seen_at = utc_now()
    application = create_app(context, load_config({"MUSTER_STATE_DIR": str(tmp_path / "state")}))
    with serving(application) as url, answering(url, tmp_path):
        yield context.acting_as(Actor("root", "admin"))
    context.store.engine.dispose()


def program_of(context: Context) -> str:
    """The server that the rack runs."""
    return "kea-dhcp4" if racks.get(context, 1).dhcp_server == "kea" else "dhcpd"


def test_a_rack_checks_and_it_is_said_that_it_did(context: Context) -> None:
    """What its checker takes is saved without force, with who has checked it; its answer is kept."""
    made = snippets.create(context, "time", "option", "subnet", "ntp-servers 10.0.0.1", subnet_id=1)

    assert (True, f"{program_of(context)} for rack-1, on that rack") == (made.checked, made.checked_by)
    with context.store.read() as session:
        question = session.get_one(RackQuestion, 1)
    assert ("answered", True, None) == (question.status, (question.answer or {})["ok"], question.body)


def test_what_a_racks_checker_refuses_is_not_saved_even_by_force(context: Context) -> None:
    """Its words, the rack, and the line of the snippet are told."""
    bad = {
        "kea-dhcp4": '{\n"valid-lifetime": 60,\n"option-data": [{"name": "no-such"}]\n}',
        "dhcpd": "max-lease-time 60;\nmax-lease-time long;",
    }
    program = program_of(context)
    kind = "kea4" if program == "kea-dhcp4" else "dhcpd"
    with pytest.raises(Invalid) as refused:
        snippets.create(context, "bad", kind, "global", bad[program], force=True)
    (finding,) = snippets.check(context, kind, "global", bad[program]).findings

    assert f"{program} for rack rack-1" in refused.value.detail
    assert ("rack-1", program, 3 if kind == "kea4" else 2) == (finding.rack, finding.program, finding.line)
    assert [] == snippets.find(context)


def test_what_was_broken_before_is_told_of(context: Context) -> None:
    """The rack is asked about its configuration without the snippet too."""
    kind = "kea4" if program_of(context) == "kea-dhcp4" else "dhcpd"
    body = '{"option-data": [{"name": "no-such"}]}' if kind == "kea4" else "max-lease-time long;"
    with context.store.write() as session:
        session.add(DhcpSnippet(name="old", kind=kind, scope="global", body=body, created_at=context.clock()))
    (finding,) = snippets.check(context, "option", "global", "tcode Europe/Berlin").findings

    assert "without this snippet too" in finding.message


def test_nobody_waits_for_a_rack_that_is_away(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    """It takes force then, as before, and the reason is told; the same with a rack that cannot."""
    monkeypatch.setattr(snippet_check, "ASK_SECONDS", 0.2)
    monkeypatch.setattr("workers.rack.config_check.shutil.which", lambda program: None)
    with pytest.raises(Conflict, match=f"rack rack-1 did not judge it: {program_of(context)} is not on this host"):
        snippets.create(context, "time", "option", "global", "ntp-servers 10.0.0.1")
    with context.store.write() as session:
        session.get_one(Rack, 1).seen_at = None
    with pytest.raises(Conflict, match="it was never heard; nothing was asked"):
        snippets.create(context, "time", "option", "global", "ntp-servers 10.0.0.1")

    assert not snippets.create(context, "time", "option", "global", "ntp-servers 10.0.0.1", force=True).checked
