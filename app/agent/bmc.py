"""
The machine's own BMC over its system interface (in-band IPMI): what it is, where it is, and an account for us.

Reading changes nothing. Making the account is for enlisting only: the user `muster` gets a new random password, in its
own slot if it has one and else in the first free one. Slot 1 is the anonymous user (IPMI 2.0, 22.26) and other
people's users are never touched. The password reaches ipmitool in a private file in memory (`ipmitool exec FILE`),
because a process's arguments can be read by everybody on the machine.
"""

import os
import re
import secrets
import string
import tempfile
from dataclasses import dataclass, field

from . import redfish_host
from .errors import AgentError, CommandFailed
from .probe import Probe

USER = "muster"
MODULES = ("ipmi_si", "ipmi_ssif", "ipmi_devintf")
DEVICES = ("/dev/ipmi0", "/dev/ipmi/0", "/dev/ipmidev/0")
CHANNELS = range(1, 9)
# IPMI 1.5 keeps 16 bytes of a password and 2.0 keeps 20 (22.30); 16 works with both.
PASSWORD_LENGTH = 16
_ADMINISTRATOR = "4"
_EMPTY_NAMES = {"", "(empty user)"}
_ADDRESS = re.compile(r"\d{1,3}(\.\d{1,3}){3}")


@dataclass(frozen=True)
class Bmc:
    """A BMC that can be reached over the network: its IPv4 address, MAC and LAN channel, and the IPMI version."""

    address: str
    mac: str
    channel: int
    version: str
    manufacturer_id: int | None


@dataclass(frozen=True)
class Account:
    """Our user on a BMC."""

    slot: int
    username: str
    password: str = field(repr=False)


def parse_fields(text: str) -> dict[str, str]:
    """The `Name : value` lines of ipmitool; the first of a name counts, continuation lines are left out."""
    fields: dict[str, str] = {}
    for line in text.splitlines():
        name, separator, value = line.partition(":")
        if separator and name.strip():
            fields.setdefault(name.strip(), value.strip())
    return fields


def parse_lan(text: str) -> tuple[str, str] | None:
    """The IPv4 address and MAC in `ipmitool lan print N`; None if it has none (one that is not set is 0.0.0.0)."""
    fields = parse_fields(text)
    address, mac = fields.get("IP Address", ""), fields.get("MAC Address", "").lower()
    if not _ADDRESS.fullmatch(address) or address in ("0.0.0.0", "255.255.255.255"):
        return None
    return address, mac


def parse_users(text: str) -> dict[int, str]:
    """
    The names by slot in `ipmitool user list N`.

    The columns are fixed (`%-4d%-17s%-8s...` in ipmitool's ipmi_user.c), and a name may be empty or hold blanks, so
    the line is cut by position.
    """
    users: dict[int, str] = {}
    for line in text.splitlines():
        if line[:4].strip().isdigit():
            users[int(line[:4])] = line[4:21].strip()
    return users


def choose_slot(users: dict[int, str]) -> int:
    """Our slot if we have one, else the first free one after slot 1; AgentError if all are taken."""
    for slot, name in sorted(users.items()):
        if slot > 1 and name == USER:
            return slot
    for slot, name in sorted(users.items()):
        if slot > 1 and name.lower() in _EMPTY_NAMES:
            return slot
    raise AgentError(
        f"BMC: none of its {len(users)} user slots is free for the user {USER!r}; delete a user there and enlist again"
    )


def new_password() -> str:
    """Sixteen letters and digits (95 bits), with each kind in it, as some vendors' rules ask."""
    while True:
        text = "".join(secrets.choice(string.ascii_letters + string.digits) for _ in range(PASSWORD_LENGTH))
        if any(c.islower() for c in text) and any(c.isupper() for c in text) and any(c.isdigit() for c in text):
            return text


