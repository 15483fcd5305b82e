"""One machine's emulated Redfish BMC over TLS, beside `lab.bmc` (IPMI): `python -m lab.redfish_bmc REDFISH.json`.

The chassis runs it in the switch's namespace, on the BMC's own address.  It holds no power state: whatever it is asked
becomes a request to the machine's chassis, so a boot override is gone when the machine has used it.  What it says
follows DSP0266 (protocol: sessions 13.3.4, basic authentication, ETag and If-Match, error objects) and the schemas of
DSP2046 (ServiceRoot, SessionService, ComputerSystem, Chassis, Manager, EthernetInterface).

It is stricter than many real ones on purpose: the certificate is self-signed, a PATCH without If-Match is refused with
428, there are few sessions, and a boot target or mode that the machine does not have is refused.
"""

import base64
import binascii
import hashlib
import hmac
import ipaddress
import json
import secrets
import socket
import ssl
import sys
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from flask import Flask, Response, request
from werkzeug.serving import make_server

from lab.certificate import make_certificate
from lab.redfish import Settings, read_settings
from lab.redfish_documents import ROOT, SYSTEM, TARGETS, Documents, problem

SESSION_LIMIT = 8
SESSION_SECONDS = 1800
BODY_LIMIT = 64 * 1024
RESETS = {
    "On": ("power", "1"),
    "ForceOff": ("power", "0"),
    "GracefulShutdown": ("shutdown", "1"),
    "ForceRestart": ("reset", "1"),
}
"""ResetType to what the chassis is asked."""

Answer = tuple[dict[str, Any], int] | Response


class ChassisRefused(Exception):
    """The chassis said no, or is gone."""


class Chassis:
    """The other end: the machine's chassis on its unix socket, one request and one answer a connection."""

    def __init__(self, path: str) -> None:
        self._path = path

    def get(self, *names: str) -> dict[str, str]:
        """Return settings of the machine by name."""
        values: dict[str, str] = self._ask({"do": "get", "names": list(names)})["values"]
        return values

    def set(self, name: str, value: str) -> None:
        """Change one setting; returns when it has happened."""
        self._ask({"do": "set", "names": [name], "values": [value]})

    def takes(self, name: str, value: str) -> bool:
        """Say whether the machine could be set so."""
        try:
            self._ask({"do": "check", "names": [name], "values": [value]})
        except ChassisRefused:
            return False
        return True

    def _ask(self, question: dict[str, Any]) -> dict[str, Any]:
        try:
            with socket.socket(socket.AF_UNIX) as chassis:
                chassis.settimeout(40)
                chassis.connect(self._path)
                chassis.sendall(json.dumps(question).encode() + b"\n")
                answer: dict[str, Any] = json.loads(chassis.makefile("rb").readline())
        except (OSError, ValueError) as error:
            raise ChassisRefused(f"the chassis at {self._path} does not answer: {error}") from error
        if "error" in answer:
            raise ChassisRefused(str(answer["error"]))
        return answer


class Sessions:
    """Who is logged in: tokens by session id.  Old ones are forgotten; there are few, as on a real BMC."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._guard = threading.Lock()
        self._open: dict[str, tuple[str, float]] = {}

    def make(self) -> tuple[str, str] | None:
        """Return a new session's id and token; None when there are too many."""
        with self._guard:
            self._expire()
            if len(self._open) >= SESSION_LIMIT:
                return None
            name, token = secrets.token_hex(6), secrets.token_urlsafe(24)
            self._open[name] = (token, self._clock())
            return name, token

    def knows(self, token: str) -> bool:
        """Say whether the token is of a session, and keep that session alive."""
        with self._guard:
            self._expire()
            for name, (known, _) in self._open.items():
                if hmac.compare_digest(known.encode(), token.encode()):
                    self._open[name] = (known, self._clock())
                    return True
        return False

    def names(self) -> list[str]:
        """Return the ids of the sessions that are open."""
        with self._guard:
            self._expire()
            return list(self._open)

    def end(self, name: str) -> bool:
        """Log out; False if there is no such session."""
        with self._guard:
            return self._open.pop(name, None) is not None

    def _expire(self) -> None:
        before = self._clock() - SESSION_SECONDS
        self._open = {name: entry for name, entry in self._open.items() if entry[1] > before}


