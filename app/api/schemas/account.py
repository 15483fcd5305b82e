"""Users, tokens, SSH keys, signing in."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Boolean, Id, Integer, Switch
from app.services.context import ROLES
from app.services.tokens import LONGEST_DAYS, SCOPES

Days = validate.Range(min=1, max=LONGEST_DAYS)
Scope = validate.OneOf(list(SCOPES))
ABOUT_SCOPE = "read changes nothing, operate is at most an operator, admin all that the user may"
Role = validate.OneOf(ROLES)
Short = validate.Length(min=1, max=200)


class OwnQuery(PageQuery):
    """One's own, or another user's for an administrator."""

    user_id = Id(metadata={"description": "another user's, for administrators"})


class TokenQuery(OwnQuery):
    """Which tokens."""

    scope = fields.String(validate=Scope)
    name = fields.String()


class KeyQuery(OwnQuery):
    """Which keys."""

    fingerprint = fields.String()
    text = fields.String(metadata={"description": "part of the comment"})


class UserQuery(PageQuery):
    """Which users."""

    role = fields.String(validate=Role)
    active = Switch()
    name = fields.String()
    text = fields.String(metadata={"description": "part of the name"})


class UserSchema(Schema):
    """A person or a program that signs in."""

    id = fields.Integer(dump_only=True)
    name = fields.String()
    role = fields.String()
    active = fields.Boolean()
    created_at = fields.DateTime()


class NewUserSchema(Schema):
    """A user to be."""

    name = fields.String(required=True, validate=Short)
    password = fields.String(load_default=None, allow_none=True, load_only=True, validate=validate.Length(max=200))
    role = fields.String(load_default="operator", validate=Role)


class UserChangeSchema(Schema):
    """What may change of a user."""

    role = fields.String(validate=Role)
    active = Boolean()


class PasswordSchema(Schema):
    """A new password; one's own needs the current one."""

    password = fields.String(required=True, load_only=True, validate=validate.Length(max=200))
    current = fields.String(load_default=None, allow_none=True, load_only=True, validate=validate.Length(max=200))


class CredentialsSchema(Schema):
    """A name and its password."""

    name = fields.String(required=True, validate=Short)
    password = fields.String(required=True, load_only=True, validate=validate.Length(max=200))


class LoginSchema(CredentialsSchema):
    """Credentials, and where the token will be used."""

    token_name = fields.String(load_default="login", validate=validate.Length(min=1, max=100))
    days = Integer(load_default=None, allow_none=True, validate=Days)
    scope = fields.String(load_default=None, allow_none=True, validate=Scope, metadata={"description": ABOUT_SCOPE})


class TokenSchema(Schema):
    """An API token as it can be told apart, without its text."""

    id = fields.Integer(dump_only=True)
    name = fields.String()
    user_id = fields.Integer()
    prefix = fields.String()
    scope = fields.String(metadata={"description": ABOUT_SCOPE})
    expires_at = fields.DateTime(allow_none=True)
    last_used_at = fields.DateTime(allow_none=True)
    created_at = fields.DateTime()


class NewTokenSchema(Schema):
    """A token to be."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    days = Integer(load_default=None, allow_none=True, validate=Days)
    scope = fields.String(load_default=None, allow_none=True, validate=Scope, metadata={"description": ABOUT_SCOPE})


class ShownTokenSchema(TokenSchema):
    """A token with its text, shown once."""

    token = fields.String(metadata={"description": "shown only now"})


class SessionSchema(Schema):
    """Who is signed in, and the CSRF token that changes through the session need."""

    user = fields.Nested(UserSchema)
    csrf_token = fields.String(allow_none=True)


class WebSessionSchema(Schema):
    """A browser in which somebody is signed in."""

    id = fields.Integer()
    user_id = fields.Integer()
    address = fields.String()
    agent = fields.String(metadata={"description": "what the browser calls itself"})
    created_at = fields.DateTime()
    seen_at = fields.DateTime()
    expires_at = fields.DateTime()


class WebSessionPage(Schema):
    """Web sessions."""

    items = fields.List(fields.Nested(WebSessionSchema))
    next = fields.Integer(allow_none=True)


class KeySchema(Schema):
    """A public SSH key."""

    id = fields.Integer(dump_only=True)
    user_id = fields.Integer()
    public_key = fields.String()
    fingerprint = fields.String()
    comment = fields.String()
    created_at = fields.DateTime()


class NewKeySchema(Schema):
    """A key to be."""

    public_key = fields.String(required=True, validate=validate.Length(max=16384))


class TokenPage(Schema):
    """Tokens."""

    items = fields.List(fields.Nested(TokenSchema))
    next = fields.Integer(allow_none=True)


class KeyPage(Schema):
    """SSH keys."""

    items = fields.List(fields.Nested(KeySchema))
    next = fields.Integer(allow_none=True)


class UserPage(Schema):
    """Users."""

    items = fields.List(fields.Nested(UserSchema))
    next = fields.Integer(allow_none=True)
