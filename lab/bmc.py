"""The configuration of one machine's emulated BMC (`ipmi_sim` of OpenIPMI): pure, the chassis runs it.

The BMC answers IPMI over LAN on its own address and, through QEMU's KCS device, in-band. Power, boot device and LAN
settings are asked of the machine's chassis through `chassis_control.py`. Clients must use cipher suite 3 (`ipmitool
-C 3`). See ipmi_lan(5) and ipmi_sim_cmd(5); `chassis_control` and `lan_config_program` are undocumented there and
were measured.
"""

import ipaddress
import re
import shlex
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

Protocol = Literal["ipmi", "redfish"]

LAN_PORT = 623
"""IPMI over LAN; IANA's asf-rmcp."""
IN_BAND_PORT = 9002
CONTROL_PROGRAM = Path(__file__).with_name("chassis_control.py")
FIRST_FREE_USER = 3
"""User 1 is the anonymous one (disabled), user 2 the factory's."""
_PLAIN = re.compile(r"[A-Za-z0-9._@+-]{1,16}")

COMMANDS = """\
mc_setbmc 0x20
mc_add 0x20 0 no-device-sdrs 0x23 9 8 0x9f 0x1291 0xf02 persist_sdr
sel_enable 0x20 1000 0x0a
mc_enable 0x20
"""
"""What ipmi_sim is told at its start: one management controller, IPMI 2.0, with a chassis and an event log."""


@dataclass(frozen=True)
class Bmc:
    """One emulated BMC. `interface` is its address with prefix length; the password is the factory administrator's."""

    name: str
    interface: str
    mac: str
    gateway: str
    system_uuid: str
    username: str
    password: str
    protocol: Protocol = "ipmi"

    @property
    def address(self) -> str:
        """The BMC's address without the prefix length."""
        return self.interface.partition("/")[0]

    @property
    def in_band_host(self) -> str:
        """A loopback address of its own (127 and the last three bytes of the BMC's), so every BMC has the same port."""
        return "127." + self.address.partition(".")[2]

    def lan_settings(self) -> dict[str, str]:
        """Return what `ipmitool lan print` shows, in ipmi_sim's words."""
        return {
            "ip_addr_src": "static",
            "ip_addr": self.address,
            "subnet_mask": str(ipaddress.ip_interface(self.interface).netmask),
            "mac_addr": self.mac,
            "default_gw_ip_addr": self.gateway,
            "default_gw_mac_addr": "00:00:00:00:00:00",
            "backup_gw_ip_addr": "0.0.0.0",
            "backup_gw_mac_addr": "00:00:00:00:00:00",
        }


def guid(system_uuid: str) -> str:
    """Return a system UUID as IPMI transmits it, hexadecimal, least significant byte first (IPMI 2.0, 20.8)."""
    return uuid.UUID(system_uuid).bytes[::-1].hex()


def lan_configuration(bmc: Bmc, python: str, socket: Path) -> str:
    """Return ipmi_sim's configuration file; it holds the factory password, so it belongs in a file of mode 0600."""
    for what, word in (("user name", bmc.username), ("password", bmc.password)):
        if not _PLAIN.fullmatch(word):
            raise ValueError(
                f"BMC {bmc.name}: its factory {what} may have 1 to 16 letters, digits or ._@+-; choose another"
            )
    program = shlex.join([python, "-I", "-S", str(CONTROL_PROGRAM), str(socket)])
    return f"""\
name "{bmc.name}"
set_working_mc 0x20
  startlan 1
    addr {bmc.address} {LAN_PORT}
    priv_limit admin
    allowed_auths_callback md5
    allowed_auths_user md5
    allowed_auths_operator md5
    allowed_auths_admin md5
    guid {guid(bmc.system_uuid)}
    lan_config_program "{program}"
  endlan
  chassis_control "{program}"
  serial 15 {bmc.in_band_host} {IN_BAND_PORT} codec VM
  user 1 false "" "" user 10 md5
  user 2 true "{bmc.username}" "{bmc.password}" admin 10 md5
"""
