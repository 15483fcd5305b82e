"""The routes of the machine edge. They parse shapes and call services; every rule is in `app.services`.

Nothing here may be cached by the relay except image files, which are named by their digest.
"""

from __future__ import annotations

import re
from pathlib import Path

from flask import Blueprint, Flask, Response, g, jsonify, request, send_file

from app.metadata import relay, shape
from app.metadata.agent_archive import archive
from app.services import boot, enlistment, images, machine_calls
from app.services.boot_tokens import BOOT_PURPOSES, ENLIST, PHONE_HOME
from app.services.errors import NotFound
from renderers.boot import ipxe

LOADER_FOLDER = Path("/usr/lib/ipxe")
LOADERS = ("snponly.efi", "undionly.kpxe")
A_YEAR = 31_536_000
ALL_BOOTS = (ENLIST, *BOOT_PURPOSES)
_DIGEST = re.compile(r"[0-9a-f]{64}")

blueprint = Blueprint("metadata", __name__)


def mount(application: Flask) -> None:
    """Put the machine edge into an application that has a context and answers refusals with problems (`app.factory`)."""
    application.register_blueprint(blueprint)


@blueprint.after_request
def uncached(response: Response) -> Response:
    """What one machine is told must never be told to another."""
    if not g.get("immutable"):
        response.headers["Cache-Control"] = "no-store"
    return response


@blueprint.get("/boot/v1/start.ipxe")
def start() -> Response:
    """The first script: it asks for the machine's own."""
    source = relay.relayed()
    if ":" not in source.address:
        return _script(ipxe.start())
    rack, port = boot.place_of(source.context, source.rack, source.address)
    return _script(ipxe.start(port, rack))


@blueprint.get("/boot/v1/script")
def script() -> Response:
    """What this machine is to boot."""
    source = relay.relayed()
    platform = request.args.get("platform", "")
    platform = platform if platform in ipxe.PLATFORMS else "pcbios"
    decision = boot.decide(
        source.context, source.rack, source.address, request.args.get("mac", ""), request.args.get("uuid")
    )
    wanted = decision.ephemeral
    if wanted is None:
        return _script(ipxe.local(platform))
    machine = ipxe.Ephemeral(
        rack=wanted.rack_address,
        port=wanted.rack_port,
        token=wanted.token,
        kernel_sha256=wanted.kernel_sha256,
        initrd_sha256=wanted.initrd_sha256,
        root_sha256=wanted.root_sha256,
        root_blake2b=wanted.root_blake2b,
        hostname=wanted.hostname,
        address=wanted.address,
        prefix_length=wanted.prefix_length,
        gateway=wanted.gateway,
        dns=wanted.rack_address if wanted.address else None,
        kernel_options=wanted.kernel_options,
    )
    return _script(ipxe.ephemeral(machine, platform))


@blueprint.get("/machine/v1/agent")
def agent() -> Response:
    """The program that the ephemeral system runs."""
    relay.machine(*ALL_BOOTS)
    return Response(archive(), mimetype="application/zip")


@blueprint.get("/machine/v1/task")
def task() -> Response:
    """What the machine is to do."""
    context, caller = relay.machine(*ALL_BOOTS)
    return jsonify(machine_calls.task(context, caller))


@blueprint.post("/machine/v1/status")
def status() -> tuple[str, int]:
    """Where the machine's run is."""
    context, caller = relay.machine(*ALL_BOOTS)
    event, step, message, fraction = shape.status()
    machine_calls.status(context, caller, event, step, message, fraction)
    return "", 204


@blueprint.post("/machine/v1/enlist")
def enlist() -> Response:
    """An unknown machine says what it is."""
    context, caller = relay.machine(ENLIST)
    machine_id, created = enlistment.enlist(context, caller, shape.enlistment())
    return jsonify({"machine": str(machine_id), "created": created})


@blueprint.post("/machine/v1/results")
def results() -> tuple[str, int]:
    """What one commissioning script said."""
    context, caller = relay.machine("commission")
    machine_calls.result(context, caller, shape.script_report())
    return "", 204


@blueprint.post("/machine/v1/phone-home")
def phone_home() -> tuple[str, int]:
    """The installed system runs."""
    context, caller = relay.machine(PHONE_HOME)
    machine_calls.phone_home(context, caller, shape.phone_home())
    return "", 204


@blueprint.get("/images/loader/<name>")
def loader(name: str) -> Response:
    """The boot loader, for firmware that boots by HTTP."""
    relay.relayed()
    path = LOADER_FOLDER / name
    if name not in LOADERS or not path.is_file():
        raise NotFound(f"loader {name[:60]!r}: there are {', '.join(LOADERS)}, from the package ipxe")
    return send_file(path, mimetype="application/octet-stream", conditional=True)


@blueprint.get("/images/<sha256>/<name>")
def image_file(sha256: str, name: str) -> Response:
    """A file of an image, by digest: Range, If-None-Match and caches welcome, since its content never changes."""
    source = relay.relayed()
    if not _DIGEST.fullmatch(sha256):
        raise NotFound("image file: the digest is 64 lower-case hexadecimal digits")
    file = images.open_file(source.context, sha256, name)
    response = send_file(file.path, mimetype="application/octet-stream", conditional=True, etag=sha256, max_age=A_YEAR)
    response.headers["Cache-Control"] = f"public, max-age={A_YEAR}, immutable"
    g.immutable = True
    return response


def _script(text: str) -> Response:
    return Response(text, mimetype="text/plain")
