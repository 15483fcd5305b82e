"""Users, tokens, SSH keys, signing in."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.services.context import ROLES

Role = validate.OneOf(ROLES)
Short = validate.Length(min=1, max=200)


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
    active = fields.Boolean()


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
    days = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(min=1, max=3650))


class TokenSchema(Schema):
    """An API token as it can be told apart, without its text."""

    id = fields.Integer(dump_only=True)
    name = fields.String()
    prefix = fields.String()
    expires_at = fields.DateTime(allow_none=True)
    last_used_at = fields.DateTime(allow_none=True)
    created_at = fields.DateTime()


class NewTokenSchema(Schema):
    """A token to be."""

    name = fields.String(required=True, validate=validate.Length(min=1, max=100))
    days = fields.Integer(load_default=None, allow_none=True, validate=validate.Range(min=1, max=3650))


class ShownTokenSchema(TokenSchema):
    """A token with its text, shown once."""

    token = fields.String(metadata={"description": "shown only now"})


class SessionSchema(Schema):
    """Who is signed in, and the CSRF token that changes through the session need."""

    user = fields.Nested(UserSchema)
    csrf_token = fields.String(allow_none=True)


class KeySchema(Schema):
    """A public SSH key."""

    id = fields.Integer(dump_only=True)
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
