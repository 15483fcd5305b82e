"""One machine's chassis: the process that owns its QEMU and its BMC and decides what power and boot device mean.

`python -m lab.chassis MACHINE.json`, started in the switch's namespace by `lab.machine`. QEMU and the emulated BMC
(ipmi_sim, or `lab.redfish_bmc`) are its children, and the kernel kills them when it ends; it ends when its standard
input does, which the lab holds. So nothing outlives the lab. Requests come over a unix socket (mode 0600), one JSON
line each, one answer each: get, set and check from ipmi_sim through `chassis_control.py` and from the Redfish BMC,
the same and `qmp` from the lab. A set is answered when it has happened.
"""

import asyncio
import contextlib
import json
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from lab import bmc as ipmi
from lab import redfish
from lab.process import die_with_parent
from lab.qemu import BootSource, Hardware, Nic, boot_order, command_line
from lab.qmp import Qmp, QmpError

BOOT_DEVICES = ("none", "pxe", "default", "cdrom", "bios")
"""ipmi_sim's words; `default` is what IPMI calls the hard drive."""
HTTP = "http"
"""UEFI HTTP boot, a word of the Redfish BMC's. The firmware is told when QEMU starts (see `lab.qemu`), so a reset with it
is a new start, and reboots of the guest keep it until the power has been off. Afterwards OVMF has PXE behind HTTP in its
own boot order, because it was away for a while: HTTP stays what is tried first."""

SETTLE_SECONDS = 3.0


class Refused(Exception):
    """A request that cannot be done; the message says why."""


class Chassis:
    """The power button, the boot device and the wiring of one machine."""

    def __init__(self, hardware: Hardware, lan_settings: dict[str, str]) -> None:
        """Describe the machine; it is off."""
        self.hardware = hardware
        self.lan_settings = lan_settings
        self.boot = "none"
        self.starts = 0
        self._qemu: asyncio.subprocess.Process | None = None
        self._qmp: Qmp | None = None
        self._settling: asyncio.Future[None] | None = None
        self._lock = asyncio.Lock()

    @property
    def is_on(self) -> bool:
        """Say whether QEMU runs; a guest that powered itself off has made it exit."""
        return self._qemu is not None and self._qemu.returncode is None

    async def answer(self, request: dict[str, Any]) -> dict[str, Any]:
        """Do one request and return what to send back; Refused when it cannot be done."""
        match request:
            case {"do": "get", "names": [*names]}:
                return {"values": {name: self._get(name) for name in names}}
            case {"do": "check", "names": [*names], "values": [*values]}:
                for name, value in zip(names, values, strict=True):
                    self._check(name, value)
                return {}
            case {"do": "set", "names": [*names], "values": [*values]}:
                for name, value in zip(names, values, strict=True):
                    self._check(name, value)
                    async with self._lock:
                        await self._set(name, value)
                return {}
            case {"do": "qmp", "command": str(command), "arguments": arguments}:
                return {"return": await self._control(command, arguments)}
        raise Refused(f"request {request!r}: unknown; see lab/chassis.py")

    def _get(self, name: str) -> str:
        if name in self.lan_settings:
            return self.lan_settings[name]
        answers = {"power": str(int(self.is_on)), "boot": self.boot, "starts": str(self.starts)}
        if name not in answers:
            raise Refused(f"machine {self.hardware.name}: there is no setting {name!r} to read")
        return answers[name]

    def _check(self, name: str, value: str) -> None:
        allowed = {"power": ("0", "1"), "reset": ("1",), "shutdown": ("1",), "boot": BOOT_DEVICES}.get(name)
        if name == "boot" and self.hardware.firmware == "uefi":
            allowed = (*BOOT_DEVICES, HTTP)
        if name in self.lan_settings:
            allowed = (self.lan_settings[name],)
        if allowed is None or value not in allowed:
            raise Refused(f"machine {self.hardware.name}: {name} cannot be set to {value!r}")

    async def _set(self, name: str, value: str) -> None:
        if name == "power":
            await (self._turn_on() if value == "1" else self.turn_off())
        elif name == "reset" and self.is_on and self.boot == HTTP:
            await self.turn_off()
            await self._turn_on()
        elif name == "reset" and self.is_on:
            await self._control("system_reset", {})
        elif name == "shutdown" and self.is_on:
            await self._control("system_powerdown", {})
        elif name == "boot":
            self.boot = value
            if self.is_on:
                await self._reorder(self._first())

    def _first(self) -> BootSource:
        return "disk" if self.boot == "default" else "network"

    async def _turn_on(self) -> None:
        if self.is_on:
            return
        hardware = replace(self.hardware, loader="http" if self.boot == HTTP else "tftp")
        hardware.qmp_socket.unlink(missing_ok=True)
        self._qemu = await _start(command_line(hardware, self._first()), hardware.directory, "qemu.log")
        try:
            self._qmp = await Qmp.connect(hardware.qmp_socket, self._qemu, self._heard)
        except QmpError as error:
            await self.turn_off()
            raise Refused(
                f"machine {hardware.name} did not start: {error}; see {hardware.directory}/qemu.log"
            ) from error
        self.starts += 1
        self._use_boot_device()

    async def turn_off(self) -> None:
        """Cut the power: kill QEMU and wait until it is gone."""
        if self._qemu is not None and self._qemu.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                self._qemu.kill()
            await self._qemu.wait()
        if self._qmp is not None:
            await self._qmp.close()
        self._qemu = self._qmp = None

    async def _control(self, command: str, arguments: dict[str, Any]) -> Any:
        if self._qmp is None or not self.is_on:
            raise Refused(f"machine {self.hardware.name} is off: {command} needs power; turn it on first")
        try:
            return await self._qmp.ask(command, arguments)
        except QmpError as error:
            raise Refused(f"machine {self.hardware.name}: {command}: {error}") from error

    async def _reorder(self, first: BootSource) -> None:
        """Change which source the next reset tries first; every index is used by one device at a time."""
        order = boot_order(first, len(self.hardware.nics), self.hardware.family)
        for device in order:
            await self._set_boot_index(device, -1)
        for device, index in order.items():
            await self._set_boot_index(device, index)

    async def _set_boot_index(self, device: str, index: int) -> None:
        path = f"/machine/peripheral/{device}"
        await self._control("qom-set", {"path": path, "property": "bootindex", "value": index})

    async def _heard(self, event: str) -> None:
        if event == "RESET":
            self._use_boot_device()

    def _use_boot_device(self) -> None:
        """Forget the one-time boot device, which the boot that begins now uses; a later boot has the usual order."""
        if self.boot != "none":
            self.boot = "none"
            self._settling = asyncio.ensure_future(self._settle(self._qmp))

    async def _settle(self, start: Qmp | None) -> None:
        """Put the usual order back once the firmware cannot reset again on its own account.

        SeaBIOS answers a warm reset by resetting once more, and OVMF may do so at a first start, so an order that is
        put back at the first reset is not seen by the boot that it was meant for.
        """
        await asyncio.sleep(SETTLE_SECONDS)
        async with self._lock:
            if self.is_on and self._qmp is start and self.boot == "none":
                with contextlib.suppress(Refused):
                    await self._reorder("network")


