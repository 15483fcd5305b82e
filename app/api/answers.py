"""How an answer is made from what a view returns: media types, entity tags, and only the fields that are wanted.

An entity tag of one thing is `"<version>-<digest>"`: the version of what people may change of it, and a digest of what
was sent.  If-None-Match compares the whole; If-Match compares the version, so a tag that came with some fields only, or
before a count beside the thing changed, still fits.  Answers to changes carry `"<version>"`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from typing import Any

from flask import Response, g, json, request
from marshmallow import Schema, fields

from app.services import versions
from app.services.errors import Invalid, ServiceError

WANTED = "muster_wanted_fields"
JSON = "application/json"
PROBLEM = "application/problem+json"
_BEYOND_ASCII = re.compile(r"[^\x00-\x7e]")


class UnsupportedMediaType(ServiceError):
    """The body is of a kind that is not read here."""

    status = 415
    title = "Unsupported media type"


@dataclass(frozen=True)
class Written:
    """What a view returns when the database has written the JSON; its text holds only the fields that are wanted."""

    text: str
    said: Callable[[str], None] | None = None
    """Told the answer's entity tag."""
    shown_version: str | None = None
    """The version of the thing; None when it has none."""

    def ascii(self) -> str:
        """The text as everything else is written: characters beyond ASCII escaped (RFC 8259, section 7)."""
        if self.text.isascii() and "\x7f" not in self.text:
            return self.text
        return _BEYOND_ASCII.sub(lambda found: json.dumps(found[0])[1:-1], self.text)


class NotAcceptable(ServiceError):
    """The caller takes nothing that this address has."""

    status = 406
    title = "Not acceptable"


def check_body(required: bool) -> None:
    """UnsupportedMediaType for a body that does not call itself JSON; Invalid when there must be one and is none."""
    given = bool(request.content_length or request.headers.get("Transfer-Encoding"))
    if required and not given:
        raise Invalid(
            "the request has no body, and this address takes one",
            rule="a body is needed",
            remedy=f"send a JSON object, with Content-Type: {JSON}",
        )
    if given and not request.is_json:
        raise UnsupportedMediaType(
            f"the body is {request.mimetype or 'of no known kind'}; this address reads {JSON}",
            field="Content-Type",
            rule=f"Content-Type: {JSON}",
            remedy=f"send the same data as JSON, with Content-Type: {JSON}",
        )


def check_acceptable(produced: str) -> None:
    """NotAcceptable when the caller's Accept header allows neither what is produced nor a refusal."""
    accepted = request.accept_mimetypes
    if accepted.provided and not any(accepted[kind] for kind in (produced, PROBLEM)):
        raise NotAcceptable(
            f"this address answers {produced}, which the Accept header excludes",
            field="Accept",
            rule=f"Accept allows {produced}",
            remedy=f"send Accept: {produced}, or leave it out",
        )


def expected_versions() -> frozenset[str] | None:
    """The versions that If-Match allows; None when any will do. Weak tags never fit (RFC 9110, section 13.1.1)."""
    if "If-Match" not in request.headers or request.if_match.star_tag:
        return None
    return frozenset(tag.partition("-")[0] for tag in request.if_match.as_set() if tag)


def ask_for(text: str | None) -> None:
    """Note which fields the caller wants to see of this request's answer."""
    setattr(g, WANTED, frozenset(text.split(",")) if text else None)


def shown(view: Callable[..., Any], schema: type[Schema], status: int) -> Callable[..., Any]:
    """The view, with what it returns shown by the schema, tagged, and 304 when the caller has it already."""
    whole = schema()
    inner = _of_items(whole)
    known = sorted(inner.fields if inner is not None else whole.fields)

    @wraps(view)
    def answered(*args: Any, **kwargs: Any) -> Any:
        wanted: frozenset[str] | None = g.get(WANTED)
        if wanted is not None and (unknown := sorted(wanted - set(known))):
            raise Invalid(
                f"fields: there is no field {unknown[0]!r} here; there are {', '.join(known)}",
                field="fields",
                rule="known fields only",
                remedy=f"leave {unknown[0]!r} out",
            )
        thing = view(*args, **kwargs)
        if isinstance(thing, Response):
            return thing
        if isinstance(thing, Written):
            body = f"{thing.ascii()}\n".encode()
        else:
            used = whole
            if wanted is not None:
                used = schema(only={f"items.{name}" for name in wanted} | {"next"} if inner is not None else wanted)
            body = f"{json.dumps(used.dump(thing), separators=(',', ':'))}\n".encode()
        response = _tagged(Response(body, status=status, mimetype=JSON), versions.of(thing), body)
        if isinstance(thing, Written) and thing.said is not None and (tag := response.get_etag()[0]):
            thing.said(tag)
        return response

    return answered


def unchanged(tag: str) -> Response | None:
    """The answer 304, when the caller has what this entity tag stands for."""
    if request.if_none_match and request.if_none_match.contains_weak(tag):
        response = Response(status=304)
        response.set_etag(tag)
        return response
    return None


def _tagged(response: Response, version: str | None, body: bytes) -> Response:
    if request.method in ("GET", "HEAD"):
        digest = hashlib.sha256(body).hexdigest()[:16]
        tag = f"{version}-{digest}" if version else digest
        response.set_etag(tag)
        return unchanged(tag) or response
    elif version:
        response.set_etag(version)
    return response


def _of_items(schema: Schema) -> Schema | None:
    """The schema of a page's items; None when it is no page."""
    items = schema.fields.get("items")
    if isinstance(items, fields.List) and isinstance(items.inner, fields.Nested):
        found: Schema = items.inner.schema
        return found
    return None
