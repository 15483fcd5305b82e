"""`muster image`: boot images."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import Session

COLUMNS = {
    "id": "id", "name": "name", "os": "os", "release": "release", "arch": "architecture", "current": "current",
    "made": "created_at",
}  # fmt: skip


@click.group()
def image() -> None:
    """Boot images."""


@image.command("list")
@click.pass_obj
def image_list(session: Session) -> None:
    """List images."""
    output.show_list(session.pages("/images"), COLUMNS, session.as_json)


@image.command("show")
@click.argument("image_id", type=int)
@click.pass_obj
def image_show(session: Session, image_id: int) -> None:
    """See an image and its files."""
    output.show_one(session.call("GET", f"/images/{image_id}"), session.as_json)


@image.command("import")
@click.argument("path")
@click.pass_obj
def image_import(session: Session, path: str) -> None:
    """Take in the image in the folder PATH of the control plane's host."""
    answer = session.call("POST", "/images/import", {"path": path})
    output.show_one(answer, session.as_json, ("id", "name", "recipe", "current"))


COMMANDS = (image,)
