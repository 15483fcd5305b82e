"""Tables for people, as wide as their terminal; JSON for programs."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Iterable, Sequence
from typing import Any

import click

NARROWEST = 20
"""No column is cut below so many characters, a moment's length; the last columns are left out instead."""


def show_json(value: Any) -> None:
    """Print JSON, indented."""
    click.echo(json.dumps(value, indent=2))


def add_json_option(command: click.Command) -> None:
    """Let `--json` stand behind every command, as well as before the first."""
    if isinstance(command, click.Group):
        for inner in command.commands.values():
            add_json_option(inner)
            if not isinstance(inner, click.Group):
                text = "Print the API's JSON instead of tables."
                inner.params.append(
                    click.Option(["--json"], is_flag=True, expose_value=False, callback=_want_json, help=text)
                )


def _want_json(context: click.Context, parameter: click.Parameter, value: bool) -> None:
    if value and context.obj is not None:
        context.obj.as_json = True


def width() -> int | None:
    """Columns of the terminal; None where output goes to a file or a program, which nothing is cut for."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]], columns: int | None = None) -> str:
    """Columns as wide as their widest cell, two spaces apart, no trailing spaces.

    columns: how wide the whole may be; the widest columns are then cut, and the last ones left out, as a line below says.
    """
    cells = [[heading.upper() for heading in headings], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[index]) for row in cells) for index in range(len(headings))]
    left_out = []
    if columns is not None:
        full = widths
        while sum(widths := _fit(full, columns)) + 2 * (len(widths) - 1) > columns and len(full) > 1:
            full = full[:-1]
            left_out.append(headings[len(full)])
    lines = [
        "  ".join(_cut(cell, most).ljust(most) for cell, most in zip(row, widths, strict=False)).rstrip()
        for row in cells
    ]
    if left_out:
        lines.append(f"({', '.join(reversed(left_out))}: in a wider terminal, or with --json)")
    return "\n".join(lines)


def show_list(items: Iterable[dict[str, Any]], columns: dict[str, str], as_json: bool) -> None:
    """Print items. columns: heading to key."""
    found = list(items)
    if as_json:
        show_json(found)
    elif not found:
        click.echo("Nothing there.", err=True)
    else:
        rows = ([_worded(key, item.get(key)) for key in columns.values()] for item in found)
        click.echo(table(list(columns), rows, width()))


def show_one(item: dict[str, Any], as_json: bool, keys: Sequence[str] | None = None) -> None:
    """Print one thing, a line for each value."""
    if as_json:
        show_json(item)
        return
    names = list(keys or item)
    longest = max((len(name) for name in names), default=0)
    for name in names:
        click.echo(f"{name.replace('_', ' ').ljust(longest)}  {_cell(_worded(name, item.get(name)))}".rstrip())


def _worded(key: str, value: Any) -> Any:
    """Moments without fractions of a second, sizes in GB."""
    if (isinstance(value, str) and key.endswith(("_at", "_since"))) or key == "at":
        return str(value)[:19].replace("T", " ")
    if key == "storage_bytes" and isinstance(value, int):
        return f"{value / 1e9:.1f} GB"
    return value


def _fit(widths: list[int], columns: int) -> list[int]:
    """Narrow the widest column, again and again, until the whole fits or all are narrow."""
    widths = list(widths)
    while sum(widths) + 2 * (len(widths) - 1) > columns and max(widths) > NARROWEST:
        widths[widths.index(max(widths))] -= 1
    return widths


def _cut(text: str, most: int) -> str:
    return text if len(text) <= most else f"{text[: most - 1]}\N{HORIZONTAL ELLIPSIS}"


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value) or "-"
    if isinstance(value, dict):
        return json.dumps(value)
    # Control characters of what machines said of themselves must not reach a terminal.
    return "".join(letter if letter.isprintable() else "?" for letter in " ".join(str(value).split()))
