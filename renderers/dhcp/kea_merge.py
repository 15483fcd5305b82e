"""Snippets in Kea's own words: a JSON object that is merged into its scope.

Merging: an object goes into an object, a list of classes, definitions or class names behind what is there, an option in
the place of the same option, anything else in the place of what was there.
A snippet sets what is listed here and nothing else.  Muster keeps what makes a rack work and safe: interfaces, sockets,
hooks, databases, loggers, subnets and their ids, pools, reservations; also lease caching, which would leave iPXE with
the short lease of the firmware before it.  Text holds no control characters and no `<?`: a
rendered file has files included by such marks.
`option-data` of wider scopes is not merged where it is said, but goes into each subnet (see `kea_options`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from types import MappingProxyType
from typing import Any

from renderers.dhcp import kea_options
from renderers.dhcp.boot import KINDS
from renderers.dhcp.options import BodyError, of_snippets
from renderers.intent import SnippetIntent

FAMILIES = MappingProxyType({"kea4": 4, "kea6": 6})
DEEPEST = 12
_COMMON = frozenset(
    {
        *("option-data", "client-class", "client-classes", "require-client-classes", "evaluate-additional-classes"),
        *("user-context", "comment"),
    }
)
_TIMES = frozenset(
    {
        *("valid-lifetime", "min-valid-lifetime", "max-valid-lifetime", "renew-timer", "rebind-timer"),
        *("calculate-tee-times", "t1-percent", "t2-percent", "offer-lifetime"),
    }
)
_TIMES6 = frozenset({"preferred-lifetime", "min-preferred-lifetime", "max-preferred-lifetime", "rapid-commit"})
_NETWORK = frozenset(
    {"relay", "store-extended-info", "hostname-char-set", "hostname-char-replacement", "allocator", "authoritative"}
)
_BOOT4 = frozenset({"next-server", "server-hostname", "boot-file-name"})
_SERVER = frozenset(
    {
        *("option-def", "decline-probation-period", "expired-leases-processing", "sanity-checks"),
        *("statistic-default-sample-count", "statistic-default-sample-age", "parked-packet-limit"),
    }
)
_APPEND = frozenset({"client-classes", "option-def", "require-client-classes", "evaluate-additional-classes"})
_OWN_CLASSES = re.compile(
    rf"({'|'.join(KINDS)})(-[0-9]+)?|boot-vlan-[0-9]+|KNOWN|UNKNOWN|ALL|BOOTP|HA_.*|VENDOR_CLASS_.*"
)


def allowed(scope: str, kind: str) -> frozenset[str]:
    """What a snippet of a kind may set in a scope."""
    if scope == "range":
        return _COMMON
    network = _COMMON | _TIMES | _NETWORK | (_TIMES6 if kind == "kea6" else _BOOT4)
    if kind == "kea6":
        network -= {"authoritative", "offer-lifetime"}
    if scope in ("vlan", "subnet"):
        return network
    # The whole server has no class of its own that clients must be in: its `client-classes` defines classes.
    return (network | _SERVER) - {"client-class", "require-client-classes", "evaluate-additional-classes", "relay"}


def parse(body: str, scope: str, kind: str) -> dict[str, Any]:
    """The object of a body. BodyError names the line and the key."""
    try:
        data = json.loads(body, object_pairs_hook=_once)
    except json.JSONDecodeError as error:
        raise BodyError(f"this is no JSON: {error.msg}", error.lineno) from error
    except ValueError as error:
        raise BodyError(f"{error}; write each key once", line_of(body, str(error).split(":")[0])) from error
    except RecursionError as error:
        raise BodyError("objects and lists are too deep in each other") from error
    if not isinstance(data, dict) or not data:
        raise BodyError('a snippet is a JSON object with at least one key, as in {"valid-lifetime": 3600}')
    may = allowed(scope, kind)
    for key, value in data.items():
        if key not in may:
            raise BodyError(
                f"{key} is Muster's own or unknown in the scope {scope}; a snippet may set {', '.join(sorted(may))}",
                line_of(body, key),
            )
        _refuse_text(body, key, value, 1)
        _refuse_shape(body, scope, key, value)
    return data


def settings(snippets: Iterable[SnippetIntent], scope: str, kind: str) -> list[dict[str, Any]]:
    """The objects of the snippets of one scope, in order. BodyError names the snippet."""
    found = []
    for snippet in snippets:
        if snippet.kind == kind:
            try:
                found.append(parse(snippet.body, scope, kind))
            except BodyError as error:
                raise BodyError(f"snippet {snippet.name}: {error}") from error
    return found


def merge(entry: dict[str, Any], objects: Iterable[dict[str, Any]]) -> dict[str, Any]:
    """The scope's entry with the objects merged into it; options are left to `options`."""
    made = dict(entry)
    for data in objects:
        for key, value in data.items():
            if key == "option-data":
                continue
            if key in _APPEND and isinstance(value, list):
                made[key] = [*made.get(key, []), *value]
            elif isinstance(value, dict) and isinstance(made.get(key), dict):
                made[key] = merge(made[key], [value])
            else:
                made[key] = value
    return made


