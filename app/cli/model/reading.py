"""Everything that a control plane has of the network model, by one list of each kind and one of records for each domain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Protocol

from app.cli.model.kinds import KINDS, SETTINGS, Key, Kind, Model, Thing

Row = dict[str, Any]


class Asking(Protocol):
    """What is needed of a session with the API."""

    def call(self, method: str, path: str, body: Any = None, **parameters: Any) -> Any:
        """One call's answer."""

    def pages(self, path: str, **parameters: Any) -> Iterable[Row]:
        """All items of a list."""


@dataclass
class Present:
    """What there is: things, their ids, and the rows of the API that they were read from.

    names: how others refer to a thing, by kind and id; ids: the other way round.
    """

    model: Model = field(default_factory=dict)
    rows: dict[str, dict[Key, Row]] = field(default_factory=dict)
    names: dict[str, dict[int, str]] = field(default_factory=dict)
    ids: dict[str, dict[str, int]] = field(default_factory=dict)

    def name(self, kind: str, number: int | None) -> str | None:
        """How others refer to a row; a row that came while the lists were read is named by its id."""
        return None if number is None else self.names.get(kind, {}).get(number, f"#{number}")

    def know(self, kind: str, name: str, number: int) -> None:
        """Remember an id."""
        self.names.setdefault(kind, {})[number] = name
        self.ids.setdefault(kind, {})[name] = number

    def put(self, kind: Kind, thing: Thing, row: Row) -> None:
        """Remember a thing."""
        key = kind.key_of(thing)
        self.model[kind.name][key] = thing
        self.rows[kind.name][key] = row
        if "id" in row:
            self.know(kind.name, kind.label(key), row["id"])


def read(session: Asking, *, machines: bool = False) -> Present:
    """All that there is. machines: also their names, which snippets of a file refer to."""
    found = Present({name: {} for name in KINDS}, {name: {} for name in KINDS})
    for rack in session.pages("/racks", fields="id,name"):
        found.know("racks", rack["name"], rack["id"])
    settings = session.call("GET", "/settings")["settings"]
    for name in SETTINGS:
        if name in settings:
            found.put(KINDS["settings"], {"name": name, "value": settings[name]}, settings[name])
    for kind in KINDS.values():
        if kind.name == "vlans":
            _vlans(session, found)
        elif kind.name == "records":
            for name, number in found.ids.get("domains", {}).items():
                for row in session.pages(f"/domains/{number}/records"):
                    found.put(kind, _thing(kind, found, {**row, "domain": name}), {**row, "domain_id": number})
        elif kind.name == "devices":
            for row in session.pages(kind.path):
                _device(found, row)
        elif kind.name == "snippets":
            rows = list(session.pages(kind.path))
            if machines or any(row["machine_id"] for row in rows):
                for machine in session.pages("/machines", fields="id,hostname"):
                    found.know("machines", machine["hostname"], machine["id"])
            for row in rows:
                found.put(kind, _thing(kind, found, row), row)
        elif kind.name not in ("settings", "interfaces", "links"):
            wanted = {"kind": "user_reserved"} if kind.name == "reserved_addresses" else {}
            for row in session.pages(kind.path, **wanted):
                found.put(kind, _thing(kind, found, row), row)
    return found


def _thing(kind: Kind, found: Present, row: Row) -> Thing:
    made: Thing = {}
    for one in kind.fields:
        value = row.get(one.api)
        made[one.name] = found.name(one.ref, value) if one.ref else value
    return made


def _vlans(session: Asking, found: Present) -> None:
    """VLANs refer to each other, so their names come first."""
    kind = KINDS["vlans"]
    rows = list(session.pages(kind.path))
    for row in rows:
        found.know(kind.name, kind.label((row["fabric"], row["vid"])), row["id"])
    for row in rows:
        found.put(kind, _thing(kind, found, row), row)


def _device(found: Present, row: Row) -> None:
    found.put(KINDS["devices"], _thing(KINDS["devices"], found, row), row)
    for interface in row["interfaces"]:
        thing = {"device": row["hostname"], "mac": interface["mac"], "name": interface["name"]}
        found.put(KINDS["interfaces"], thing, interface)
        given = {one["subnet_id"]: one["address"] for one in interface["addresses"] if one["kind"] == "static"}
        for link in interface["links"]:
            static = given.get(link["subnet_id"]) if link["mode"] == "static" else None
            made = {
                "device": row["hostname"],
                "mac": interface["mac"],
                "subnet": found.name("subnets", link["subnet_id"]),
                "mode": link["mode"],
                "address": static,
            }
            found.put(KINDS["links"], made, {**link, "interface_id": interface["id"]})
