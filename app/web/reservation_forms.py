"""Addresses promised to MAC addresses, and static routes, changed by hand."""

from __future__ import annotations

from typing import Any

from flask import Blueprint, request

from app.identity import current_context
from app.services import reservations, routes, subnets
from app.services.context import Context
from app.web.forms import Answer, Field, Form, ask, both, choices, removal


def register(blueprint: Blueprint) -> None:
    """Add these pages."""
    for path, view in (
        ("/subnets/<#subnet_id>/reservations/new", reservation_new),
        ("/reservations/<#reservation_id>/edit", reservation_edit),
        ("/reservations/<#reservation_id>/delete", reservation_delete),
        ("/subnets/<#subnet_id>/routes/new", route_new),
        ("/routes/<#route_id>/edit", route_edit),
        ("/routes/<#route_id>/delete", route_delete),
    ):
        both(blueprint, path, view)


def reservation_new(subnet_id: int) -> Answer:
    """Promise an address to a MAC address."""
    row = subnets.get(current_context(), subnet_id)
    form = Form(f"Add a reservation to {row.cidr}", "Add reservation", (f"/subnets/{row.id}", row.cidr), _fields())

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = reservations.create(context, given.pop("address"), given.pop("mac"), subnet_id=subnet_id, **given)
        return f"/subnets/{subnet_id}", f"{made.address} is promised to {made.mac}."

    return ask(form, "operator", "reserve addresses", call)


def reservation_edit(reservation_id: int) -> Answer:
    """Change a promise. What was not changed is not sent on: an interface's reservation has its name and MAC from there."""
    row = reservations.get(current_context(), reservation_id)
    back = (f"/subnets/{row.subnet_id}", "Subnet")
    form = Form(f"Edit the reservation of {row.address}", "Save", back, _fields(row), of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        changes = {name: value for name, value in given.items() if getattr(row, name) != value}
        made = reservations.update(context, reservation_id, **changes)
        return back[0], f"{made.address} is promised to {made.mac}."

    return ask(form, "operator", "change reservations", call)


def reservation_delete(reservation_id: int) -> Answer:
    """Take a promise back."""
    row = reservations.get(current_context(), reservation_id)
    back = (f"/subnets/{row.subnet_id}", "Subnet")
    form = removal(f"the reservation of {row.address}", back, f"{row.mac} loses it; others may get the address then.")

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        reservations.delete(context, reservation_id)
        return back[0], f"{row.address} is not promised any more."

    return ask(form, "operator", "delete reservations", call)


def route_new(subnet_id: int) -> Answer:
    """Add a route for the clients of a subnet."""
    context = current_context()
    row = subnets.get(context, subnet_id)
    intro = f"Clients of {row.cidr} reach another subnet through a gateway of theirs: by DHCP, and once installed."
    form = Form(
        f"Add a route from {row.cidr}",
        "Add route",
        (f"/subnets/{row.id}", row.cidr),
        _route_fields(context, row.id),
        intro,
    )

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = routes.create(context, subnet_id, **given)
        return f"/subnets/{subnet_id}", f"The route to {made.destination.cidr} through {made.gateway} was added."

    return ask(form, "admin", "add a route", call)


def route_edit(route_id: int) -> Answer:
    """Change a route."""
    context = current_context()
    row = routes.get(context, route_id)
    back = (f"/subnets/{row.source_id}", row.source.cidr)
    fields = _route_fields(context, row.source_id, row)
    form = Form(f"Edit the route to {row.destination.cidr}", "Save", back, fields, of=row)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        made = routes.update(context, route_id, **given)
        return back[0], f"The route to {made.destination.cidr} goes through {made.gateway}."

    return ask(form, "admin", "change a route", call)


def route_delete(route_id: int) -> Answer:
    """Delete a route."""
    row = routes.get(current_context(), route_id)
    back = (f"/subnets/{row.source_id}", row.source.cidr)
    intro = "DHCP stops giving it; installed systems keep it until they are installed anew."
    form = removal(f"the route to {row.destination.cidr}", back, intro)

    def call(context: Context, given: dict[str, Any]) -> tuple[str, str]:
        routes.delete(context, route_id)
        return back[0], f"The route to {row.destination.cidr} was deleted."

    return ask(form, "admin", "delete a route", call)


def _fields(row: Any = None) -> tuple[Field, ...]:
    return (
        Field(
            "address", "Address", value=row.address if row else request.args.get("address", ""), required=True, empty=""
        ),
        Field("mac", "MAC address", value=row.mac if row else "", required=True, empty=""),
        Field("hostname", "Name", value=row.hostname if row else "", help="It is in DNS too. Empty: none."),
        Field("comment", "Comment", value=row.comment if row else "", empty=""),
    )


def _route_fields(context: Context, source_id: int, row: Any = None) -> tuple[Field, ...]:
    others = [one for one in subnets.find(context) if one.id != source_id]
    return (
        Field("destination_id", "To subnet", "choice", row.destination_id if row else "", choices=choices(others, "cidr"),
              number=True, required=True, empty=0),
        Field("gateway", "Through gateway", value=row.gateway if row else "", required=True, empty="",
              help="An address in the clients' own subnet."),
        Field("metric", "Metric", "number", row.metric if row else 0, empty=0, help="The smallest one wins."),
    )  # fmt: skip
