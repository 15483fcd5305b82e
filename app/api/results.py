"""Script results of a machine, and their raw output."""

from __future__ import annotations

from typing import Any

from flask import Response
from marshmallow import Schema, fields, validate

from app.api.frame import Resource, allow, page
from app.api.schemas.operation import ResultPage, ResultQuery
from app.api.schemas.strict import Id
from app.identity import current_context
from app.services import machines, results

blueprint = Resource("results", "What machines' scripts said")


class OutputQuery(Schema):
    """Which stream, of which run."""

    operation_id = Id(load_default=None)

    stream = fields.String(load_default="stdout", validate=validate.OneOf(("stdout", "stderr")))


@blueprint.get("/machines/<string:machine>/results")
@allow("viewer", "see results")
@blueprint.arguments(ResultQuery, location="query")
@blueprint.response(200, ResultPage)
def index(query: dict[str, Any], machine: str) -> Any:
    """Results of the newest run, of one operation, or of all runs."""
    context = current_context()
    return page(results.find(context, machines.identify(context, machine), **query), query["limit"])


@blueprint.get("/machines/<string:machine>/results/<string:script>")
@allow("viewer", "see results", produces="text/plain")
@blueprint.arguments(OutputQuery, location="query")
@blueprint.doc(responses={"200": {"description": "the output as it was", "content": {"text/plain": {}}}})
def output(query: dict[str, Any], machine: str, script: str) -> Response:
    """A script's raw output."""
    context = current_context()
    row = results.output(context, machines.identify(context, machine), script, query["operation_id"])
    text = row.stdout if query["stream"] == "stdout" else row.stderr
    return Response(text, mimetype="text/plain", headers={"X-Content-Type-Options": "nosniff"})
