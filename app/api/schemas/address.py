"""Addresses in use, reservations, static routes."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.network import Word
from app.api.schemas.strict import Id, Integer, Reference
from app.api.schemas.subnet import Address, Note
from app.services import routes
from app.services.addresses import KINDS
from app.services.reservations import LARGEST_BATCH

Mac = validate.Length(min=12, max=17)
Metric = validate.Range(*routes.METRIC)


class AddressQuery(PageQuery):
    """Which addresses."""

    subnet_id = Id()
    machine = fields.String(metadata={"description": "id or hostname"})
    rack_id = Id()
    kind = fields.String(validate=validate.OneOf(KINDS))
    address = fields.String()
    hostname = fields.String()


class AddressSchema(Schema):
    """An address in use."""

    id = fields.Integer()
    subnet_id = fields.Integer()
    address = fields.String()
    kind = fields.String(validate=validate.OneOf(KINDS))
    hostname = fields.String(allow_none=True)
    mac = fields.String(allow_none=True, metadata={"description": "of a reservation"})
    comment = fields.String()
    interface_id = fields.Integer(allow_none=True)
    rack_id = fields.Integer(allow_none=True)
    created_at = fields.DateTime()


class NewAddressSchema(Schema):
    """An address to be reserved."""

    subnet_id = Reference(required=True)
    address = fields.String(required=True, validate=Address)
    hostname = fields.String(load_default=None, allow_none=True, validate=Word)
    comment = fields.String(load_default="", validate=Note)


class AddressPage(Schema):
    """Addresses."""

    items = fields.List(fields.Nested(AddressSchema))
    next = fields.Integer(allow_none=True)


class ReservationQuery(PageQuery):
    """Which reservations."""

    subnet_id = Id()
    mac = fields.String()
    address = fields.String()
    hostname = fields.String()


class ReservationSchema(Schema):
    """An address that is promised to a MAC address. interface_id: of the machine or device that it turned out to be."""

    id = fields.Integer()
    subnet_id = fields.Integer()
    address = fields.String()
    mac = fields.String()
    hostname = fields.String(allow_none=True)
    comment = fields.String()
    interface_id = fields.Integer(allow_none=True)
    created_at = fields.DateTime()


class ReservationChangeSchema(Schema):
    """What may change of a reservation."""

    address = fields.String(validate=Address)
    mac = fields.String(validate=Mac)
    hostname = fields.String(allow_none=True, validate=validate.Length(min=1, max=63))
    comment = fields.String(validate=Note)


class NewReservationSchema(Schema):
    """A reservation to be."""

    address = fields.String(required=True, validate=Address)
    mac = fields.String(required=True, validate=Mac)
    hostname = fields.String(load_default=None, allow_none=True, validate=validate.Length(min=1, max=63))
    comment = fields.String(load_default="", validate=Note)
    subnet_id = Reference(
        load_default=None, allow_none=True, metadata={"description": "by default the one that holds the address"}
    )


class ReservationPage(Schema):
    """Reservations."""

    items = fields.List(fields.Nested(ReservationSchema))
    next = fields.Integer(allow_none=True)


class ReservationImportSchema(Schema):
    """Reservations to be, made all or none."""

    reservations = fields.List(
        fields.Nested(NewReservationSchema), required=True, validate=validate.Length(min=1, max=LARGEST_BATCH)
    )


class ReservationImportedSchema(Schema):
    """What became of an import: how many are new, and how many were there already just so."""

    created = fields.Integer()
    unchanged = fields.Integer()


class RouteQuery(PageQuery):
    """Which routes."""

    source_id = Id()
    destination_id = Id()
    subnet_id = Id(metadata={"description": "source or destination"})


class RouteSchema(Schema):
    """Clients of the source subnet reach the destination subnet through the gateway."""

    id = fields.Integer()
    source_id = fields.Integer()
    source = fields.String(attribute="source.cidr")
    destination_id = fields.Integer()
    destination = fields.String(attribute="destination.cidr")
    gateway = fields.String()
    metric = fields.Integer()


class RouteChangeSchema(Schema):
    """What may change of a route."""

    destination_id = Reference()
    gateway = fields.String(validate=Address)
    metric = Integer(validate=Metric)


class NewRouteSchema(Schema):
    """A route to be."""

    source_id = Reference(required=True)
    destination_id = Reference(required=True)
    gateway = fields.String(required=True, validate=Address)
    metric = Integer(load_default=0, validate=Metric)


class RoutePage(Schema):
    """Routes."""

    items = fields.List(fields.Nested(RouteSchema))
    next = fields.Integer(allow_none=True)
