"""The emulated controllers that the drivers are tried on, each a process of its own in front of one `Machine`."""

from __future__ import annotations

import ipaddress
import json
import os
import shlex
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lab.bmc import CONTROL_PROGRAM, Bmc
from lab.certificate import make_certificate
from lab.redfish import Settings, fingerprint
from lab.tether import python_environment
from tests.conformance.machine import Machine
from tests.daemons.requires import require
from workers.rack.power import converse

PASSWORD = 'calvin"9'
SYSTEM_UUID = "5f2c3b1e-7d57-4a43-9c7b-0123456789ab"
START_SECONDS = 60.0


@dataclass
class Controller:
    """One running controller: its machine, what its driver must know, and what it would be told wrongly."""

    driver: str
    machine: Machine
    parameters: dict[str, str]
    wrong: dict[str, str]
    process: subprocess.Popen[bytes]

    def ask(self, verb: str, seconds: float = 60.0, **other: str) -> dict[str, Any]:
        """One operation as the rack carries it out, in a process of its own."""
        return ask(self.driver, verb, {**self.parameters, **other}, seconds)

    @contextmanager
    def hung(self) -> Iterator[None]:
        """It holds its sockets and does nothing any more."""
        os.kill(self.process.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(self.process.pid, signal.SIGCONT)


def ask(driver: str, verb: str, parameters: dict[str, str], seconds: float = 60.0) -> dict[str, Any]:
    """One operation as the rack carries it out, in a process of its own."""
    return converse({"driver": driver, "verb": verb, "parameters": parameters}, seconds)


def kind_of(answer: dict[str, Any]) -> str:
    """The kind of failure, which leads the reason; empty if it did not fail."""
    return str(answer["reason"] or "").partition(": ")[0]


def free_port(kind: int = socket.SOCK_STREAM) -> int:
    """A port of loopback that nobody has."""
    with socket.socket(socket.AF_INET, kind) as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextmanager
def ipmi(folder: Path) -> Iterator[Controller]:
    """`ipmi_sim` of OpenIPMI."""
    require("ipmi_sim")
    port = free_port(socket.SOCK_DGRAM)
    program = shlex.join([sys.executable, "-I", "-S", str(CONTROL_PROGRAM), str(folder / "machine.sock")])
    password = PASSWORD.replace('"', "-")  # ipmi_sim's configuration has no way to write a quote.
    (folder / "lan.conf").write_text(
        f'name "muster"\nset_working_mc 0x20\n  startlan 1\n    addr 127.0.0.1 {port}\n    priv_limit admin\n'
        "    allowed_auths_callback md5\n    allowed_auths_user md5\n    allowed_auths_operator md5\n    allowed_auths_admin md5\n"
        "    guid a123456789abcdefa123456789abcdef\n  endlan\n"
        f'  chassis_control "{program}"\n'
        f'  user 1 false "" "" user 10 md5\n  user 2 true "muster" "{password}" admin 10 md5\n'
    )
    (folder / "commands").write_text(
        "mc_setbmc 0x20\nmc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02\nsel_enable 0x20 1000 0x0a\nmc_enable 0x20\n"
    )
    (folder / "saved").mkdir()
    argv = ["ipmi_sim", "-n", "-c", str(folder / "lan.conf"), "-f", str(folder / "commands")]
    known = {"address": "127.0.0.1", "username": "muster", "password": password, "port": str(port)}
    with running(folder, [*argv, "-s", str(folder / "saved")]) as process, Machine(folder / "machine.sock") as machine:
        made = Controller("ipmi", machine, known, {"password": "mistaken"}, process)
        _wait(lambda: made.ask("query", 10)["ok"], process, folder)
        yield made


@contextmanager
def redfish(folder: Path, firmware: str = "uefi") -> Iterator[Controller]:
    """The lab's Redfish BMC, over TLS."""
    port = free_port()
    bmc = Bmc("node1", "127.0.0.1/8", "02:bc:00:00:00:11", "127.0.0.1", SYSTEM_UUID, "muster", PASSWORD, "redfish")
    settings = Settings(bmc, "SN1", firmware, str(folder / "machine.sock"), str(folder), port)
    settings.write()
    with Machine(folder / "machine.sock") as machine, running(folder, settings.argv()) as process:
        _wait(lambda: _listens(port), process, folder)
        known = {
            "address": "127.0.0.1",
            "username": "muster",
            "password": PASSWORD,
            "port": str(port),
            "certificate": fingerprint(settings.certificate),
            "firmware": firmware,
        }
        yield Controller("redfish", machine, known, {"password": "mistaken"}, process)


@contextmanager
def webhook(folder: Path) -> Iterator[Controller]:
    """An operator's own HTTPS endpoint."""
    port, certificate = free_port(), folder / "webhook.pem"
    make_certificate(certificate, "webhook", [ipaddress.ip_address("127.0.0.1")])
    config = {
        "port": port,
        "certificate": str(certificate),
        "socket": str(folder / "machine.sock"),
        "token": PASSWORD,
        "password": PASSWORD,
    }
    (folder / "webhook.json").write_text(json.dumps(config))
    argv = [sys.executable, str(Path(__file__).with_name("webhook_endpoint.py")), str(folder / "webhook.json")]
    with Machine(folder / "machine.sock") as machine, running(folder, argv) as process:
        _wait(lambda: _listens(port), process, folder)
        verbs = ("on", "off", "soft_off", "pxe", "query")
        known = {f"{verb}_url": f"https://127.0.0.1:{port}/{verb}" for verb in verbs}
        known |= {"token": PASSWORD, "certificate": fingerprint(certificate)}
        yield Controller("webhook", machine, known, {"token": "mistaken"}, process)


CONTROLLERS: dict[str, Callable[[Path], Any]] = {"ipmi": ipmi, "redfish": redfish, "webhook": webhook}


@contextmanager
def running(folder: Path, argv: list[str]) -> Iterator[subprocess.Popen[bytes]]:
    """A process that is killed at the end, also when it is stopped; its words are in `<folder>/log`."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=python_environment())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _wait(ready: Callable[[], bool], process: subprocess.Popen[bytes], folder: Path) -> None:
    deadline = time.monotonic() + START_SECONDS
    while not ready():
        assert process.poll() is None, (folder / "log").read_text()
        assert time.monotonic() < deadline, (folder / "log").read_text()
        time.sleep(0.05)


def _listens(port: int) -> bool:
    with socket.socket() as caller:
        return caller.connect_ex(("127.0.0.1", port)) == 0
