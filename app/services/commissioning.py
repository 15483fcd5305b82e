"""Commissioning: which scripts a machine runs, and how what they found becomes the machine's inventory."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from sqlalchemy import Row, bindparam, delete, insert, select, update
from sqlalchemy.orm import Session, lazyload

from app.services import address_records, addresses, discovery
from app.services.boot import canonical_mac, canonical_uuid
from app.services.context import Context
from app.services.errors import ServiceError, Unstorable
from app.services.held import HeldMachine, HeldOperation
from app.services.transition import write
from app.store.models import Disk, Interface, Machine, ScriptResult, Tag
from app.store.prepared import Prepared
from app.store.unit_of_work import after_commit

SCRIPTS: tuple[tuple[str, int], ...] = (
    ("cpu", 60),
    ("memory", 60),
    ("disks", 120),
    ("nics", 120),
    ("pci", 60),
    ("firmware", 60),
    ("lldp", 90),
    ("bmc", 120),
    ("lshw", 180),
)
"""Names and seconds, in the order in which they run."""
REQUIRED = frozenset({"cpu", "memory", "disks", "nics"})
GOOD = frozenset({"passed", "skipped"})
TAIL = 400
GPU_TAG = "gpu"
_GPU_CLASSES = ("0300", "0302")
_GPU_VENDORS = ("10de", "1002")
_RESULTS = Prepared(
    select(
        ScriptResult.script, ScriptResult.status, ScriptResult.exit_code, ScriptResult.stderr, ScriptResult.result
    ).where(ScriptResult.operation_id == bindparam("operation_id"))
)


def _new(*names: str) -> dict[str, Any]:
    """Columns and the parameters that bring their values."""
    return {name: bindparam(f"new_{name}") for name in names}


_INTERFACES = Prepared(
    select(Interface.id, Interface.name, Interface.mac, Interface.subnet_id, Interface.vlan_id).where(
        Interface.machine_id == bindparam("machine_id")
    )
)
_OF_INTERFACE = ("name", "driver", "link", "speed_mbps", "subnet_id", "vlan_id")
_LOSE_LINK = Prepared(update(Interface).where(Interface.id == bindparam("of_id")).values(link=False))
_CHANGE_INTERFACE = Prepared(update(Interface).where(Interface.id == bindparam("of_id")).values(_new(*_OF_INTERFACE)))
_ADD_INTERFACE = Prepared(insert(Interface).values(_new(*_OF_INTERFACE, "mac", "machine_id", "boot")))
_DISKS = Prepared(select(Disk.id, Disk.name).where(Disk.machine_id == bindparam("machine_id")))
_OF_DISK = ("path", "by_id", "size_bytes", "model", "serial", "rotational")
_FORGET_DISK = Prepared(delete(Disk).where(Disk.id == bindparam("of_id")))
_CHANGE_DISK = Prepared(update(Disk).where(Disk.id == bindparam("of_id")).values(_new(*_OF_DISK)))
_ADD_DISK = Prepared(insert(Disk).values(_new(*_OF_DISK, "name", "machine_id")))


def task() -> list[dict[str, Any]]:
    """The scripts as the machine's task lists them."""
    return [{"name": name, "timeout_seconds": seconds} for name, seconds in SCRIPTS]


def complaint(results: Iterable[ScriptResult | Row[Any]]) -> str | None:
    """Why these results do not make an inventory; None when they do."""
    by_name = {result.script: result for result in results}
    for name, _ in SCRIPTS:
        result = by_name.get(name)
        if result is None:
            continue
        if result.status not in GOOD:
            ended = "took too long" if result.status == "timedout" else f"ended with {result.exit_code}"
            return f"script {name} {ended}: {_tail(result.stderr) or '(it said nothing)'}"
        if name in REQUIRED and not isinstance(result.result, dict):
            return f"script {name} was {result.status} without a result: {_tail(result.stderr) or '(it said nothing)'}"
    missing = [name for name, _ in SCRIPTS if name not in by_name]
    if missing:
        return f"the machine finished without reporting: {', '.join(missing)}; look at its console"
    return None


def merge(session: Session, context: Context, machine: HeldMachine, operation: HeldOperation) -> str | None:
    """Make the operation's results the machine's inventory; a sentence when they cannot be."""
    results = _RESULTS.all(session, operation_id=operation.id)
    reason = complaint(results)
    if reason is not None:
        return reason
    found: dict[str, Any] = {row.script: row.result for row in results if row.result is not None}
    try:
        with session.begin_nested():
            nics = found["nics"]["nics"]
            if _interfaces(session, machine, nics):
                neighbours = (found.get("lldp") or {}).get("neighbours") or []
                after_commit(session, partial(discovery.of_machine, context, machine.id, nics, neighbours))
            _disks(session, machine, found["disks"]["disks"])
            _tags(session, machine, (found.get("pci") or {}).get("devices") or [])
            write(session, machine, _totals(machine, found) | {"inventory": found, "version": machine.version + 1})
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, ServiceError, Unstorable) as error:
        return f"the scripts' results make no sense ({type(error).__name__}: {error}); is the agent too old?"
    return None


