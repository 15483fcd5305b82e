"""The main job, walked before the user's eyes: a bare machine becomes a deployed server, and is given back.

Every step is asked for through the REST API and then verified from outside of Muster: at the BMC, at the rack's name
server, over SSH, on the machine's console, on the raw disk.  A step that cannot be seen from outside has not happened.
Here is the walk of a machine that nobody knew and that brings its BMC; `lab.entered` has that of one that was entered.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, ClassVar

from lab.api import Api, ApiRefused
from lab.machine import VirtualMachine
from lab.outside import NotSeen, Outside
from lab.terminal import Terminal

ENLIST_SECONDS, COMMISSION_SECONDS, DEPLOY_SECONDS, RELEASE_SECONDS, SSH_SECONDS = 600, 900, 1800, 900, 600
NAME_SECONDS = 10
QUIET_LOOKS = 4
"""A machine of which nothing new is heard is looked at every so many times that its events are asked for."""
MARKER = "/etc/muster-lab-was-here"
USER_DATA = f"#cloud-config\nwrite_files:\n  - path: {MARKER}\n    content: user data of the owner\n"


DISK_STARTS = {"bios": "Booting from Hard Disk", "uefi": "Welcome to GRUB!"}
"""What the console says when the machine's disk is started: SeaBIOS before it, GRUB on UEFI, which only the disk has."""
LOADER_STARTS = {"tftp": "Start PXE over IPv4", "http": "Start HTTP Boot over IPv4"}
"""What OVMF says when it fetches its loader."""


