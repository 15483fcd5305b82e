"""`muster device`, `muster interface`: what is on the network and not installed; how interfaces get their addresses."""

from __future__ import annotations

from typing import Any

import click

from app.cli import output
from app.cli.client import Session
from app.cli.resource import body_of

COLUMNS = {
    "id": "id",
    "hostname": "hostname",
    "domain": "domain",
    "zone": "zone",
    "macs": "macs",
    "addresses": "addresses",
}
INTERFACES = {"id": "id", "owner": "owner", "name": "name", "mac": "mac", "links": "links", "addresses": "addresses"}
MODES = ("auto", "sticky", "static", "dhcp")


def _options(command: Any) -> Any:
    """What may be said of a device."""
    for flag, about in (
        ("--description", "Words about it."),
        ("--parent", "Machine that it is part of (hostname); '' for none."),
        ("--owner", "Whose it is; '' for nobody's."),
        ("--zone", "Where it is."),
        ("--domain", "Domain of its name."),
    ):
        command = click.option(flag, help=about)(command)
    return command


@click.group()
def device() -> None:
    """What is on the network with addresses and names, and is not ours to install."""


@device.command("list")
@click.option("--zone", help="In this zone.")
@click.option("--text", help="Part of a hostname or of a MAC address.")
@click.pass_obj
def device_list(session: Session, zone: str | None, text: str | None) -> None:
    """List devices."""
    found = session.pages("/devices", zone=zone, text=text)
    output.show_list((_flat(one) for one in found) if not session.as_json else found, COLUMNS, session.as_json)


@device.command("show")
@click.argument("name")
@click.pass_obj
def device_show(session: Session, name: str) -> None:
    """See device NAME (id or hostname)."""
    _show(session, session.call("GET", f"/devices/{name}"))


@device.command("create")
@click.argument("hostname")
@click.option("--mac", "macs", multiple=True, help="MAC address of an interface; may be repeated.")
@click.option("--subnet", "subnet_id", type=int, help="Subnet that the first interface is linked to (id).")
@click.option("--mode", type=click.Choice(MODES), default="auto", help="How it gets its address there.")
@click.option("--address", help="Its address there, for mode static.")
@_options
@click.pass_obj
def device_create(
    session: Session, /, macs: tuple[str, ...], subnet_id: int | None, mode: str, address: str | None, **given: Any
) -> None:
    """Add a device called HOSTNAME."""
    interfaces: list[dict[str, Any]] = [{"mac": mac} for mac in macs]
    if subnet_id is not None:
        if not interfaces:
            raise click.UsageError("--subnet needs --mac: it is an interface that is linked")
        interfaces[0]["links"] = [{"subnet_id": subnet_id, "mode": mode, "address": address}]
    _show(session, session.call("POST", "/devices", {**body_of(given), "interfaces": interfaces}))


@device.command("set")
@click.argument("name")
@click.option("--hostname", help="Another hostname.")
@_options
@click.pass_obj
def device_set(session: Session, /, name: str, **given: Any) -> None:
    """Change device NAME."""
    body = body_of(given)
    if not body:
        raise click.UsageError("say what to change; see --help")
    _show(session, session.call("PATCH", f"/devices/{name}", body))


@device.command("delete")
@click.argument("name")
@click.pass_obj
def device_delete(session: Session, name: str) -> None:
    """Forget device NAME, with its addresses and names."""
    session.call("DELETE", f"/devices/{name}")


@device.command("add-interface")
@click.argument("name")
@click.argument("mac")
@click.option("--interface", help="Name of the interface.")
@click.pass_obj
def device_add_interface(session: Session, name: str, mac: str, interface: str | None) -> None:
    """Give device NAME an interface with MAC."""
    _show(session, session.call("POST", f"/devices/{name}/interfaces", {"mac": mac, "name": interface}))


