"""The command line against a real server on the loopback, and what its exit codes say."""

from __future__ import annotations

import json
import os
import stat
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import requests
import structlog
from werkzeug.serving import make_server

from app.cli import main
from app.cli.follow import parse_stream
from app.cli.output import table
from app.cli.run import Listen, RunError
from app.config import load
from app.factory import create_app
from app.lifecycle.table import actions
from app.services import tokens, users
from app.services.context import Context
from app.store.models import User
from tests.factories.control import Seeded, hash_of, make_context, make_machine, seed


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Served:
    """A served control plane and a way to run commands against it."""

    context: Context
    seeded: Seeded
    url: str
    run: Callable[..., Outcome]


@pytest.fixture
def served(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Served]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())  # The server shares our standard output.
    context = make_context(tmp_path)
    seeded = seed(context)
    server = make_server("127.0.0.1", 0, create_app(context, load({"MUSTER_STATE_DIR": str(tmp_path / "s")})), True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    admin = User(name="root", role="admin", password_hash=hash_of("a long password"))
    with context.store.write() as session:
        session.add(admin)
    text = tokens.create(context.acting_as(users.actor(admin)), "test").text
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("MUSTER_URL", url)
    monkeypatch.setenv("MUSTER_TOKEN", text)

    def run(*words: str) -> Outcome:
        monkeypatch.setattr(sys, "argv", ["muster", *words])
        capsys.readouterr()
        code = 0
        try:
            main()
        except SystemExit as leave:
            code = int(leave.code or 0)
        written = capsys.readouterr()
        return Outcome(code, written.out, written.err)

    yield Served(context, seeded, url, run)
    server.shutdown()


def test_login_keeps_a_token_for_its_owner(served: Served, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After a login commands work without any variable; the profile is readable by its owner only."""
    monkeypatch.delenv("MUSTER_TOKEN")
    before = served.run("machine", "list")
    password = tmp_path / "password"
    password.write_text("a long password\n")
    login = served.run("login", "root", "--password-file", str(password))
    monkeypatch.delenv("MUSTER_URL")
    profile = tmp_path / "config" / "muster" / "profile.json"

    assert (4, 0) == (before.code, login.code)
    assert 0o600 == stat.S_IMODE(profile.stat().st_mode)
    assert served.url == json.loads(profile.read_text())["url"]
    assert 0 == served.run("machine", "list").code


def test_exit_codes(served: Served, monkeypatch: pytest.MonkeyPatch) -> None:
    """0 done, 1 refused, 2 usage, 3 not reachable, 4 not signed in; the sentence goes to standard error."""
    refused = served.run("machine", "show", "none")
    away = served.run("--url", "http://127.0.0.1:1", "machine", "list")
    usage = served.run("machine", "explode")
    monkeypatch.setenv("MUSTER_TOKEN", "muster_wrong")
    unsigned = served.run("machine", "list")

    assert (1, 3, 2, 4) == (refused.code, away.code, usage.code, unsigned.code)
    assert "machine none" in refused.err
    assert "cannot be reached" in away.err
    assert "" == refused.out + away.out + unsigned.out


def test_tables_and_json(served: Served) -> None:
    """A table for people, JSON for programs, of the same machines."""
    make_machine(served.context, served.seeded, "one", tags=("gpu",))
    lines = served.run("machine", "list").out.splitlines()
    found = json.loads(served.run("--json", "machine", "list", "--state", "ready").out)

    assert lines[0].startswith("ID  HOSTNAME")
    assert lines[1].split()[1:4] == ["one", "READY", "off"]
    assert ["one"] == [item["hostname"] for item in found]
    assert [] == json.loads(served.run("--json", "machine", "list", "--state", "broken").out)


def test_every_verb_is_a_command(served: Served) -> None:
    """The state table's verbs are commands with their parameters as options."""
    for action in actions().values():
        shown = served.run("machine", action.name, "--help")

        assert 0 == shown.code, action.name
        if action.name != "allocate":
            assert all(f"--{one.name.replace('_', '-')}" in shown.out for one in action.parameters)


def test_allocate_and_release(served: Served) -> None:
    """A machine is drawn and given back; when none is left the refusal says so and the exit code is 1."""
    make_machine(served.context, served.seeded, "one")
    drawn = served.run("machine", "allocate", "--cpus", "1")
    second = served.run("machine", "allocate")
    back = served.run("machine", "release", "one", "--wait")

    assert (0, 1, 0) == (drawn.code, second.code, back.code)
    assert "ALLOCATED" in drawn.out
    assert "no machine is Ready" in second.err
    assert "succeeded" in back.out


def test_waiting_ends_with_the_operation(served: Served) -> None:
    """--wait shows events meanwhile, and an aborted operation is exit code 1."""
    machine_id = make_machine(served.context, served.seeded, "one")
    timer = threading.Timer(1.0, lambda: requests.post(
        f"{served.url}/api/v1/machines/{machine_id}/abort",
        headers={"Authorization": f"Bearer {os.environ['MUSTER_TOKEN']}"}, timeout=10,
    ))  # fmt: skip
    timer.start()
    done = served.run("machine", "commission", "one", "--wait")
    timer.join()

    assert 1 == done.code
    assert "... commission: arm" in done.err
    assert "aborted by root" in done.err


def test_network_commands(served: Served) -> None:
    """Things are made, listed, changed and deleted."""
    steps = [
        ("fabric", "create", "lab"),
        ("vlan", "create", "--fabric", "2", "--vid", "100", "--name", "blue"),
        ("domain", "create", "two.muster", "--ttl-seconds", "60"),
        ("subnet", "create", "10.30.0.0/24", "--vlan", "2", "--gateway", "10.30.0.1"),
        ("range", "create", "10.30.0.100", "10.30.0.199", "--subnet", "2", "--kind", "dynamic"),
        ("vlan", "set", "2", "--mtu", "9000"),
        ("zone", "create", "row-1"),
        ("pool", "create", "blue"),
        ("tag", "create", "gpu"),
        ("zone", "delete", "row-1"),
        ("rack", "reconcile", "rack-1"),
        ("reconcile",),
        ("rack", "show", "rack-1"),
        ("image", "list"),
        ("events",),
        ("audit",),
        ("user", "list"),
        ("key", "list"),
        ("token", "list"),
    ]
    outcomes = {words: served.run(*words) for words in steps}

    assert {} == {words: outcome.err for words, outcome in outcomes.items() if outcome.code}
    assert "10.30.0.199" in served.run("range", "list").out
    assert "9000" in served.run("vlan", "list").out
    assert "Not in sync" in outcomes["rack", "show", "rack-1"].out
    assert 2 == served.run("vlan", "set", "2").code


def test_a_subnet_is_renumbered(served: Served) -> None:
    """What would move and what speaks against it is shown; then it is asked for, and refused with the reason."""
    number = str(served.seeded.subnet_id)
    seen = served.run("subnet", "renumber", number, "10.30.0.0/24", "--preview")
    wrong = served.run("subnet", "renumber", number, "10.20.0.0/20", "--no-follow")
    asked = served.run("subnet", "renumber", number, "10.30.0.0/24", "--no-follow")

    assert "10.30.0.0/24" in seen.out
    assert "they share addresses" in wrong.err
    assert (0, 0) == (seen.code, asked.code), (seen.err, asked.err)
    assert "subnets.renumber" in asked.out


def test_tags_and_power(served: Served) -> None:
    """Tags are put on machines; a power driver is set without showing secrets."""
    make_machine(served.context, served.seeded, "one", bmc=False)
    tagged = served.run("tag", "machine", "one", "--add", "gpu")
    words = ["--set", "address=10.20.1.9", "--set", "username=muster", "--set", "password=not-to-be-seen"]
    power = served.run("machine", "set-power", "one", "ipmi", *words)
    asked = served.run("machine", "power", "one", "query")

    assert (0, 0, 0) == (tagged.code, power.code, asked.code)
    assert "gpu" in tagged.out
    assert "not-to-be-seen" not in power.out


def test_power_drivers_and_machines_by_uuid(served: Served) -> None:
    """The drivers are listed with what each takes; a machine is added by its UUID; neither UUID nor MAC is a mistake."""
    listed = served.run("machine", "power-drivers")
    added = served.run("machine", "add", "--uuid", "4c4c4544-0042-3510-8051-b7c04f4a5931", "--hostname", "rf-1")
    nothing = served.run("machine", "add", "--hostname", "rf-2")

    assert (0, 0, 2) == (listed.code, added.code, nothing.code)
    assert "redfish" in listed.out
    assert "auto, session, basic" in listed.out
    assert "rf-1" in added.out


def test_streams_are_parsed() -> None:
    """Comments are skipped, data lines are joined, the id stays until the next one."""
    lines = [": hello", "retry: 2000", "", "id: 4", "event: x", "data: a", "data: b", "", "data:c", ""]

    assert [("4", "a\nb"), ("4", "c")] == list(parse_stream(lines))


def test_tables_are_aligned() -> None:
    """Columns begin at the same place and lines have no trailing spaces."""
    assert "ID   NAME\n1    a\n100  -" == table(("id", "name"), [(1, "a"), (100, None)])


@pytest.mark.parametrize("text", ["5240", "host:", "host:0", "host:70000", "::1:5240", "host:http"])
def test_wrong_listens_are_named(text: str) -> None:
    """An address that is no HOST:PORT is refused with an example."""
    with pytest.raises(RunError, match="HOST:PORT"):
        Listen.parse(text)


def test_listens() -> None:
    """IPv4, IPv6 in brackets, and all addresses."""
    assert Listen("127.0.0.1", 1) == Listen.parse("127.0.0.1:1")
    assert Listen("::1", 5240) == Listen.parse("[::1]:5240")
    assert Listen("0.0.0.0", 80) == Listen.parse(":80")


def test_snippets_are_checked_saved_and_reverted(served: Served, tmp_path: Path) -> None:
    """The body comes as lines or from a file; what is wrong is said with its line and exit code 1."""
    body = tmp_path / "body"
    body.write_text("tcode b\n")
    wrong = served.run("snippet", "check", "--subnet", str(served.seeded.subnet_id), "tcode a", "ntp-servers here")
    neither = served.run("snippet", "create", "time")
    made = served.run("snippet", "create", "time", "tcode a", "--force", "--json")
    number = str(json.loads(made.out)["id"])
    changed = served.run("snippet", "set", number, "--file", str(body), "--force")
    back = served.run("snippet", "revert", number, "1", "--force", "--json")
    history = json.loads(served.run("snippet", "history", number, "--json").out)
    listed = served.run("snippet", "list", "--scope", "global", "--enabled")

    assert (1, 2, 0, 0, 0, 0) == tuple(
        one.code for one in (wrong, neither, made, changed, back, listed)
    ), changed.err + back.err + made.err  # fmt: skip
    assert "line 2: ntp-servers: 'here' is no IPv4 address" in wrong.err
    assert (3, "tcode a") == (json.loads(back.out)["revision"], json.loads(back.out)["body"])
    assert ["tcode a", "tcode b\n", "tcode a"] == [item["body"] for item in history]
    assert "time" in listed.out
    assert "tcode" in served.run("snippet", "options").out
