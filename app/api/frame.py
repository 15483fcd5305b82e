"""The frame that every resource stands in: its blueprint, who may call, pages of lists, requests done once.

Every view says who may call it: `@allow("operator", "change machines")`, or `@public` where nobody needs to be known.
The API does not start with a view that says neither (`mount`), and the caller is checked before the input is parsed.
Services check roles again by their own rules; an edge never widens them.

Views return things; `Resource.response` shows them by their schema (`app.api.answers`: entity tags, `fields`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from typing import Any, TypeVar, cast

import flask_smorest  # type: ignore[import-untyped]
from flask import Response, g, make_response, request
from flask.typing import ResponseReturnValue
from marshmallow import RAISE, Schema, fields, validate

from app.api import answers, waiting
from app.api.schemas.strict import LARGEST, Number
from app.identity import current_context, use_context
from app.services import idempotency
from app.services.context import Context

BASE = "/api/v1"
KEY_HEADER = "Idempotency-Key"
KEPT_HEADERS = ("Content-Type", "ETag")
JSON = "application/json"
View = TypeVar("View", bound=Callable[..., Any])


class SparseQuery(Schema):
    """What is to be shown. Other words in the query are refused, so that a mistyped filter does not match everything."""

    wanted = fields.String(
        data_key="fields",
        load_default=None,
        validate=validate.Regexp(r"^[a-z_]+(,[a-z_]+)*$"),
        metadata={"description": "show only these, separated by commas", "example": "id"},
    )


class PageQuery(SparseQuery):
    """Which page of a list: everything after an id, at most so many."""

    after = Number(
        load_default=0,
        validate=validate.Range(min=0, max=LARGEST),
        metadata={"description": "last id seen: `next` of the page before"},
    )
    limit = Number(load_default=100, validate=validate.Range(min=1, max=500))


class Resource(flask_smorest.Blueprint):  # type: ignore[misc]
    """The blueprint of one resource: flask-smorest's, with types, below `/api/v1`."""

    def __init__(self, name: str, description: str) -> None:
        super().__init__(name, f"api.{name}", url_prefix=BASE, description=description)

    def arguments(self, schema: type[Schema], *, location: str = "json", **words: Any) -> Callable[[View], View]:
        """Parse the body (or `location="query"`) by a schema and hand it to the view first.

        What the query says of fields to show is kept for the answer, not handed on.
        """
        # webargs would pass over unknown words of a query, and make the schema anew for each request.
        parse = super().arguments(schema(), location=location, unknown=RAISE, **words)

        def decorate(view: View) -> View:
            @wraps(view)
            def taken(given: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
                if location == "query":
                    answers.ask_for(given.pop("wanted", None))
                return view(given, *args, **kwargs)

            parsed = parse(taken)

            @wraps(parsed)
            def checked(*args: Any, **kwargs: Any) -> Any:
                if location == "json":
                    answers.check_body(words.get("required", True))
                return parsed(*args, **kwargs)

            return cast("View", checked)

        return decorate

    def shows(self, schema: type[Schema], **words: Any) -> Callable[[View], View]:
        """Answer 200 with one thing, of which the caller may want some fields only."""
        respond = self.response(200, schema, **words)
        parse = self.arguments(SparseQuery, location="query")

        def decorate(view: View) -> View:
            shown = respond(view)

            @wraps(shown)
            def without(given: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
                return shown(*args, **kwargs)

            return parse(cast("View", without))

        return decorate

    def response(self, status: int, schema: type[Schema] | None = None, **words: Any) -> Callable[[View], View]:
        """Answer with a status and a schema."""
        document = super().response(status, schema, **words)

        def decorate(view: View) -> View:
            shown = view if schema is None else answers.shown(view, schema, status)
            return cast("View", document(shown))

        return decorate

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


def allow(role: str, doing: str, *, once: bool = True, produces: str = JSON) -> Callable[[View], View]:
    """Only callers of at least this role. `doing` completes 'you may not ...'; it is shown in the API's description.

    once: whether a POST with an Idempotency-Key is carried out once only.  produces: media type of the answer.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def checked(*args: Any, **kwargs: Any) -> Any:
            context = current_context()
            context.require(role, doing)
            answers.check_acceptable(produces)
            waiting.check()
            if request.method in ("PATCH", "PUT", "DELETE"):
                use_context(replace(context, expected=answers.expected_versions()))
            if once and request.method == "POST" and KEY_HEADER in request.headers:
                return _once(context, lambda: view(*args, **kwargs))
            return view(*args, **kwargs)

        checked.muster_role = role  # type: ignore[attr-defined]
        words = {"security": [{"token": []}, {"session": []}], "x-muster-role": role, "x-muster-once": once}
        describe(checked, words)
        return checked  # type: ignore[return-value]

    return decorate


def public(view: View) -> View:
    """Nobody needs to be known."""
    view.muster_role = "public"  # type: ignore[attr-defined]
    describe(view, {"security": [], "x-muster-role": "public", "x-muster-once": False})
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


def written_page(
    items: Sequence[tuple[int, str]], limit: int, said: Callable[[str], None] | None = None
) -> answers.Written:
    """A page of things that are JSON already: each one's id and text. said: told the page's entity tag."""
    following = str(items[-1][0]) if len(items) >= limit else "null"
    return answers.Written(f'{{"items":[{",".join([text for _, text in items])}],"next":{following}}}', said)


def wanted_fields() -> frozenset[str] | None:
    """Names of the fields that the caller wants to see; None for all."""
    found: frozenset[str] | None = g.get(answers.WANTED)
    return found


def _once(context: Context, view: Callable[[], Any]) -> Response:
    """The view's answer, or the one that this caller got for the same request before."""
    whole = "\n".join((request.method, request.full_path, "")).encode() + request.get_data()

    def run(joined: Context) -> idempotency.Answer:
        use_context(joined)
        try:
            response = make_response(view())
        finally:
            use_context(context)
        headers = {name: response.headers[name] for name in KEPT_HEADERS if name in response.headers}
        return idempotency.Answer(response.status_code, headers, response.get_data(as_text=True))

    key = request.headers[KEY_HEADER]
    answer, replayed = idempotency.once(context, key, hashlib.sha256(whole).hexdigest(), run)
    made = Response(answer.body, status=answer.status, headers=answer.headers)
    if replayed:
        made.headers["Idempotency-Replayed"] = "true"
    return made


NO_CONTENT: ResponseReturnValue = ("", 204)