def account_commands(channel: int, slot: int, password_file: str, set_name: bool) -> list[list[str]]:
    """What makes the account, in order: the password is there before the user may log in."""
    naming = [["ipmitool", "user", "set", "name", str(slot), USER]] if set_name else []
    return [
        *naming,
        ["ipmitool", "exec", password_file],
        ["ipmitool", "user", "priv", str(slot), _ADMINISTRATOR, str(channel)],
        [
            "ipmitool",
            "channel",
            "setaccess",
            str(channel),
            str(slot),
            "callin=on",
            "ipmi=on",
            "link=on",
            f"privilege={_ADMINISTRATOR}",
        ],
        ["ipmitool", "user", "enable", str(slot)],
    ]


def _device(probe: Probe) -> str | None:
    return next((device for device in DEVICES if probe.exists(device)), None)


def _no_device(probe: Probe, tried: list[str]) -> str:
    """Why there is no BMC: SMBIOS announces one by a type 38 record (DMTF DSP0134, 7.39)."""
    probe.try_run(["modprobe", "dmi-sysfs"])
    entries = probe.names("/sys/firmware/dmi/entries")
    if not entries:
        announced = "whether SMBIOS announces a BMC cannot be read"
    elif any(entry.startswith("38-") for entry in entries):
        announced = "SMBIOS announces one (type 38), so its driver may be missing"
    else:
        announced = "SMBIOS announces none (no type 38 record)"
    hosts = redfish_host.read(probe)
    told = "".join(f"; {host.words()}" for host in hosts)
    return f"no BMC: there is no {DEVICES[0]} after loading {', '.join(tried)}; {announced}{told}"


def read(probe: Probe) -> tuple[Bmc | None, str | None]:
    """The BMC, or None and the reason in one sentence."""
    if _device(probe) is None:
        for module in MODULES:
            probe.try_run(["modprobe", module])
        # udev makes the device node a moment after the driver has found the BMC.
        probe.try_run(["udevadm", "settle", "--timeout=5"])
    if _device(probe) is None:
        return None, _no_device(probe, list(MODULES))
    info = probe.try_run(["ipmitool", "mc", "info"])
    if not info.ok:
        return None, f"BMC: {_device(probe)} is there but does not answer: {info.complaint()}"
    fields = parse_fields(info.text)
    manufacturer = fields.get("Manufacturer ID", "")
    for channel in CHANNELS:
        lan = probe.try_run(["ipmitool", "lan", "print", str(channel)])
        # ipmitool ends with 1 when any of the other parameters cannot be read; we need these two only.
        found = parse_lan(lan.text)
        if found:
            number = int(manufacturer) if manufacturer.isdigit() else None
            return Bmc(found[0], found[1], channel, fields.get("IPMI Version", ""), number), None
    return None, (
        f"BMC: none of the channels {CHANNELS[0]} to {CHANNELS[-1]} is a LAN channel with an IPv4 address;"
        " give the BMC an address and enlist again"
    )


def make_account(probe: Probe, bmc: Bmc, folder: str = "/run") -> Account:
    """
    Make or renew our user and return it; CommandFailed or AgentError if the BMC does not take it.

    `folder` is where the password's file lives for a moment; /run is memory, so nothing reaches a disk.
    """
    users = parse_users(probe.run(["ipmitool", "user", "list", str(bmc.channel)]))
    slot = choose_slot(users)
    account = Account(slot, USER, new_password())
    handle, name = tempfile.mkstemp(prefix="muster-", dir=folder)
    try:
        with os.fdopen(handle, "w", encoding="ascii") as file:
            file.write(f"user set password {slot} {account.password}\n")
        for command in account_commands(bmc.channel, slot, name, set_name=users.get(slot) != USER):
            probe.run(command)
    except CommandFailed as error:
        raise AgentError(f"BMC {bmc.address}: the user {USER!r} in slot {slot} could not be set: {error}") from error
    finally:
        os.unlink(name)
    after = parse_users(probe.run(["ipmitool", "user", "list", str(bmc.channel)]))
    if after.get(slot) != USER:
        raise AgentError(f"BMC {bmc.address}: slot {slot} is named {after.get(slot)!r} after naming it {USER!r}")
    return account
