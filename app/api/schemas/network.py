"""What schemas of the network share."""

from __future__ import annotations

from marshmallow import fields, validate

from app.api.frame import PageQuery

Word = validate.Length(min=1, max=253)


class NamedQuery(PageQuery):
    """The one of a name."""

    name = fields.String()
