"""Every operation of the REST API has a command, or a reason why not; and every command stands in this table."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from app.cli import muster
from app.config import load
from app.factory import create_app
from app.lifecycle.table import actions
from tests.factories.control import make_context, seed

NETWORK = ("fabric", "space", "vlan", "subnet", "range", "domain", "route", "reservation", "device")
PLACES = ("zone", "pool", "tag")
COMMANDS = {
    "GET /addresses": "address list",
    "POST /addresses": "address reserve",
    "GET /addresses/*": "address show",
    "DELETE /addresses/*": "address delete",
    "GET /changes/*": "change show",
    "GET /jobs": "job list",
    "GET /jobs/*": "job show",
    "POST /jobs/*/cancel": "job cancel",
    "POST /machines/bulk": "job add-machines",
    "POST /reservations/bulk": "job add-reservations",
    "POST /fabrics/*/merge": "fabric merge",
    "POST /vlans/*/merge": "vlan merge",
    "POST /devices/*/interfaces": "device add-interface",
    "PATCH /devices/*/interfaces/*": "device set-interface",
    "DELETE /devices/*/interfaces/*": "device delete-interface",
    "GET /interfaces": "interface list",
    "GET /interfaces/*": "interface show",
    "PUT /interfaces/*/links/*": "interface link",
    "DELETE /interfaces/*/links/*": "interface unlink",
    "POST /reservations/import": "reservation import",
    "GET /leases": "lease list",
    "DELETE /leases/*": "lease release",
    "POST /racks/*/new-omapi-key": "rack new-omapi-key",
    "POST /racks/*/new-broker-password": "rack new-broker-password",
    "GET /broker/acl": "broker acl",
    "GET /neighbours": "neighbour list",
    "GET /foreign-dhcp-servers": "foreign-dhcp list",
    "GET /subnets/*/statistics": "subnet statistics",
    "GET /subnets/*/free-ranges": "subnet free",
    "GET /subnets/*/reserved-ranges": "subnet reserved",
    "GET /subnets/*/addresses": "subnet addresses",
    "GET /subnets/*/stale-gateways": "subnet stale-gateways",
    "GET /subnets/*/renumber": "subnet renumber",
    "POST /subnets/*/renumber": "subnet renumber",
    "GET /subnets/*/stale-routes": "subnet stale-routes",
    "GET /images/*": "image show",
    "GET /keys/*": "key show",
    "GET /operations": "machine all-operations",
    "GET /power-orders": "machine power-orders",
    "GET /power-orders/*": "machine power",
    "GET /sessions": "session list",
    "DELETE /sessions/*": "session delete",
    "GET /settings/*": "setting show",
    "GET /tokens/*": "token show",
    "GET /audit": "audit",
    "GET /dhcp-options": "snippet options",
    "GET /dhcp-snippets": "snippet list",
    "POST /dhcp-snippets": "snippet create",
    "GET /dhcp-snippets/*": "snippet show",
    "PATCH /dhcp-snippets/*": "snippet set",
    "DELETE /dhcp-snippets/*": "snippet delete",
    "GET /dhcp-snippets/*/revisions": "snippet history",
    "POST /dhcp-snippets/*/revert": "snippet revert",
    "POST /dhcp-snippets/check": "snippet check",
    "GET /events": "events",
    "GET /events/stream": "events",
    "GET /images": "image list",
    "POST /images/import": "image import",
    "GET /keys": "key list",
    "POST /keys": "key add",
    "DELETE /keys/*": "key delete",
    "POST /login": "login",
    "GET /machines": "machine list",
    "POST /machines": "machine add",
    "GET /machines/*": "machine show",
    "PATCH /machines/*": "machine set",
    "DELETE /machines/*": "machine delete",
    "POST /machines/*/abort": "machine abort",
    "POST /machines/allocate": "machine allocate",
    "POST /machines/*/allocate": "machine allocate",
    "GET /machines/*/events": "events",
    "GET /machines/*/syslog": "machine syslog",
    "GET /syslog": "syslog",
    "GET /machines/*/events/stream": "machine watch",
    "GET /machines/*/operations": "machine operations",
    "GET /machines/*/power": "machine show-power",
    "PUT /machines/*/power": "machine set-power",
    "POST /machines/*/power/*": "machine power",
    "GET /machines/*/results": "machine results",
    "GET /machines/*/results/*": "machine results",
    "GET /operations/*": "machine operation",
    "GET /plans/*": "rack plan",
    "POST /plans/*/approve": "rack approve",
    "GET /power-drivers": "machine power-drivers",
    "GET /racks": "rack list",
    "GET /racks/*": "rack show",
    "DELETE /racks/*": "rack delete",
    "PATCH /racks/*": "rack set",
    "GET /racks/*/plans": "rack plans",
    "POST /racks/*/reconcile": "rack reconcile",
    "POST /racks/*/retry": "rack retry",
    "GET /rollouts": "rollout list",
    "GET /rollouts/*": "rollout show",
    "POST /rollouts/*/continue": "rollout continue",
    "POST /racks/codes": "rack code",
    "POST /racks/reconcile": "reconcile",
    "GET /session": "whoami",
    "GET /settings": "setting list",
    "PUT /settings/*": "setting set",
    "GET /tokens": "token list",
    "POST /tokens": "token create",
    "DELETE /tokens/*": "token delete",
    "GET /users": "user list",
    "POST /users": "user add",
    "GET /users/*": "user show",
    "PATCH /users/*": "user set",
    "DELETE /users/*": "user delete",
    "PUT /users/*/password": "user passwd",
    "GET /domains/*/records": "dns list",
    "POST /domains/*/records": "dns add",
    "POST /domains/*/records/bulk": "dns bulk",
    "GET /domains/*/records/*": "dns show",
    "PATCH /domains/*/records/*": "dns set",
    "DELETE /domains/*/records/*": "dns delete",
    "GET /domains/*/servers": "dns servers",
    "GET /domains/*/stale-names": "domain stale-names",
    "GET /package-repositories": "repository list",
    "POST /package-repositories": "repository create",
    "GET /package-repositories/*": "repository show",
    "PATCH /package-repositories/*": "repository set",
    "DELETE /package-repositories/*": "repository delete",
    "GET /dns-secondaries": "dns secondary list",
    "POST /dns-secondaries": "dns secondary add",
    "GET /dns-secondaries/*": "dns secondary show",
    "PATCH /dns-secondaries/*": "dns secondary set",
    "DELETE /dns-secondaries/*": "dns secondary delete",
    "POST /dns-secondaries/*/new-key": "dns secondary new-key",
}
for _word in (*NETWORK, *PLACES):
    COMMANDS |= {
        f"GET /{_word}s": f"{_word} list",
        f"POST /{_word}s": f"{_word} create",
        f"GET /{_word}s/*": f"{_word} show",
        f"PATCH /{_word}s/*": f"{_word} set",
        f"DELETE /{_word}s/*": f"{_word} delete",
    }
for _action in actions():
    if _action != "allocate":
        COMMANDS[f"POST /machines/*/{_action}"] = f"machine {_action}"
WITHOUT = {
    "GET /health/live": "for whoever watches over the process",
    "GET /health/ready": "for whoever watches over the process",
    "POST /session": "for browsers; the command line uses tokens",
    "DELETE /session": "for browsers; the command line uses tokens",
}
LOCAL = {
    "run": "starts the control plane",
    "broker check": "the settings of this host",
    "db upgrade": "the database of this host",
    "user create": "the database of this host",
    "user reset": "the database of this host",
    "prune": "the database of this host, for cron",
    "secrets rotate": "the key file of this host",
    "completion": "for shells",
    "logout": "the profile of this user",
    "export": "all lists of the network model",
    "apply": "all that creates, changes and deletes of the network model",
    "tag machine": "PATCH /machines/* with other words",
}


def leaves(group: click.Group, before: tuple[str, ...] = ()) -> dict[str, click.Command]:
    """All commands by the words that call them."""
    found: dict[str, click.Command] = {}
    for name, command in group.commands.items():
        words = (*before, name)
        if isinstance(command, click.Group):
            found |= leaves(command, words)
        else:
            found[" ".join(words)] = command
    return found


def operations(folder: Path) -> set[str]:
    """All operations of the OpenAPI document."""
    context = make_context(folder)
    seed(context)
    client = create_app(context, load({"MUSTER_STATE_DIR": str(folder / "state")})).test_client()
    paths = client.get("/api/v1/openapi.json").get_json()["paths"]
    return {
        f"{method.upper()} {re.sub(r'{[^}]*}', '*', path.removeprefix('/api/v1'))}"
        for path, methods in paths.items()
        for method in methods
        if method != "parameters"
    }


def test_every_operation_has_its_command(tmp_path: Path) -> None:
    """The API's own description and the table name the same operations."""
    assert sorted(COMMANDS | WITHOUT) == sorted(operations(tmp_path))


def test_every_command_is_in_the_table() -> None:
    """Commands of the table exist, and those that exist are in it."""
    assert sorted({*COMMANDS.values(), *LOCAL}) == sorted(leaves(muster))


@pytest.mark.parametrize("words", sorted(leaves(muster)))
def test_every_command_explains_itself(words: str) -> None:
    """A sentence, `--json` at the end too, and options with words."""
    command = leaves(muster)[words]

    assert (command.help or "").split("\n\n")[0].rstrip().endswith("."), command.help
    assert "--json" in {word for parameter in command.params for word in parameter.opts}
