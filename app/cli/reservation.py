"""`muster reservation`: addresses that are promised to MAC addresses, one by one or from a file."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from typing import Any, TextIO

import click

from app.cli import output
from app.cli.client import CliError, Session
from app.cli.resource import NUMBER, TEXT, Kind, make

BATCH = 500
"""How many rows of a file go into one request."""
COLUMNS = ("address", "mac", "hostname", "comment", "subnet_id")
WORDS = (
    ("hostname", TEXT, "Its name in the subnet's domain; '' for none."),
    ("comment", TEXT, "What it is for."),
)
KIND = Kind(
    "reservation",
    "Addresses that are promised to MAC addresses.",
    ("id", "address", "mac", "hostname", "subnet_id", "comment"),
    ("address", "mac"),
    (*WORDS, ("subnet_id", NUMBER, "Subnet, if not the one that holds the address.")),
    (("address", TEXT, "Another address of the subnet."), ("mac", TEXT, "Another MAC address."), *WORDS),
    (
        ("subnet_id", NUMBER, "In this subnet."),
        ("mac", TEXT, "For this MAC address."),
        ("hostname", TEXT, "Of this name."),
    ),
)
GROUP = make(KIND)


@GROUP.command("import")
@click.argument("file", type=click.File("r"))
@click.pass_obj
def import_file(session: Session, file: TextIO) -> None:
    """Make reservations from FILE, a CSV with a heading: address, mac, and maybe hostname, comment, subnet_id.

    500 rows go into one request, which is carried out whole or not at all; rows that are there already are left as they
    are, so the same file may be imported again.
    """
    total = {"created": 0, "unchanged": 0}
    line = 2
    waiting = _rows(file)
    while rows := list(islice(waiting, BATCH)):
        try:
            answer = session.call("POST", "/reservations/import", {"reservations": rows})
        except CliError as error:
            done = f"; {total['created']} reservations of earlier lines are made" if total["created"] else ""
            raise CliError(f"lines {line} to {line + len(rows) - 1}: {error}{done}", error.exit_code) from error
        line += len(rows)
        total = {name: total[name] + answer[name] for name in total}
    output.show_one(total, session.as_json)


def _rows(file: TextIO) -> Iterator[dict[str, Any]]:
    reader = csv.DictReader(file, skipinitialspace=True)
    names = reader.fieldnames or []
    if not {"address", "mac"} <= set(names) or (unknown := sorted(set(names) - set(COLUMNS))):
        wrong = (
            f"column {unknown[0]!r} is not known" if {"address", "mac"} <= set(names) else "its first line lacks them"
        )
        raise click.UsageError(
            f"the file needs the columns address and mac, and may have {', '.join(COLUMNS[2:])}: {wrong}"
        )
    for number, row in enumerate(reader, 2):
        made: dict[str, Any] = {name: value.strip() for name, value in row.items() if name and value and value.strip()}
        if "subnet_id" in made:
            if not made["subnet_id"].isdecimal():
                raise click.UsageError(f"line {number}: subnet_id {made['subnet_id']!r} is no number")
            made["subnet_id"] = int(made["subnet_id"])
        if not {"address", "mac"} <= set(made):
            raise click.UsageError(f"line {number}: it names no {'mac' if 'address' in made else 'address'}")
        yield made


COMMANDS = (GROUP,)
