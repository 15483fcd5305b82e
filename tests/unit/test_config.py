"""The environment, the key file, the bell, the log."""

from __future__ import annotations

import json
import os
import stat
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import structlog

from app.config import ConfigError, load
from app.services import bootstrap, users
from app.services.errors import Unauthorized
from app.wiring import log, session_keys, wire
from app.wiring.ring import CeleryRing
from app.wiring.secret_box import FernetBox, open_key_file
from tests.factories.control import make_context


def test_defaults() -> None:
    """Without any variable everything has a place."""
    config = load({})

    assert Path("/var/lib/muster") == config.state_dir
    assert "sqlite:////var/lib/muster/muster.db" == config.database_url
    assert "file:///var/lib/muster/broker" == config.broker_url
    assert Path("/var/cache/muster") == config.cache_dir
    assert "muster.internal" == config.domain


def test_everything_can_be_set() -> None:
    """Each variable is read."""
    config = load(
        {
            "MUSTER_STATE_DIR": "/s",
            "MUSTER_DATABASE_URL": "postgresql+psycopg2:///muster",
            "MUSTER_BROKER_URL": "redis://localhost/0",
            "MUSTER_CACHE": "/c",
            "MUSTER_DOMAIN": "Lab.Example.",
            "MUSTER_LOG_FORMAT": "json",
            "MUSTER_SECURE_COOKIE": "1",
            "MUSTER_STREAMS": "3",
        }
    )

    assert (Path("/s"), Path("/c"), "lab.example") == (config.state_dir, config.cache_dir, config.domain)
    assert ("postgresql+psycopg2:///muster", "redis://localhost/0") == (config.database_url, config.broker_url)
    assert ("json", True, 3, Path("/s/log")) == (
        config.log_format,
        config.secure_cookie,
        config.streams,
        config.log_dir,
    )


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MUSTER_STATE_DIR", "relative"),
        ("MUSTER_CACHE", "relative"),
        ("MUSTER_LOG_FORMAT", "xml"),
        ("MUSTER_SECURE_COOKIE", "perhaps"),
        ("MUSTER_STREAMS", "0"),
        ("MUSTER_DATABASE_URL", "mysql://root:hidden@db/x"),
    ],
)
def test_wrong_values_are_named(name: str, value: str) -> None:
    """A wrong value is refused by name; a URL's password is not repeated."""
    with pytest.raises(ConfigError, match=name) as refused:
        load({name: value})

    assert "hidden" not in str(refused.value)


def test_key_file_is_for_its_owner_and_made_once(tmp_path: Path) -> None:
    """Processes that start at once agree on one key, in a file of mode 0600."""
    path = tmp_path / "secret-key"
    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(lambda _: open_key_file(path), range(16)))

    assert 1 == len({tuple(keys) for keys in found})
    assert 0o600 == stat.S_IMODE(path.stat().st_mode)
    assert [path] == list(tmp_path.iterdir())


def test_open_key_file_is_refused(tmp_path: Path) -> None:
    """Keys that others may read are refused, and so is an empty file."""
    path = tmp_path / "secret-key"
    open_key_file(path)
    path.chmod(0o644)
    with pytest.raises(ValueError, match="0600"):
        open_key_file(path)
    path.chmod(0o600)
    path.write_text("")
    with pytest.raises(ValueError, match="holds no key"):
        open_key_file(path)


def test_keys_rotate(tmp_path: Path) -> None:
    """An older key still opens what it sealed; a key that was never there opens nothing."""
    old, new, foreign = (open_key_file(tmp_path / name)[0] for name in ("old", "new", "foreign"))
    sealed = FernetBox([old]).seal("ipmi password")

    assert "ipmi password" not in sealed
    assert "ipmi password" == FernetBox([new, old]).open(sealed)
    with pytest.raises(ValueError, match="secret-key"):
        FernetBox([foreign]).open(sealed)


