"""`muster machine`: everything about servers. Lifecycle verbs and their options are made from the state table."""

from __future__ import annotations

import time
from itertools import islice
from typing import Any

import click

from app.cli import output
from app.cli.client import CliError, Session
from app.cli.follow import POLL_SECONDS, follow_machine, wait_for_operation
from app.cli.syslog import machine_syslog
from app.lifecycle.action import Action, ActionParameter
from app.lifecycle.table import actions

COLUMNS = {
    "id": "id",
    "hostname": "hostname",
    "state": "state",
    "power": "power_state",
    "owner": "owner",
    "addresses": "addresses",
    "zone": "zone",
    "pool": "pool",
    "tags": "tags",
    "cpus": "cpu_count",
    "memory MiB": "memory_mib",
}
SHOWN = (
    "id", "hostname", "fqdn", "state", "state_reason", "state_since", "power_state", "owner", "addresses", "zone", "pool",
    "tags", "architecture", "firmware", "cpu_count", "memory_mib", "storage_bytes", "power_driver", "actions",
)  # fmt: skip
OPERATION = ("id", "machine_id", "action", "status", "step", "reason", "started_at", "finished_at", "request_id")
POWER_VERBS = ("on", "off", "cycle", "query", "soft_off")
TYPES: dict[str, Any] = {"str": str, "int": int, "bool": bool}


@click.group()
def machine() -> None:
    """Servers: list, allocate, deploy, release, switch. MACHINE is an id or a hostname."""


@machine.command("list")
@click.option("--state", multiple=True, help="In this state; may be repeated.")
@click.option("--owner", help="Owned by this user.")
@click.option("--zone", help="In this zone.")
@click.option("--pool", help="In this pool.")
@click.option("--tag", multiple=True, help="With this tag; may be repeated.")
@click.option("--hostname", help="With this hostname.")
@click.option("--mac", help="With this MAC address.")
@click.pass_obj
def machine_list(session: Session, /, **filters: Any) -> None:
    """List machines."""
    filters["state"] = [state.upper() for state in filters["state"]]
    output.show_list(session.pages("/machines", **filters), COLUMNS, session.as_json)


@machine.command("show")
@click.argument("machine")
@click.pass_obj
def machine_show(session: Session, machine: str) -> None:
    """See a machine."""
    found = session.call("GET", f"/machines/{machine}")
    output.show_one(found, session.as_json, SHOWN)
    if session.as_json:
        return
    for interface in found["interfaces"]:
        boot = ", boots" if interface["boot"] else ""
        click.echo(
            f"interface {interface['name']}: {interface['mac']}{boot} {' '.join(interface['addresses'])}".rstrip()
        )
    for disk in found["disks"]:
        click.echo(f"disk {disk['name']}: {disk['size_bytes'] / 1e9:.1f} GB {disk['model'] or ''}".rstrip())


@machine.command("add")
@click.argument("macs", nargs=-1)
@click.option("--uuid", "system_uuid", help="Its system UUID: the machine that enlists with it becomes this one.")
@click.option("--hostname")
@click.option("--zone")
@click.option("--pool")
@click.pass_obj
def machine_add(session: Session, /, macs: tuple[str, ...], **words: Any) -> None:
    """Make a machine known by its MACS, the boot interface first, or by its --uuid."""
    if not macs and not words["system_uuid"]:
        raise click.UsageError("give the machine's MAC addresses, or its system UUID with --uuid")
    answer = session.call("POST", "/machines", {"macs": list(macs), **words})
    output.show_one(answer, session.as_json, ("id", "hostname", "state"))


@machine.command("set")
@click.argument("machine")
@click.option("--hostname")
@click.option("--zone")
@click.option("--pool")
@click.pass_obj
def machine_set(session: Session, /, machine: str, **words: Any) -> None:
    """Change what a machine is called and where it belongs. Tags: `muster tag machine`."""
    body = {name: value for name, value in words.items() if value is not None}
    if not body:
        raise click.UsageError("say what to change; see --help")
    answer = session.call("PATCH", f"/machines/{machine}", body)
    output.show_one(answer, session.as_json, ("id", "hostname", "zone", "pool"))


@machine.command("operations")
@click.argument("machine")
@click.option("--last", type=click.IntRange(1, 500), default=20, show_default=True, help="Only the newest so many.")
@click.pass_obj
def machine_operations(session: Session, machine: str, last: int) -> None:
    """List what was done with a machine, newest first."""
    columns = {
        "id": "id", "action": "action", "status": "status", "step": "step", "began": "started_at", "ended": "finished_at",
        "reason": "reason",
    }  # fmt: skip
    found = session.call("GET", f"/machines/{machine}/operations", limit=last)["items"]
    output.show_list(found, columns, session.as_json)


