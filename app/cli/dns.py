"""`muster dns`: records that people add to domains, where they are served, and outside servers that copy zones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click

from app.cli import output
from app.cli.client import Session

RECORD = {"id": "id", "name": "name", "type": "type", "data": "data", "ttl": "ttl_seconds"}
SECONDARY = {"id": "id", "name": "name", "address": "address", "port": "port", "key": "key_name"}
SERVER = {"rack": "rack", "role": "role", "serial": "serial", "in sync": "in_sync"}


@click.group()
def dns() -> None:
    """DNS records, the racks that serve them, and outside secondaries."""


@dns.command("list")
@click.argument("domain", type=int)
@click.option("--name", help="Of this name.")
@click.option("--type", "kind", help="Of this type.")
@click.option("--text", help="With this in the name or the data.")
@click.pass_obj
def record_list(session: Session, domain: int, name: str | None, kind: str | None, text: str | None) -> None:
    """List the records of DOMAIN (id)."""
    items = session.pages(f"/domains/{domain}/records", name=name, type=kind, text=text)
    output.show_list(items, RECORD, session.as_json)


@dns.command("show")
@click.argument("domain", type=int)
@click.argument("record", type=int)
@click.pass_obj
def record_show(session: Session, domain: int, record: int) -> None:
    """See a record."""
    output.show_one(session.call("GET", f"/domains/{domain}/records/{record}"), session.as_json)


@dns.command("add")
@click.argument("domain", type=int)
@click.argument("name")
@click.argument("type")
@click.argument("data")
@click.option("--ttl", type=int, help="Seconds; the RRset's. The domain's unless told otherwise.")
@click.pass_obj
def record_add(session: Session, domain: int, name: str, type: str, data: str, ttl: int | None) -> None:
    """Add a record to DOMAIN (id): NAME (@ for the domain itself), TYPE, DATA."""
    body = {"name": name, "type": type.upper(), "data": data, "ttl_seconds": ttl}
    output.show_one(session.call("POST", f"/domains/{domain}/records", body), session.as_json)


@dns.command("set")
@click.argument("domain", type=int)
@click.argument("record", type=int)
@click.option("--data", help="What it holds.")
@click.option("--ttl", type=int, help="Seconds; the RRset's.")
@click.pass_obj
def record_set(session: Session, domain: int, record: int, data: str | None, ttl: int | None) -> None:
    """Change a record's data, or the TTL of its RRset."""
    given = {"data": data, "ttl_seconds": ttl}
    body = {name: value for name, value in given.items() if value is not None}
    if not body:
        raise click.UsageError("say what to change; see --help")
    output.show_one(session.call("PATCH", f"/domains/{domain}/records/{record}", body), session.as_json)


@dns.command("delete")
@click.argument("domain", type=int)
@click.argument("record", type=int)
@click.pass_obj
def record_delete(session: Session, domain: int, record: int) -> None:
    """Delete a record."""
    session.call("DELETE", f"/domains/{domain}/records/{record}")


@dns.command("bulk")
@click.argument("domain", type=int)
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.pass_obj
def record_bulk(session: Session, domain: int, file: Path) -> None:
    """Delete and add many records at once, all or none: FILE is JSON with `add` (records) and `delete` (ids)."""
    try:
        body: Any = json.loads(file.read_text())
    except ValueError as error:
        raise click.UsageError(f"{file} is no JSON: {error}") from error
    output.show_one(session.call("POST", f"/domains/{domain}/records/bulk", body), session.as_json)


@dns.command("servers")
@click.argument("domain", type=int)
@click.pass_obj
def servers(session: Session, domain: int) -> None:
    """See which racks serve DOMAIN (id), and whether each has its newest records."""
    output.show_list(session.call("GET", f"/domains/{domain}/servers")["items"], SERVER, session.as_json)


@dns.group("secondary")
def secondary() -> None:
    """Outside servers that copy zones with a TSIG key."""


@secondary.command("list")
@click.pass_obj
def secondary_list(session: Session) -> None:
    """List them."""
    output.show_list(session.pages("/dns-secondaries"), SECONDARY, session.as_json)


@secondary.command("show")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def secondary_show(session: Session, number: int) -> None:
    """See one, without its key."""
    output.show_one(session.call("GET", f"/dns-secondaries/{number}"), session.as_json)


@secondary.command("add")
@click.argument("name")
@click.argument("address")
@click.option("--port", type=int, default=53, show_default=True, help="Where it is told of changes.")
@click.option("--algorithm", help="hmac-sha256 unless told otherwise.")
@click.pass_obj
def secondary_add(session: Session, name: str, address: str, port: int, algorithm: str | None) -> None:
    """Let the server at ADDRESS copy zones. Its key is shown only now."""
    body = {"name": name, "address": address, "port": port, **({"algorithm": algorithm} if algorithm else {})}
    output.show_one(session.call("POST", "/dns-secondaries", body), session.as_json)


@secondary.command("set")
@click.argument("number", metavar="ID", type=int)
@click.option("--address", help="Where it is told of changes.")
@click.option("--port", type=int, help="Where it is told of changes.")
@click.pass_obj
def secondary_set(session: Session, number: int, address: str | None, port: int | None) -> None:
    """Change where one is told of changes."""
    body = {name: value for name, value in {"address": address, "port": port}.items() if value is not None}
    if not body:
        raise click.UsageError("say what to change; see --help")
    output.show_one(session.call("PATCH", f"/dns-secondaries/{number}", body), session.as_json)


@secondary.command("new-key")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def secondary_new_key(session: Session, number: int) -> None:
    """Make another key for one. It is shown only now; the old one ends."""
    output.show_one(session.call("POST", f"/dns-secondaries/{number}/new-key"), session.as_json)


@secondary.command("delete")
@click.argument("number", metavar="ID", type=int)
@click.pass_obj
def secondary_delete(session: Session, number: int) -> None:
    """Delete one; its key ends."""
    session.call("DELETE", f"/dns-secondaries/{number}")


COMMANDS = (dns,)