def make_application(settings: Settings) -> Flask:
    """Return the BMC's web service."""
    app = Flask("lab.redfish_bmc", static_folder=None)
    app.config["MAX_CONTENT_LENGTH"] = BODY_LIMIT
    app.url_map.strict_slashes = False
    chassis, sessions = Chassis(settings.socket), Sessions()
    http_boot = chassis.takes("boot", "http")
    documents = Documents(settings.bmc, settings.serial, settings.firmware, http_boot, tuple(RESETS))

    def may_enter() -> bool:
        if token := request.headers.get("X-Auth-Token"):
            return sessions.knows(token)
        kind, _, words = request.headers.get("Authorization", "").partition(" ")
        try:
            user, _, password = base64.b64decode(words, validate=True).decode().partition(":")
        except (binascii.Error, UnicodeDecodeError):
            return False
        return kind.lower() == "basic" and is_administrator(user, password)

    def is_administrator(user: str, password: str) -> bool:
        right = f"{settings.bmc.username}\0{settings.bmc.password}".encode()
        return hmac.compare_digest(right, f"{user}\0{password}".encode())

    def private(view: Callable[..., Answer]) -> Callable[..., Answer]:
        @wraps(view)
        def guarded(*args: Any, **kwargs: Any) -> Answer:
            if not may_enter():
                return problem(401, "NoValidSession", "There is no valid session established with the implementation.")
            return view(*args, **kwargs)

        return guarded

    def system() -> tuple[dict[str, Any], str]:
        document = documents.system(chassis.get("power", "boot"))
        etag = hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()[:16]
        return {**document, "@odata.etag": f'W/"{etag}"'}, f'W/"{etag}"'

    @app.get("/redfish")
    def versions() -> Answer:
        return {"v1": f"{ROOT}/"}, 200

    @app.get(ROOT)
    def service_root() -> Answer:
        return documents.service_root(), 200

    @app.get(f"{ROOT}/SessionService")
    @private
    def session_service() -> Answer:
        return documents.session_service(SESSION_SECONDS), 200

    @app.get(f"{ROOT}/SessionService/Sessions")
    @private
    def list_sessions() -> Answer:
        return documents.sessions(sessions.names()), 200

    @app.post(f"{ROOT}/SessionService/Sessions")
    def log_in() -> Answer:
        body = json_object()
        if not is_administrator(str(body.get("UserName")), str(body.get("Password"))):
            return problem(401, "ResourceAtUriUnauthorized", "The user name or the password is not valid.")
        made = sessions.make()
        if made is None:
            return problem(503, "SessionLimitExceeded", "The session limit is exceeded; end a session and try again.")
        name, token = made
        answer = Response(json.dumps(documents.session(name)), 201, content_type="application/json")
        answer.headers["X-Auth-Token"] = token
        answer.headers["Location"] = f"{ROOT}/SessionService/Sessions/{name}"
        return answer

    @app.delete(f"{ROOT}/SessionService/Sessions/<name>")
    @private
    def log_out(name: str) -> Answer:
        if not sessions.end(name):
            return problem(404, "ResourceMissingAtURI", f"There is no session {name}.")
        return Response(status=204)

    @app.get(SYSTEM)
    @private
    def show_system() -> Answer:
        document, etag = system()
        answer = Response(json.dumps(document), 200, content_type="application/json")
        answer.headers["ETag"] = etag
        return answer

    @app.patch(SYSTEM)
    @private
    def change_system() -> Answer:
        _, etag = system()
        wanted = request.headers.get("If-Match")
        if wanted is None:
            return problem(428, "PreconditionRequired", "An If-Match header with the resource's ETag is required.")
        if wanted not in ("*", etag):
            return problem(412, "PreconditionFailed", "The ETag supplied did not match the resource's.")
        refusal = documents.refusal(body := json_object())
        if refusal is not None:
            return refusal
        boot = body["Boot"]
        if boot.get("BootSourceOverrideEnabled") == "Disabled":
            chassis.set("boot", "none")
        elif "BootSourceOverrideTarget" in boot:
            chassis.set("boot", TARGETS[boot["BootSourceOverrideTarget"]])
        return show_system()

    @app.post(f"{SYSTEM}/Actions/ComputerSystem.Reset")
    @private
    def reset() -> Answer:
        kind = json_object().get("ResetType")
        if kind not in RESETS:
            return problem(400, "ActionParameterNotSupported", f"ResetType {kind!r}: there are {', '.join(RESETS)}.")
        chassis.set(*RESETS[kind])
        return Response(status=204)

    @app.get(f"{ROOT}/<path:rest>")
    @private
    def other(rest: str) -> Answer:
        found = documents.fixed().get(f"{ROOT}/{rest.rstrip('/')}")
        if found is None:
            return problem(404, "ResourceMissingAtURI", f"There is no resource at {ROOT}/{rest}.")
        return found, 200

    @app.errorhandler(ChassisRefused)
    def refused(error: ChassisRefused) -> Answer:
        return problem(500, "InternalError", str(error))

    @app.errorhandler(404)
    @app.errorhandler(405)
    @app.errorhandler(413)
    def not_here(error: Any) -> Answer:
        return problem(error.code, "GeneralError", str(error.description))

    @app.after_request
    def label(answer: Response) -> Response:
        answer.headers["OData-Version"] = "4.0"
        answer.headers["Cache-Control"] = "no-cache"
        if answer.status_code == 401:
            answer.headers["WWW-Authenticate"] = 'Basic realm="BMC"'
        return answer

    return app


def json_object() -> dict[str, Any]:
    """Return the request's body; an empty object when it is none."""
    body = request.get_json(force=True, silent=True)
    return body if isinstance(body, dict) else {}


def serve(settings: Settings) -> None:
    """Serve for ever on the BMC's address; the certificate is made at the first start and kept."""
    certificate = settings.certificate
    if not certificate.exists():
        make_certificate(certificate, settings.bmc.name, [ipaddress.ip_address(settings.bmc.address)])
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    application = make_application(settings)
    make_server(settings.bmc.address, settings.port, application, threaded=True, ssl_context=context).serve_forever()


if __name__ == "__main__":
    serve(read_settings(Path(sys.argv[1])))