@machine.command("all-operations")
@click.option("--last", type=click.IntRange(1), default=50, show_default=True, help="Only so many.")
@click.pass_obj
def machine_all_operations(session: Session, last: int) -> None:
    """List operations of all machines, in the API's order."""
    columns = {
        "id": "id", "machine": "machine_id", "action": "action", "status": "status", "began": "started_at", "reason": "reason",
    }  # fmt: skip
    output.show_list(islice(session.pages("/operations"), last), columns, session.as_json)


@machine.command("power-orders")
@click.argument("machine")
@click.option("--last", type=click.IntRange(1), default=20, show_default=True, help="Only the newest so many.")
@click.pass_obj
def machine_power_orders(session: Session, machine: str, last: int) -> None:
    """List how a machine was switched and asked, newest first."""
    columns = {"id": "id", "at": "created_at", "verb": "verb", "status": "status", "power": "power", "reason": "reason"}
    output.show_list(islice(session.pages("/power-orders", machine=machine), last), columns, session.as_json)


@machine.command("operation")
@click.argument("operation_id", type=int)
@click.option("--wait", is_flag=True, help="Wait for the end and show progress.")
@click.pass_obj
def machine_operation(session: Session, operation_id: int, wait: bool) -> None:
    """See an operation, or wait for its end."""
    found = session.call("GET", f"/operations/{operation_id}")
    if wait:
        found = wait_for_operation(session, found)
    output.show_one(found, session.as_json, OPERATION)
    if wait and found["status"] in ("failed", "aborted"):
        raise CliError(f"{found['action']} {found['status']}: {found['reason']}")


@machine.command("show-power")
@click.argument("machine")
@click.pass_obj
def machine_show_power(session: Session, machine: str) -> None:
    """See how a machine is switched; secrets are masked."""
    output.show_one(session.call("GET", f"/machines/{machine}/power"), session.as_json)


@machine.command("allocate")
@click.option("--name", help="This machine.")
@click.option("--arch", "architecture", help="Of this architecture, as in amd64.")
@click.option("--zone", help="In this zone.")
@click.option("--pool", help="From this pool.")
@click.option("--subnet", help="On this subnet (CIDR or name).")
@click.option("--tag", "tags", multiple=True, help="With this tag; may be repeated.")
@click.option("--not-tag", "not_tags", multiple=True, help="Without this tag; may be repeated.")
@click.option("--cpus", "cpu_count", type=int, help="With at least so many processors.")
@click.option("--memory", "memory_mib", type=int, help="With at least so many MiB.")
@click.option("--storage", "storage_gb", type=int, help="With at least so many GB of disk.")
@click.pass_obj
def machine_allocate(session: Session, /, **wishes: Any) -> None:
    """Draw the smallest machine that serves from the pool."""
    answer = session.call("POST", "/machines/allocate", wishes)
    output.show_one(answer, session.as_json, ("id", "hostname", "state", "cpu_count", "memory_mib", "storage_bytes"))


@machine.command("power")
@click.argument("machine")
@click.argument("verb", type=click.Choice(POWER_VERBS))
@click.option("--wait", is_flag=True, help="Wait for what becomes of it.")
@click.pass_obj
def machine_power(session: Session, machine: str, verb: str, wait: bool) -> None:
    """Switch a machine, or query its power."""
    answer = session.call("POST", f"/machines/{machine}/power/{verb}")
    while wait and answer["status"] in ("waiting", "claimed"):
        time.sleep(POLL_SECONDS)
        answer = session.call("GET", f"/power-orders/{answer['id']}")
    output.show_one(answer, session.as_json, ("id", "verb", "status", "power", "reason"))
    if answer["status"] in ("failed", "lost"):
        raise CliError(f"power {verb} {answer['status']}: {answer['reason']}")


