"""Devices: what is on the network with addresses and names from Muster, and is not installed by it."""

from __future__ import annotations

from typing import Any

from app.api.frame import NO_CONTENT, Resource, allow, page
from app.api.schemas.device import (
    DeviceChangeSchema,
    DeviceInterfaceChangeSchema,
    DevicePage,
    DeviceQuery,
    DeviceSchema,
    NewDeviceInterfaceSchema,
    NewDeviceSchema,
)
from app.identity import current_context
from app.services import devices

blueprint = Resource("devices", "Devices: on the network, with addresses and names, not installed by Muster")


@blueprint.get("/devices")
@allow("viewer", "list devices")
@blueprint.arguments(DeviceQuery, location="query")
@blueprint.response(200, DevicePage)
def index(query: dict[str, Any]) -> Any:
    """List devices."""
    return page(devices.find(current_context(), **query), query["limit"])


@blueprint.post("/devices")
@allow("operator", "add devices")
@blueprint.arguments(NewDeviceSchema)
@blueprint.response(201, DeviceSchema)
def create(body: dict[str, Any]) -> Any:
    """Add a device with its interfaces and their links."""
    return devices.create(current_context(), **body)


@blueprint.get("/devices/<string:device>")
@allow("viewer", "see devices")
@blueprint.shows(DeviceSchema)
def show(device: str) -> Any:
    """See a device by id or hostname."""
    return devices.get(current_context(), device)


@blueprint.patch("/devices/<string:device>")
@allow("operator", "change devices")
@blueprint.arguments(DeviceChangeSchema)
@blueprint.response(200, DeviceSchema)
def change(body: dict[str, Any], device: str) -> Any:
    """Change a device; its names follow at once."""
    return devices.update(current_context(), device, **body)


@blueprint.delete("/devices/<string:device>")
@allow("operator", "delete devices")
@blueprint.response(204)
def delete(device: str) -> Any:
    """Forget a device, with its addresses and names."""
    devices.delete(current_context(), device)
    return NO_CONTENT


@blueprint.post("/devices/<string:device>/interfaces")
@allow("operator", "change devices")
@blueprint.arguments(NewDeviceInterfaceSchema)
@blueprint.response(201, DeviceSchema)
def add_interface(body: dict[str, Any], device: str) -> Any:
    """Give a device one more interface."""
    return devices.add_interface(current_context(), device, body)


@blueprint.patch("/devices/<string:device>/interfaces/<int:interface_id>")
@allow("operator", "change devices")
@blueprint.arguments(DeviceInterfaceChangeSchema)
@blueprint.response(200, DeviceSchema)
def change_interface(body: dict[str, Any], device: str, interface_id: int) -> Any:
    """Change the name or the MAC address of a device's interface."""
    return devices.change_interface(current_context(), device, interface_id, **body)


@blueprint.delete("/devices/<string:device>/interfaces/<int:interface_id>")
@allow("operator", "change devices")
@blueprint.response(204)
def remove_interface(device: str, interface_id: int) -> Any:
    """Take an interface from a device, with its addresses."""
    devices.remove_interface(current_context(), device, interface_id)
    return NO_CONTENT
