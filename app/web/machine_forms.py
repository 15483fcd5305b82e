"""Machines made known, changed and forgotten by hand, and how their power is switched."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, redirect, request

from app.identity import current_context
from app.services import bmc, domains, machines, placement
from app.services.context import Context
from app.services.errors import Invalid
from app.services.machines import ARCHITECTURES
from app.web.forms import Answer, Choices, Field, Form, choices, done, names

LIST = ("/machines", "Machines")
PREFIX = "power_parameters."


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    both = ["GET", "POST"]
    blueprint.add_url_rule("/machines/new", "machine_new", machine_new, methods=both)
    blueprint.add_url_rule("/machines/<machine>/edit", "machine_edit", machine_edit, methods=both)
    blueprint.add_url_rule("/machines/<machine>/bmc", "machine_bmc", machine_bmc, methods=both)
    blueprint.add_url_rule("/machines/<machine>/delete", "machine_delete", machine_delete, methods=both)


def machine_new() -> Answer:
    """Make a machine known by hand."""
    context = current_context()
    context.require("operator", "add machines")
    form = Form(
        "Add a machine",
        "Add machine",
        LIST,
        (
            Field("macs", "MAC addresses", "words", help="The boot interface's first, apart by blanks."),
            Field(
                "system_uuid",
                "System UUID",
                help="Enough without MAC addresses: the machine is known by it when it enlists.",
            ),
            Field("hostname", "Hostname", help="Empty: Muster makes one up from the MAC address."),
            Field("architecture", "Architecture", "choice", "amd64", choices=names(ARCHITECTURES)),
            Field("zone", "Zone", "choice", choices=_places(context, "zone")),
            Field("pool", "Pool", "choice", choices=_places(context, "pool")),
        ),
        "How it is switched is set on the next page.",
    )

    def call(given: dict[str, Any]) -> Answer:
        row = machines.create(context, given.pop("macs"), **given)
        return done(f"/machines/{row.id}/bmc", f"{row.hostname} was added.")

    return form.run(context, call)


def machine_edit(machine: str) -> Answer:
    """Change a machine's name and where it belongs."""
    context = current_context()
    context.require("operator", "change machines")
    row = machines.get(context, machine)
    form = Form(
        f"Edit {row.hostname}",
        "Save",
        (f"/machines/{row.id}", row.hostname),
        (
            Field("hostname", "Hostname", value=row.hostname, required=True, help="DNS and DHCP follow at once."),
            Field("domain", "Domain", "choice", row.domain.name, choices=choices(domains.find(context), key="name")),
            Field("zone", "Zone", "choice", row.zone.name, choices=_places(context, "zone")),
            Field("pool", "Pool", "choice", row.pool.name, choices=_places(context, "pool")),
            Field("tags", "Tags", "words", [tag.name for tag in row.tags], help="Apart by blanks; new ones are made."),
        ),
        of=row,
    )

    def call(given: dict[str, Any]) -> Answer:
        changed = machines.update(form.seen(context), row.id, **given)
        return done(f"/machines/{row.id}", f"{changed.hostname} was changed.")

    return form.run(context, call)


def machine_bmc(machine: str) -> Answer:
    """Set how a machine is switched. The driver is chosen first; its parameters are then asked for."""
    context = current_context()
    context.require("operator", "change how machines are switched")
    row = machines.get(context, machine)
    known = {one.name: one for one in bmc.known_drivers()}
    present = row.bmc.driver if row.bmc is not None else None
    wanted = request.args.get("driver")
    back = (f"/machines/{row.id}", row.hostname)
    if wanted is None:
        choice = (
            Field(
                "driver", "Power driver", "choice", present or "manual",
                choices=tuple((name, one.title) for name, one in known.items()),
            ),
        )  # fmt: skip
        form = Form(f"How is {row.hostname} switched?", "Next", back, choice)
        return form.run(context, lambda given: redirect(f"/machines/{row.id}/bmc?driver={given['driver']}", 303))
    if wanted not in known:
        raise Invalid(f"power driver {wanted!r}: there are {', '.join(known)}", field="driver")
    shown = bmc.masked(row.bmc).parameters if row.bmc is not None and present == wanted else {}
    fields = tuple(
        Field(
            PREFIX + one.name,
            one.label,
            "choice" if one.choices else "password" if one.secret else "text",
            shown.get(one.name, one.default),
            help="Left empty, the one that is known stays." if one.secret and one.name in shown else "",
            required=one.required and not (one.secret and one.name in shown),
            autocomplete="new-password" if one.secret else "off",
            choices=names(one.choices),
        )
        for one in known[wanted].parameters
    )
    intro = "" if fields else "There is nothing to set: people switch it by hand, and Muster says when."
    form = Form(f"{known[wanted].title} of {row.hostname}", "Save", back, fields, intro, of=row)

    def call(given: dict[str, Any]) -> Answer:
        parameters = {name.removeprefix(PREFIX): value for name, value in given.items() if value is not None}
        bmc.set_power(form.seen(context), row.id, wanted, parameters)
        return done(f"/machines/{row.id}", f"{row.hostname} is switched by {known[wanted].title} now.")

    return form.run(context, call)


def machine_delete(machine: str) -> Answer:
    """Forget a machine."""
    context = current_context()
    context.require("admin", "delete machines")
    row = machines.get(context, machine)
    form = Form(
        f"Delete {row.hostname}?",
        f"Delete {row.hostname}",
        (f"/machines/{row.id}", row.hostname),
        intro="Muster forgets it with its events, results and reservations. Switched on again in a subnet that Muster "
        "serves, it reports itself as new. What is on its disks stays.",
        danger=True,
    )

    def call(given: dict[str, Any]) -> Answer:
        machines.delete(context, row.id)
        return done("/machines", f"{row.hostname} was deleted.")

    return form.run(context, call)


def _places(context: Context, word: str) -> Choices:
    return choices(list(placement.find(context, word, limit=500)), key="name")
