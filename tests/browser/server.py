"""The web server as `muster run` starts it, over a prepared database, for as long as a test wants it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import requests

from app.cli.run import Listen, web_server
from app.config import Config, load
from app.services.context import Context
from app.store.models import User
from app.wiring import wire
from app.wiring.database import upgrade
from tests.factories.control import Seeded, hash_of, seed

PASSWORD = "correct horse battery"
PATIENCE_SECONDS = 60.0


@dataclass
class Server:
    """A running server: where it is, and the context over its database."""

    url: str
    context: Context
    seeded: Seeded
    process: subprocess.Popen[bytes]
    log: Path

    def sign_up(self, name: str, role: str) -> None:
        """A person of that role, with the password of all."""
        with self.context.store.write() as session:
            user = session.query(User).filter_by(name=name).one_or_none()
            if user is None:
                session.add(user := User(name=name, role=role, created_at=self.context.clock()))
            user.password_hash = hash_of(PASSWORD)

    def token(self, name: str) -> str:
        """A new API token of that person."""
        answer = requests.post(f"{self.url}/api/v1/login", json={"name": name, "password": PASSWORD}, timeout=60)
        return str(answer.json()["token"])


@contextmanager
def running_server(folder: Path, settings: Mapping[str, str] | None = None) -> Iterator[Server]:
    """Start the server on a port of its own over a seeded SQLite database in `folder`; it is gone afterwards."""
    config = load({"MUSTER_STATE_DIR": str(folder / "state"), **(settings or {})})
    upgrade(config)
    context = wire(config)
    seeded = seed(context, image_folder=folder)
    link = Listen("127.0.0.1", 0).open()
    log = folder / "web.log"
    descriptor = link.fileno()
    environment = {**os.environ, "MUSTER_STATE_DIR": str(config.state_dir), **(settings or {})}
    with log.open("wb") as output:
        process = subprocess.Popen(
            web_server(config.streams, [descriptor]),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            env=environment,
            pass_fds=[descriptor],
            start_new_session=True,
        )
    url = f"http://127.0.0.1:{link.getsockname()[1]}"
    try:
        _wait_until_ready(url, process, log)
        yield Server(url, context, seeded, process, log)
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(20)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
        link.close()
        context.store.engine.dispose()


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    ends = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < ends:
        if process.poll() is not None:
            break
        try:
            if requests.get(f"{url}/api/v1/health/ready", timeout=30).status_code == 200:
                return
        except requests.RequestException:
            time.sleep(0.1)
    raise AssertionError(f"the server did not start: {log.read_text()[-2000:]}")


__all__ = ["PASSWORD", "Config", "Server", "running_server"]
