"""A real BMC for a simulated machine: `ipmi_sim` on the BMCs' network, whose chassis is a few variables of this process.

with SimulatedController(site, "sim1", "10.30.0.51") as controller:
    ...                        # the rack's power process talks IPMI to it
    controller.done            # ["boot pxe", "power 0", "power 1"]
"""

from __future__ import annotations

import json
import socket
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from lab import bmc as ipmi
from lab import namespace, tether
from lab.machine import RMCP_PING
from lab.network import VirtualSite, check_socket_path

START_SECONDS = 20.0


class ControllerFailed(Exception):
    """The emulated BMC did not start; says where its log is."""


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True
    controller: SimulatedController


class _Question(socketserver.StreamRequestHandler):
    """One question of `chassis_control.py`: a JSON line, and the answer."""

    def handle(self) -> None:
        assert isinstance(self.server, _Server)
        answer = self.server.controller.answer(json.loads(self.rfile.readline()))
        self.wfile.write(json.dumps(answer).encode() + b"\n")


class SimulatedController:
    """One emulated BMC; a context manager. `done` lists what it was told to do; `power` is 1 or 0."""

    def __init__(self, site: VirtualSite, name: str, address: str) -> None:
        self.site = site
        self.name = name
        self.address = address
        self.power, self.boot = "0", "none"
        self.done: list[str] = []
        number = int(address.rpartition(".")[2])
        self._bmc = ipmi.Bmc(
            name=name, interface=f"{address}/24", mac=f"52:54:01:00:00:{number:02x}", gateway=site.bmc.rack_address,
            system_uuid=f"00000000-0000-4000-8000-0000000000{number:02x}", username="admin", password="factory",
        )  # fmt: skip
        self.directory = site.root / "controllers" / name
        self._socket = self.directory / "chassis.sock"
        self._server: _Server | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def parameters(self) -> Mapping[str, str]:
        """What Muster's driver `ipmi` must know."""
        return {"address": self.address, "username": self._bmc.username, "password": self._bmc.password}

    def answer(self, request: Mapping[str, Any]) -> dict[str, Any]:
        """What `chassis_control.py` asked for."""
        if request["do"] == "get":
            known = {**self._bmc.lan_settings(), "power": self.power, "boot": self.boot}
            return {"values": {name: known.get(name, "0") for name in request["names"]}}
        if request["do"] == "set":
            for name, value in zip(request["names"], request["values"], strict=True):
                self._set(name, value)
        return {}

    def _set(self, name: str, value: str) -> None:
        if name in ("power", "boot", "reset", "shutdown"):
            self.done.append(f"{name} {value}")
        if name == "shutdown":
            self.power = "0"
        elif name in ("power", "boot"):
            setattr(self, name, value)

    def __enter__(self) -> Self:
        """Plug it in, start it and wait until it answers."""
        self.directory.mkdir(parents=True, exist_ok=True)
        check_socket_path(self._socket)
        self.site.add_bmc_port(f"c-{self.name}", self._bmc.interface, self._bmc.mac)
        self._server = _Server(str(self._socket), _Question)
        self._server.controller = self
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()
        try:
            self._start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def _start(self) -> None:
        config, commands, saved = (self.directory / name for name in ("lan.conf", "commands", "saved"))
        config.touch(mode=0o600)
        config.write_text(ipmi.lan_configuration(self._bmc, sys.executable, self._socket), encoding="utf-8")
        commands.write_text(ipmi.COMMANDS, encoding="utf-8")
        saved.mkdir(exist_ok=True)
        argv = ["ipmi_sim", "-n", "-c", str(config), "-f", str(commands), "-s", str(saved)]
        with (self.directory / "log").open("ab") as log:
            self._process = tether.start(argv, prefix=namespace.exec_prefix(self.site.lan), log=log)
        self._wait(self.directory / "log")

    def _wait(self, log: Path) -> None:
        end = time.monotonic() + START_SECONDS
        with namespace.socket_in(self.site.rack, socket.AF_INET, socket.SOCK_DGRAM) as pinger:
            pinger.settimeout(0.1)
            while time.monotonic() < end and self._process is not None and self._process.poll() is None:
                try:
                    pinger.sendto(RMCP_PING, (self.address, ipmi.LAN_PORT))
                    if pinger.recv(64):
                        return
                except OSError:
                    continue
        raise ControllerFailed(f"controller {self.name} at {self.address} does not answer; see {log}")

    def stop(self) -> None:
        """Take its power away: it answers nobody any more."""
        if self._process is not None:
            tether.stop(self._process)
            self._process = None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it. Its place on the network goes with the site."""
        self.stop()
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._socket.unlink(missing_ok=True)
