"""Firmware and system identity: SMBIOS as the kernel shows it in /sys/class/dmi/id, and whether we booted by UEFI."""

from typing import Any

from ..probe import Probe

_DMI = "/sys/class/dmi/id"
# What vendors leave in fields that they did not fill in.
_PLACEHOLDERS = {
    "",
    "0",
    "none",
    "not specified",
    "not applicable",
    "default string",
    "to be filled by o.e.m.",
    "to be filled by oem",
    "system manufacturer",
    "system product name",
    "system serial number",
    "0123456789",
}


def meaningful(text: str | None) -> str | None:
    """The text, or None for what vendors leave in fields they did not fill in."""
    return None if text is None or text.strip().lower() in _PLACEHOLDERS else text.strip()


def system_uuid(text: str | None) -> str | None:
    """The SMBIOS system UUID in lower case; None if unset, which is all zeros or all ones (DMTF DSP0134, 7.2.1)."""
    value = (meaningful(text) or "").lower()
    return value if set(value.replace("-", "")) - {"0"} and set(value.replace("-", "")) - {"f"} else None


def kind(probe: Probe) -> str:
    """`uefi` or `bios`, by how this system was booted."""
    return "uefi" if probe.exists("/sys/firmware/efi") else "bios"


def parse(booted_by: str, fields: dict[str, str | None]) -> dict[str, Any]:
    """The result, from the files of /sys/class/dmi/id by name."""
    return {
        "type": booted_by,
        "vendor": meaningful(fields.get("bios_vendor")),
        "version": meaningful(fields.get("bios_version")),
        "date": meaningful(fields.get("bios_date")),
        "system": {
            "manufacturer": meaningful(fields.get("sys_vendor")),
            "product": meaningful(fields.get("product_name")),
            "serial": meaningful(fields.get("product_serial")),
            "uuid": system_uuid(fields.get("product_uuid")),
        },
    }


def collect(probe: Probe) -> dict[str, Any]:
    names = ("bios_vendor", "bios_version", "bios_date", "sys_vendor", "product_name", "product_serial", "product_uuid")
    return parse(kind(probe), {name: probe.read(f"{_DMI}/{name}") for name in names})
