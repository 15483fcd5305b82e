"""Boot images."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import Resource, allow
from app.identity import current_context
from app.services import images

blueprint = Resource("images", "Boot images")


class ImageFileSchema(Schema):
    """A file of an image, served to machines at /images/<sha256>/<name>."""

    kind = fields.String()
    name = fields.String()
    sha256 = fields.String()
    size_bytes = fields.Integer()


class ImageSchema(Schema):
    """A boot image."""

    id = fields.Integer()
    name = fields.String()
    os = fields.String()
    release = fields.String()
    architecture = fields.String()
    recipe = fields.String()
    current = fields.Boolean()
    created_at = fields.DateTime()
    files = fields.List(fields.Nested(ImageFileSchema))


class ImagePage(Schema):
    """Images, newest first."""

    items = fields.List(fields.Nested(ImageSchema))
    next = fields.Integer(allow_none=True)


class ImportSchema(Schema):
    """Where a built image is, on the host of the control plane."""

    path = fields.String(required=True, validate=validate.Length(min=1, max=1024))


@blueprint.get("/images")
@allow("viewer", "list images")
@blueprint.response(200, ImagePage)
def index() -> Any:
    """List images, newest first."""
    return {"items": images.list_all(current_context()), "next": None}


@blueprint.post("/images/import")
@allow("admin", "import images")
@blueprint.arguments(ImportSchema)
@blueprint.response(201, ImageSchema)
def import_folder(body: dict[str, Any]) -> Any:
    """Take in an image from a folder on the control plane's host; it becomes the current one of its name."""
    return images.import_folder(current_context(), body["path"])
