"""`muster rack` and `muster reconcile`."""

from __future__ import annotations

import time
from typing import Any

import click

from app.cli import output
from app.cli.client import CliError, Session
from app.cli.rollout import show as show_rollout

COLUMNS = {"id": "id", "name": "name", "offer": "offer_number", "applied": "applied_offer", "last seen": "seen_at"}

SHOWN = 12
POLL_SECONDS = 1.0


def _find(session: Session, word: str) -> dict[str, Any]:
    for rack in session.pages("/racks"):
        if word in (rack["name"], str(rack["id"])):
            return rack
    raise CliError(f"rack {word!r} does not exist; see `muster rack list`")


@click.group()
def rack() -> None:
    """Rack hosts. RACK is an id or a name."""


@rack.command("list")
@click.pass_obj
def rack_list(session: Session) -> None:
    """List racks."""
    output.show_list(session.pages("/racks"), COLUMNS, session.as_json)


@rack.command("show")
@click.argument("rack")
@click.pass_obj
def rack_show(session: Session, rack: str) -> None:
    """See a rack: what it runs, and why it is not in sync if it is not."""
    found = session.call("GET", f"/racks/{_find(session, rack)['id']}")
    if session.as_json:
        output.show_json(found)
        return
    output.show_one(found["rack"], False, ("id", "name", "generation", "offer_number", "applied_offer", "seen_at"))
    refused = {one["title"] for one in found["refused"]}
    reasons = [one for one in found["reasons"] if one.partition(":")[0] not in refused]
    click.echo("In sync." if found["in_sync"] else "Not in sync.")
    for reason in reasons:
        click.echo(f"  {reason}")
    columns = {"service": "service", "running": "running", "probes": "probes_ok", "detail": "detail"}
    click.echo()
    output.show_list(found["services"], columns, False)
    _show_serves(found["serves"])
    applies = {
        "at": "at", "offer": "offer_number", "service": "service", "outcome": "outcome", "stage": "stage",
        "reason": "reason", "request": "request_id",
    }  # fmt: skip
    if found["applies"]:
        click.echo("\nThe last applies, newest first:")
        output.show_list(found["applies"][:SHOWN], applies, False)
    for one in found["drift"]:
        where = "the rack's own copy" if one["place"] == "store" else "what its daemon serves"
        mended = "all mended" if not one["left"] else f"{one['left']} not mended"
        keys = ", ".join(one["keys"][:3])
        click.echo(f"\nDrift at {one['at']}: {one['found']} records of {one['scope']} in {where}, {mended}\n  {keys}")
    for one in found["refused"]:
        _show_refusal(one)
    for plan in found["held"]:
        _show_held(plan)
    if found["rollout"]:
        click.echo()
        show_rollout(session, found["rollout"])
    for one in found["failures"]:
        by = f" Changed by {one['actor']}." if one["actor"] else ""
        click.echo(f"\nNot live: {one['key']} in {one['scope']}\n  {one['reason']}.{by}")


def _show_serves(served: list[dict[str, Any]]) -> None:
    """The VLANs of a rack, and why each is served where it is."""
    if not served:
        return
    click.echo("\nIt serves:")
    rows = [
        {
            "vlan": f"{one['name']} ({one['vid']}) of {one['fabric']}",
            "role": one["role"] + (f", with {one['partner']}" if one["partner"] else ""),
            "dhcp": "on" if one["dhcp_on"] else "off",
            "interface": one["interface"] or "none",
            "why": one["reason"],
        }
        for one in served
    ]
    output.show_list(rows, {name: name for name in rows[0]}, False)


def _show_refusal(one: dict[str, Any]) -> None:
    click.echo(f"\n{one['title']}")
    click.echo(f"  why         {one['reason']}")
    causes = [f"{cause['actor']}: {cause['what']}, {cause['at']}" for cause in one["causes"]] or [one["by"]]
    for number, cause in enumerate(causes):
        click.echo(f"  {'changed by' if number == 0 else '':<10}  {cause}")
    click.echo(f"  now         {one['put_back']}")
    click.echo(f"  what to do  {one['remedy']}")


def _show_held(plan: dict[str, Any]) -> None:
    click.echo(f"\nPlan {plan['id']} is held; nothing of it has reached the rack")
    for danger in plan["dangers"]:
        click.echo(f"  {danger['sentence'] if isinstance(danger, dict) else danger}")
    click.echo(f"  what to do  `muster rack approve {plan['id']}` lets it go on; or restore what should stay")


@rack.command("code")
@click.argument("name", required=False)
@click.pass_obj
def rack_code(session: Session, name: str | None) -> None:
    """A one-time enrolment code, good for an hour."""
    answer = session.call("POST", "/racks/codes", {"name": name})
    if session.as_json:
        output.show_json(answer)
    else:
        click.echo(answer["code"])


@rack.command("reconcile")
@click.argument("rack")
@click.option("--wait", is_flag=True, help="Wait until it is in sync.")
@click.option("--timeout", type=int, default=120, show_default=True, help="Seconds to wait at most.")
@click.pass_obj
def rack_reconcile(session: Session, rack: str, wait: bool, timeout: int) -> None:
    """Have a rack compared again with what it should be."""
    rack_id = _find(session, rack)["id"]
    names = session.call("POST", f"/racks/{rack_id}/reconcile")["racks"]
    if wait:
        _wait_in_sync(session, rack_id, timeout)
        click.echo(f"{', '.join(names)} is in sync.")
    else:
        click.echo(f"{', '.join(names)} will be looked at; `muster rack show` says what came of it.")


