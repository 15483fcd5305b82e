"""A route for every lifecycle verb, made from the state table: a new action module is a new route, with its parameters."""

from __future__ import annotations

from typing import Any

from marshmallow import Schema, fields, validate

from app.api.frame import Resource, allow, describe
from app.api.schemas.operation import OperationSchema
from app.api.schemas.strict import Boolean, Integer
from app.identity import current_context
from app.lifecycle.action import Action, ActionParameter
from app.lifecycle.table import actions
from app.services import lifecycle, machines

blueprint = Resource("lifecycle", "Lifecycle verbs of machines")


def _field(parameter: ActionParameter) -> fields.Field[Any]:
    words = {"description": parameter.help}
    default = parameter.default
    if parameter.type == "int":
        return Integer(load_default=default, metadata=words)
    if parameter.type == "bool":
        return Boolean(load_default=default, metadata=words)
    if parameter.type == "list":
        return fields.List(fields.String(validate=validate.Length(max=1000)), load_default=default, metadata=words)
    if parameter.choices:
        return fields.String(load_default=default, validate=validate.OneOf(parameter.choices), metadata=words)
    return fields.String(load_default=default, validate=validate.Length(max=lifecycle.USER_DATA_LIMIT), metadata=words)


def _add(blueprint: Resource, action: Action) -> None:
    name = "".join(part.capitalize() for part in action.name.split("-"))
    made: dict[str, Any] = {parameter.name: _field(parameter) for parameter in action.parameters}
    schema = Schema.from_dict(made, name=f"{name}Parameters")
    doing = f"{action.name} machines"

    @allow(action.role, doing)
    @blueprint.arguments(schema, required=False)
    @blueprint.response(202, OperationSchema)
    def view(body: dict[str, Any], machine: str) -> Any:
        context = current_context()
        return lifecycle.request(context, machines.identify(context, machine), action.name, body)

    view.__name__ = f"machine_{action.name.replace('-', '_')}"
    origins = ", ".join(sorted(state.label for state in action.from_states))
    view.__doc__ = f"{action.title}. From: {origins}."
    describe(view, {"summary": action.title, "description": f"From: {origins}."})
    blueprint.post(f"/machines/<string:machine>/{action.name}")(view)


for _action in actions().values():
    _add(blueprint, _action)


@blueprint.post("/machines/<string:machine>/abort")
@allow("operator", "abort operations")
@blueprint.response(202, OperationSchema)
def machine_abort(machine: str) -> Any:
    """Stop what is under way on a machine."""
    context = current_context()
    return lifecycle.abort(context, machines.identify(context, machine))