def test_session_keys_differ_from_secret_keys(tmp_path: Path) -> None:
    """Sessions are signed with keys derived from the secret keys, the same in every process."""
    config = load({"MUSTER_STATE_DIR": str(tmp_path)})

    assert session_keys(config) == session_keys(config)
    assert set(session_keys(config)).isdisjoint(open_key_file(tmp_path / "secret-key"))


def test_ring_leaves_a_message(tmp_path: Path) -> None:
    """A ring is a file for the region's queue that names the task and the id."""
    ring = CeleryRing(f"file://{tmp_path}/broker")
    ring.advance(7)

    assert ring.flush(30)
    messages = list((tmp_path / "broker" / "messages").glob("*.region.msg"))

    assert 1 == len(messages)
    headers = json.loads(messages[0].read_text())["headers"]
    assert ("muster.region.advance", "[7]") == (headers["task"], headers["argsrepr"])


def test_ring_never_raises() -> None:
    """A broker that is away costs nothing but the ring, and what is asked of it ends."""
    ring = CeleryRing("redis://127.0.0.1:1/0")
    ring.reconcile(1)
    ring.rack("rack-1")

    assert ring.flush(60)


def test_ring_says_a_thing_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits to be sent is not noted again; what was sent is."""
    ring = CeleryRing(f"file://{tmp_path}/broker")
    may_send, sent = threading.Event(), []

    def send(task: str, queue: str, argument: int | str) -> None:
        may_send.wait(30)
        sent.append((task, argument))

    monkeypatch.setattr(ring, "_publish", send)
    ring.reconcile(1)
    for _ in range(50):
        ring.advance(7)
        ring.rack("rack-1")
    may_send.set()
    assert ring.flush(30)
    ring.advance(7)

    assert ring.flush(30)
    tasks = [task.removeprefix("muster.") for task, _ in sent]
    assert "region.reconcile" == tasks[0]
    assert ["rack.wake", "region.advance", "region.advance"] == sorted(tasks[1:])


def test_ring_goes_on_in_a_fork(tmp_path: Path) -> None:
    """A process that was forked after a ring rings too."""
    ring = CeleryRing(f"file://{tmp_path}/broker")
    ring.advance(1)
    assert ring.flush(30)
    child = os.fork()
    if child == 0:
        ring.advance(2)
        os._exit(0 if ring.flush(30) else 1)

    assert 0 == os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    assert 2 == len(list((tmp_path / "broker" / "messages").glob("*.region.msg")))


@pytest.mark.parametrize("log_format", ["json", "text"])
def test_log_masks_secrets(log_format: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Values under names that say they are secret are masked at any depth; the rest is there, with the request's id."""
    log.set_up(log_format)
    with structlog.contextvars.bound_contextvars(request_id="r-1"):
        nested = {"Authorization": "Bearer leak", "list": [{"secret": "leak"}], "user": "peter"}
        structlog.get_logger().info("machine.power", bmc_password="leak", api_token="leak", nested=nested)
    written = capfd.readouterr().err

    assert "leak" not in written
    assert all(word in written for word in ("machine.power", "peter", "r-1", "***"))


def test_bootstrap_is_repeatable(tmp_path: Path) -> None:
    """The first time gives the administrator's password, which works; later times change nothing."""
    context = make_context(tmp_path)
    password = bootstrap.prepare(context)

    assert password is not None
    assert "admin" == users.authenticate(context, "admin", password).role
    assert bootstrap.prepare(context) is None
    with pytest.raises(Unauthorized):
        users.authenticate(context, "admin", "something else")


def test_wire_makes_the_state_directory(tmp_path: Path) -> None:
    """Wiring makes a directory for its owner only, and a context whose box works."""
    config = load({"MUSTER_STATE_DIR": str(tmp_path / "state")})
    context = wire(config)

    assert 0o700 == stat.S_IMODE(config.state_dir.stat().st_mode)
    assert "x" == context.secrets.open(context.secrets.seal("x"))
