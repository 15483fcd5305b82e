"""From a commit to the rack's own worker through a real Redis: TLS, a user of the rack's own, and all that may befall it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from werkzeug.serving import make_server

from app import wiring
from app.broker import hash_of
from app.config import Config, load
from app.factory import create_app
from app.services import bootstrap, broker, racks
from app.services.changes import changing, put_record
from app.services.context import Context
from app.store import migrate
from tests.daemons.requires import require
from tests.factories.control import seed
from tests.factories.redis_server import RedisServer
from workers.rack.__main__ import main
from workers.rack.config import RackConfig, load_config
from workers.rack.waiting import Doorbell

REPOSITORY = Path(__file__).resolve().parents[2]
SECONDS = 60.0


class Site:
    """A control plane on loopback with a rack that has enrolled, whose doorbell is a process; all over one Redis."""

    def __init__(self, folder: Path, server: RedisServer) -> None:
        self.folder, self.server = folder, server
        self.config: Config = load({"MUSTER_STATE_DIR": str(folder / "state"), **server.environment})
        migrate.upgrade(self.config.database_url)
        self.context: Context = wiring.wire(self.config)
        seed(self.context)
        bootstrap.prepare(self.context, "muster.internal")
        web = make_server("127.0.0.1", 0, create_app(self.context, self.config), threaded=True)
        self._web, self._thread = web, threading.Thread(target=web.serve_forever, daemon=True)
        self._thread.start()
        code = folder / "code"
        code.write_text(racks.new_code(self.context, "rack-a"))
        root = folder / "root"
        words = ["--url", f"http://127.0.0.1:{web.server_port}", "--code-file", str(code), "--root", str(root)]
        assert main(["enrol", *words]) == 0
        self.rack: RackConfig = load_config(root)
        self.rung, self._stop = threading.Event(), threading.Event()
        Doorbell(self.rack.doorbell_path, self.rung, self._stop).start()
        self._processes: list[subprocess.Popen[bytes]] = []
        self.log, self.region_log = folder / "doorbell.log", folder / "region.log"
        self.process = self.start(self.log, "workers.rack", "doorbell", "--root", str(root))

    def start(self, log_path: Path, module: str, *words: str) -> subprocess.Popen[bytes]:
        """Start one of our programs with the control plane's environment."""
        environment = {"PATH": os.environ["PATH"], "MUSTER_STATE_DIR": str(self.config.state_dir)}
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", module, *words],
                cwd=REPOSITORY,
                env=environment | self.server.environment,
                stdout=log,
                stderr=log,
                stdin=subprocess.DEVNULL,
            )
        self._processes.append(process)
        return process

    def rings(self) -> bool:
        """Commit something for the rack, again and again, until its agent is woken; False when it never is."""
        self.rung.clear()
        ends = time.monotonic() + SECONDS
        while time.monotonic() < ends:
            with changing(self.context) as session:
                put_record(
                    session, "zone:lab.muster", "a A", {"ttl": 30, "data": [f"10.20.0.{int(time.monotonic()) % 250}"]}
                )
            if self.rung.wait(0.5):
                return True
        return False

    def told(self) -> str:
        """What the programs have said."""
        return f"{self.log.read_text()[-4000:]}\n{self.region_log.read_text()[-4000:]}"

    def until(self, what: Callable[[], bool]) -> bool:
        """Whether it comes true."""
        ends = time.monotonic() + SECONDS
        while not what():
            if time.monotonic() > ends:
                return False
            time.sleep(0.1)
        return True

    def close(self) -> None:
        """End everything."""
        for process in self._processes:
            process.terminate()
        for process in self._processes:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait(10)
        self._stop.set()
        self._web.shutdown()
        self._web.server_close()
        self._thread.join(10)
        self.context.store.engine.dispose()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """One site, ended however the test ends."""
    require("redis-server")
    with RedisServer(tmp_path / "server") as server:
        made = Site(tmp_path, server)
        try:
            yield made
        finally:
            made.close()


def test_a_rack_is_woken_through_redis_whatever_befalls_it(site: Site) -> None:
    """Before its user is there and then; without a right; with a new password; after Redis lost everything; until deleted.

    Nobody but the region worker tells Redis of it all, and in the end no right was missing to anybody.
    """
    server, user = site.server, "rack.rack-a"
    assert site.until(lambda: "MUSTER_BROKER_ADMIN_USER" in site.log.read_text()), site.log.read_text()
    region = site.start(site.region_log, "workers.region")
    assert site.rings(), site.told()
    assert {"muster", user} <= {one["user"] for one in server.eye().client_list() if one["cmd"] == "brpop"}

    server.eye().execute_command("ACL SETUSER", user, "-brpop")
    assert site.until(lambda: "'brpop'" in site.log.read_text()), site.told()
    time.sleep(1)
    assert site.process.poll() is None, site.told()
    server.eye().execute_command("ACL SETUSER", user, "+brpop")
    assert site.rings(), site.told()
    server.eye().execute_command("ACL LOG", "RESET")

    old = broker.password_for_rack(site.context, site.rack.rack_id)
    broker.new_password(site.context, site.rack.rack_id)
    new = broker.password_for_rack(site.context, site.rack.rack_id)
    assert site.until(lambda: hash_of(new) in str(server.eye().acl_list())), site.told()
    assert site.rings(), site.told()
    refused = {(one["username"], one["reason"]) for one in server.eye().acl_log()}
    assert refused <= {(user, "auth")}, refused

    server.stop()
    server.forget_users()
    time.sleep(1)
    server.start()
    assert user not in server.eye().acl_users()
    assert site.rings(), site.told()
    assert (site.process.poll(), region.poll()) == (None, None)

    for path in (f"/proc/{site.process.pid}/cmdline", f"/proc/{site.process.pid}/environ", site.log, site.region_log):
        assert not [word for word in (old, new, *server.passwords.values()) if word in Path(path).read_text()], path
    kept = [path for path in site.rack.root.rglob("*") if path.is_file() and new in path.read_text(errors="replace")]
    assert [path.name for path in kept] == ["broker-password"]
    assert kept[0].stat().st_mode & 0o777 == 0o600

    racks.delete(site.context, site.rack.rack_id)
    assert site.until(lambda: user not in server.eye().acl_users()), site.told()
    assert server.connected(user) == 0
    time.sleep(3)  # It tries again meanwhile.
    assert server.connected(user) == 0
    assert site.process.poll() is None  # It waits, as for any broker; the host's administrator ends it.
