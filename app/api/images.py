"""Boot images."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery, Resource, allow, page
from app.api.schemas.strict import Switch
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


class ImageQuery(PageQuery):
    """Which images."""

    name = fields.String()
    architecture = fields.String()
    current = Switch()


class ImportSchema(Schema):
    """Where a built image is, on the host of the control plane."""

    path = fields.String(required=True, validate=validate.Length(min=1, max=1024))


@blueprint.get("/images")
@allow("viewer", "list images")
@blueprint.arguments(ImageQuery, location="query")
@blueprint.response(200, ImagePage)
def index(query: dict[str, Any]) -> Any:
    """List images, newest first."""
    return page(images.find(current_context(), **query), query["limit"])


@blueprint.get("/images/<int:image_id>")
@allow("viewer", "see images")
@blueprint.shows(ImageSchema)
def show(image_id: int) -> Any:
    """See an image."""
    return images.get(current_context(), image_id)


@blueprint.post("/images/import")
@allow("admin", "import images", once=False)
@blueprint.arguments(ImportSchema)
@blueprint.response(201, ImageSchema)
def import_folder(body: dict[str, Any]) -> Any:
    """Take in an image from a folder on the control plane's host; it becomes the current one of its name.

    Doing it again changes nothing, so it needs no Idempotency-Key.
    """
    return images.import_folder(current_context(), body["path"])
