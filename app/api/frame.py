"""The frame that every resource stands in: its blueprint, who may call, pages of lists, entity tags.

Every view says who may call it: `@allow("operator", "change machines")`, or `@public` where nobody needs to be known.
The API does not start with a view that says neither (`mount`), and the caller is checked before the input is parsed.
Services check roles again by their own rules; an edge never widens them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any, TypeVar, cast

import flask_smorest  # type: ignore[import-untyped]
from flask import request
from flask.typing import ResponseReturnValue
from marshmallow import Schema, fields, validate

from app.identity import current_context
from app.services.errors import ServiceError

BASE = "/api/v1"
View = TypeVar("View", bound=Callable[..., Any])


class PreconditionFailed(ServiceError):
    """The thing has changed since the caller looked at it."""

    status = 412
    title = "Changed meanwhile"


class Unavailable(ServiceError):
    """Right, but not now."""

    status = 503
    title = "Not available now"


class PageQuery(Schema):
    """Which page of a list: everything after an id, at most so many."""

    after = fields.Integer(load_default=0, validate=validate.Range(min=0), metadata={"description": "last id seen"})
    limit = fields.Integer(load_default=100, validate=validate.Range(min=1, max=500))


class Resource(flask_smorest.Blueprint):  # type: ignore[misc]
    """The blueprint of one resource: flask-smorest's, with types, below `/api/v1`."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, f"api.{name}", url_prefix=BASE, description=description)

    def arguments(self, schema: type[Schema], **words: Any) -> Callable[[View], View]:
        """Parse the body (or `location="query"`) by a schema and hand it to the view first."""
        return cast("Callable[[View], View]", super().arguments(schema, **words))

    def response(self, status: int, schema: type[Schema] | None = None, **words: Any) -> Callable[[View], View]:
        """Answer with a status and a schema."""
        return cast("Callable[[View], View]", super().response(status, schema, **words))

    def doc(self, **words: Any) -> Callable[[View], View]:
        """Add words to the description."""
        return cast("Callable[[View], View]", super().doc(**words))

    def get(self, rule: str, **words: Any) -> Callable[[View], View]:
        """Answer GET."""
        return cast("Callable[[View], View]", super().get(rule, **words))

    def post(self, rule: str, **words: Any) -> Callable[[View], View]:
        """Answer POST."""
        return cast("Callable[[View], View]", super().post(rule, **words))

    def put(self, rule: str, **words: Any) -> Callable[[View], View]:
        """Answer PUT."""
        return cast("Callable[[View], View]", super().put(rule, **words))

    def patch(self, rule: str, **words: Any) -> Callable[[View], View]:
        """Answer PATCH."""
        return cast("Callable[[View], View]", super().patch(rule, **words))

    def delete(self, rule: str, **words: Any) -> Callable[[View], View]:
        """Answer DELETE."""
        return cast("Callable[[View], View]", super().delete(rule, **words))


def allow(role: str, doing: str) -> Callable[[View], View]:
    """Only callers of at least this role. `doing` completes 'you may not ...'; it is shown in the API's description."""

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            current_context().require(role, doing)
            return view(*args, **kwargs)

        checked.muster_role = role  # type: ignore[attr-defined]
        describe(checked, {"security": [{"token": []}, {"session": []}], "x-muster-role": role})
        return checked  # type: ignore[return-value]

    return decorate


def public(view: View) -> View:
    """Nobody needs to be known."""
    view.muster_role = "public"  # type: ignore[attr-defined]
    describe(view, {"security": [], "x-muster-role": "public"})
    return view


def describe(view: Any, words: dict[str, Any]) -> None:
    """Add words to a view's description, as `Resource.doc` would."""
    documented = dict(getattr(view, "_apidoc", {}))
    documented["manual_doc"] = documented.get("manual_doc", {}) | words
    view._apidoc = documented


def page(items: Sequence[Any], limit: int) -> dict[str, Any]:
    """A page of a list; `next` is what to give as `after`, None when there is no more."""
    items = list(items)
    more = len(items) >= limit
    last = items[-1] if items else None
    last_id = last["id"] if isinstance(last, dict) else getattr(last, "id", None)
    return {"items": items, "next": last_id if more else None}


def etag(version: int) -> str:
    """The entity tag of a version."""
    return f'"{version}"'


def check_if_match(version: int, thing: str) -> None:
    """PreconditionFailed when the caller has seen another version; nothing when it does not say which it has seen."""
    if request.if_match and not request.if_match.contains_weak(str(version)):
        raise PreconditionFailed(
            f"{thing} has changed since: it is at version {version}",
            field="If-Match",
            rule="If-Match names the present version",
            remedy="read it again and repeat the change",
        )


def fresh(version: int) -> bool:
    """Whether the caller's copy (If-None-Match) is the present one."""
    return bool(request.if_none_match) and request.if_none_match.contains_weak(str(version))


NO_CONTENT: ResponseReturnValue = ("", 204)