@device.command("set-interface")
@click.argument("name")
@click.argument("interface_id", type=int)
@click.option("--mac", help="Another MAC address.")
@click.option("--name", "new_name", help="Another name.")
@click.pass_obj
def device_set_interface(session: Session, name: str, interface_id: int, mac: str | None, new_name: str | None) -> None:
    """Change an interface of device NAME."""
    body = body_of({"mac": mac, "name": new_name})
    if not body:
        raise click.UsageError("say what to change; see --help")
    _show(session, session.call("PATCH", f"/devices/{name}/interfaces/{interface_id}", body))


@device.command("delete-interface")
@click.argument("name")
@click.argument("interface_id", type=int)
@click.pass_obj
def device_delete_interface(session: Session, name: str, interface_id: int) -> None:
    """Take an interface from device NAME."""
    session.call("DELETE", f"/devices/{name}/interfaces/{interface_id}")


@click.group()
def interface() -> None:
    """Interfaces of machines and devices, and how each gets its addresses."""


@interface.command("list")
@click.option("--machine", help="Of this machine (id or hostname).")
@click.option("--device", help="Of this device (id or hostname).")
@click.option("--mac", help="With this MAC address.")
@click.option("--subnet", "subnet_id", type=int, help="Linked to this subnet (id).")
@click.pass_obj
def interface_list(session: Session, /, **given: Any) -> None:
    """List interfaces."""
    found = session.pages("/interfaces", **given)
    output.show_list((_row(one) for one in found) if not session.as_json else found, INTERFACES, session.as_json)


@interface.command("show")
@click.argument("interface_id", type=int)
@click.pass_obj
def interface_show(session: Session, interface_id: int) -> None:
    """See an interface."""
    _show_interface(session, session.call("GET", f"/interfaces/{interface_id}"))


@interface.command("link")
@click.argument("interface_id", type=int)
@click.option("--subnet", "subnet_id", type=int, required=True, help="Subnet (id).")
@click.option("--mode", type=click.Choice(MODES), required=True, help="How it gets its address there.")
@click.option("--address", help="Its address there, for mode static.")
@click.pass_obj
def interface_link(session: Session, interface_id: int, subnet_id: int, mode: str, address: str | None) -> None:
    """Link an interface to a subnet.

    auto: an address is given at deploy and taken back at release (a device has it at once); sticky: given at once and
    kept; static: the one that is named; dhcp: leased from the dynamic range.
    """
    body = {"mode": mode, "address": address}
    _show_interface(session, session.call("PUT", f"/interfaces/{interface_id}/links/{subnet_id}", body))


@interface.command("unlink")
@click.argument("interface_id", type=int)
@click.option("--subnet", "subnet_id", type=int, required=True, help="Subnet (id).")
@click.pass_obj
def interface_unlink(session: Session, interface_id: int, subnet_id: int) -> None:
    """Take a link away, with the address that it gave."""
    session.call("DELETE", f"/interfaces/{interface_id}/links/{subnet_id}")


def _flat(found: dict[str, Any]) -> dict[str, Any]:
    interfaces = found["interfaces"]
    addresses = [address["address"] for one in interfaces for address in one["addresses"]]
    return {**found, "macs": [one["mac"] for one in interfaces], "addresses": addresses}


def _row(found: dict[str, Any]) -> dict[str, Any]:
    links = [f"{link['mode']} in {link['subnet_id']}" for link in found["links"]]
    return {**found, "links": links, "addresses": [one["address"] for one in found["addresses"]]}


def _show(session: Session, found: dict[str, Any]) -> None:
    if session.as_json:
        output.show_json(found)
        return
    output.show_one({name: value for name, value in found.items() if name != "interfaces"}, False)
    if found["interfaces"]:
        output.show_list((_row({**one, "owner": found["hostname"]}) for one in found["interfaces"]), INTERFACES, False)


def _show_interface(session: Session, found: dict[str, Any]) -> None:
    output.show_one(found if session.as_json else _row(found), session.as_json)


COMMANDS = (device, interface)
