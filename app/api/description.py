"""The API's description: what every operation may answer, and the headers that many share.

Schemas and parameters are written down at the views; what follows from the method, the path and who may call is added
here, once for all, so that no operation forgets to mention it.
"""

from __future__ import annotations

from typing import Any

from apispec import APISpec

from app.api import waiting

METHODS = ("get", "post", "put", "patch", "delete")
PROBLEM = "application/problem+json"
PROBLEMS = {
    400: "The body is not what its Content-Type says.",
    401: "Nobody known is calling.",
    403: "The caller is known and may not do this.",
    404: "No such thing, or none that the caller may know of.",
    406: "The Accept header excludes what this address answers.",
    409: "The input is right, but the present state does not allow it.",
    412: "The thing has changed since the version that If-Match names.",
    413: "The body is too large.",
    415: "The body is not application/json.",
    422: "The input breaks a rule; the field, the rule and the remedy are named.",
    429: "Too many attempts; Retry-After says how many seconds to wait.",
    503: "Right, but not now: the database does not answer, or there are too many of this kind; Retry-After is in seconds.",
}
GUESSING: dict[str, Any] = {"responses": {"429": "problem-429"}}
"""For views at which passwords can be guessed."""
TAG = {"schema": {"type": "string"}, "description": "the version, for If-Match and If-None-Match"}
IF_MATCH = {
    "name": "If-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "an ETag: do this only if the thing is still at that version, else 412",
}
IF_NONE_MATCH = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "schema": {"type": "string"},
    "description": "an ETag: answer 304 if nothing has changed since",
}
ONCE = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "pattern": "^[!-~]{1,255}$"},
    "description": "a fresh UUID: the request is carried out once, and repeating it within 24 hours gives the same answer"
    " with `Idempotency-Replayed: true`; 422 if the key was used for another request, 409 while the first is under way",
}


def register_problems(spec: APISpec) -> None:
    """Make the refusals known by name, so that views can refer to them."""
    for status, words in PROBLEMS.items():
        content = {PROBLEM: {"schema": {"$ref": "#/components/schemas/Problem"}}}
        response: dict[str, Any] = {"description": words, "content": content}
        if status in (429, 503):
            response["headers"] = {"Retry-After": {"schema": {"type": "integer"}, "description": "seconds"}}
        spec.components.response(f"problem-{status}", response)


def complete(document: dict[str, Any]) -> dict[str, Any]:
    """The description with what all operations have in common."""
    for path, operations in document["paths"].items():
        for method in METHODS:
            if method in operations:
                _complete_operation(document, path, method, operations[method])
    return document


def _complete_operation(document: dict[str, Any], path: str, method: str, operation: dict[str, Any]) -> None:
    responses = operation.setdefault("responses", {})
    responses.pop("default", None)
    once = operation.pop("x-muster-once", False) and method == "post"
    for status in _refusals(path, method, operation):
        responses[str(status)] = {"$ref": f"#/components/responses/problem-{status}"}
    shown = responses.get("200", responses.get("201", responses.get("202", {})))
    is_json = "application/json" in shown.get("content", {})
    parameters = operation.setdefault("parameters", [])
    if method == "get" and is_json and operation["x-muster-role"] != "public":
        responses["304"] = {"description": "Nothing has changed since the version that If-None-Match names."}
        parameters.append(IF_NONE_MATCH)
    if method in ("put", "patch", "delete"):
        parameters.append(IF_MATCH)
    if method != "get" and operation["x-muster-role"] != "public":
        parameters.append(waiting.PARAMETER)
        if "$ref" not in shown:
            shown.setdefault("headers", {}).update(waiting.HEADERS)
    if once:
        parameters.append(ONCE)
        shown.setdefault("headers", {})["Idempotency-Replayed"] = {
            "schema": {"type": "string", "enum": ["true"]},
            "description": "the answer is that of an earlier request with the same key",
        }
    if is_json and "$ref" not in shown:
        shown.setdefault("headers", {})["ETag"] = TAG
    for parameter in parameters:
        if parameter.get("name") == "fields":
            names = ", ".join(_names(document, shown))
            parameter["description"] = f"show only these, separated by commas; there are: {names}"
            parameter["example"] = "id" if "id" in names.split(", ") else names.partition(",")[0]
    operation["parameters"] = sorted(parameters, key=lambda one: str(one.get("in")) != "path")


def _refusals(path: str, method: str, operation: dict[str, Any]) -> list[int]:
    """What else may be answered, by what the operation is."""
    found = {503} | {int(status) for status, what in operation["responses"].items() if _is_problem(what)}
    known = operation["x-muster-role"] != "public"
    changes = method != "get"
    names = {parameter.get("name") for parameter in operation.get("parameters", [])}
    if known:
        found |= {401, 403, 406}
    if "{" in path or "machine" in names or (changes and known):
        found.add(404)
    if changes and known:
        found.add(409)
    if method in ("put", "patch", "delete"):
        found.add(412)
    if "requestBody" in operation:
        found |= {400, 413, 415}
    elif method == "post":
        found.add(413)
    if "{" in path or names or changes:
        found.add(422)
    if operation["security"] == [] and changes:
        found |= {401, 403}
    return sorted(found)


def _is_problem(response: Any) -> bool:
    """Whether an answer that a view or the framework wrote down is a refusal."""
    return isinstance(response, dict) and ("problem-" in response.get("$ref", "") or "UNPROCESSABLE" in str(response))


def _names(document: dict[str, Any], response: dict[str, Any]) -> list[str]:
    """Names of the fields of the thing that is shown, or of a page's items."""
    schema = _resolved(document, response["content"]["application/json"]["schema"])
    items = schema["properties"].get("items")
    if items is not None and "next" in schema["properties"]:
        schema = _resolved(document, items["items"])
    return sorted(schema["properties"])


def _resolved(document: dict[str, Any], schema: dict[str, Any]) -> dict[str, Any]:
    if "$ref" not in schema:
        return schema
    found: dict[str, Any] = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
    return found
