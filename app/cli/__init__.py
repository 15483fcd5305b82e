"""`muster`: the command line. It speaks HTTP to the API; only `run`, `db`, `prune`, `secrets`,
`broker check` and some of `user` work on this host.

Exit codes: 0 done, 1 refused or failed, 2 wrong usage (of `apply --dry-run`: there are changes), 3 the control plane cannot
be reached, 4 not signed in, 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import os
import sys

import click

from app.cli import (
    account,
    address,
    broker,
    change,
    completion,
    device,
    dns,
    event,
    foreign_dhcp,
    image,
    job,
    lease,
    local,
    machine,
    model_file,
    neighbour,
    network,
    output,
    package_repository,
    place,
    rack,
    reservation,
    rollout,
    setting,
    snippet,
    subnet,
    syslog,
    upkeep,
)
from app.cli.client import CliError, Session

STOPPED = 130


@click.group(context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.option("--url", envvar="MUSTER_URL", help="Address of the control plane, as in http://127.0.0.1:5240.")
@click.option("--json", "as_json", is_flag=True, help="Print the API's JSON instead of tables.")
@click.option(
    "--wait",
    type=click.IntRange(0, 30),
    metavar="SECONDS",
    help="After a change: answer when the racks serve it, or say which do not when the time is up.",
)
@click.pass_context
def muster(context: click.Context, url: str | None, as_json: bool, wait: int | None) -> None:
    """Provision bare metal: discover, commission, allocate, deploy and release servers."""
    context.obj = Session(url, as_json, wait)


_PARTS = (
    account, address, broker, completion, device, dns, event, foreign_dhcp, image, lease, local, machine, model_file,
    neighbour, network, package_repository, place, rack, reservation, rollout, setting, snippet, subnet, syslog, upkeep,
)  # fmt: skip
for _part in (*_PARTS, change, job):
    for _command in _part.COMMANDS:
        muster.add_command(_command)
output.add_json_option(muster)


def main() -> None:
    """Run the command line and leave with its exit code."""
    try:
        muster.main(prog_name="muster", standalone_mode=False)
    except click.exceptions.Exit as leave:
        sys.exit(leave.exit_code)
    except (click.Abort, KeyboardInterrupt):
        print("Stopped.", file=sys.stderr)
        sys.exit(STOPPED)
    except BrokenPipeError:  # The reader of a pipe, as `head`, has seen enough.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(0)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except CliError as error:
        print(f"muster: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