@dataclass
class Walk:
    """One machine's walk. rack_address: where the rack serves names; subnet: the machine's network in CIDR."""

    arrival: ClassVar[str] = "power on -> enlisted as New"
    departure: ClassVar[str] = "release with disk erase -> Ready"
    api: Api
    terminal: Terminal
    outside: Outside
    machine: VirtualMachine
    rack_address: str
    subnet: str
    domain: str
    machine_id: int = 0
    _seen_event: int = 0
    address: str = ""
    fqdn: str = ""
    _facts: dict[str, Any] = field(default_factory=dict)

    def whole(self) -> None:
        """All steps, in order; the first that fails raises."""
        steps: tuple[tuple[str, Callable[[], str]], ...] = (
            (self.arrival, self.enlist),
            ("commission -> Ready", self.commission),
            ("allocate", self.allocate),
            ("deploy -> Deployed", self.deploy),
            ("log in over SSH", self.log_in),
            ("reboot, network boot first", self.reboot),
            (self.departure, self.release),
        )
        for title, act in steps:
            with self.terminal.step(title) as proof:
                proof.append(act())

    # --- steps -------------------------------------------------------------------------------------------------------

    def enlist(self) -> str:
        """Press the power button of an unknown machine; it reports itself, with its BMC, and is off again."""
        self.machine.power_on()

        def look() -> Any:
            items = self.api.get("/machines", mac=self.machine.mac)["items"]
            return items[0] if items else None

        found = self._wait_for("the machine to enlist", look, ENLIST_SECONDS)
        self.machine_id = found["id"]
        self._wait_off("enlistment")
        found = self._machine()
        expect("state", found["state"], "NEW")
        power = self.api.get(f"/machines/{self.machine_id}/power")
        expect("BMC driver", power["driver"], "ipmi")
        expect("BMC address", power["address"], self.machine.bmc.address)
        expect("BMC MAC", str(power["mac"]).lower(), self.machine.bmc.mac.lower())
        self._tag_it()
        return f"New as {found['hostname']}, BMC ipmi {power['address']} found in-band, machine off"

    def commission(self) -> str:
        """Have it look at itself; what it says is what QEMU was told to build."""
        self._ask("commission")
        self._wait_state("READY", COMMISSION_SECONDS)
        self._wait_off("commissioning")
        inventory = self._machine()["inventory"]
        disk = next(disk for disk in inventory["disks"]["disks"] if disk["serial"] == self.machine.serial)
        expect("disk size", disk["size_bytes"], self.machine.disk.path.stat().st_size)
        nic = next(nic for nic in inventory["nics"]["nics"] if nic["mac"] == self.machine.mac)
        expect("CPU threads", inventory["cpu"]["threads"], self.machine.hardware.cpus)
        expect("firmware", inventory["firmware"]["type"], self.machine.hardware.firmware)
        results = self.api.get(f"/machines/{self.machine_id}/results")["items"]
        failed = [one["script"] for one in results if one["status"] != "passed"]
        expect("scripts that did not pass", failed, [])
        memory = inventory["memory"]["total_mib"]
        return f"{len(results)} scripts, {memory} MiB, {disk['name']} {disk['size_bytes'] >> 30} GiB, {nic['name']} {nic['driver']}"

    def allocate(self) -> str:
        """Draw it from the pool by what it is; a second try for the same finds nothing and says why."""
        wish = {
            "architecture": "amd64",
            "cpu_count": 1,
            "storage_gb": 4,
            "subnet": self.subnet,
            "tags": [self.machine.hardware.firmware],
        }
        allocated = self.api.post("/machines/allocate", wish)
        expect("machine", allocated["id"], self.machine_id)
        try:
            self.api.post("/machines/allocate", wish)
        except ApiRefused as refused:
            if "409" not in str(refused):
                raise
        else:
            raise NotSeen("a second allocation got a machine, though the only one is taken")
        return f"{allocated['hostname']} is the owner's"

    def deploy(self) -> str:
        """Install Debian 12 to disk; Deployed only when the installed system phoned home."""
        answer = self._ask("deploy", user_data=USER_DATA)
        for warning in answer.get("warnings") or []:
            self.terminal.note(f"warning: {warning}")
        self._wait_state("DEPLOYED", DEPLOY_SECONDS)
        found = self._machine()
        self.fqdn = found["fqdn"]
        self.address = found["addresses"][0]
        self._facts["host_keys"] = found["ssh_host_keys"]
        expect("partitions", [one.name for one in self.machine.disk.partitions()], ["bios_grub", "esp", "root"])
        return self.outside.names(self.rack_address, self.fqdn, self.address)

    def log_in(self) -> str:
        """With the owner's key; the host key is the one that the machine told at home."""
        self.outside.know_host(self.address, self._facts["host_keys"])
        self._facts["boot"] = self._look_inside(None)
        return f"debian@{self.address}, {self.machine.hardware.firmware.upper()}: {self._facts['layout']}"

    def reboot(self) -> str:
        """It asks the network first, is told to use its disk, and is the same system again."""
        mark = self.machine.serial_mark
        with contextlib.suppress(NotSeen):  # The connection ends with the system, which ssh may call a failure.
            self.outside.ssh(self.address, ["sudo", "systemctl", "reboot"])
        self._look_inside(self._facts["boot"])
        said = self.machine.serial_text(mark)
        if "iPXE initialising" not in said:
            raise NotSeen("the machine did not ask the network when it rebooted")
        disk = DISK_STARTS[self.machine.hardware.firmware]
        if disk not in said.partition("iPXE initialising")[2]:
            raise NotSeen(f"the machine's console does not say that it started its disk after that: {disk!r} is absent")
        return "the network sent it to its disk; same system, new boot"

    def release(self) -> str:
        """Give it back: signatures erased, name and address free, machine off."""
        self._give_back("quick")
        return "no signature on the disk, name gone, machine off"

    def _give_back(self, erase: str) -> None:
        self._ask("release", erase=erase)
        self._wait_state("READY", RELEASE_SECONDS)
        self._wait_off("the release")
        expect("signatures on the disk", self.machine.disk.signatures(), [])
        self._wait_nameless()
        expect("addresses left", self._machine()["addresses"], [])

    # --- looking -----------------------------------------------------------------------------------------------------

    def _look_inside(self, unlike_boot: str | None) -> str:
        """Wait for a system of another boot, and see that it is the one that was deployed; its boot id."""
        looks = (
            ["hostname", "--fqdn"],
            ["ip", "-6" if ":" in self.address else "-4", "-o", "address", "show", "scope", "global"],
            ["lsblk", "-rno", "NAME,TYPE,FSTYPE,MOUNTPOINT"],
            ["sh", "-c", "test -d /sys/firmware/efi && echo uefi || echo bios"],
            ["cat", MARKER],
            ["cat", "/proc/cmdline"],
        )
        boot, said = self.outside.wait_for_ssh(self.address, unlike_boot, SSH_SECONDS, self.terminal.pause, then=looks)
        name, shown, disks, booted_by, marker, told = said
        expect("hostname", name, self.fqdn)
        if f" {self.address}/" not in shown or "dynamic" in shown:
            raise NotSeen(f"the machine does not have {self.address} statically: {shown}")
        blocks = disks.splitlines()
        mounts = {line.split()[-1] for line in blocks if "part" in line}
        if not {"/", "/boot/efi"} <= mounts:
            raise NotSeen(f"layout flat should mount / and /boot/efi, seen: {blocks}")
        expect("firmware that started the installed system", booted_by, self.machine.hardware.firmware)
        wanted = self.api.get("/settings/kernel_options")["value"]["options"]
        expect("kernel options that are absent", [one for one in wanted if one not in told.split()], [])
        expect("user data", marker, "user data of the owner")
        self._facts["layout"] = ", ".join(sorted(mount for mount in mounts if mount.startswith("/")))
        return boot

    def _machine(self) -> Any:
        return self.api.get(f"/machines/{self.machine_id}")

    def _ask(self, verb: str, **parameters: Any) -> Any:
        return self.api.post(f"/machines/{self.machine_id}/{verb}", parameters)

    def _wait_state(self, state: str, deadline_seconds: float) -> None:
        def look() -> Any:
            found = self._machine()
            if found["state"].startswith("FAILED_"):
                raise NotSeen(f"{found['state']}: {found['state_reason']}")
            return found if found["state"] == state else None

        self._wait_for(f"state {state}", look, deadline_seconds)

    def _wait_for(self, what: str, look: Callable[[], Any], deadline_seconds: float) -> Any:
        """Wait, showing the machine's events once it has some; they say when looking at the machine may be worth it."""
        asked = 0

        def tell_and_look() -> Any:
            nonlocal asked
            news = self._tell() if self.machine_id else True
            asked += 1
            return look() if news or asked % QUIET_LOOKS == 1 else None

        return self.api.wait_for(what, tell_and_look, deadline_seconds, self.terminal.pause)

    def _tag_it(self) -> None:
        """Tag it with its firmware, as operators do with what they choose machines by."""
        self.api.call("PATCH", f"/machines/{self.machine_id}", json={"tags": [self.machine.hardware.firmware]})

    def _wait_nameless(self) -> None:
        end = time.monotonic() + NAME_SECONDS
        while left := [
            address for kind in ("A", "AAAA") for address in self.outside.dig(self.rack_address, self.fqdn, kind)
        ]:
            if time.monotonic() > end:
                raise NotSeen(f"{self.fqdn} still resolves to {left} {NAME_SECONDS} s after the release")
            self.terminal.pause(0.2)

    def _wait_off(self, after: str) -> None:
        end = time.monotonic() + 60
        while self.machine.is_on:
            if time.monotonic() > end:
                raise NotSeen(f"the machine is still on a minute after {after}")
            self.terminal.pause(0.3)

    def _tell(self) -> bool:
        """Show the machine's newest events below the running step; says whether there were any."""
        if not self._seen_event:
            self._seen_event = 1
        events = self.api.get(f"/machines/{self.machine_id}/events", after=self._seen_event)["items"]
        for event in events:
            self._seen_event = max(self._seen_event, event["id"])
            if event["kind"] != "machine.progress":
                self.terminal.note(event["message"])
        return bool(events)


def expect(what: str, seen: object, wanted: object) -> None:
    """NotSeen unless what was seen is what was wanted."""
    if seen != wanted:
        raise NotSeen(f"{what}: seen {seen!r}, expected {wanted!r}")