def options(snippets: Iterable[SnippetIntent], scope: str, kind: str) -> list[dict[str, Any]]:
    """The options that the snippets of one scope set, of both kinds, in order: a layer for `kea_options.overlay`."""
    family = FAMILIES[kind]
    layer: list[dict[str, Any]] = []
    for snippet in snippets:
        layer += [kea_options.of(option) for option in of_snippets([snippet], scope, family)]
        for data in settings([snippet], scope, kind):
            layer += data.get("option-data", [])
    return kea_options.overlay([], layer, family=family)


def line_of(body: str, word: str) -> int | None:
    """The first line that holds the word as a JSON string."""
    found = body.find(json.dumps(word))
    return None if found < 0 else body.count("\n", 0, found) + 1


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) != len(pairs):
        twice = next(key for key, _ in pairs if sum(key == other for other, _ in pairs) > 1)
        raise ValueError(f"{twice}: this key is there twice")
    return data


def _refuse_text(body: str, key: str, value: Any, depth: int) -> None:
    if depth > DEEPEST:
        raise BodyError(f"{key}: objects and lists are more than {DEEPEST} deep", line_of(body, key))
    if isinstance(value, str):
        if not value.isprintable() or not value.isascii() or "<?" in value or "@secret:" in value:
            raise BodyError(
                f"{key}: {value!r} holds what no snippet may: control characters, characters beyond ASCII, `<?` or a"
                " reference to a secret",
                line_of(body, key),
            )
    elif isinstance(value, float):
        if value != value or value in (float("inf"), float("-inf")):
            raise BodyError(f"{key}: {value} is no number of JSON", line_of(body, key))
    elif isinstance(value, dict):
        for inner, item in value.items():
            _refuse_text(body, key, inner, depth + 1)
            _refuse_text(body, inner, item, depth + 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_text(body, key, item, depth + 1)


def _refuse_shape(body: str, scope: str, key: str, value: Any) -> None:
    """What would break the merge or take a class of Muster's; the rest is the checker's."""
    if key == "option-data" and not (isinstance(value, list) and all(isinstance(item, dict) for item in value)):
        raise BodyError("option-data is a list of objects", line_of(body, key))
    if key == "option-data":
        for item in value:
            code = item.get("code")
            if ("name" not in item and code is None) or (code is not None and type(code) is not int):
                raise BodyError("option-data: each option has a name, or a whole number as code", line_of(body, key))
    if key in _APPEND and not isinstance(value, list):
        raise BodyError(f"{key} is a list", line_of(body, key))
    if scope == "global" and key == "client-classes":
        for item in value:
            name = item.get("name") if isinstance(item, dict) else None
            if not isinstance(name, str) or _OWN_CLASSES.fullmatch(name):
                raise BodyError(
                    f"client-classes: {name!r} is no name for a class of yours; Muster and Kea have it",
                    line_of(body, str(name)),
                )
