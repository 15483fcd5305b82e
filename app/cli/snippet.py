"""`muster snippet`: what people add to what DHCP says."""

from __future__ import annotations

from typing import Any

import click

from app.cli import output
from app.cli.client import CliError, Session

PATH = "/dhcp-snippets"
TARGETS = ("vlan", "subnet", "range", "machine")
COLUMNS = {
    "id": "id",
    "name": "name",
    "kind": "kind",
    "scope": "scope",
    "enabled": "enabled",
    "checked": "checked",
    "revision": "revision",
}
FORCE = click.option("--force", is_flag=True, help="Save it even where no checker could judge it.")
BODY = click.option("--file", "file", type=click.File(), help="File with the body; - reads standard input.")


@click.group()
def snippet() -> None:
    """DHCP options and pieces of configuration, checked by the servers' own checkers before they are saved."""


@snippet.command("list")
@click.option("--scope", help="Only those of a scope: global, vlan, subnet, range, machine.")
@click.option("--kind", help="Only those of a kind: option, kea4, kea6, dhcpd.")
@click.option("--enabled/--disabled", default=None, help="Only those that are, or are not, in use.")
@click.pass_obj
def list_all(session: Session, /, **wanted: Any) -> None:
    """List snippets."""
    query = {
        name: str(value).lower() if isinstance(value, bool) else value
        for name, value in wanted.items()
        if value is not None
    }
    output.show_list(session.pages(PATH, **query), COLUMNS, session.as_json)


@snippet.command("show")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def show(session: Session, number: int) -> None:
    """See one."""
    found = session.call("GET", f"{PATH}/{number}")
    if session.as_json:
        output.show_json(found)
        return
    output.show_one(found, False, [name for name in found if name != "body"])
    click.echo(f"\n{found['body'].rstrip()}")


def _given(kind: str, targets: dict[str, int | None], body: str) -> dict[str, Any]:
    set_targets = {name: value for name, value in targets.items() if value is not None}
    if len(set_targets) > 1:
        raise click.UsageError("a snippet is for one thing: give one of --vlan, --subnet, --range, --machine")
    scope, number = next(iter(set_targets.items()), ("global", None))
    made: dict[str, Any] = {"kind": kind, "scope": scope, "body": body}
    return made if number is None else {**made, f"{scope}_id": number}


def _body(file: Any, lines: tuple[str, ...]) -> str:
    if (file is None) == (not lines):
        raise click.UsageError("give the body as arguments, one for each line, or by --file")
    return str(file.read()) if file is not None else "\n".join(lines)


def _targets(command: Any) -> Any:
    for name in reversed(TARGETS):
        command = click.option(f"--{name}", type=int, help=f"For this {name} (id); without any of these, for all.")(
            command
        )
    return click.option("--kind", default="option", show_default=True, help="option, kea4, kea6 or dhcpd.")(command)


@snippet.command("check")
@click.argument("lines", nargs=-1, metavar="[LINE...]")
@BODY
@_targets
@click.pass_obj
def check(session: Session, /, lines: tuple[str, ...], file: Any, kind: str, **targets: int | None) -> None:
    """Ask the servers' own checkers what they think of it; nothing is saved.

    \b
    muster snippet check --subnet 3 'ntp-servers 10.0.0.5' 'log-servers 10.0.0.6'
    """
    verdict = session.call("POST", f"{PATH}/check", _given(kind, targets, _body(file, lines)))
    if session.as_json:
        output.show_json(verdict)
    else:
        for word in ("checked", "unchecked"):
            for what in verdict[word]:
                click.echo(f"{word}: {what}")
    if not verdict["ok"]:
        raise CliError(
            "; ".join(
                f"line {one['line']}: {one['message']}"
                if one["line"] is not None and not one["message"].startswith("line ")
                else one["message"]
                for one in verdict["findings"]
            )
        )


@snippet.command("create")
@click.argument("name")
@click.argument("lines", nargs=-1, metavar="[LINE...]")
@BODY
@_targets
@click.option("--description", default="", help="What it is for.")
@click.option("--disabled", is_flag=True, help="Save it, but do not use it yet.")
@FORCE
@click.pass_obj
def create(
    session: Session,
    /,
    name: str,
    lines: tuple[str, ...],
    file: Any,
    kind: str,
    description: str,
    disabled: bool,
    force: bool,
    **targets: int | None,
) -> None:
    """Create one, once the servers' own checkers take it.

    \b
    muster snippet create time --subnet 3 'ntp-servers 10.0.0.5, 10.0.0.6'
    muster snippet create phones --kind kea4 --file phones.json
    """
    body = {
        **_given(kind, targets, _body(file, lines)),
        "name": name,
        "description": description,
        "enabled": not disabled,
        "force": force,
    }
    output.show_one(session.call("POST", PATH, body), session.as_json)


@snippet.command("set")
@click.argument("number", metavar="ID", type=int)
@click.argument("lines", nargs=-1, metavar="[LINE...]")
@BODY
@click.option("--name", help="Name.")
@click.option("--description", help="What it is for.")
@click.option("--enabled/--disabled", default=None, help="Whether it is used.")
@FORCE
@click.pass_obj
def change(session: Session, /, number: int, lines: tuple[str, ...], file: Any, force: bool, **given: Any) -> None:
    """Change one: its body, its name, or whether it is used."""
    body = {name: value for name, value in given.items() if value is not None}
    if file is not None or lines:
        body["body"] = _body(file, lines)
    if not body:
        raise click.UsageError("say what to change; see --help")
    output.show_one(session.call("PATCH", f"{PATH}/{number}", {**body, "force": force}), session.as_json)


@snippet.command("delete")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def delete(session: Session, number: int) -> None:
    """Delete one with its history."""
    session.call("DELETE", f"{PATH}/{number}")


@snippet.command("history")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def history(session: Session, number: int) -> None:
    """See what it has said, oldest first."""
    found = session.pages(f"{PATH}/{number}/revisions")
    output.show_list(found, {"revision": "revision", "at": "at", "by": "actor", "body": "body"}, session.as_json)


@snippet.command("revert")
@click.argument("number", metavar="ID", type=int)
@click.argument("revision", type=int)
@FORCE
@click.pass_obj
def revert(session: Session, number: int, revision: int, force: bool) -> None:
    """Make what it said at REVISION what it says now."""
    body = {"revision": revision, "force": force}
    output.show_one(session.call("POST", f"{PATH}/{number}/revert", body), session.as_json)


@snippet.command("options")
@click.pass_obj
def options(session: Session) -> None:
    """List the DHCP options that have a name."""
    found = session.call("GET", "/dhcp-options")["items"]
    output.show_list(found, {"name": "name", "family": "family", "code": "code", "value": "value"}, session.as_json)


COMMANDS = (snippet,)
