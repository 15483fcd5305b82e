"""`muster job`: bulk work, followed to its end by a bar; and the commands that begin it from a file."""

from __future__ import annotations

import csv
import json
import sys
import time
from typing import Any, TextIO

import click

from app.cli import output
from app.cli.client import CliError, Session

COLUMNS = {name: name for name in ("id", "kind", "status", "done", "total", "failed", "actor", "created_at")}
FIELDS = tuple(COLUMNS)
POLL_SECONDS = 0.5
SHOWN_ERRORS = 20


@click.group()
def job() -> None:
    """Bulk work."""


@job.command("list")
@click.option("--status", help="Only those of this status.")
@click.pass_obj
def job_list(session: Session, status: str | None) -> None:
    """List jobs."""
    output.show_list(session.pages("/jobs", status=status), COLUMNS, session.as_json)


@job.command("show")
@click.argument("job_id", type=int)
@click.option("--follow", is_flag=True, help="Until it has ended.")
@click.pass_obj
def job_show(session: Session, job_id: int, follow: bool) -> None:
    """See a job, how far it is and what was refused."""
    found = session.call("GET", f"/jobs/{job_id}")
    _show(session, _follow(session, found) if follow else found)


@job.command("cancel")
@click.argument("job_id", type=int)
@click.pass_obj
def job_cancel(session: Session, job_id: int) -> None:
    """End a job; what was made stays."""
    output.show_one(session.call("POST", f"/jobs/{job_id}/cancel"), session.as_json, FIELDS)


@job.command("add-machines")
@click.argument("file", type=click.File("r"))
@click.option("--no-follow", is_flag=True, help="Do not wait for its end.")
@click.pass_obj
def add_machines(session: Session, file: TextIO, no_follow: bool) -> None:
    """Make machines from FILE: a JSON list of machines, or an object with `machines`, as POST /machines/bulk takes it."""
    try:
        given = json.load(file)
    except ValueError as error:
        raise CliError(f"{file.name} is no JSON: {error}") from error
    machines = given.get("machines") if isinstance(given, dict) else given
    begin(session, "/machines/bulk", {"machines": machines}, no_follow)


@job.command("add-reservations")
@click.argument("file", type=click.File("r"))
@click.option("--no-follow", is_flag=True, help="Do not wait for its end.")
@click.pass_obj
def add_reservations(session: Session, file: TextIO, no_follow: bool) -> None:
    """Make reservations from FILE, a CSV with a heading: address, mac, and maybe hostname, comment, subnet_id."""
    rows: list[dict[str, Any]] = []
    for row in csv.DictReader(file):
        known: dict[str, Any] = {name: value for name, value in row.items() if value}
        if "subnet_id" in known and str(known["subnet_id"]).isdecimal():
            known["subnet_id"] = int(known["subnet_id"])
        rows.append(known)
    begin(session, "/reservations/bulk", {"reservations": rows}, no_follow)


def begin(session: Session, path: str, body: dict[str, Any], no_follow: bool) -> None:
    """Ask for a job, and follow it to its end unless that is not wanted."""
    found = session.call("POST", path, body)
    _show(session, found if no_follow else _follow(session, found))


def _follow(session: Session, found: dict[str, Any]) -> dict[str, Any]:
    """Show how far the job is until it has ended; Ctrl-C leaves it going."""
    with click.progressbar(length=found["total"], label=f"Job {found['id']}", file=sys.stderr) as bar:
        shown = 0
        while True:
            bar.update(found["done"] - shown)
            shown = found["done"]
            if found["finished_at"] is not None:
                return found
            time.sleep(POLL_SECONDS)
            found = session.call("GET", f"/jobs/{found['id']}")


def _show(session: Session, found: dict[str, Any]) -> None:
    output.show_one(found, session.as_json, FIELDS)
    if not session.as_json:
        for one in found["errors"][:SHOWN_ERRORS]:
            click.echo(f"  item {one['index']}: {one['detail']}", err=True)
    if found["status"] == "failed":
        raise CliError(f"job {found['id']} has made nothing")


COMMANDS = (job,)
