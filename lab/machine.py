"""A virtual server: a chassis with QEMU, a disk and a BMC, plugged into a site's switch.

    machine = {"mac": "52:54:00:00:00:11", "bmc_address": "10.30.0.11"}
    with VirtualSite(root) as site, VirtualMachine(site, "node1", **machine) as node:
        node.power_on()
        node.wait_for_serial("iPXE", seconds=60)

Entering wires the machine and starts its BMC; it is off. Leaving cuts its power and keeps its disk, so a test reads
what is left.
"""

import contextlib
import ipaddress
import json
import re
import socket
import subprocess
import sys
import time
import uuid as uuids
from types import TracebackType
from typing import Any, Self

from lab import namespace
from lab.accelerator import EMULATION, Accelerator
from lab.bmc import IN_BAND_PORT, LAN_PORT, Bmc, Protocol
from lab.chassis import describe
from lab.disk import DiskImage
from lab.network import VirtualSite, Vlan, check_socket_path
from lab.qemu import DISK_SLOT, FIRST_NIC_SLOT, OVMF_VARS, SERIAL_LIMIT, Firmware, Hardware, Nic
from lab.redfish import HTTPS_PORT, certificate_of, fingerprint
from lab.tether import python_environment
from lab.uefi_order import six_first

START_SECONDS = 60.0
RMCP_PING = bytes.fromhex("0600ff06000011be80000000")
"""ASF 2.0, 3.2.4.2: a presence ping; a BMC that listens answers it without a session."""
_NAME = re.compile(r"[a-z][a-z0-9-]{0,11}")
_MAC = re.compile(r"[0-9a-f]{2}(:[0-9a-f]{2}){5}")


class MachineError(Exception):
    """A machine did not start, or refused; says which and where its logs are."""


