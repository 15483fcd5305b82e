"""Tables for people, JSON for programs."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from typing import Any

import click


def show_json(value: Any) -> None:
    """Print JSON, indented."""
    click.echo(json.dumps(value, indent=2))


def table(headings: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """Columns as wide as their widest cell, two spaces apart; no trailing spaces."""
    cells = [[heading.upper() for heading in headings], *([_cell(value) for value in row] for row in rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headings))]
    lines = ("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in cells)
    return "\n".join(line.rstrip() for line in lines)


def show_list(items: Iterable[dict[str, Any]], columns: dict[str, str], as_json: bool) -> None:
    """Print items. columns: heading to key."""
    found = list(items)
    if as_json:
        show_json(found)
    elif not found:
        click.echo("Nothing there.")
    else:
        click.echo(table(list(columns), ([item.get(key) for key in columns.values()] for item in found)))


def show_one(item: dict[str, Any], as_json: bool, keys: Sequence[str] | None = None) -> None:
    """Print one thing, a line for each value."""
    if as_json:
        show_json(item)
        return
    names = list(keys or item)
    width = max((len(name) for name in names), default=0)
    for name in names:
        click.echo(f"{name.replace('_', ' ').ljust(width)}  {_cell(item.get(name))}".rstrip())


def _cell(value: Any) -> str:
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list):
        return ", ".join(_cell(one) for one in value) or "-"
    if isinstance(value, dict):
        return json.dumps(value)
    return " ".join(str(value).split())