def _totals(machine: HeldMachine, found: dict[str, Any]) -> dict[str, Any]:
    """The machine's columns that sum up what was found."""
    values: dict[str, Any] = {
        "cpu_count": int(found["cpu"]["threads"]),
        "architecture": str(found["cpu"]["architecture"] or machine.architecture),
        "memory_mib": int(found["memory"]["total_mib"]),
        "storage_bytes": sum(int(disk["size_bytes"]) for disk in found["disks"]["disks"]),
    }
    firmware = found.get("firmware")
    if firmware:
        values["firmware"] = str(firmware["type"])
        uuid = canonical_uuid((firmware.get("system") or {}).get("uuid"))
        values["system_uuid"] = uuid or machine.system_uuid
    return values


def _interfaces(session: Session, machine: HeldMachine, nics: list[dict[str, Any]]) -> bool:
    """Update the interfaces by MAC and add new ones; an interface that was not seen has lost its link.

    Whether one with a link is on no VLAN that we know.
    """
    known = {row.mac: row for row in _INTERFACES.all(session, machine_id=machine.id)}
    seen = {canonical_mac(nic["mac"]): nic for nic in nics}
    new = set(seen) - set(known)
    elsewhere = set(session.scalars(select(Interface.mac).where(Interface.mac.in_(new)))) if new else set()
    lost = [{"of_id": row.id} for mac, row in known.items() if mac not in seen]
    changed, added = [], []
    for mac, nic in seen.items():
        if mac in elsewhere:
            continue
        row = known.get(mac)
        values: dict[str, Any] = {
            "new_name": str(nic["name"])[:64],
            "new_driver": _words(nic.get("driver")),
            "new_link": bool(nic["link"]),
            "new_speed_mbps": int(nic["speed_mbps"]) if nic.get("speed_mbps") else None,
            "new_subnet_id": row and row.subnet_id,
            "new_vlan_id": row and row.vlan_id,
        }
        if values["new_subnet_id"] is None:
            # An interface has at most a handful of addresses; most have none and one has one.
            for text in list(nic.get("addresses") or [])[:4]:
                subnet = addresses.subnet_of(session, str(text).partition("/")[0])
                if subnet is not None:
                    values |= {"new_subnet_id": subnet.id, "new_vlan_id": subnet.vlan_id}
                    break
        if row is None:
            added.append(values | {"new_mac": mac, "new_machine_id": machine.id, "new_boot": False})
        else:
            changed.append(values | {"of_id": row.id})
    renamed = any(known[mac].name != str(nic["name"])[:64] for mac, nic in seen.items() if mac in known)
    before = address_records.held(session, machine) if renamed else []
    for statement, rows in ((_LOSE_LINK, lost), (_CHANGE_INTERFACE, changed), (_ADD_INTERFACE, added)):
        statement.run_many(session, rows)
    if before:  # Addresses that are kept between deployments stand at the interfaces' names.
        address_records.put_owner(session, machine, before)
    if added:
        addresses.tie(session, machine)
    return any(row["new_vlan_id"] is None and row["new_link"] for row in (*changed, *added))


def _disks(session: Session, machine: HeldMachine, disks: list[dict[str, Any]]) -> None:
    """Write the disks that were seen, and forget those that were not."""
    known = {row.name: row.id for row in _DISKS.all(session, machine_id=machine.id)}
    seen = {str(disk["name"]): disk for disk in disks}
    gone = [{"of_id": disk_id} for name, disk_id in known.items() if name not in seen]
    changed, added = [], []
    for name, disk in seen.items():
        values = {
            "new_path": str(disk["path"]),
            "new_by_id": _words(disk.get("by_id")),
            "new_size_bytes": int(disk["size_bytes"]),
            "new_model": _words(disk.get("model")),
            "new_serial": _words(disk.get("serial")),
            "new_rotational": bool(disk.get("rotational")),
        }
        if name in known:
            changed.append(values | {"of_id": known[name]})
        else:
            added.append(values | {"new_name": name, "new_machine_id": machine.id})
    for statement, rows in ((_FORGET_DISK, gone), (_CHANGE_DISK, changed), (_ADD_DISK, added)):
        statement.run_many(session, rows)


def _tags(session: Session, machine: HeldMachine, devices: list[dict[str, Any]]) -> None:
    """Tag machines that have a graphics processor by a maker of such; emulated display adapters are none."""
    has_gpu = any(
        str(device.get("class_id")) in _GPU_CLASSES and str(device.get("vendor_id")) in _GPU_VENDORS
        for device in devices
    )
    if not has_gpu:
        return
    tagged = session.get_one(Machine, machine.id, options=[lazyload("*")])
    if any(tag.name == GPU_TAG for tag in tagged.tags):
        return
    tag = session.scalars(select(Tag).where(Tag.name == GPU_TAG)).one_or_none()
    tagged.tags.append(tag or Tag(name=GPU_TAG, comment="has a graphics processor (set by commissioning)"))


def _words(value: Any) -> str | None:
    """A fact that should be text, as text of a length that people read."""
    return None if value is None else str(value)[:255]


def _tail(text: str) -> str:
    return text.strip()[-TAIL:]
