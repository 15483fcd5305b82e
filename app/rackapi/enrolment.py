"""Enrolment: a one-time code becomes a rack with tokens of its own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import Blueprint, Response, jsonify, request

from app.identity import base_context
from app.rackapi.broker import url_for_caller
from app.rackapi.caller import body, take
from app.services import racks
from app.services.context import Actor
from app.services.errors import Invalid

HOST = re.compile(r"[A-Za-z0-9.:-]{1,253}")


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.post("/enrol")(enrol)


def enrol() -> tuple[Response, int]:
    """Give a rack host its name, tokens and the key that signs its offers."""
    data = body()
    made = racks.enrol(
        base_context().acting_as(Actor("enrolment", "rack")),
        code=take(data, "code", str, longest=200),
        name=take(data, "name", str, optional=True, longest=63),
        layout=take(data, "layout", dict),
        ports=take(data, "ports", dict),
        interfaces=take(data, "interfaces", list),
        version=take(data, "version", str, optional=True, longest=64),
        control_plane=_asked_at(),
    )
    answer = jsonify(
        rack={"id": made.rack.id, "name": made.rack.name},
        token=made.token,
        relay_token=made.relay_token,
        offer_public_key=made.offer_public_key,
        broker_url=url_for_caller(),
        queue=made.queue,
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer, 201


def _asked_at() -> tuple[str, int]:
    """Host and port at which the rack reached us. It writes them into its relay's configuration, so no other text will do."""
    try:
        host = urlsplit(request.host_url)
        name, port = host.hostname or "", host.port or (443 if host.scheme == "https" else 80)
    except ValueError as error:
        raise Invalid(f"the Host header {request.host[:80]!r} names no host and port", field="Host") from error
    if not HOST.fullmatch(name):
        raise Invalid(f"the Host header {request.host[:80]!r} is no host name or address", field="Host")
    return name, port
