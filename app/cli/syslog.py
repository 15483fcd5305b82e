"""`muster syslog`, `muster machine syslog`: what machines have logged."""

from __future__ import annotations

from itertools import islice
from typing import Any

import click

from app.cli import output
from app.cli.client import Session

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
COLUMNS = {
    "at": "at", "address": "address", "host": "host", "severity": "severity", "program": "program", "message": "message",
}  # fmt: skip
OF_MACHINE = {name: path for name, path in COLUMNS.items() if name not in ("address", "host")}
FILTERS = (
    click.option("--last", type=click.IntRange(1), default=100, show_default=True, help="Only the newest so many."),
    click.option("--severity", type=click.Choice(SEVERITIES), help="This one or a graver one."),
    click.option("--program", help="Of this program, as in sshd."),
    click.option("--text", help="With this in the message; case does not count."),
    click.option("--since", help="At this moment or later, as in 2026-01-31T12:00:00Z."),
    click.option("--until", help="At this moment or earlier."),
)


def filtered(command: Any) -> Any:
    """A command with the options that choose lines."""
    for option in reversed(FILTERS):
        command = option(command)
    return command


def show(session: Session, path: str, columns: dict[str, str], last: int, asked: dict[str, Any]) -> None:
    """Print the newest lines, oldest of them first."""
    query = {name: value for name, value in asked.items() if value is not None}
    found = list(islice(session.pages(path, **query), last))
    output.show_list(reversed(found), columns, session.as_json)


@click.command("syslog")
@click.option("--machine", help="Of this machine (id or hostname).")
@click.option("--rack", "rack_id", type=int, help="Brought by this rack (id).")
@click.option("--address", help="From this address.")
@filtered
@click.pass_obj
def syslog(session: Session, /, last: int, **asked: Any) -> None:
    """What machines have logged: the newest lines, oldest first."""
    show(session, "/syslog", COLUMNS, last, asked)


@click.command("syslog")
@click.argument("machine")
@filtered
@click.pass_obj
def machine_syslog(session: Session, /, machine: str, last: int, **asked: Any) -> None:
    """What a machine has logged: the newest lines, oldest first."""
    show(session, f"/machines/{machine}/syslog", OF_MACHINE, last, asked)


COMMANDS = (syslog,)
