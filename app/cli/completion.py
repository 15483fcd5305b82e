"""`muster completion`: what a shell reads to complete commands and options."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class

from app.cli.client import CliError

VARIABLE = "_MUSTER_COMPLETE"


@click.command()
@click.argument("shell", type=click.Choice(("bash", "zsh", "fish")))
@click.pass_context
def completion(context: click.Context, shell: str) -> None:
    """Print the completion script of SHELL.

    \b
    bash: muster completion bash > /etc/bash_completion.d/muster
    zsh:  muster completion zsh > "${fpath[1]}/_muster"
    fish: muster completion fish > ~/.config/fish/completions/muster.fish
    """
    kind = get_completion_class(shell)
    if kind is None:
        raise CliError(f"this version of click cannot complete in {shell}")
    click.echo(kind(context.find_root().command, {}, "muster", VARIABLE).source())


COMMANDS = (completion,)
