"""Enrolment: a one-time code becomes a rack with tokens of its own."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from flask import Blueprint, Response, current_app, jsonify, request

from app.identity import base_context
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
        broker_url=_broker_url(),
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


def _broker_url() -> str | None:
    """The doorbell's broker, where a rack can use it: a broker of files only on the control plane's own host."""
    url: str = current_app.config["MUSTER_CONFIG"].broker_url
    here = request.remote_addr in ("127.0.0.1", "::1")
    return url if here or not url.startswith("file:") else None
