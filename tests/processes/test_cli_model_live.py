"""`muster export` and `muster apply` against real control planes on the loopback."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import structlog
from sqlalchemy import func, select
from werkzeug.serving import make_server

from app.cli import main
from app.config import load
from app.factory import create_app
from app.services import bootstrap, tokens, users
from app.services.context import Context
from app.store.models import ChangeEvent, Rack
from tests.factories.control import make_context, make_machine, seed

EXAMPLE = (Path(__file__).parents[2] / "docs" / "export.md").read_text().split("```yaml\n")[1].split("```")[0]


@dataclass
class Outcome:
    code: int
    out: str
    err: str


@dataclass
class Plane:
    """A control plane as it is after installation with one rack, and a way to run commands against it."""

    context: Context
    run: Callable[..., Outcome]
    calls: list[str]

    def audited(self) -> int:
        """How many changes have been audited."""
        with self.context.store.read() as session:
            return session.scalar(select(func.count()).select_from(ChangeEvent)) or 0

    def apply(self, file: Path, text: str, *words: str) -> Outcome:
        """Apply a text."""
        file.write_text(text)
        return self.run("apply", "-f", str(file), "--yes", "--unchecked", *words)


@pytest.fixture
def planes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[[], Plane]]:
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    servers = []

    def make(*, used: bool = False) -> Plane:
        folder = tmp_path / f"plane-{len(servers)}"
        folder.mkdir()
        context = make_context(folder)
        if used:
            make_machine(context, seed(context), "web-1")
        else:
            bootstrap.prepare(context)
            _add_rack(context)
        app = create_app(context, load({"MUSTER_STATE_DIR": str(folder / "state")}))
        calls: list[str] = []

        def counted(environment: dict[str, str], start: Callable[..., object]) -> object:
            calls.append(f"{environment['REQUEST_METHOD']} {environment['PATH_INFO']}")
            return app(environment, start)

        server = make_server("127.0.0.1", 0, counted, True)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        root = users.create(context, "root", "a long password", "admin")
        token = tokens.create(context.acting_as(users.actor(root)), "test").text

        def run(*words: str) -> Outcome:
            monkeypatch.setenv("MUSTER_TOKEN", token)
            monkeypatch.setattr(sys, "argv", ["muster", "--url", f"http://127.0.0.1:{server.server_port}", *words])
            capsys.readouterr()
            code = 0
            try:
                main()
            except SystemExit as leave:
                code = int(leave.code or 0)
            written = capsys.readouterr()
            return Outcome(code, written.out, written.err)

        return Plane(context, run, calls)

    yield make
    for server in servers:
        server.shutdown()
        server.server_close()


def _add_rack(context: Context) -> None:
    with context.store.write() as session:
        interfaces = [{"name": "eth0", "mac": "02:00:00:00:00:01", "addresses": ["10.20.0.1/24"]}]
        session.add(Rack(name="rack-1", token_hash="x", layout={}, interfaces=interfaces, enrolled_at=context.clock()))


def test_a_model_moves_to_an_empty_control_plane(planes: Callable[[], Plane], tmp_path: Path) -> None:
    """The documented example, applied, is exported as it stands; applied again it changes and audits nothing."""
    plane = planes()
    file = tmp_path / "network.yaml"
    dry = plane.run("apply", "--dry-run", "-f", str(_written(file, EXAMPLE)))
    first = plane.apply(file, EXAMPLE, "--prune")
    audited = plane.audited()
    plane.calls.clear()
    exported = plane.run("export")
    calls = list(plane.calls)
    again = plane.apply(file, exported.out)

    assert (2, 0) == (dry.code, first.code), dry.err + first.err
    assert "+ subnet 10.20.0.0/24" in dry.out
    assert EXAMPLE.splitlines() == exported.out.splitlines()
    assert (0, "Nothing to change.\n") == (again.code, again.err)
    assert audited == plane.audited()
    assert 0 == plane.run("apply", "--dry-run", "-f", str(file)).code
    assert len(calls) == len(set(calls)) < 17
    assert all(call.startswith("GET ") for call in calls)


def _written(file: Path, text: str) -> Path:
    file.write_text(text)
    return file


def test_machines_are_named_and_stay_where_they_are(planes: Callable[..., Plane], tmp_path: Path) -> None:
    """A snippet for a machine names it; elsewhere that is refused, and without it the model is the same there."""
    used, fresh = planes(used=True), planes()
    file = tmp_path / "network.yaml"
    bare = used.run("export").out
    snippet = "snippets:\n  - name: for web\n    kind: option\n    machine: web-1\n    body: ntp-servers 10.20.0.5\n"
    named = used.apply(file, bare.replace("snippets: []\n", snippet))
    whole = used.run("export").out
    refused = fresh.apply(file, whole)
    moved = fresh.apply(file, bare, "--prune", "--force")

    assert (0, 1, 0) == (named.code, refused.code, moved.code), named.err + moved.err
    assert whole.endswith(snippet)
    assert "DHCP snippet for web: there is no machine web-1, here or in the file" in refused.err
    assert bare.splitlines() == fresh.run("export").out.splitlines()


CHANGES = {
    "    mtu: 9000\n": "    mtu: 1500\n",
    "ttl_seconds: 3600": "ttl_seconds: 60",
    "ttl_seconds: 120": "ttl_seconds: 180",
    "data: 10.20.0.25": "data: 10.20.0.26",
    "gateway: 10.20.0.254": "gateway: 10.20.0.252",
    "end: 10.20.0.209": "end: 10.20.0.219",
    "metric: 10": "metric: 20",
    "52:54:00:00:00:31": "52:54:00:00:00:32",
    "comment: Until spring": "comment: Until summer",
    "description: Top of rack": "description: Bottom of rack",
    "name: spare": "name: uplink",
    "address: 10.20.0.61": "address: 10.20.0.62",
    "      time-offset 3600": "      time-offset 7200",
    "- 0.pool.ntp.org": "- 1.pool.ntp.org",
    "url: https://packages.example.org/apt": "url: https://packages.example.org/deb",
    "      - extra\n": "      - extra\n      - odd\n",
    "description: Over the river": "description: On the hill",
}


def test_changes_are_shown_and_made(planes: Callable[[], Plane], tmp_path: Path) -> None:
    """Something of every kind changes; afterwards the export is the new file."""
    plane = planes()
    file = tmp_path / "network.yaml"
    plane.apply(file, EXAMPLE)
    text = EXAMPLE
    for old, new in CHANGES.items():
        assert old in text
        text = text.replace(old, new)
    text = text.replace("        mtu: 1500\n", "")
    changed = plane.apply(file, text, "--prune", "--force")

    assert 0 == changed.code, changed.err
    assert "    gateway: 10.20.0.254 -> 10.20.0.252" in changed.out
    assert "      + time-offset 7200" in changed.out
    assert text.splitlines() == plane.run("export").out.splitlines()


def test_pruning_empties_it_again(planes: Callable[[], Plane], tmp_path: Path) -> None:
    """A large deletion needs force; with it, what an installation has is all that stays."""
    plane = planes()
    file = tmp_path / "network.yaml"
    empty = plane.run("export").out
    plane.apply(file, EXAMPLE)
    kept = plane.apply(file, empty)
    refused = plane.apply(file, empty, "--prune")
    before = plane.run("export").out
    emptied = plane.apply(file, empty, "--prune", "--force")

    assert (0, 1, 0) == (kept.code, refused.code, emptied.code), emptied.err
    assert "Not in the file, and kept: " in kept.err
    assert "4 of 4 subnets" not in refused.err
    assert "3 of 3 subnets would be deleted, which is more than 30 %" in refused.err
    assert "cidr: 10.20.0.0/24" in before
    assert empty == plane.run("export").out


def test_a_refusal_in_the_middle_says_what_is_done(planes: Callable[[], Plane], tmp_path: Path) -> None:
    """What was made stays and is named as such; the mended file goes on from there."""
    plane = planes()
    file = tmp_path / "network.yaml"
    broken = EXAMPLE.replace("gateway: 10.20.0.253", "gateway: 10.99.0.253")
    line = broken.splitlines().index("  - source: 10.20.0.0/24") + 1
    refused = plane.apply(file, broken)
    audited = plane.audited()
    mended = plane.apply(file, EXAMPLE)

    assert 1 == refused.code
    assert f"line {line}: create route 10.20.0.0/24 10.30.0.0/16 10.99.0.253: " in refused.err
    assert "changes were made and stay" in refused.err
    assert "  create device switch-1" in refused.err
    assert 0 == mended.code, mended.err
    assert "subnet 10.20.0.0/24" not in mended.out
    assert "+ device switch-1" in mended.out
    assert audited < plane.audited()
    assert 0 == plane.run("apply", "--dry-run", "-f", str(file)).code


def test_references_are_checked_before_anything_is_done(planes: Callable[[], Plane], tmp_path: Path) -> None:
    """A rack that nobody has enrolled is named with its line, and nothing has changed."""
    plane = planes()
    before = plane.audited()
    wrong = plane.apply(tmp_path / "network.yaml", EXAMPLE.replace("        rack: rack-1", "        rack: rack-9"))
    line = EXAMPLE.splitlines().index("      - vid: 100") + 1

    assert 1 == wrong.code
    assert f"line {line}: VLAN fabric-0 100: there is no rack rack-9" in wrong.err
    assert before == plane.audited()


def test_a_change_made_meanwhile_stops_it(
    planes: Callable[[], Plane], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the plan and its carrying out somebody changes the same value: theirs stays."""
    plane = planes()
    file = tmp_path / "network.yaml"
    plane.apply(file, EXAMPLE)
    _written(file, EXAMPLE.replace("gateway: 10.20.0.254", "gateway: 10.20.0.252"))

    def meanwhile(*words: object, **more: object) -> bool:
        assert 0 == plane.run("subnet", "set", "1", "--gateway", "10.20.0.251").code
        return True

    monkeypatch.setattr("click.confirm", meanwhile)
    stopped = plane.run("apply", "-f", str(file))

    assert 1 == stopped.code
    assert "somebody has changed its gateway meanwhile" in stopped.err
    assert "gateway: 10.20.0.251" in plane.run("export").out
