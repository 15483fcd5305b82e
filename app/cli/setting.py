"""`muster setting`: what holds for the whole installation."""

from __future__ import annotations

import json
from typing import Any

import click

from app.cli import output
from app.cli.client import CliError, Session


@click.group()
def setting() -> None:
    """Settings of the installation: enrolment, DNS and NTP servers, how long things are kept."""


@setting.command("list")
@click.pass_obj
def setting_list(session: Session) -> None:
    """List settings with their values."""
    found = session.call("GET", "/settings")["settings"]
    if session.as_json:
        output.show_json(found)
        return
    rows = [(name, key, value) for name, whole in found.items() for key, value in whole.items()]
    click.echo(output.table(("setting", "key", "value"), rows))


@setting.command("show")
@click.argument("name")
@click.pass_obj
def setting_show(session: Session, name: str) -> None:
    """See the setting NAME."""
    output.show_one(session.call("GET", f"/settings/{name}")["value"], session.as_json)


@setting.command("set")
@click.argument("name")
@click.argument("values", nargs=-1, required=True, metavar="KEY=VALUE...")
@click.pass_obj
def setting_set(session: Session, name: str, values: tuple[str, ...]) -> None:
    """Change keys of the setting NAME; the others stay. VALUE is JSON, or text.

    \b
    muster setting set enrolment_policy on=false
    muster setting set ntp_upstreams 'servers=["0.pool.ntp.org"]'
    muster setting set retention event_days=30 audit_days=365
    """
    present = session.call("GET", "/settings")["settings"].get(name)
    if present is None:
        raise CliError(f"setting {name!r} does not exist; see `muster setting list`")
    for word in values:
        key, equals, text = word.partition("=")
        if not equals:
            raise click.UsageError(f"{word!r}: must be KEY=VALUE")
        present[key] = _value(text)
    output.show_one(session.call("PUT", f"/settings/{name}", {"value": present})["value"], session.as_json)


def _value(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


COMMANDS = (setting,)
