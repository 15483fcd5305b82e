"""Devices: what has addresses and names from us, and is not ours to install."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, render_template, request

from app.identity import current_context
from app.services import devices, domains, subnets
from app.services.context import Context
from app.web.forms import LARGEST, Answer, Field, Form, after_id, ask, both, choices, names, removal

BACK = ("/devices", "Devices")
PAGE = 100


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    blueprint.add_url_rule("/devices", "device_list", device_list)
    blueprint.add_url_rule(f"/devices/<int(max={LARGEST}):device_id>", "device_page", device_page)
    both(blueprint, "/devices/new", device_new)
    both(blueprint, "/devices/<#device_id>/edit", device_edit)
    both(blueprint, "/devices/<#device_id>/delete", device_delete)


def device_list() -> str:
    """A page of devices."""
    context = current_context()
    after, text = after_id(), request.args.get("text", "").strip()[:253]
    found = devices.find(context, after, PAGE, text=text or None)
    return render_template(
        "devices.html",
        context=context,
        devices=found,
        text=text,
        first_page="/devices" if after else None,
        last_id=found[-1].id if len(found) == PAGE else None,
    )


def device_page(device_id: int) -> str:
    """One device."""
    context = current_context()
    row = devices.get(context, device_id)
    cidrs = {one.id: one.cidr for one in subnets.find(context)}
    return render_template(
        "_device_live.html" if request.headers.get("HX-Request") else "device.html",
        context=context, device=row, cidrs=cidrs,
    )  # fmt: skip


def device_new() -> Answer:
    """Add a device with an interface."""
    context = current_context()
    context.require("operator", "add devices")
    form = Form("Add a device", "Add device", BACK, (
        Field("hostname", "Name", required=True, empty=""),
        Field("domain", "Domain", "choice", choices=names([one.name for one in domains.find(context)])),
        Field("mac", "MAC address", required=True, empty=""),
        Field("subnet_id", "Subnet", "choice", number=True, choices=(("", "none"), *choices(subnets.find(context), "cidr"))),
        Field("address", "Address", help="Empty: Muster chooses one of the subnet."),
        Field("description", "Description", "area", empty=""),
    ))  # fmt: skip

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        address = given["address"]
        link = {"subnet_id": given["subnet_id"], "mode": "static" if address else "auto", "address": address}
        interface = {"mac": given["mac"], "links": [link] if given["subnet_id"] is not None else []}
        words = {name: given[name] for name in ("domain", "description")}
        row = devices.create(context, given["hostname"], interfaces=[interface], **words)
        return f"/devices/{row.id}", f"Device {row.hostname} was added."

    return ask(form, "operator", "add devices", call)


def device_edit(device_id: int) -> Answer:
    """Change a device's name, where it belongs, and what is said of it."""
    context = current_context()
    row = devices.get(context, device_id)
    form = Form(f"Edit {row.hostname}", "Save", (f"/devices/{row.id}", row.hostname), (
        Field("hostname", "Name", value=row.hostname, required=True, empty=""),
        Field("domain", "Domain", "choice", row.domain.name, choices=names([one.name for one in domains.find(context)]),
              empty=row.domain.name),
        Field("parent", "Part of machine", value=row.parent.hostname if row.parent else "", help="Its name. Empty: none."),
        Field("description", "Description", "area", row.description, empty=""),
    ), of=row)  # fmt: skip

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = devices.update(context, device_id, **given)
        return f"/devices/{device_id}", f"Device {made.hostname} was changed."

    return ask(form, "operator", "change devices", call)


def device_delete(device_id: int) -> Answer:
    """Forget a device."""
    row = devices.get(current_context(), device_id)
    intro = "Its addresses and names go with it."
    form = removal(f"device {row.hostname}", (f"/devices/{row.id}", row.hostname), intro)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        devices.delete(context, device_id)
        return "/devices", f"Device {row.hostname} was deleted."

    return ask(form, "operator", "delete devices", call)
