"""What can be done to many machines at once, in words."""

from __future__ import annotations

from app.lifecycle.table import actions

MOST = 200
"""Machines at once: their numbers and those of their operations fit into the address of a page."""
LONGEST_NUMBER = 18
POWER = {
    "power-on": ("on", "Switch on"),
    "power-off": ("off", "Switch off"),
    "power-cycle": ("cycle", "Off and on again"),
}
SETTINGS = {
    "set-zone": "Move to a zone",
    "set-pool": "Move to a pool",
    "add-tag": "Add a tag",
    "remove-tag": "Remove a tag",
}


def titles() -> dict[str, str]:
    """What can be done to many machines: word and title."""
    asked = {name: one.title for name, one in actions().items() if one.listed}
    return asked | {"abort": "Abort"} | {word: title for word, (_, title) in POWER.items()} | SETTINGS


def is_number(text: str) -> bool:
    """Whether it can be the number of a row."""
    return text.isdecimal() and len(text) <= LONGEST_NUMBER
