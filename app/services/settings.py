"""Settings of the whole installation: what may be set, and what is right for each.

`get` and `put` are for services inside a transaction; `show` and `change` are the use cases.  Settings that are
not in `EDITABLE` are Muster's own (keys) and are neither shown nor changed by people.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from sqlalchemy import bindparam, select
from sqlalchemy.orm import Session

from app.services import kernel_options, retention_rules, urls, versions
from app.services.changes import audit, changing, touch_racks
from app.services.context import Context
from app.services.errors import Invalid, NotFound
from app.store.locks import hold
from app.store.models import Rack, Setting
from app.store.prepared import Prepared

PROXY_MODES = ("built-in", "none", "external", "peer")
VALIDATION = ("auto", "yes", "no")
RACK_KEYS = "rack_keys"
MOST_DAYS = 3650
_VALUE = Prepared(select(Setting.value).where(Setting.name == bindparam("setting")))
ROLLOUT = "rollout"
"""How a change goes to many racks: waves of so many racks, or of so many in a hundred where that is 0, and the pause between."""
HOST = re.compile(
    r"(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*", re.IGNORECASE
)


def get(session: Session, name: str, default: dict[str, Any]) -> dict[str, Any]:
    """The setting's value, or `default` when nobody has set it."""
    row = session.get(Setting, name)
    return row.value if row is not None else default


def stored(session: Session, name: str, default: dict[str, Any]) -> dict[str, Any]:
    """The same, at a fraction of the cost, where this transaction does not change it."""
    row = _VALUE.first(session, setting=name)
    return row.value if row is not None else default


def put(session: Session, name: str, value: dict[str, Any]) -> None:
    """Store a setting inside an open transaction."""
    row = session.get(Setting, name)
    if row is None:
        session.add(Setting(name=name, value=value))
    else:
        row.value = value


def _policy(value: dict[str, Any]) -> dict[str, Any]:
    if set(value) != {"on"} or not isinstance(value["on"], bool):
        raise ValueError('must be {"on": true} or {"on": false}')
    return {"on": value["on"]}


def _addresses(value: dict[str, Any]) -> dict[str, Any]:
    servers = _servers(value)
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise ValueError(f"{server!r} is no IP address; DNS servers are named by address") from None
    return {"servers": servers}


def _validation(value: dict[str, Any]) -> dict[str, Any]:
    if set(value) != {"mode"} or value["mode"] not in VALIDATION:
        raise ValueError(f'must be {{"mode": one of {", ".join(VALIDATION)}}}')
    return {"mode": value["mode"]}


def _key_ages(value: dict[str, Any]) -> dict[str, Any]:
    days = value.get("omapi_days")
    if (
        set(value) != {"omapi_days"}
        or not isinstance(days, int)
        or isinstance(days, bool)
        or not 0 <= days <= MOST_DAYS
    ):
        raise ValueError(f'must be {{"omapi_days": a whole number of days from 1 to {MOST_DAYS}, or 0 for never}}')
    return {"omapi_days": days}


def _hosts(value: dict[str, Any]) -> dict[str, Any]:
    servers = _servers(value)
    for server in servers:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            if not HOST.fullmatch(server):
                raise ValueError(f"{server!r} is neither an IP address nor a host name") from None
    return {"servers": servers}


def _clocks(value: dict[str, Any]) -> dict[str, Any]:
    only = value.get("external_only", False)
    if not isinstance(only, bool):
        raise ValueError("external_only must be true or false")
    servers = _hosts({key: one for key, one in value.items() if key != "external_only"})["servers"]
    if only and not servers:
        raise ValueError("external_only tells machines the external servers, and none is named; name at least one")
    for server in servers if only else ():
        if not _is_address(server):
            raise ValueError(
                f"{server!r} is a name, and with external_only DHCP tells machines the servers, which it does by address"
                " (options 42 and 56); write its address"
            )
    return {"servers": servers, "external_only": only}


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _proxy(value: dict[str, Any]) -> dict[str, Any]:
    mode, url = value.get("mode"), value.get("url", "")
    if value.keys() - {"mode", "url"} or mode not in PROXY_MODES or not isinstance(url, str):
        raise ValueError(f'must be {{"mode": one of {", ".join(PROXY_MODES)}, "url": "http://..."}}')
    if mode in ("built-in", "none"):
        if url:
            raise ValueError(f"mode {mode} has no URL; leave it empty")
        return {"mode": mode, "url": ""}
    if not url:
        raise ValueError(f"mode {mode} needs the URL of the proxy, as in http://proxy.example.org:3128")
    try:
        checked = urls.check(url)
    except Invalid as error:
        raise ValueError(error.detail) from error
    parts = urlsplit(checked)
    if parts.path:
        raise ValueError(f"{url!r}: a proxy's URL has no path")
    if mode == "peer" and parts.scheme != "http":
        raise ValueError(f"{url!r}: racks speak http to their parent proxy; write http://")
    return {"mode": mode, "url": checked}


