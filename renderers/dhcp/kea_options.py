"""DHCP options in Kea's form, and what goes over what.

An option that is set in a wider scope is written where Muster's own options are (into the subnet), because Kea takes a
subnet's option before one of a class, a network or the whole.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from renderers import text
from renderers.dhcp.catalogue import CATALOGUE, PREFIX6
from renderers.dhcp.options import Option, of_bytes

Entry = dict[str, Any]


def option(name: str, *values: str) -> Entry:
    """One option, sent even if the client has not asked. In Kea's text form commas separate values: refuse them."""
    for value in values:
        if "," in text.plain(value) or "\\" in value or '"' in value:
            raise ValueError(f"DHCP option {name}: {value!r} holds a comma, quote or backslash; Kea splits there")
    return {"name": name, "data": ", ".join(values), "always-send": True}


def raw(code: int, data: bytes, comment: str, *, always: bool = False) -> Entry:
    """One option as its bytes on the wire, whatever this Kea calls it; `comment` is for people who read the file."""
    return {
        "code": code,
        "csv-format": False,
        "data": data.hex().upper(),
        "always-send": always,
        "comment": text.plain(comment),
    }


def of(set_by_people: Option) -> Entry:
    """An option that people have set: sent whether the client asks or not, else setting it would often do nothing."""
    words = f"{set_by_people.name} {set_by_people.value}"
    return raw(set_by_people.code, set_by_people.data, words, always=True)


def read(entries: Iterable[Entry], family: int) -> tuple[Option, ...]:
    """The options that `of` has written, by code. ValueError for one that somebody else has written otherwise."""
    found = []
    for entry in entries:
        if entry.get("csv-format", True):
            raise ValueError(f"option {entry.get('code')}: its data is no bytes")
        found.append(of_bytes(family, int(entry["code"]), bytes.fromhex(str(entry["data"]).removeprefix("0x"))))
    return tuple(sorted(found, key=lambda option: option.code))


def overlay(entries: Iterable[Entry], *layers: Iterable[Entry], family: int = 4) -> list[Entry]:
    """The entries with those of each layer over them: one that sets the same option takes the other's place."""
    found = {_key(entry, family): entry for entry in entries}
    for layer in layers:
        for entry in layer:
            found[_key(entry, family)] = entry
    return list(found.values())


def _key(entry: Entry, family: int) -> tuple[str, int | str]:
    space = str(entry.get("space", f"dhcp{family}"))
    code = entry.get("code")
    if code is None and space == f"dhcp{family}":
        known = CATALOGUE.get((PREFIX6 if family == 6 else "") + str(entry.get("name")))
        code = known.code if known is not None else None
    return space, str(entry.get("name")) if code is None else int(code)
