"""`muster broker`: the broker of a grown site, Redis."""

from __future__ import annotations

from pathlib import Path

import click

from app.cli import output
from app.cli.client import CliError, Session
from app.cli.local import STATE_DIR, read_config


@click.group()
def broker() -> None:
    """The broker that wakes workers and racks, where it is a Redis."""


@broker.command("acl")
@click.pass_obj
def acl(session: Session) -> None:
    """Print racks' users as lines of Redis' aclfile, for a Redis whose users Muster does not keep itself."""
    answer = session.call("GET", "/broker/acl")
    if session.as_json:
        output.show_json(answer)
        return
    for line in answer["lines"]:
        click.echo(line)


@broker.command("check")
@STATE_DIR
def check(state_dir: Path | None) -> None:
    """Try this host's settings at the broker: its certificate, our passwords and rights, and where racks are sent."""
    from app.broker import is_redis
    from app.config import ConfigError
    from app.wiring import redis_client

    config = read_config(state_dir)
    if not is_redis(config.broker_url):
        click.echo("The broker is no Redis (MUSTER_BROKER_URL); the one of files needs no looking after.")
        return
    try:
        for sentence in redis_client.check(config):
            click.echo(sentence)
    except (ConfigError, ValueError) as error:
        raise CliError(str(error)) from error


COMMANDS = (broker,)