def _wait_in_sync(session: Session, rack_id: int, timeout: int) -> None:
    end, shown = time.monotonic() + timeout, ""
    while not (found := session.call("GET", f"/racks/{rack_id}"))["in_sync"]:
        reasons = "; ".join(found["reasons"])
        if reasons != shown:
            click.echo(f"... {reasons}", err=True)
            shown = reasons
        if time.monotonic() > end:
            raise CliError(f"rack {found['rack']['name']} is not in sync after {timeout} s: {reasons}")
        time.sleep(POLL_SECONDS)


@rack.command("plans")
@click.argument("rack")
@click.pass_obj
def rack_plans(session: Session, rack: str) -> None:
    """List a rack's plans."""
    plans = session.pages(f"/racks/{_find(session, rack)['id']}/plans")
    columns = {"id": "id", "made": "created_at", "generation": "generation", "status": "status", "changes": "changes"}
    found = [plan if session.as_json else {**plan, "changes": len(plan["changes"])} for plan in plans]
    output.show_list(found, columns, session.as_json)


@rack.command("plan")
@click.argument("plan_id", type=int)
@click.pass_obj
def rack_plan(session: Session, plan_id: int) -> None:
    """See a plan: what would change, and what makes it dangerous."""
    plan = session.call("GET", f"/plans/{plan_id}")
    output.show_one(plan, session.as_json, ("id", "rack_id", "status", "generation", "created_at"))
    if session.as_json:
        return
    for danger in plan["dangers"]:
        click.echo(f"danger: {danger['sentence']}")
    rows = [[one.get("change"), one.get("service"), one.get("path")] for one in plan["changes"]]
    if rows:
        click.echo(output.table(("change", "service", "file"), rows, output.width()))


@rack.command("retry")
@click.argument("rack")
@click.pass_obj
def rack_retry(session: Session, rack: str) -> None:
    """Have a rack try again what it refused."""
    refused = session.call("POST", f"/racks/{_find(session, rack)['id']}/retry")["refused"]
    if session.as_json:
        output.show_json(refused)
        return
    names = ", ".join(one["service"] for one in refused)
    click.echo(f"{rack} will try again: {names}. `muster rack show {rack}` says what comes of it.")


@rack.command("approve")
@click.argument("plan_id", type=int)
@click.pass_obj
def rack_approve(session: Session, plan_id: int) -> None:
    """Let a held plan go on."""
    output.show_one(session.call("POST", f"/plans/{plan_id}/approve"), session.as_json, ("id", "rack_id", "status"))


@rack.command("set")
@click.argument("rack")
@click.option("--dhcp-server", type=click.Choice(("kea", "dhcpd")), help="Which server answers DHCPv4.")
@click.option("--canary/--no-canary", default=None, help="It is the first to take what many racks are to take.")
@click.pass_obj
def rack_set(session: Session, rack: str, dhcp_server: str | None, canary: bool | None) -> None:
    """Choose a rack's DHCP server (its leases are kept), or whether it is the canary."""
    body = {name: one for name, one in (("dhcp_server", dhcp_server), ("canary", canary)) if one is not None}
    if not body:
        raise click.UsageError("say what to change: --dhcp-server or --canary")
    answer = session.call("PATCH", f"/racks/{_find(session, rack)['id']}", body)
    output.show_one(answer, session.as_json, ("id", "name", "dhcp_server", "canary"))


@rack.command("new-omapi-key")
@click.argument("rack")
@click.pass_obj
def rack_new_omapi_key(session: Session, rack: str) -> None:
    """Have a rack make a new key for its ISC dhcpd, which starts again for it. The old key is worth nothing afterwards."""
    answer = session.call("POST", f"/racks/{_find(session, rack)['id']}/new-omapi-key")
    if session.as_json:
        output.show_json(answer)
        return
    click.echo(f"{rack} has a new OMAPI key; DHCP was silent for {answer['gap']:.2f} s.")


@rack.command("new-broker-password")
@click.argument("rack")
@click.pass_obj
def rack_new_broker_password(session: Session, rack: str) -> None:
    """Give a rack another password at a Redis broker. It fetches it by itself; the old one is worth nothing afterwards."""
    answer = session.call("POST", f"/racks/{_find(session, rack)['id']}/new-broker-password")
    output.show_one(answer, session.as_json, ("id", "name", "broker_password_at"))


@rack.command("delete")
@click.argument("rack")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def rack_delete(session: Session, rack: str, yes: bool) -> None:
    """Forget a rack."""
    if not yes:
        click.confirm(f"Forget {rack}? Its token dies at once.", abort=True)
    session.call("DELETE", f"/racks/{_find(session, rack)['id']}")


@click.command()
@click.pass_obj
def reconcile(session: Session) -> None:
    """Have all racks compared again with what they should be."""
    names = session.call("POST", "/racks/reconcile")["racks"]
    if session.as_json:
        output.show_json({"racks": names})
        return
    click.echo(f"{len(names)} racks will be looked at: {', '.join(names) or 'none'}.")


COMMANDS = (rack, reconcile)