class VirtualMachine:
    """One emulated server of a site."""

    def __init__(
        self,
        site: VirtualSite,
        name: str,
        *,
        mac: str,
        bmc_address: str,
        memory_mib: int = 1024,
        cpus: int = 1,
        disk_gib: float = 8,
        firmware: Firmware = "bios",
        uuid: str | None = None,
        serial: str | None = None,
        vlan: Vlan | None = None,
        second_nic: tuple[str, Vlan] | None = None,
        bmc_user: str = "admin",
        bmc_password: str = "factory",  # noqa: S107 - an emulated BMC's factory default
        bmc_protocol: Protocol = "ipmi",
        family: int = 4,
        accelerator: Accelerator | None = None,
    ) -> None:
        """Describe a machine; `second_nic` is a MAC and its VLAN; absent uuid and serial come from the MAC.

        A machine whose BMC speaks Redfish cannot reach it in-band: an operator enters it (see `bmc_fingerprint`).
        family 6: UEFI firmware that boots by HTTP over IPv6 alone, set up so before it starts (`lab.uefi_order`).
        """
        for address in (mac, second_nic[0] if second_nic else mac):
            if not _MAC.fullmatch(address):
                raise ValueError(
                    f"machine {name}: MAC {address!r} must be six lower-case hexadecimal bytes with colons"
                )
        if not _NAME.fullmatch(name):
            raise ValueError(f"machine name {name!r}: 1 to 12 lower-case letters, digits and hyphens, a letter first")
        self.site = site
        self.name = name
        self.mac = mac
        self.uuid = uuid or str(uuids.uuid5(uuids.NAMESPACE_OID, f"muster virtual machine {mac}"))
        self.serial = serial or f"VM{mac.replace(':', '').upper()}"
        if len(self.serial) > SERIAL_LIMIT:
            raise ValueError(
                f"machine {name}: serial {self.serial!r} is longer than {SERIAL_LIMIT} characters; shorten it"
            )
        self.directory = site.root / "machines" / name
        self.chassis_socket = self.directory / "chassis.sock"
        check_socket_path(self.chassis_socket)
        self.disk = DiskImage(self.directory / "disk.raw", int(disk_gib * 2**30))
        self._plugs = [(Nic(mac, f"t-{name}"), vlan or site.vlans[0])]
        if second_nic:
            self._plugs.append((Nic(second_nic[0], f"t2-{name}"), second_nic[1]))
        prefix = ipaddress.ip_interface(site.bmc.rack_addresses[0]).network.prefixlen
        self.bmc = Bmc(
            name=name,
            interface=f"{bmc_address}/{prefix}",
            mac="02:bc:" + mac[6:],
            gateway=site.bmc.rack_address,
            system_uuid=self.uuid,
            username=bmc_user,
            password=bmc_password,
            protocol=bmc_protocol,
        )
        self.hardware = Hardware(
            name=name,
            uuid=self.uuid,
            serial=self.serial,
            memory_mib=memory_mib,
            cpus=cpus,
            firmware=firmware,
            nics=tuple(nic for nic, _ in self._plugs),
            disk=self.disk.path,
            directory=self.directory,
            ipmi_host=self.bmc.in_band_host if bmc_protocol == "ipmi" else None,
            ipmi_port=IN_BAND_PORT,
            accelerator=accelerator.words if accelerator else EMULATION,
            family=family,
        )
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> Self:
        """Wire the machine and start its BMC; the machine is off, and its disk is empty unless it existed before."""
        self.directory.mkdir(parents=True, exist_ok=True)
        self.disk.make()
        if self.hardware.firmware == "uefi" and not self.hardware.uefi_variables.exists():
            self.hardware.uefi_variables.write_bytes(self._first_variables())
        for nic, vlan in self._plugs:
            self.site.add_tap(nic.tap, vlan)
        self.site.add_bmc_port(f"b-{self.name}", self.bmc.interface, self.bmc.mac)
        description = self.directory / "machine.json"
        description.touch(mode=0o600)
        description.write_text(json.dumps(describe(self.hardware, self.bmc)), encoding="utf-8")
        with (self.directory / "chassis.log").open("ab") as log:
            self._process = subprocess.Popen(
                self.site.exec_argv(self.site.lan, [sys.executable, "-m", "lab.chassis", str(description)]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                start_new_session=True,
                env=python_environment(),
            )
        try:
            self._wait_for_bmc(self._process)
        except BaseException:
            self.end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Cut the power and end the BMC."""
        self.end()

    def end(self) -> None:
        """Cut the power and end the BMC; the disk and the logs stay."""
        process, self._process = self._process, None
        if process is not None:
            if process.stdin is not None:
                process.stdin.close()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    @property
    def bmc_fingerprint(self) -> str:
        """The SHA-256 of a Redfish BMC's certificate, once it has been started: what an operator pins."""
        return fingerprint(certificate_of(self.directory))

    def power_settings(self) -> dict[str, str]:
        """What an operator reads off the label to enter the BMC: the parameters of Muster's power driver for it."""
        words = {"address": self.bmc.address, "username": self.bmc.username, "password": self.bmc.password}
        if self.bmc.protocol == "redfish":
            words |= {"certificate": self.bmc_fingerprint, "system_uuid": self.uuid}
        return words

    @property
    def is_on(self) -> bool:
        """Say whether the machine has power, as its BMC would."""
        return bool(self.ask({"do": "get", "names": ["power"]})["values"]["power"] == "1")

    @property
    def starts(self) -> int:
        """How often the power was turned on since the machine was wired."""
        return int(self.ask({"do": "get", "names": ["starts"]})["values"]["starts"])

    @property
    def boot_device(self) -> str:
        """The one-time boot device that waits for the next boot: none, pxe, http (UEFI only) or default (the disk)."""
        return str(self.ask({"do": "get", "names": ["boot"]})["values"]["boot"])

    def power_on(self) -> None:
        """Press the button of a machine that is off."""
        self._set("power", "1")

    def power_off(self) -> None:
        """Cut the power; returns when the machine is off."""
        self._set("power", "0")

    def reset(self) -> None:
        """Reset without cutting the power."""
        self._set("reset", "1")

    def qmp(self, command: str, **arguments: Any) -> Any:
        """Run one command of QEMU's machine protocol (`query-status`, `system_powerdown`) and return its answer."""
        return self.ask({"do": "qmp", "command": command, "arguments": arguments})["return"]

    def serial_text(self, start: int = 0) -> str:
        """Return what the serial console has said since the byte `start`, over every start of the machine."""
        with contextlib.suppress(FileNotFoundError), self.hardware.serial_log.open("rb") as log:
            log.seek(start)
            return log.read().decode("utf-8", errors="replace")
        return ""

    @property
    def serial_mark(self) -> int:
        """The length of the serial log now, in bytes: a `start` for what comes after."""
        return self.hardware.serial_log.stat().st_size if self.hardware.serial_log.exists() else 0

    def wait_for_serial(self, text: str, *, seconds: float, start: int = 0) -> str:
        """Wait until the serial console has said `text` since byte `start`, and return all it said since then."""
        deadline = time.monotonic() + seconds
        while text not in (said := self.serial_text(start)):
            if time.monotonic() > deadline:
                raise MachineError(
                    f"machine {self.name}: no {text!r} on its console in {seconds:g} s; last: {said[-600:]!r}"
                )
            time.sleep(0.1)
        return said

    def wait_for_power(self, on: bool, *, seconds: float) -> None:
        """Wait until the machine is on, or off."""
        deadline = time.monotonic() + seconds
        while self.is_on != on:
            if time.monotonic() > deadline:
                raise MachineError(f"machine {self.name}: not {'on' if on else 'off'} within {seconds:g} s")
            time.sleep(0.1)

    def ask(self, request: dict[str, Any]) -> dict[str, Any]:
        """Send one request to the chassis and return its answer; MachineError when it refuses or is gone."""
        with socket.socket(socket.AF_UNIX) as chassis:
            chassis.settimeout(40)
            try:
                chassis.connect(str(self.chassis_socket))
                chassis.sendall(json.dumps(request).encode() + b"\n")
                line = chassis.makefile("rb").readline()
            except OSError as error:
                raise MachineError(
                    f"machine {self.name}: its chassis is gone ({error}); see {self.directory}"
                ) from error
        if not line:
            raise MachineError(f"machine {self.name}: its chassis ended; see {self.directory}/chassis.log")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise MachineError(answer["error"])
        return answer

    def _first_variables(self) -> bytes:
        store = OVMF_VARS.read_bytes()
        return six_first(store, self.mac, nic=FIRST_NIC_SLOT, disk=DISK_SLOT) if self.hardware.family == 6 else store

    def _set(self, name: str, value: str) -> None:
        self.ask({"do": "set", "names": [name], "values": [value]})

    def _wait_for_bmc(self, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_SECONDS
        answers = self._answers_https if self.bmc.protocol == "redfish" else self._answers_rmcp
        while not answers():
            if process.poll() is not None or time.monotonic() > deadline:
                raise MachineError(f"machine {self.name}: its BMC does not answer; see the logs in {self.directory}")
            time.sleep(0.05)

    def _answers_rmcp(self) -> bool:
        with namespace.socket_in(self.site.rack, socket.AF_INET, socket.SOCK_DGRAM) as pinger:
            pinger.settimeout(0.1)
            with contextlib.suppress(OSError):
                pinger.sendto(RMCP_PING, (self.bmc.address, LAN_PORT))
                return bool(pinger.recv(64))
        return False

    def _answers_https(self) -> bool:
        """Whether something listens: the emulator binds after its certificate exists."""
        with namespace.socket_in(self.site.rack, socket.AF_INET) as caller:
            caller.settimeout(1)
            return caller.connect_ex((self.bmc.address, HTTPS_PORT)) == 0