async def serve(document: dict[str, Any]) -> None:
    """Run a machine's chassis and BMC until standard input ends or SIGTERM comes."""
    hardware, bmc = read_description(document)
    directory = hardware.directory
    chassis = Chassis(hardware, bmc.lan_settings())
    let_go = asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.add_reader(0, let_go.set)
    loop.add_signal_handler(signal.SIGTERM, let_go.set)

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.closing(writer):
            if line := await reader.readline():
                try:
                    answer = await chassis.answer(json.loads(line))
                except (Refused, ValueError) as error:
                    answer = {"error": str(error)}
                with contextlib.suppress(ConnectionError):
                    writer.write(json.dumps(answer).encode() + b"\n")
                    await writer.drain()

    socket = directory / "chassis.sock"
    socket.unlink(missing_ok=True)
    previous = os.umask(0o177)
    server = await asyncio.start_unix_server(talk, socket)
    os.umask(previous)
    simulator = await _start(bmc_command(hardware, bmc, socket), directory, "bmc.log")
    bmc_ended = asyncio.ensure_future(simulator.wait())
    asked = asyncio.ensure_future(let_go.wait())
    await asyncio.wait([bmc_ended, asked], return_when=asyncio.FIRST_COMPLETED)
    loop.remove_reader(0)
    server.close()
    await chassis.turn_off()
    if bmc_ended.done():
        raise SystemExit(
            f"machine {hardware.name}: its BMC ended with status {simulator.returncode}; see {directory}/bmc.log"
        )
    simulator.kill()
    await bmc_ended


def bmc_command(hardware: Hardware, bmc: ipmi.Bmc, socket: Path) -> list[str]:
    """Write what the machine's emulated BMC reads at its start and return the argv that runs it."""
    directory = hardware.directory
    if bmc.protocol == "redfish":
        settings = redfish.Settings(bmc, hardware.serial, hardware.firmware, str(socket), str(directory))
        settings.write()
        return settings.argv()
    (directory / "lan.conf").touch(mode=0o600)
    (directory / "lan.conf").write_text(ipmi.lan_configuration(bmc, sys.executable, socket), encoding="utf-8")
    (directory / "bmc.commands").write_text(ipmi.COMMANDS, encoding="utf-8")
    (directory / "bmc").mkdir(exist_ok=True)
    return ["ipmi_sim", "-c", "lan.conf", "-f", "bmc.commands", "-s", "bmc", "-n"]


async def _start(argv: list[str], directory: Path, log_name: str) -> asyncio.subprocess.Process:
    log = os.open(directory / log_name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    try:
        return await asyncio.create_subprocess_exec(
            *die_with_parent(argv), cwd=directory, stdin=asyncio.subprocess.DEVNULL, stdout=log, stderr=log
        )
    finally:
        os.close(log)


def describe(hardware: Hardware, bmc: ipmi.Bmc) -> dict[str, Any]:
    """Return the document `python -m lab.chassis` reads; it holds the BMC's factory password."""
    return {"hardware": json.loads(json.dumps(asdict(hardware), default=str)), "bmc": asdict(bmc)}


def read_description(document: dict[str, Any]) -> tuple[Hardware, ipmi.Bmc]:
    """Return what `describe` was given."""
    raw = Hardware(**document["hardware"])
    hardware = replace(
        raw,
        nics=tuple(Nic(**nic) for nic in document["hardware"]["nics"]),
        disk=Path(raw.disk),
        directory=Path(raw.directory),
        accelerator=tuple(raw.accelerator),
    )
    return hardware, ipmi.Bmc(**document["bmc"])


if __name__ == "__main__":
    asyncio.run(serve(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8"))))
