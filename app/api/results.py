"""Script results of a machine, and their raw output."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from app.api.frame import Resource, allow
from app.api.schemas.operation import ResultPage
from app.identity import current_context
from app.services import machines, results
from app.services.errors import NotFound

blueprint = Resource("results", "What machines' scripts said")


class OutputQuery(Schema):
    """Which stream."""

    stream = fields.String(load_default="stdout", validate=validate.OneOf(("stdout", "stderr")))


@blueprint.get("/machines/<string:machine>/results")
@allow("viewer", "see results")
@blueprint.response(200, ResultPage)
def index(machine: str) -> Any:
    """Results of the newest run."""
    context = current_context()
    return {"items": results.for_machine(context, machines.get(context, machine).id), "next": None}


@blueprint.get("/machines/<string:machine>/results/<string:script>")
@allow("viewer", "see results")
@blueprint.arguments(OutputQuery, location="query")
@blueprint.doc(responses={"200": {"description": "the output as it was", "content": {"text/plain": {}}}})
def output(query: dict[str, Any], machine: str, script: str) -> Response:
    """A script's raw output."""
    context = current_context()
    for row in results.for_machine(context, machines.get(context, machine).id):
        if row.script == script:
            text = row.stdout if query["stream"] == "stdout" else row.stderr
            headers = {"X-Content-Type-Options": "nosniff"}
            return Response(text, mimetype="text/plain", headers=headers)
    raise NotFound(f"machine {machine} has no result of a script named {script!r}; list its results")
