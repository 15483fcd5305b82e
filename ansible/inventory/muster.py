#!/usr/bin/env python3
"""Dynamic inventory for Ansible: the racks that Muster knows, from its REST API. Standard library only.

    MUSTER_URL=https://muster.example.org MUSTER_TOKEN_FILE=~/.muster-token ansible-inventory -i inventory/muster.py --graph

MUSTER_URL         the control plane
MUSTER_TOKEN_FILE  file with an API token; one of scope read does (`muster token create inventory --scope read`)
MUSTER_TOKEN       the token itself, where there is no file
MUSTER_CA          file of the authority that signed the control plane's certificate, where hosts do not know it

Groups: control_plane (the host of MUSTER_URL), rack_hosts, and for each fabric that racks serve a group fabric_NAME.  A host has
the rack's name, `rack_name`, and as `ansible_host` the first address that the rack has outside of the networks that it serves,
else its first one.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import ssl
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

SECONDS = 30
PAGE = 500


class Refused(Exception):
    """One clear sentence about why there is no inventory."""


class Api:
    """The REST API, read only."""

    def __init__(self, url: str, token: str, authority: str | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refused(f"MUSTER_URL={url!r}: must be the control plane's URL, as in https://muster.example.org")
        self.host = parts.hostname
        self._base = url.rstrip("/") + "/api/v1"
        self._token = token
        try:
            self._context = ssl.create_default_context(cafile=authority)
        except (OSError, ssl.SSLError) as error:
            raise Refused(f"MUSTER_CA={authority!r}: cannot be read as certificates ({error})") from error

    def get(self, path: str) -> Any:
        """One answer's JSON. Refused says what went wrong."""
        request = urllib.request.Request(self._base + path, headers={"Authorization": f"Bearer {self._token}"})  # noqa: S310
        try:
            with urllib.request.urlopen(request, timeout=SECONDS, context=self._context) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as error:
            raise Refused(f"{self._base}{path}: {error.code} {_problem(error)}") from error
        except (OSError, ValueError) as error:
            reason = getattr(error, "reason", error)
            raise Refused(f"{self._base}{path}: no answer ({reason}); look at MUSTER_URL and MUSTER_CA") from error

    def racks(self) -> list[dict[str, Any]]:
        """All racks, each with what it serves."""
        found: list[dict[str, Any]] = []
        after: int | None = 0
        while after is not None:
            answer = self.get(f"/racks?limit={PAGE}&after={after}")
            found += answer["items"]
            after = answer.get("next")
        return [{**rack, "serves": self.get(f"/racks/{rack['id']}")["serves"]} for rack in found]


def _problem(error: urllib.error.HTTPError) -> str:
    """What the control plane says (RFC 9457), and what to do."""
    try:
        said = str(json.load(error)["detail"])
    except (ValueError, KeyError, TypeError, OSError):
        said = str(error.reason)
    remedy = "; give a token by MUSTER_TOKEN_FILE (`muster token create inventory`)" if error.code in (401, 403) else ""
    return said + remedy


def inventory(host: str, racks: list[dict[str, Any]]) -> dict[str, Any]:
    """What `ansible-inventory --list` wants (Ansible's "Developing dynamic inventory")."""
    hostvars: dict[str, dict[str, Any]] = {}
    groups: dict[str, dict[str, Any]] = {"control_plane": {"hosts": [host]}, "rack_hosts": {"hosts": []}}
    for rack in racks:
        name = rack["name"]
        groups["rack_hosts"]["hosts"].append(name)
        hostvars[name] = {"rack_name": name, "rack_id": rack["id"], "rack_version": rack["version"]}
        if (address := address_of(rack)) is not None:
            hostvars[name]["ansible_host"] = address
        for fabric in sorted({one["fabric"] for one in rack["serves"]}):
            group = "fabric_" + re.sub(r"[^A-Za-z0-9_]", "_", fabric)
            groups.setdefault(group, {"hosts": []})["hosts"].append(name)
    return {"_meta": {"hostvars": hostvars}, "all": {"children": sorted(groups)}, **groups}


def address_of(rack: dict[str, Any]) -> str | None:
    """The address at which a rack is reached: of an interface that serves no machines, if there is one."""
    serving = {one["interface"] for one in rack["serves"]}
    ordered = sorted(rack["interfaces"], key=lambda one: one["name"] in serving)
    return next((address.partition("/")[0] for one in ordered for address in one["addresses"]), None)


def token(environ: dict[str, str]) -> str:
    """The API token. Refused when there is none."""
    path = environ.get("MUSTER_TOKEN_FILE")
    if path:
        try:
            text = Path(path).expanduser().read_text(encoding="ascii").strip()
        except (OSError, ValueError) as error:
            raise Refused(f"MUSTER_TOKEN_FILE={path!r}: cannot be read ({error})") from error
    else:
        text = environ.get("MUSTER_TOKEN", "").strip()
    if not text:
        raise Refused("no API token: set MUSTER_TOKEN_FILE or MUSTER_TOKEN (`muster token create inventory`)")
    return text


def main(words: list[str], environ: dict[str, str]) -> int:
    """Print the inventory, or the variables of one host. 0, or 1 with a sentence on standard error."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    wanted = parser.add_mutually_exclusive_group(required=True)
    wanted.add_argument("--list", action="store_true", help="everything")
    wanted.add_argument("--host", help="the variables of one host")
    options = parser.parse_args(words)
    try:
        api = Api(environ.get("MUSTER_URL", ""), token(environ), environ.get("MUSTER_CA"))
        found = inventory(api.host, api.racks())
    except Refused as error:
        print(f"muster inventory: {error}", file=sys.stderr)
        return 1
    shown = found if options.list else found["_meta"]["hostvars"].get(options.host, {})
    print(json.dumps(shown, indent=1, sort_keys=True))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], dict(os.environ)))
