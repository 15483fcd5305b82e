"""PCI devices, from lspci(8): machine-readable (`-vmm`), with numbers (`-nn`), domains (`-D`) and drivers (`-k`)."""

import re
from typing import Any

from ..probe import Probe

COMMAND = ["lspci", "-vmmnnDk"]
_NAMED = re.compile(r"(?P<name>.*?)\s*\[(?P<number>[0-9a-fA-F]{4})\]")


def _named(value: str) -> tuple[str, str]:
    """Split `Ethernet controller [0200]` into the name and the lower-case number."""
    found = _NAMED.fullmatch(value.strip())
    return (found["name"], found["number"].lower()) if found else (value.strip(), "")


def parse(text: str) -> list[dict[str, Any]]:
    """The devices in the output of `lspci -vmmnnDk`: records of `Tag:<tab>value` lines between blank lines."""
    devices: list[dict[str, Any]] = []
    for record in re.split(r"\n\s*\n", text.strip()):
        tags: dict[str, str] = {}
        for line in record.splitlines():
            tag, separator, value = line.partition(":")
            if separator:
                tags.setdefault(tag.strip(), value.strip())
        if "Slot" not in tags:
            continue
        class_name, class_id = _named(tags.get("Class", ""))
        vendor, vendor_id = _named(tags.get("Vendor", ""))
        product, device_id = _named(tags.get("Device", ""))
        devices.append(
            {
                "address": tags["Slot"],
                "class_id": class_id,
                "class": class_name,
                "vendor_id": vendor_id,
                "device_id": device_id,
                "vendor": vendor,
                "product": product,
                "driver": tags.get("Driver"),
            }
        )
    return devices


def collect(probe: Probe) -> dict[str, Any]:
    return {"devices": parse(probe.run(COMMAND))}
