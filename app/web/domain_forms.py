"""DNS changed by hand: domains, their records, and the outside servers that may copy zones."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import dns_records, dns_secondaries, domains, racks
from app.services.context import Context
from app.services.dns_data import TYPES
from app.services.dns_secondaries import ALGORITHMS, NewKey
from app.web.forms import Answer, Field, Form, ask, both, choices, names, removal

BACK = ("/domains", "DNS")


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    for path, view in (
        ("/domains/new", domain_new),
        ("/domains/<#domain_id>/edit", domain_edit),
        ("/domains/<#domain_id>/delete", domain_delete),
        ("/domains/<#domain_id>/records/new", record_new),
        ("/domains/<#domain_id>/records/<#record_id>/edit", record_edit),
        ("/domains/<#domain_id>/records/<#record_id>/delete", record_delete),
        ("/domains/secondaries/new", secondary_new),
        ("/domains/secondaries/<#secondary_id>/edit", secondary_edit),
        ("/domains/secondaries/<#secondary_id>/key", secondary_key),
        ("/domains/secondaries/<#secondary_id>/delete", secondary_delete),
    ):
        both(blueprint, path, view)


def domain_new() -> Answer:
    """Add a domain."""
    name = Field("name", "Name", required=True, empty="", help="Like lab.example.com.")
    form = Form("Add a domain", "Add domain", BACK, (name, *_fields(current_context())))

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = domains.create(context, **given)
        return f"/domains/{made.id}", f"Domain {made.name} was added."

    return ask(form, "admin", "add a domain", call)


def domain_edit(domain_id: int) -> Answer:
    """Change a domain; another primary rack is promoted."""
    context = current_context()
    row = domains.get(context, domain_id)
    back = (f"/domains/{row.id}", row.name)
    name = Field("name", "Name", value=row.name, required=True, empty="",
                 help="All names in it follow at once; machines that are installed call themselves as before.")  # fmt: skip
    form = Form(f"Edit domain {row.name}", "Save", back, (name, *_fields(context, row)), of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        domains.update(context, domain_id, **given)
        return back[0], f"Domain {row.name} was changed."

    return ask(form, "admin", "change a domain", call)


def domain_delete(domain_id: int) -> Answer:
    """Delete a domain."""
    row = domains.get(current_context(), domain_id)
    intro = "Its records go with it. Machines, devices and subnets must have left it before."
    form = removal(f"domain {row.name}", (f"/domains/{row.id}", row.name), intro)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        domains.delete(context, domain_id)
        return "/domains", f"Domain {row.name} was deleted."

    return ask(form, "admin", "delete a domain", call)


def record_new(domain_id: int) -> Answer:
    """Add a record."""
    row = domains.get(current_context(), domain_id)
    fields = (
        Field("name", "Name", value=request.args.get("name", ""), required=True, empty="",
              help=f"Within {row.name}; @ is the domain itself."),
        Field("type", "Type", "choice", "A", choices=names(TYPES), empty=""),
        Field("data", "Data", required=True, empty="", help="As in a zone file: an address, a name, 10 mail.example.com."),
        Field("ttl_seconds", "TTL in seconds", "number", help=f"Empty: the domain's, {row.ttl_seconds}."),
    )  # fmt: skip
    form = Form(f"Add a record to {row.name}", "Add record", (f"/domains/{row.id}", row.name), fields)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = dns_records.create(context, domain_id, **given)
        return f"/domains/{domain_id}", f"{made.name} {made.type} {made.data} was added."

    return ask(form, "operator", "add DNS records", call)


def record_edit(domain_id: int, record_id: int) -> Answer:
    """Change a record's data, or the TTL of its RRset."""
    context = current_context()
    domain, row = domains.get(context, domain_id), dns_records.get(context, domain_id, record_id)
    fields = (
        Field("data", "Data", value=row.data, required=True, empty=""),
        Field("ttl_seconds", "TTL in seconds", "number", row.ttl_seconds,
              f"Of all {row.type} records of {row.name}. Empty: the domain's, {domain.ttl_seconds}."),
    )  # fmt: skip
    form = Form(f"Edit {row.type} record {row.name}", "Save", (f"/domains/{domain.id}", domain.name), fields, of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = dns_records.update(context, domain_id, record_id, **given)
        return f"/domains/{domain_id}", f"{made.name} {made.type} is {made.data} now."

    return ask(form, "operator", "change DNS records", call)


def record_delete(domain_id: int, record_id: int) -> Answer:
    """Delete a record."""
    context = current_context()
    domain, row = domains.get(context, domain_id), dns_records.get(context, domain_id, record_id)
    shown = f"{row.name} {row.type} {row.data}"
    form = removal(f"{row.type} record {row.name}", (f"/domains/{domain.id}", domain.name), shown)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        dns_records.delete(context, domain_id, record_id)
        return f"/domains/{domain_id}", f"{shown} was deleted."

    return ask(form, "operator", "delete DNS records", call)


def secondary_new() -> Answer:
    """Let an outside server copy our zones; its key is shown once."""
    context = current_context()
    context.require("admin", "add a DNS secondary")
    fields = (
        Field("name", "Name", required=True, empty=""),
        *_secondary_fields(),
        Field("algorithm", "Algorithm", "choice", ALGORITHMS[0], choices=names(ALGORITHMS), empty=ALGORITHMS[0]),
    )
    intro = "It may copy every zone from any rack with a TSIG key, and is told of every change."
    form = Form("Add an outside secondary", "Add and make a key", BACK, fields, intro)
    return form.run(context, lambda given: _key(context, dns_secondaries.create(context, **given)))


def secondary_edit(secondary_id: int) -> Answer:
    """Change where an outside server is told of changes."""
    row = dns_secondaries.get(current_context(), secondary_id)
    form = Form(f"Edit secondary {row.name}", "Save", BACK, _secondary_fields(row), of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        dns_secondaries.update(context, secondary_id, **given)
        return "/domains", f"Secondary {row.name} was changed."

    return ask(form, "admin", "change a DNS secondary", call)


def secondary_key(secondary_id: int) -> Answer:
    """Make another key for an outside server."""
    context = current_context()
    context.require("admin", "change a DNS secondary")
    row = dns_secondaries.get(context, secondary_id)
    intro = "The old key is refused by each rack as soon as it has applied its next offer."
    form = Form(f"Make another key for {row.name}?", "Make another key", BACK, intro=intro, danger=True)
    return form.run(context, lambda given: _key(context, dns_secondaries.new_key(context, secondary_id)))


def secondary_delete(secondary_id: int) -> Answer:
    """Refuse an outside server."""
    row = dns_secondaries.get(current_context(), secondary_id)
    form = removal(f"secondary {row.name}", BACK, "It cannot copy zones any more.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        dns_secondaries.delete(context, secondary_id)
        return "/domains", f"Secondary {row.name} was deleted."

    return ask(form, "admin", "delete a DNS secondary", call)


def _key(context: Context, made: NewKey) -> str:
    row = made.secondary
    words = f"TSIG key {row.key_name}, {row.algorithm}. Give it to the server at {row.address}, which asks any rack."
    return render_template(
        "once.html", context=context, title=f"The key of {row.name}", secret=made.secret, back=BACK, words=words
    )


def _fields(context: Context, row: Any = None) -> tuple[Field, ...]:
    hosts = choices([one for one in racks.find(context) if one.token_hash is not None])
    return (
        Field("ttl_seconds", "TTL in seconds", "number", row.ttl_seconds if row else 30, empty=30,
              help="How long others may keep an answer. Records without a TTL of their own take it."),
        Field("primary_rack_id", "Primary rack", "choice", row.primary_rack_id if row else "", number=True,
              choices=(("", "the one enrolled first"), *hosts), help="The others are its secondaries."),
        Field("description", "Description", "area", row.description if row else "", empty=""),
    )  # fmt: skip


def _secondary_fields(row: Any = None) -> tuple[Field, ...]:
    return (
        Field("address", "Address", value=row.address if row else "", required=True, empty=""),
        Field("port", "Port", "number", row.port if row else 53, empty=53),
    )
