"""Shapes of what machines send: each field is taken by its name and kind, and a wrong one is named in the refusal."""

from __future__ import annotations

import base64
import binascii
import ipaddress
import math
from typing import Any, TypeVar

from flask import request

from app.services.enlistment import Enlistment, FoundBmc, FoundInterface
from app.services.errors import Invalid, ServiceError
from app.services.machine_calls import EVENTS, PhoneHome, ScriptReport

SMALL_BODY = 128 * 1024
RESULT_BODY = 6 * 1024 * 1024
"""Two streams of 1 MiB in base64 and a result document."""
OUTPUT_LIMIT = 1024 * 1024
SCRIPT_STATUSES = ("passed", "failed", "timedout", "skipped")
DEEPEST = 32
_REPLACED = {0: "\N{REPLACEMENT CHARACTER}"} | dict.fromkeys(range(0xD800, 0xE000), "\N{REPLACEMENT CHARACTER}")
"""What databases take in no text: NUL, and surrogates, which JSON can write alone."""
T = TypeVar("T")


class TooLarge(ServiceError):
    """The body is larger than the call takes."""

    status = 413
    title = "Too large"


def document(limit: int) -> dict[str, Any]:
    """The request's JSON object, with every text storable. TooLarge above `limit` bytes, Invalid when it is none."""
    request.max_content_length = limit
    if (request.content_length or 0) > limit:
        raise TooLarge(f"{request.path}: the body is larger than {limit} bytes")
    body = request.get_json(force=True, silent=True)
    if not isinstance(body, dict):
        raise Invalid(f"{request.path}: the body must be a JSON object")
    storable: dict[str, Any] = _storable(body, 0)
    return storable


