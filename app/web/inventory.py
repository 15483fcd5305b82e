"""A machine's inventory as terms and sentences. What machines say of themselves is shown, never trusted to have a shape.

Every function takes whatever was stored; what is missing or of the wrong kind is left out.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from app.web.present import memory, size

DISKS_SHOWN = 64


@dataclass(frozen=True)
class Fact:
    """One line: a term, the name of the thing if there are many, and what is known. code: addresses and serials."""

    term: str
    name: str
    text: str
    code: str = ""


def facts(inventory: Any) -> list[Fact]:
    """Everything worth a line, in the order in which people ask for it."""
    known = _mapping(inventory)
    found = [*_processor(_mapping(known.get("cpu")))]
    total = _number(_mapping(known.get("memory")).get("total_mib"))
    if total:
        found.append(Fact("Memory", "", memory(total)))
    for disk in _items(known, "disks", "disks")[:DISKS_SHOWN]:
        words = [size(_number(disk.get("size_bytes"))), _text(disk.get("model"))]
        words += ["rotating"] if disk.get("rotational") is True else []
        found.append(Fact("Disk", _text(disk.get("name")), _joined(words, ", "), _text(disk.get("serial"))))
    for nic in _items(known, "nics", "nics")[:DISKS_SHOWN]:
        speed = _number(nic.get("speed_mbps"))
        words = [
            _text(nic.get("driver")),
            f"{speed} Mbit/s" if speed else "",
            "link up" if nic.get("link") else "no link",
        ]
        found.append(Fact("NIC", _text(nic.get("name")), _joined(words, ", "), _text(nic.get("mac"))))
    found += _firmware(_mapping(known.get("firmware")))
    for neighbour in _items(known, "lldp", "neighbours"):
        words = [_text(neighbour.get("chassis_name")), "port " + _text(neighbour.get("port_id"))]
        found.append(Fact("Switch", _text(neighbour.get("interface")), _joined(words, ", ")))
    return found


def devices(inventory: Any) -> list[tuple[str, str, str]]:
    """PCI devices: address, class, maker and product."""
    return [
        (
            _text(device.get("address")),
            _text(device.get("class")),
            _joined([_text(device.get("vendor")), _text(device.get("product"))], " "),
        )
        for device in _items(_mapping(inventory), "pci", "devices")
    ]


def _processor(cpu: dict[str, Any]) -> list[Fact]:
    if not cpu:
        return []
    counts = [
        _count(_number(cpu.get("sockets")), "socket"),
        _count(_number(cpu.get("cores")), "core"),
        _count(_number(cpu.get("threads")), "thread"),
        _count(len(_list(cpu.get("numa"))), "NUMA node"),
    ]
    return [Fact("CPU", "", _joined([_text(cpu.get("model")), *counts], ", "))]


def _firmware(firmware: dict[str, Any]) -> list[Fact]:
    found = []
    system = _mapping(firmware.get("system"))
    product = _joined([_text(system.get("manufacturer")), _text(system.get("product"))], " ")
    if product:
        found.append(Fact("System", "", product, _text(system.get("serial"))))
    kind = _text(firmware.get("type")).upper()
    words = _joined([kind, _text(firmware.get("vendor")), _text(firmware.get("version"))], " ")
    if words:
        found.append(Fact("Firmware", "", _joined([words, _text(firmware.get("date"))], ", ")))
    return found


def _count(number: int | None, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}" if number else ""


def _items(known: dict[str, Any], script: str, key: str) -> list[dict[str, Any]]:
    return [one for one in _list(_mapping(known.get(script)).get(key)) if isinstance(one, dict)]


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _number(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None


def _text(value: Any) -> str:
    return str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""


def _joined(words: list[str], by: str) -> str:
    return by.join(word for word in words if word and word != "-")
