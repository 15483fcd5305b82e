"""What is done to this host's database without the API, for cron and by hand: `muster prune`, `muster secrets rotate`."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from app.cli import output
from app.cli.client import CliError
from app.cli.local import STATE_DIR, read_config
from app.config import Config

if TYPE_CHECKING:
    from app.services.context import Context

SETTLE_SECONDS = 20.0
"""Longer than any transaction waits for its turn: what was sealed just before the new key came is committed by then."""


@click.command()
@STATE_DIR
def prune(state_dir: Path | None) -> None:
    """Delete what is old or too much, as the setting `retention` says. The region worker does it every hour, too."""
    from app.services import retention

    context = _here(read_config(state_dir))
    gone = retention.prune(context)
    if not gone:
        click.echo("Nothing is old enough to be deleted.")
        return
    click.echo(output.table(("rows of", "deleted"), sorted(gone.items())))


@click.group()
def secrets() -> None:
    """The keys that secrets are encrypted with."""


@secrets.command("rotate")
@click.option("--keep-old", is_flag=True, help="Leave the old key in the file, until other hosts have the new one.")
@STATE_DIR
def rotate(keep_old: bool, state_dir: Path | None) -> None:
    """Encrypt every secret anew with a new key, and forget the old one. The control plane may go on meanwhile.

    When it is stopped in the middle, or was run with --keep-old, the next run finishes it and makes no other key.
    Web sessions that nobody uses meanwhile end with the old key; API tokens and racks do not notice.
    With several hosts: rotate with --keep-old on one, copy the file secret-key to the others, rotate again.
    """
    from app import wiring
    from app.services import rotation
    from app.wiring.secret_box import FernetBox

    config = read_config(state_dir)
    context = _here(config)
    try:
        file = wiring.key_file(config)
        with file.rotating():
            if len(file.keys()) > 1:
                click.echo("A rotation has begun before and is finished now; no other key is made.")
            else:
                file.add()
                rotation.note(context, "begin rotation")
                click.echo(f"A new key is in {file.path}; running processes use it from now on.")
            count = rotation.reseal_all(context, FernetBox(file.keys))
            click.echo(f"{count} secrets are encrypted anew.")
            if keep_old:
                click.echo("The old key is kept: copy the file to the other hosts, then run `muster secrets rotate`.")
                return
            time.sleep(SETTLE_SECONDS)
            while late := rotation.reseal_all(context, FernetBox(file.keys)):
                click.echo(f"{late} more, which were on their way when the key changed.")
            file.keep_newest()
            rotation.note(context, "end rotation")
    except (ValueError, OSError) as error:
        raise CliError(f"the rotation has stopped, and all keys are still there: {error}") from error
    click.echo("Nothing uses the old key any more, and it is gone. Backups from before need it: keep a copy with them.")


def _here(config: Config) -> Context:
    from app import wiring
    from app.services.context import Actor

    return wiring.wire(config).acting_as(Actor("command line", "system"))


COMMANDS = (prune, secrets)