def _storable(value: Any, depth: int) -> Any:
    """The value without what databases cannot keep: hardware does have NULs in its serial numbers."""
    if depth > DEEPEST:
        raise Invalid(f"{request.path}: the body is nested more than {DEEPEST} deep")
    if isinstance(value, str):
        return value.translate(_REPLACED)
    if isinstance(value, dict):
        return {name.translate(_REPLACED): _storable(inner, depth + 1) for name, inner in value.items()}
    if isinstance(value, list):
        return [_storable(inner, depth + 1) for inner in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def take(body: dict[str, Any], name: str, kind: type[T] | tuple[type[T], ...], *, longest: int = 4096) -> T:
    """A field that must be there. bool is no number; text has at most `longest` characters."""
    value = body.get(name)
    kinds = kind if isinstance(kind, tuple) else (kind,)
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        words = " or ".join(one.__name__ for one in kinds)
        raise Invalid(f"field {name}: must be {words}, not {str(value)[:60]!r}", field=name)
    if isinstance(value, str) and len(value) > longest:
        raise Invalid(f"field {name}: at most {longest} characters", field=name)
    if isinstance(value, int) and abs(value) >= 1 << 31:
        raise Invalid(f"field {name}: {value} is out of range", field=name)
    return value


def perhaps(body: dict[str, Any], name: str, kind: type[T] | tuple[type[T], ...], *, longest: int = 4096) -> T | None:
    """A field that may be absent or null."""
    return None if body.get(name) is None else take(body, name, kind, longest=longest)


def choice(body: dict[str, Any], name: str, choices: tuple[str, ...]) -> str:
    """A text field with a few right values."""
    value = take(body, name, str)
    if value not in choices:
        raise Invalid(f"field {name}: {value[:60]!r} is none of {', '.join(choices)}", field=name)
    return value


def status() -> tuple[str, str, str, float | None]:
    """Event, step, message and fraction of a status report."""
    body = document(SMALL_BODY)
    fraction = perhaps(body, "fraction", (int, float))
    if fraction is not None and not 0 <= fraction <= 1:
        raise Invalid(f"field fraction: {fraction} is not from 0 to 1", field="fraction")
    event = choice(body, "event", EVENTS)
    message = take(body, "message", str, longest=SMALL_BODY) if body.get("message") is not None else ""
    return event, take(body, "step", str, longest=64), message, None if fraction is None else float(fraction)


def enlistment() -> Enlistment:
    """What an unknown machine says of itself."""
    body = document(SMALL_BODY)
    interfaces = [_interface(number, item) for number, item in enumerate(take(body, "interfaces", list))]
    bmc = perhaps(body, "bmc", dict)
    return Enlistment(
        hostname_hint=perhaps(body, "hostname_hint", str, longest=255),
        architecture=choice(body, "architecture", ("amd64", "arm64")),
        firmware=choice(body, "firmware", ("bios", "uefi")),
        uuid=perhaps(body, "uuid", str, longest=64),
        interfaces=tuple(interfaces),
        bmc=None if bmc is None else _bmc(bmc),
        bmc_reason=perhaps(body, "bmc_reason", str),
    )


def script_report() -> ScriptReport:
    """What one script said."""
    body = document(RESULT_BODY)
    seconds = float(take(body, "seconds", (int, float)))
    if not 0 <= seconds < 1e6:
        raise Invalid(f"field seconds: {seconds} is no duration", field="seconds")
    return ScriptReport(
        script=take(body, "script", str, longest=64),
        status=choice(body, "status", SCRIPT_STATUSES),
        exit_code=perhaps(body, "exit_code", int),
        seconds=seconds,
        stdout=_output(body, "stdout"),
        stderr=_output(body, "stderr"),
        result=perhaps(body, "result", dict),
    )


def phone_home() -> PhoneHome:
    """What an installed system says of itself."""
    body = document(SMALL_BODY)
    keys, addresses = take(body, "ssh_host_keys", list), take(body, "addresses", list)
    for name, items in (("ssh_host_keys", keys), ("addresses", addresses)):
        if len(items) > 64 or not all(isinstance(item, str) and len(item) <= 4096 for item in items):
            raise Invalid(f"field {name}: must be a list of at most 64 texts", field=name)
    return PhoneHome(
        hostname=take(body, "hostname", str, longest=255),
        ssh_host_keys=tuple(keys),
        boot_id=take(body, "boot_id", str, longest=64),
        addresses=tuple(addresses),
    )


def _interface(number: int, item: Any) -> FoundInterface:
    if not isinstance(item, dict):
        raise Invalid(f"field interfaces[{number}]: must be an object", field="interfaces")
    boot = perhaps(item, "boot", bool) or False
    return FoundInterface(take(item, "name", str, longest=64), take(item, "mac", str, longest=32), boot)


def _bmc(item: dict[str, Any]) -> FoundBmc:
    address = take(item, "address", str, longest=64)
    try:
        address = str(ipaddress.ip_address(address))
    except ValueError as error:
        raise Invalid(f"field bmc.address: {address!r} is no IP address", field="bmc.address") from error
    return FoundBmc(
        driver=choice(item, "type", ("ipmi",)),
        address=address,
        mac=perhaps(item, "mac", str, longest=32),
        username=take(item, "username", str, longest=64),
        password=take(item, "password", str, longest=128),
        version=perhaps(item, "version", str, longest=64),
    )


def _output(body: dict[str, Any], name: str) -> str:
    """A stream in base64 as text; databases take no NUL, and bytes that are not UTF-8 are replaced."""
    try:
        raw = base64.b64decode(take(body, name, str, longest=RESULT_BODY), validate=True)
    except (binascii.Error, ValueError) as error:
        raise Invalid(f"field {name}: must be base64 ({error})", field=name) from error
    if len(raw) > OUTPUT_LIMIT:
        raise TooLarge(f"field {name}: {len(raw)} bytes; a stream is cut at {OUTPUT_LIMIT}")
    return raw.decode("utf-8", "replace").replace("\0", "\N{REPLACEMENT CHARACTER}")
