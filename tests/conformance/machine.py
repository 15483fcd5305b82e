"""The machine behind every emulated controller: the lab's chassis protocol on a unix socket, without QEMU.

One state for all of them, so that a case says what happened to the machine and not what a controller believes.
"""

from __future__ import annotations

import json
import socketserver
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self


class Machine:
    """A power button, a one-time boot device and a memory of what was asked; a context manager that serves them.

    delay: seconds that every answer takes.  obedient: whether anything that is asked happens at all.
    """

    def __init__(self, socket: Path) -> None:
        self.socket = socket
        self.reset()

    def reset(self) -> None:
        """Off, as new."""
        self.power = False
        self.boot = "none"
        self.boots: list[str] = []
        self.asked: list[tuple[str, str]] = []
        self.delay = 0.0
        self.obedient = True

    def __enter__(self) -> Self:
        """Serve."""
        machine = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                if line := self.rfile.readline():
                    answer = machine._answer(json.loads(line))
                    with suppress(OSError):
                        self.wfile.write(json.dumps(answer).encode() + b"\n")

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True
            request_queue_size = 64

        self._server = Server(str(self.socket), Handler)
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop serving."""
        self._server.shutdown()
        self._server.server_close()

    def _answer(self, request: dict[str, Any]) -> dict[str, Any]:
        time.sleep(self.delay)
        if request["do"] == "get":
            known = {"power": str(int(self.power)), "boot": self.boot}
            return {"values": {name: known.get(name, "0") for name in request["names"]}}
        if request["do"] == "set":
            for name, value in zip(request["names"], request["values"], strict=True):
                self.asked.append((name, value))
                if self.obedient:
                    self._set(name, value)
        return {}

    def _set(self, name: str, value: str) -> None:
        if name == "power" and value == "1" and not self.power:
            self.power = True
            self.boots.append(self.boot)
            self.boot = "none"
        elif name == "power":
            self.power = value == "1"
        elif name == "shutdown":
            self.power = False
        elif name == "boot":
            self.boot = value
