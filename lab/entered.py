"""The walk of a machine that an operator enters before it has ever run: by its system UUID, with its Redfish BMC.

Nothing is found in-band: such a machine shows its operating system no BMC, so the operator types in the BMC's address,
account and certificate fingerprint, and the machine is recognised by its system UUID when it enlists.  It has UEFI
firmware, fetches its loader by TFTP the first time and by HTTP from then on, and is given back with a full erase.
"""

from __future__ import annotations

from typing import Any, ClassVar

from lab.outside import NotSeen
from lab.walk import ENLIST_SECONDS, LOADER_STARTS, Walk, expect

BOOT_ENTRY = "Muster disk"
"""The label of the boot entry that the agent makes."""


class EnteredWalk(Walk):
    """The same steps; another arrival, another loader, another erase."""

    arrival: ClassVar[str] = "entered, on by its BMC -> New"
    departure: ClassVar[str] = "release with full erase -> Ready"

    def enlist(self) -> str:
        """Enter it by its UUID and switch it on by its BMC; it brings its interfaces and keeps name and BMC."""
        driver = self.machine.bmc.protocol
        body = {
            "system_uuid": self.machine.uuid,
            "hostname": self.machine.name,
            "power_driver": driver,
            "power_parameters": self.machine.power_settings(),
        }
        entered = self.api.post("/machines", body)
        expect("interfaces of a machine that has not run", entered["interfaces"], [])
        self.machine_id = entered["id"]
        mark = self.machine.serial_mark
        self.api.post(f"/machines/{self.machine_id}/power/on")

        def look() -> Any:
            found = self._machine()
            return found if found["interfaces"] else None

        found = self._wait_for("the machine to enlist", look, ENLIST_SECONDS)
        self._wait_off("enlistment")
        expect("MAC addresses", [one["mac"] for one in found["interfaces"]], [self.machine.mac])
        expect("name and state", (found["hostname"], found["state"]), (self.machine.name, "NEW"))
        expect("machines with this MAC", len(self.api.get("/machines", mac=self.machine.mac)["items"]), 1)
        power = self.api.get(f"/machines/{self.machine_id}/power")
        expect("BMC", (power["driver"], power["found"]), (driver, "by-hand"))
        said = [one["message"] for one in self.api.get(f"/machines/{self.machine_id}/events")["items"]]
        if not any("expected by its system UUID" in message for message in said):
            raise NotSeen(f"its boot script was not asked for with the UUID that was entered: {said}")
        self._came_by("tftp", mark)
        self._tag_it()
        return f"{driver} BMC {power['address']} entered, not found in-band; matched by system UUID; loader by TFTP"

    def commission(self) -> str:
        """Have it look at itself; from now on its BMC is asked for UEFI HTTP boot."""
        driver, parameters = self.machine.bmc.protocol, {**self.machine.power_settings(), "network_boot": "http"}
        self.api.call("PUT", f"/machines/{self.machine_id}/power", json={"driver": driver, "parameters": parameters})
        mark = self.machine.serial_mark
        said = super().commission()
        self._came_by("http", mark)
        return f"{said}; loader by HTTP"

    def log_in(self) -> str:
        """As for any machine; and the firmware's variables hold the boot entry that the installer made."""
        said = super().log_in()
        if BOOT_ENTRY.encode("utf-16-le") not in self.machine.hardware.uefi_variables.read_bytes():
            raise NotSeen(f"the firmware's variables hold no boot entry {BOOT_ENTRY!r}")
        return f"{said}; the firmware keeps its boot entry"

    def release(self) -> str:
        """Give it back: every block of its disk reads as zero."""
        held = self.machine.disk.path.stat().st_blocks * 512
        self._give_back("full")
        if (where := self.machine.disk.first_data()) is not None:
            raise NotSeen(f"the disk holds data at byte {where} after a full erase")
        size = self.machine.disk.size
        return f"{held >> 20} MiB were written, all {size >> 20} MiB read as zeros now; name gone, machine off"

    def _came_by(self, protocol: str, mark: int) -> None:
        """NotSeen unless the firmware fetched its loader that way first, and the loader started."""
        before, loaded, _ = self.machine.serial_text(mark).partition("iPXE initialising")
        others = [text for name, text in LOADER_STARTS.items() if name != protocol and text in before]
        if not loaded or LOADER_STARTS[protocol] not in before or others:
            raise NotSeen(f"the console does not say that the loader came by {protocol}: {before[-300:]!r}")
