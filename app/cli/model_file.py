"""`muster export` and `muster apply`: the network model as one file that people can read, keep and review."""

from __future__ import annotations

from typing import TextIO

import click

from app.cli import output
from app.cli.client import CliError, Session
from app.cli.model import text
from app.cli.model.carrying import Hand, Step
from app.cli.model.plan import CREATE, DELETE, UPDATE, Change, Plan, dangling, plan
from app.cli.model.reading import read

CHANGES = 2
"""Exit code of a dry run that found something to do."""
MOST_SHOWN = 20


@click.command("export")
@click.option("--output", "-o", "target", type=click.File("w", atomic=True), default="-", help="File; - prints it.")
@click.pass_obj
def export(session: Session, target: TextIO) -> None:
    """Write the whole network model as YAML: networks, addresses, names, DHCP, devices, settings; no secrets."""
    model = read(session).model
    if session.as_json:
        output.show_json({name: list(things.values()) for name, things in model.items()})
    else:
        target.write(text.dump(model))


@click.command("apply")
@click.option("--file", "-f", "file", type=click.File("r"), required=True, help="The model; - reads standard input.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done; exit code 2 when that is something.")
@click.option(
    "--prune", is_flag=True, help="Delete what there is and the file does not name, of the kinds it speaks of."
)
@click.option("--force", is_flag=True, help="Delete more than 30 % of a kind, too.")
@click.option("--unchecked", is_flag=True, help="Save DHCP snippets that no checker can judge, too.")
@click.pass_obj
def apply(session: Session, file: TextIO, yes: bool, dry_run: bool, prune: bool, force: bool, unchecked: bool) -> None:
    """Make the network as a file says: what is missing comes, what differs changes; applied twice, nothing changes.

    Nothing is deleted without --prune. Exit codes: 0 it is as the file says, 1 refused, 2 a dry run found changes.
    """
    try:
        parsed = text.parse(file.read())
    except (ValueError, UnicodeError) as error:
        raise CliError(f"{file.name}: {error}; nothing was done") from error
    machines = any(one["machine"] for one in parsed.model.get("snippets", {}).values())
    present = read(session, machines=machines)
    made = plan(parsed.model, present.model, prune=prune)
    _show(session, made)
    for change, field, name in dangling(made, parsed.model, present.ids):
        raise CliError(
            f"{_where(parsed, change)}{change.kind.called(change.key)}: there is no {field.replace('_', ' ')} {name}, here"
            " or in the file; nothing was done"
        )
    if not force and (sentences := made.too_many()):
        raise CliError(f"{'; '.join(sentences)}; nothing was done (say --force if that is meant)")
    if not made.changes:
        return
    if dry_run:
        raise SystemExit(CHANGES)
    if not yes:
        click.confirm("Do that?", abort=True, err=True)
    _carry_out(parsed, list(Hand(session, parsed.model, present, unchecked=unchecked).steps(made)))


def _show(session: Session, made: Plan) -> None:
    if session.as_json:
        shown = [
            {"verb": one.verb, "kind": one.kind.name, "name": one.kind.called(one.key),
             "before": one.before, "after": one.after}
            for one in made.changes
        ]  # fmt: skip
        output.show_json({"changes": shown, "kept": [one.kind.called(one.key) for one in made.kept]})
        return
    for line in made.lines():
        click.echo(line)
    counts = (f"{made.count(CREATE)} to create", f"{made.count(UPDATE)} to change", f"{made.count(DELETE)} to delete")
    click.echo(f"{', '.join(counts)}." if made.changes else "Nothing to change.", err=True)
    if made.kept:
        names = ", ".join(one.kind.called(one.key) for one in made.kept[:3])
        more = f" and {len(made.kept) - 3} more" if len(made.kept) > 3 else ""
        click.echo(f"Not in the file, and kept: {names}{more} (--prune deletes them).", err=True)


def _carry_out(parsed: text.Parsed, steps: list[Step]) -> None:
    """Do one after the other; after a refusal say what was done and what was not."""
    for place, step in enumerate(steps):
        try:
            step.run()
        except CliError as error:
            done, left = _changes(steps[:place]), _changes(steps[place:])
            unfinished = {id(change) for change in left}
            finished = [change for change in done if id(change) not in unfinished]
            lines = [f"{_where(parsed, step.changes[0])}{step.changes[0]}: {error}"]
            lines += [f"{len(finished)} changes were made and stay; {len(left)} were not:"]
            lines += [f"  {change}" for change in left[:MOST_SHOWN]]
            lines += [f"  and {len(left) - MOST_SHOWN} more"] if len(left) > MOST_SHOWN else []
            lines += ["mend the file or what is in its way, and apply it again: it goes on from there"]
            raise CliError("\n".join(lines), error.exit_code) from error
    click.echo(f"{len(_changes(steps))} changes were made.", err=True)


def _changes(steps: list[Step]) -> list[Change]:
    """Each change once; some take two steps."""
    return list({id(change): change for step in steps for change in step.changes}.values())


def _where(parsed: text.Parsed, change: Change) -> str:
    line = parsed.lines.get((change.kind.name, change.key))
    return f"line {line}: " if line is not None else ""


COMMANDS = (export, apply)
