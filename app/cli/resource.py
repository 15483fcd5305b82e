"""How commands of things that are listed, shown, created, set and deleted are made from a table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import click

from app.cli import output
from app.cli.client import Session

TEXT, NUMBER, FLAG, TEXTS = str, int, bool, list


@dataclass(frozen=True)
class Kind:
    """One kind of thing: its options for `create` and `set`, and the columns of its list.

    filters: options of `list`.  forced: whether `set` and `delete` take `--force`; merges: whether one may become a part
    of another.  path: in the API, where it is not the word's plural.
    """

    word: str
    about: str
    columns: tuple[str, ...]
    arguments: tuple[str, ...]
    options: tuple[tuple[str, Any, str], ...]
    changes: tuple[tuple[str, Any, str], ...]
    filters: tuple[tuple[str, Any, str], ...] = ()
    forced: bool = False
    merges: bool = False
    path: str = ""


def _option(name: str, kind: Any, about: str) -> click.Option:
    flag = f"--{name.removesuffix('_id').replace('_', '-')}" if name.endswith("_id") else f"--{name.replace('_', '-')}"
    if kind is bool:
        return click.Option([f"{flag}/--no-{flag[2:]}", name], default=None, help=about)
    if kind is list:
        return click.Option([flag, name], multiple=True, help=f"{about} (may be repeated; '' for none)")
    if isinstance(kind, tuple):
        return click.Option([flag, name], type=click.Choice(kind), help=about)
    words = f"{about} (id)" if name.endswith("_id") else about
    return click.Option([flag, name], type=kind, help=words)


def body_of(given: dict[str, Any]) -> dict[str, Any]:
    """What was given on the command line, as the API takes it: empty words take a value away."""
    made: dict[str, Any] = {}
    for name, value in given.items():
        if isinstance(value, tuple):
            if value:
                made[name] = [word for word in value if word]
        elif value is not None:
            made[name] = None if _is_nothing(name, value) else value
    return made


def _is_nothing(name: str, value: Any) -> bool:
    """Whether a value takes away what there is: an empty word, but for mere words; 0 for an id, which no row has."""
    return value == 0 if name.endswith("_id") else value == "" and name not in ("comment", "description", "key")


def make(kind: Kind) -> click.Group:
    """The commands list, show, create, set and delete of a kind."""
    group = click.Group(kind.word, help=kind.about)
    path = kind.path or f"/{kind.word}s"
    force = click.Option(["--force"], is_flag=True, help="Even if addresses of it are leased or given.")

    @click.pass_obj
    def list_all(session: Session, /, **given: Any) -> None:
        columns = {name.replace("_", " "): name for name in kind.columns}
        output.show_list(session.pages(path, **given), columns, session.as_json)

    @click.pass_obj
    def create(session: Session, /, **given: Any) -> None:
        output.show_one(session.call("POST", path, body_of(given)), session.as_json)

    @click.pass_obj
    def change(session: Session, /, number: int, force: bool = False, **given: Any) -> None:
        body = body_of(given)
        if not body:
            raise click.UsageError("say what to change; see --help")
        forced = "true" if force else None
        output.show_one(session.call("PATCH", f"{path}/{number}", body, force=forced), session.as_json)

    @click.pass_obj
    def delete(session: Session, /, number: int, force: bool = False) -> None:
        session.call("DELETE", f"{path}/{number}", force="true" if force else None)

    @group.command("show")
    @click.argument("number", metavar="ID", type=int)
    @click.pass_obj
    def show(session: Session, number: int) -> None:
        """See one."""
        output.show_one(session.call("GET", f"{path}/{number}"), session.as_json)

    if kind.merges:

        @group.command("merge")
        @click.argument("number", metavar="ID", type=int)
        @click.argument("into_id", metavar="INTO", type=int)
        @click.pass_obj
        def merge(session: Session, number: int, into_id: int) -> None:
            """Merge one into another, which stays."""
            output.show_one(session.call("POST", f"{path}/{number}/merge", {"into_id": into_id}), session.as_json)

    arguments: list[click.Parameter] = [click.Argument([name]) for name in kind.arguments]
    options = [_option(*option) for option in kind.options]
    extra = [force] if kind.forced else []
    filters: list[click.Parameter] = [_option(*option) for option in kind.filters]
    group.add_command(click.Command("list", callback=list_all, params=filters, help="List them."))
    group.add_command(click.Command("create", callback=create, params=[*arguments, *options], help="Create one."))
    identity: list[click.Parameter] = [click.Argument(["number"], metavar="ID", type=int)]
    changes = [_option(*option) for option in kind.changes]
    group.add_command(click.Command("set", callback=change, params=[*identity, *changes, *extra], help="Change one."))
    group.add_command(
        click.Command("delete", callback=delete, params=[*identity, *extra], help="Delete one that nothing uses.")
    )
    return group
