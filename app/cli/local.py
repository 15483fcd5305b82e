"""What works on this host without the API: `muster run`, `muster db`, `muster user create` and `reset`.

These import what they need of the control plane when they are called: its database takes longer to load than most other
commands take in all.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import click

from app import config as configuration
from app.cli.client import CliError
from app.config import Config, ConfigError

STATE_DIR = click.option(
    "--state-dir", type=click.Path(file_okay=False, path_type=Path), help="Where the control plane keeps its things."
)
DEFAULT_LISTEN = ("127.0.0.1:5240", "[::1]:5240")


def read_config(state_dir: Path | None, environ: Mapping[str, str] = os.environ) -> Config:
    """The configuration of this host; the option wins over MUSTER_STATE_DIR."""
    from app.wiring import log as logging

    given = dict(environ)
    if state_dir is not None:
        given["MUSTER_STATE_DIR"] = str(state_dir.absolute())
    try:
        config = configuration.load(given)
    except ConfigError as error:
        raise CliError(str(error)) from error
    logging.set_up(config.log_format)
    return config


@click.command()
@click.option("--listen", multiple=True, metavar="HOST:PORT", help="Address to listen on; may be repeated.")
@click.option("--listen-fd", multiple=True, type=int, metavar="N", help="Inherited listening socket; may be repeated.")
@STATE_DIR
def run(listen: tuple[str, ...], listen_fd: tuple[int, ...], state_dir: Path | None) -> None:
    """Run the whole control plane: web server, worker and timer. Ends on Ctrl-C or SIGTERM."""
    from app import wiring
    from app.cli.run import ControlPlane, Listen, RunError
    from app.services import bootstrap
    from app.wiring import database

    config = read_config(state_dir)
    try:
        wanted = listen or (() if listen_fd else DEFAULT_LISTEN)
        addresses = [Listen.parse(one) for one in wanted] + [Listen(None, None, fd) for fd in listen_fd]
        plane = ControlPlane(config, addresses)
        plane.bind()
        database.upgrade(config)
        password = bootstrap.prepare(wiring.wire(config), config.domain)
    except (RunError, OSError, ValueError) as error:
        raise CliError(str(error)) from error
    if password is not None:
        click.echo(f"The first administrator is {bootstrap.ADMIN!r}, password (shown only now): {password}")
    code = plane.run()
    if code:
        raise CliError("the control plane ended because one of its processes kept failing; see the log", code)


@click.group()
def db() -> None:
    """The database of this host's control plane."""


@db.command("upgrade")
@STATE_DIR
def db_upgrade(state_dir: Path | None) -> None:
    """Bring the database to this version's schema and make missing defaults."""
    from app import wiring
    from app.services import bootstrap
    from app.wiring import database

    config = read_config(state_dir)
    revision = database.upgrade(config)
    password = bootstrap.prepare(wiring.wire(config), config.domain)
    click.echo(f"The database is at revision {revision}.")
    if password is not None:
        click.echo(f"The first administrator is {bootstrap.ADMIN!r}, password (shown only now): {password}")


@click.command("create")
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator", "admin"]), default="admin", show_default=True)
@click.password_option()
@STATE_DIR
def create_user(name: str, role: str, password: str, state_dir: Path | None) -> None:
    """Create a user directly in this host's database."""
    from app import wiring
    from app.services import users
    from app.services.errors import ServiceError

    context = wiring.wire(read_config(state_dir))
    try:
        made = users.create(context, name, password, role)
    except ServiceError as error:
        raise CliError(error.detail) from error
    click.echo(f"User {made.name} ({made.role}) is made.")


@click.command("reset")
@click.argument("name")
@click.password_option()
@STATE_DIR
def reset_user(name: str, password: str, state_dir: Path | None) -> None:
    """Set a user's password directly in this host's database, and open the account."""
    from app import wiring
    from app.services import users
    from app.services.errors import ServiceError

    context = wiring.wire(read_config(state_dir))
    try:
        found = users.by_name(context, name)
        users.set_password(context, found.id, password)
        users.update(context, found.id, active=True)
    except ServiceError as error:
        raise CliError(error.detail) from error
    click.echo(f"The password of {name} is set; sessions have ended.")


COMMANDS = (run, db)