def _servers(value: dict[str, Any]) -> list[str]:
    servers = value.get("servers")
    if set(value) != {"servers"} or not isinstance(servers, list) or not all(isinstance(one, str) for one in servers):
        raise ValueError('must be {"servers": ["...", "..."]}')
    if len(servers) > 8 or len(set(servers)) != len(servers):
        raise ValueError("at most 8 servers, each named once")
    return servers


def _rollout(value: dict[str, Any]) -> dict[str, Any]:
    bounds = {"wave_percent": (1, 100), "wave_racks": (0, 10_000), "pause_seconds": (0, 86_400)}
    if set(value) != set(bounds):
        raise ValueError(f"must have {', '.join(bounds)} and nothing else")
    for name, (low, high) in bounds.items():
        number = value[name]
        if isinstance(number, bool) or not isinstance(number, int) or not low <= number <= high:
            raise ValueError(f"{name} must be a whole number from {low} to {high}, and is {number!r}")
    return dict(value)


EDITABLE: dict[str, tuple[dict[str, Any], Callable[[dict[str, Any]], dict[str, Any]]]] = {
    "enrolment_policy": ({"on": True}, _policy),
    "dns_forwarders": ({"servers": []}, _addresses),
    "dnssec_validation": ({"mode": "auto"}, _validation),
    "ntp_upstreams": ({"servers": [], "external_only": False}, _clocks),
    "proxy": ({"mode": "built-in", "url": ""}, _proxy),
    "network_discovery": ({"on": True}, _policy),
    RACK_KEYS: ({"omapi_days": 0}, _key_ages),
    ROLLOUT: ({"wave_percent": 10, "wave_racks": 0, "pause_seconds": 30}, _rollout),
    kernel_options.SETTING: (kernel_options.DEFAULTS, kernel_options.checked),
    retention_rules.SETTING: (dict(retention_rules.DEFAULTS), retention_rules.checked),
}


@dataclass(frozen=True)
class SettingValue:
    """A setting with its value."""

    name: str
    value: dict[str, Any]

    @property
    def shown_version(self) -> str:
        """What the entity tag is made from."""
        return versions.of_value([self.name, self.value])


def show(context: Context) -> dict[str, dict[str, Any]]:
    """All settings that people may change, with defaults where nothing is set."""
    context.require("viewer", "see settings")
    with context.store.read() as session:
        rows = session.scalars(select(Setting).where(Setting.name.in_(EDITABLE)))
        stored = {row.name: row.value for row in rows}
    return {name: default | stored.get(name, {}) for name, (default, _) in EDITABLE.items()}


def one(context: Context, name: str) -> SettingValue:
    """One setting that people may change. NotFound when there is none of the name."""
    known = show(context)
    if name not in known:
        raise NotFound(f"setting {name!r} does not exist; there are {', '.join(EDITABLE)}", field="name")
    return SettingValue(name, known[name])


def change(context: Context, name: str, value: dict[str, Any]) -> SettingValue:
    """Set one setting; every rack is looked at again where it serves it, as resolvers and time servers."""
    context.require("admin", "change settings")
    if name not in EDITABLE:
        raise NotFound(f"setting {name!r} does not exist; there are {', '.join(EDITABLE)}", field="name")
    try:
        checked = EDITABLE[name][1](value)
    except ValueError as error:
        raise Invalid(f"setting {name}: {error}", field="value") from error
    with changing(context) as session:
        hold(session, f"setting:{name}")
        before = SettingValue(name, EDITABLE[name][0] | get(session, name, {}))
        versions.check(context, before, f"setting {name}")
        put(session, name, checked)
        audit(session, context, "change", "setting", None, name=name, value=checked)
        if name not in (kernel_options.SETTING, retention_rules.SETTING, RACK_KEYS, ROLLOUT):
            touch_racks(session, session.scalars(select(Rack.id)))
    return SettingValue(name, checked)
