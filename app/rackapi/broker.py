"""The doorbell's broker, as the calling rack may use it."""

from __future__ import annotations

from pathlib import Path

from flask import Blueprint, Response, current_app, jsonify, request

from app.broker import is_redis, queue_of
from app.config import Config
from app.rackapi.caller import calling_rack
from app.services import broker

LOOPBACK = ("127.0.0.1", "::1")


def mount(blueprint: Blueprint) -> None:
    """Add this module's routes."""
    blueprint.get("/broker")(credentials)


def url_for_caller() -> str | None:
    """Where the calling rack finds the broker; one of files, or in the clear, only on the control plane's own host."""
    config: Config = current_app.config["MUSTER_CONFIG"]
    return config.broker_for_racks(request.remote_addr in LOOPBACK)


def credentials() -> Response:
    """Where the broker is, and the rack's own user there with its password; `url` is null where a rack can use none."""
    context, rack_id = calling_rack()
    config: Config = current_app.config["MUSTER_CONFIG"]
    url, ca = url_for_caller(), config.broker_tls.ca
    secret = url is not None and is_redis(url)
    answer = jsonify(
        url=url,
        queue=queue_of(context.actor.name),
        user=queue_of(context.actor.name) if secret else None,
        password=broker.password_for_rack(context, rack_id) if secret else None,
        ca=Path(ca).read_text() if secret and ca is not None else None,
    )
    answer.headers["Cache-Control"] = "no-store"
    return answer