@machine.command("set-power")
@click.argument("machine")
@click.argument("driver")
@click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help="A parameter; may be repeated.")
@click.option("--ask", multiple=True, metavar="NAME", help="Ask for this parameter without showing it (passwords).")
@click.pass_obj
def machine_set_power(
    session: Session, machine: str, driver: str, settings: tuple[str, ...], ask: tuple[str, ...]
) -> None:
    """Say how a machine is switched; `muster machine power-drivers` lists each DRIVER and its parameters."""
    parameters = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise click.UsageError(f"--set {setting!r}: must be NAME=VALUE")
        parameters[name] = value
    for name in ask:
        parameters[name] = click.prompt(name, hide_input=True)
    answer = session.call("PUT", f"/machines/{machine}/power", {"driver": driver, "parameters": parameters})
    output.show_one(answer, session.as_json)


@machine.command("power-drivers")
@click.pass_obj
def machine_power_drivers(session: Session) -> None:
    """List the power drivers with the parameters that each takes."""
    rows = [
        {"driver": driver["name"], **parameter, "choices": ", ".join(parameter["choices"])}
        for driver in session.call("GET", "/power-drivers")["items"]
        for parameter in driver["parameters"]
    ]
    columns = {name: name for name in ("driver", "name", "required", "secret", "default", "choices", "label")}
    output.show_list(rows, columns, session.as_json)


@machine.command("delete")
@click.argument("machine")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def machine_delete(session: Session, machine: str, yes: bool) -> None:
    """Forget a machine."""
    if not yes:
        click.confirm(f"Forget {machine} and everything known of it?", abort=True)
    session.call("DELETE", f"/machines/{machine}")


@machine.command("abort")
@click.argument("machine")
@click.pass_obj
def machine_abort(session: Session, machine: str) -> None:
    """Stop what is under way on a machine."""
    answer = session.call("POST", f"/machines/{machine}/abort")
    output.show_one(answer, session.as_json, ("id", "action", "status", "reason"))


@machine.command("watch")
@click.argument("machine")
@click.pass_obj
def machine_watch(session: Session, machine: str) -> None:
    """Follow a machine's events live until Ctrl-C."""
    follow_machine(session, machine)


@machine.command("results")
@click.argument("machine")
@click.argument("script", required=False)
@click.pass_obj
def machine_results(session: Session, machine: str, script: str | None) -> None:
    """List the results of the newest run, or print a SCRIPT's output."""
    if script is not None:
        click.echo(session.raw("GET", f"/machines/{machine}/results/{script}").text)
        return
    columns = {"script": "script", "status": "status", "exit": "exit_code", "seconds": "seconds"}
    output.show_list(session.call("GET", f"/machines/{machine}/results")["items"], columns, session.as_json)


def _option(parameter: ActionParameter) -> click.Option:
    flag = f"--{parameter.name.replace('_', '-')}"
    if parameter.type == "bool":
        return click.Option([flag + "/--no-" + flag[2:]], default=None, help=parameter.help)
    if parameter.name == "user_data":
        return click.Option(
            ["--user-data", "user_data"], type=click.File("r"), help=parameter.help + " A file; - is stdin."
        )
    kind: Any = click.Choice(parameter.choices) if parameter.choices else TYPES.get(parameter.type, str)
    return click.Option([flag], type=kind, multiple=parameter.type == "list", help=parameter.help)


def _verb(action: Action) -> click.Command:
    """The command of one lifecycle verb."""

    @click.pass_obj
    def ask(session: Session, /, machine: str, wait: bool, **given: Any) -> None:
        body = {}
        for name, value in given.items():
            if value not in (None, ()):
                body[name] = (
                    value.read() if hasattr(value, "read") else list(value) if isinstance(value, tuple) else value
                )
        operation = session.call("POST", f"/machines/{machine}/{action.name}", body)
        for warning in operation["warnings"]:
            click.echo(f"warning: {warning}", err=True)
        if wait:
            operation = wait_for_operation(session, operation)
        output.show_one(operation, session.as_json, ("id", "action", "status", "step", "reason"))
        if operation["status"] in ("failed", "aborted"):
            raise CliError(f"{action.name} {operation['status']}: {operation['reason']}")

    parameters: list[click.Parameter] = [click.Argument(["machine"])]
    parameters += [_option(parameter) for parameter in action.parameters]
    parameters.append(click.Option(["--wait"], is_flag=True, help="Wait for the end and show progress."))
    origins = ", ".join(sorted(state.label for state in action.from_states))
    words = f"{action.title}. From: {origins}." + (f"\n\n{action.confirm}" if action.confirm else "")
    return click.Command(action.name, callback=ask, params=parameters, help=words, short_help=f"{action.title}.")


for _action in actions().values():
    if _action.name != "allocate":
        machine.add_command(_verb(_action))
machine.add_command(machine_syslog)
COMMANDS = (machine,)
