"""`muster zone`, `muster pool`, `muster tag`: one shape, made three times."""

from __future__ import annotations

import click

from app.cli import output
from app.cli.client import CliError, Session

COLUMNS = {"id": "id", "name": "name", "machines": "machines", "note": "note"}


def _make(word: str, about: str) -> click.Group:
    group = click.Group(word, help=about)

    @group.command("list")
    @click.pass_obj
    def list_all(session: Session) -> None:
        """List them."""
        output.show_list(session.pages(f"/{word}s"), COLUMNS, session.as_json)

    @group.command("create")
    @click.argument("name")
    @click.option("--note", default="", help="Words about it.")
    @click.pass_obj
    def create(session: Session, name: str, note: str) -> None:
        """Create NAME."""
        answer = session.call("POST", f"/{word}s", {"name": name, "note": note})
        output.show_one(answer, session.as_json, ("id", "name"))

    def find(session: Session, name: str) -> int:
        for place in session.pages(f"/{word}s"):
            if place["name"] == name:
                return int(place["id"])
        raise CliError(f"{word} {name!r} does not exist; see `muster {word} list`")

    @group.command("show")
    @click.argument("name")
    @click.pass_obj
    def show(session: Session, name: str) -> None:
        """See NAME."""
        output.show_one(session.call("GET", f"/{word}s/{find(session, name)}"), session.as_json)

    @group.command("set")
    @click.argument("name")
    @click.option("--name", "new_name", help="Another name.")
    @click.option("--note", help="Words about it.")
    @click.pass_obj
    def change(session: Session, name: str, new_name: str | None, note: str | None) -> None:
        """Change NAME."""
        body = {key: value for key, value in (("name", new_name), ("note", note)) if value is not None}
        if not body:
            raise click.UsageError("say what to change; see --help")
        answer = session.call("PATCH", f"/{word}s/{find(session, name)}", body)
        output.show_one(answer, session.as_json, ("id", "name", "note"))

    @group.command("delete")
    @click.argument("name")
    @click.pass_obj
    def delete(session: Session, name: str) -> None:
        """Delete NAME."""
        session.call("DELETE", f"/{word}s/{find(session, name)}")

    return group


zone = _make("zone", "Places that fail as one.")
pool = _make("pool", "Sets of machines that people draw from.")
tag = _make("tag", "Labels on machines.")


@tag.command("machine")
@click.argument("machine")
@click.option("--add", "added", multiple=True, help="Put this tag on it; may be repeated.")
@click.option("--remove", "removed", multiple=True, help="Take this tag off; may be repeated.")
@click.pass_obj
def tag_machine(session: Session, machine: str, added: tuple[str, ...], removed: tuple[str, ...]) -> None:
    """Change the tags of MACHINE."""
    found = session.call("GET", f"/machines/{machine}")
    tags = sorted((set(found["tags"]) | set(added)) - set(removed))
    headers = {"If-Match": f'"{found["version"]}"'}
    answer = session.raw("PATCH", f"/machines/{machine}", {"tags": tags}, headers=headers).json()
    output.show_one(answer, session.as_json, ("id", "hostname", "tags"))


COMMANDS = (zone, pool, tag)
