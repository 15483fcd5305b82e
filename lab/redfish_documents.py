"""What the emulated Redfish BMC says of itself and its machine: documents of DSP2046's schemas; pure."""

import ipaddress
from typing import Any

from lab.bmc import Bmc

ROOT = "/redfish/v1"
SYSTEM = f"{ROOT}/Systems/1"
MANAGER = f"{ROOT}/Managers/1"
CHASSIS = f"{ROOT}/Chassis/1"
NETWORK = f"{MANAGER}/EthernetInterfaces/1"
TARGETS = {"None": "none", "Pxe": "pxe", "UefiHttp": "http", "Hdd": "default", "Cd": "cdrom", "BiosSetup": "bios"}
"""BootSourceOverrideTarget to the chassis's word for a boot device."""
MODES = {"bios": "Legacy", "uefi": "UEFI"}
ENABLED = ("Disabled", "Once")

Problem = tuple[dict[str, Any], int]


class Documents:
    """The documents of one BMC; `http_boot` says whether its machine can boot by UEFI HTTP."""

    def __init__(self, bmc: Bmc, serial: str, firmware: str, http_boot: bool, resets: tuple[str, ...]) -> None:
        self._bmc = bmc
        self._serial = serial
        self._mode = MODES[firmware]
        self._targets = [word for word in TARGETS if word != "UefiHttp" or (http_boot and firmware == "uefi")]
        self._resets = resets

    def service_root(self) -> dict[str, Any]:
        """ServiceRoot: the only document that is shown to everybody (DSP0266, 13.2)."""
        return {
            **_head(f"{ROOT}/", "ServiceRoot.v1_15_0.ServiceRoot", "RootService", "Root Service"),
            "RedfishVersion": "1.17.0",
            "UUID": self._bmc.system_uuid,
            "Product": "Muster lab BMC",
            "Systems": _link(f"{ROOT}/Systems"),
            "Chassis": _link(f"{ROOT}/Chassis"),
            "Managers": _link(f"{ROOT}/Managers"),
            "SessionService": _link(f"{ROOT}/SessionService"),
            "Links": {"Sessions": _link(f"{ROOT}/SessionService/Sessions")},
        }

    def session_service(self, seconds: int) -> dict[str, Any]:
        """SessionService."""
        return {
            **_head(
                f"{ROOT}/SessionService", "SessionService.v1_1_8.SessionService", "SessionService", "Session Service"
            ),
            "ServiceEnabled": True,
            "SessionTimeout": seconds,
            "Sessions": _link(f"{ROOT}/SessionService/Sessions"),
        }

    def sessions(self, names: list[str]) -> dict[str, Any]:
        """The collection of sessions."""
        return _collection(
            f"{ROOT}/SessionService/Sessions",
            "SessionCollection.SessionCollection",
            [f"{ROOT}/SessionService/Sessions/{name}" for name in names],
        )

    def session(self, name: str) -> dict[str, Any]:
        """One session; its token is in a header and nowhere else."""
        return {
            **_head(f"{ROOT}/SessionService/Sessions/{name}", "Session.v1_5_0.Session", name, "Session"),
            "UserName": self._bmc.username,
        }

    def system(self, values: dict[str, str]) -> dict[str, Any]:
        """ComputerSystem, from what the chassis says now (power, boot)."""
        target = next((word for word, boot in TARGETS.items() if boot == values["boot"]), "None")
        return {
            **_head(SYSTEM, "ComputerSystem.v1_20_0.ComputerSystem", "1", self._bmc.name),
            "SystemType": "Physical",
            "Manufacturer": "Muster",
            "Model": "VirtualMachine",
            "SerialNumber": self._serial,
            "UUID": self._bmc.system_uuid,
            "PowerState": "On" if values["power"] == "1" else "Off",
            "Status": {"State": "Enabled", "Health": "OK"},
            "Boot": {
                "BootSourceOverrideEnabled": "Disabled" if target == "None" else "Once",
                "BootSourceOverrideEnabled@Redfish.AllowableValues": list(ENABLED),
                "BootSourceOverrideTarget": target,
                "BootSourceOverrideTarget@Redfish.AllowableValues": self._targets,
                "BootSourceOverrideMode": self._mode,
                "BootSourceOverrideMode@Redfish.AllowableValues": [self._mode],
            },
            "Links": {"Chassis": [_link(CHASSIS)], "ManagedBy": [_link(MANAGER)]},
            "Actions": {
                "#ComputerSystem.Reset": {
                    "target": f"{SYSTEM}/Actions/ComputerSystem.Reset",
                    "ResetType@Redfish.AllowableValues": list(self._resets),
                }
            },
        }

    def refusal(self, body: dict[str, Any]) -> Problem | None:
        """Why a PATCH of the system is refused; None if it is not."""
        boot = body.get("Boot")
        if set(body) != {"Boot"} or not isinstance(boot, dict) or not boot:
            return problem(400, "PropertyNotWritable", "Of a system only Boot can be changed.")
        allowed = {
            "BootSourceOverrideEnabled": ENABLED,
            "BootSourceOverrideTarget": self._targets,
            "BootSourceOverrideMode": [self._mode],
        }
        for name, value in boot.items():
            if name not in allowed:
                return problem(400, "PropertyUnknown", f"The property {name} is not one of {', '.join(allowed)}.")
            if value not in allowed[name]:
                return problem(
                    400, "PropertyValueNotInList", f"{name} {value!r} is not one of {', '.join(allowed[name])}."
                )
        return None

    def fixed(self) -> dict[str, dict[str, Any]]:
        """The documents that never change, by path."""
        interface = ipaddress.IPv4Interface(self._bmc.interface)
        return {
            f"{ROOT}/Systems": _collection(
                f"{ROOT}/Systems", "ComputerSystemCollection.ComputerSystemCollection", [SYSTEM]
            ),
            f"{ROOT}/Chassis": _collection(f"{ROOT}/Chassis", "ChassisCollection.ChassisCollection", [CHASSIS]),
            f"{ROOT}/Managers": _collection(f"{ROOT}/Managers", "ManagerCollection.ManagerCollection", [MANAGER]),
            CHASSIS: {
                **_head(CHASSIS, "Chassis.v1_23_0.Chassis", "1", self._bmc.name),
                "ChassisType": "RackMount",
                "SerialNumber": self._serial,
                "Links": {"ComputerSystems": [_link(SYSTEM)], "ManagedBy": [_link(MANAGER)]},
            },
            MANAGER: {
                **_head(MANAGER, "Manager.v1_18_0.Manager", "1", "BMC"),
                "ManagerType": "BMC",
                "Status": {"State": "Enabled", "Health": "OK"},
                "EthernetInterfaces": _link(f"{MANAGER}/EthernetInterfaces"),
                "Links": {"ManagerForServers": [_link(SYSTEM)]},
            },
            f"{MANAGER}/EthernetInterfaces": _collection(
                f"{MANAGER}/EthernetInterfaces",
                "EthernetInterfaceCollection.EthernetInterfaceCollection",
                [NETWORK],
            ),
            NETWORK: {
                **_head(NETWORK, "EthernetInterface.v1_9_0.EthernetInterface", "1", "BMC LAN"),
                "MACAddress": self._bmc.mac,
                "PermanentMACAddress": self._bmc.mac,
                "InterfaceEnabled": True,
                "IPv4Addresses": [
                    {
                        "Address": str(interface.ip),
                        "SubnetMask": str(interface.netmask),
                        "AddressOrigin": "Static",
                        "Gateway": self._bmc.gateway,
                    }
                ],
            },
        }


def problem(status: int, message: str, sentence: str) -> Problem:
    """An error object (DSP0266, 8.6), with its HTTP status."""
    key = f"Base.1.16.{message}"
    information = [{"MessageId": key, "Message": sentence, "Severity": "Warning"}]
    return {"error": {"code": key, "message": sentence, "@Message.ExtendedInfo": information}}, status


def _head(path: str, kind: str, name: str, title: str) -> dict[str, Any]:
    return {"@odata.id": path, "@odata.type": f"#{kind}", "Id": name, "Name": title}


def _link(path: str) -> dict[str, str]:
    return {"@odata.id": path}


def _collection(path: str, kind: str, members: list[str]) -> dict[str, Any]:
    return {
        "@odata.id": path,
        "@odata.type": f"#{kind}",
        "Name": path.rpartition("/")[2],
        "Members@odata.count": len(members),
        "Members": [_link(member) for member in members],
    }
