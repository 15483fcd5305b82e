"""Where a page of a long list goes on: ids in the address, as people and scripts may mistype them."""

from __future__ import annotations

from flask import request

from app.services.errors import Invalid

LONGEST_ID = 18
"""Digits; what is longer is no id of ours (64 bits)."""


def asked_id(name: str) -> int | None:
    """The id that the address asks for by this name; None when it does not. Invalid when it is no number."""
    text = request.args.get(name, "")
    if not text:
        return None
    if not text.isdecimal() or len(text) > LONGEST_ID:
        raise Invalid(f"{name} {text!r} is not an id; start at the first page", field=name)
    return int(text)
