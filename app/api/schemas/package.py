"""Package repositories."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Boolean, Switch
from app.services import openpgp, package_repositories

Name = validate.Length(min=1, max=63)
Url = validate.Length(min=8, max=500)
System = validate.OneOf(package_repositories.SYSTEMS)
Words = validate.Length(max=package_repositories.MOST_WORDS)
Key = validate.Length(max=openpgp.LONGEST)
MAIN = {
    "description": "stands in for all of the image's own sources, its security suite too: add that as another repository"
}
SUITES = {
    "description": "$RELEASE is the code name of the installed release; empty: $RELEASE, and of a main one $RELEASE-updates"
}
KEY = {"description": "armored OpenPGP public key; empty: the system's own keys"}


def _words(limit: int, metadata: dict[str, str] | None = None) -> fields.List[Any]:
    word = fields.String(validate=validate.Length(min=1, max=limit))
    return fields.List(word, validate=Words, metadata=metadata or {})


class RepositoryQuery(PageQuery):
    """Which repositories."""

    name = fields.String()
    os = fields.String()
    enabled = Switch()


class RepositorySchema(Schema):
    """An apt repository of installed systems."""

    id = fields.Integer()
    name = fields.String()
    url = fields.String()
    os = fields.String()
    main = fields.Boolean(metadata=MAIN)
    enabled = fields.Boolean()
    suites = fields.List(fields.String(), metadata=SUITES)
    components = fields.List(fields.String(), metadata={"description": "empty: main"})
    architectures = fields.List(fields.String(), metadata={"description": "of which machines; empty: all"})
    key = fields.String(metadata=KEY)


class RepositoryChangeSchema(Schema):
    """What may change of a repository."""

    name = fields.String(validate=Name)
    url = fields.String(validate=Url)
    os = fields.String(validate=System)
    main = Boolean(metadata=MAIN)
    enabled = Boolean()
    suites = _words(128, SUITES)
    components = _words(63)
    architectures = _words(32)
    key = fields.String(validate=Key, metadata=KEY)


class NewRepositorySchema(RepositoryChangeSchema):
    """A repository to be."""

    name = fields.String(required=True, validate=Name)
    url = fields.String(required=True, validate=Url)


class RepositoryPage(Schema):
    """Repositories."""

    items = fields.List(fields.Nested(RepositorySchema))
    next = fields.Integer(allow_none=True)
