"""DHCP options in Kea's form."""

from __future__ import annotations

from renderers import text


def option(name: str, *values: str) -> dict[str, object]:
    """One option, sent even if the client has not asked. In Kea's text form commas separate values: refuse them."""
    for value in values:
        if "," in text.plain(value) or "\\" in value or '"' in value:
            raise ValueError(f"DHCP option {name}: {value!r} holds a comma, quote or backslash; Kea splits there")
    return {"name": name, "data": ", ".join(values), "always-send": True}


def raw(code: int, data: bytes, comment: str, *, always: bool = False) -> dict[str, object]:
    """One option as its bytes on the wire, whatever this Kea calls it; `comment` is for people who read the file."""
    return {
        "code": code,
        "csv-format": False,
        "data": data.hex().upper(),
        "always-send": always,
        "comment": text.plain(comment),
    }
