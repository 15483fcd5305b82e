"""Ansible itself reads what `ansible/` holds, and the inventory script asks a control plane that serves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from app.config import load
from app.factory import create_app
from app.services import tokens, users
from tests.daemons.requires import require
from tests.factories.control import make_context, seed

ANSIBLE = Path(__file__).resolve().parents[2] / "ansible"
SCRIPT = ANSIBLE / "inventory" / "muster.py"
PLAYBOOKS = sorted(path.name for path in ANSIBLE.glob("*.yml"))


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_playbooks_are_read(playbook: str, tmp_path: Path) -> None:
    """ansible-core alone understands each playbook with its roles; nothing is warned of."""
    require("ansible-playbook")
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        ["ansible-playbook", "--syntax-check", "-i", "inventory/example.yml", playbook],
        cwd=ANSIBLE, env=environment, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip

    assert (0, "") == (done.returncode, done.stderr)


@pytest.fixture(scope="module")
def control(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """URL of a control plane with one rack, and a token that may only read."""
    folder = tmp_path_factory.mktemp("inventory")
    context = make_context(folder)
    seed(context)
    user = users.create(context, "inventory", "correct horse battery", "viewer")
    token = tokens.create(context.acting_as(users.actor(user)), "inventory", scope="read").text
    server = make_server(
        "127.0.0.1", 0, create_app(context, load({"MUSTER_STATE_DIR": str(folder / "state")})), threaded=True
    )
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", token
    server.shutdown()
    thread.join()
    server.server_close()


def ask(*words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run the inventory script as Ansible does."""
    return subprocess.run(
        [sys.executable, str(SCRIPT), *words], capture_output=True, text=True, check=False, timeout=60, env=environment
    )


def test_the_inventory_is_the_racks(control: tuple[str, str], tmp_path: Path) -> None:
    """Groups, the rack's own address, and the variables of one host; the token comes from a file."""
    url, token = control
    (tmp_path / "token").write_text(f"{token}\n")
    words = {"MUSTER_URL": url, "MUSTER_TOKEN_FILE": str(tmp_path / "token")}
    shown = json.loads(ask("--list", **words).stdout)
    one = json.loads(ask("--host", "rack-1", **words).stdout)

    assert ["127.0.0.1"] == shown["control_plane"]["hosts"]
    assert ["rack-1"] == shown["rack_hosts"]["hosts"] == shown["fabric_fabric_0"]["hosts"]
    assert shown["_meta"]["hostvars"]["rack-1"] == one
    assert "rack-1" == one["rack_name"]
    assert one["ansible_host"]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"MUSTER_TOKEN": "wrong"}, "401"),
        ({"MUSTER_TOKEN": ""}, "no API token"),
        ({"MUSTER_URL": "muster.example"}, "must be the control plane's URL"),
        ({"MUSTER_URL": "http://127.0.0.1:9"}, "no answer"),
        ({"MUSTER_TOKEN_FILE": "/nonexistent"}, "cannot be read"),
        ({"MUSTER_CA": "/nonexistent"}, "cannot be read"),
    ],
    ids=["wrong token", "no token", "no URL", "nobody there", "no file", "no authority"],
)
def test_what_is_wrong_is_one_sentence(control: tuple[str, str], changes: dict[str, str], said: str) -> None:
    """No inventory without a word of why, and no traceback."""
    url, token = control
    done = ask("--list", **{"MUSTER_URL": url, "MUSTER_TOKEN": token, **changes})

    assert 1 == done.returncode
    assert "" == done.stdout
    assert said in done.stderr
    assert 1 == len(done.stderr.splitlines())
