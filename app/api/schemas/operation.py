"""Operations, power orders, script results."""

from __future__ import annotations

from marshmallow import Schema, fields, validate

from app.api.frame import PageQuery
from app.api.schemas.strict import Id, Switch
from app.lifecycle.table import actions
from app.power.base import VERBS

RUNS = ("running", "succeeded", "failed", "aborted")
ORDERS = ("waiting", "claimed", "done", "failed", "lost")


class OperationSchema(Schema):
    """One lifecycle action on one machine, with its current step."""

    id = fields.Integer()
    machine_id = fields.Integer()
    action = fields.String()
    status = fields.String(metadata={"description": "running, succeeded, failed, aborted"})
    step = fields.String()
    step_started_at = fields.DateTime()
    progress = fields.Dict()
    warnings = fields.Function(
        lambda operation: list((operation.progress or {}).get("warnings", [])),
        metadata={"type": "array", "items": {"type": "string"}},
    )
    reason = fields.String(allow_none=True)
    request_id = fields.String(allow_none=True)
    deadline_at = fields.DateTime(allow_none=True)
    started_at = fields.DateTime()
    finished_at = fields.DateTime(allow_none=True)


class MachineOperationQuery(PageQuery):
    """Which operations of a machine."""

    status = fields.String(validate=validate.OneOf(RUNS))
    action = fields.String(validate=validate.OneOf(sorted(actions())))
    since = fields.AwareDateTime(metadata={"description": "begun at this moment or later"})


class OperationQuery(MachineOperationQuery):
    """Which operations of all."""

    machine = fields.String(metadata={"description": "id or hostname"})


class PowerOrderQuery(PageQuery):
    """Which power orders."""

    machine = fields.String(metadata={"description": "id or hostname"})
    rack_id = Id()
    verb = fields.String(validate=validate.OneOf(VERBS))
    status = fields.String(validate=validate.OneOf(ORDERS))


class OperationPage(Schema):
    """Operations, newest first."""

    items = fields.List(fields.Nested(OperationSchema))
    next = fields.Integer(allow_none=True)


class PowerOperationSchema(Schema):
    """One order to a machine's controller, carried out by a rack."""

    id = fields.Integer()
    machine_id = fields.Integer()
    verb = fields.String()
    status = fields.String(metadata={"description": "waiting, claimed, done, failed, lost"})
    power = fields.String(allow_none=True)
    reason = fields.String(allow_none=True)
    created_at = fields.DateTime()
    finished_at = fields.DateTime(allow_none=True)


class PowerOperationPage(Schema):
    """Power orders, newest first."""

    items = fields.List(fields.Nested(PowerOperationSchema))
    next = fields.Integer(allow_none=True)


class PowerSchema(Schema):
    """How a machine is switched. Secrets are masked."""

    driver = fields.String()
    address = fields.String(allow_none=True)
    mac = fields.String(allow_none=True)
    parameters = fields.Dict(keys=fields.String(), values=fields.String())
    found = fields.String(metadata={"description": "in-band (the machine said so) or by-hand"})


class NewPowerSchema(Schema):
    """How a machine is to be switched from now on."""

    driver = fields.String(required=True)
    parameters = fields.Dict(keys=fields.String(), values=fields.String(), load_default=dict)


class PowerParameterSchema(Schema):
    """One thing a power driver must be told."""

    name = fields.String()
    label = fields.String()
    secret = fields.Boolean()
    required = fields.Boolean()
    default = fields.String()
    choices = fields.List(fields.String())


class PowerDriverSchema(Schema):
    """One kind of controller."""

    name = fields.String()
    title = fields.String()
    queryable = fields.Boolean()
    parameters = fields.List(fields.Nested(PowerParameterSchema))


class PowerDriverPage(Schema):
    """The power drivers there are."""

    items = fields.List(fields.Nested(PowerDriverSchema))
    next = fields.Integer(allow_none=True)


class ResultSchema(Schema):
    """What one script said on one run; its output is at its own address."""

    id = fields.Integer()
    operation_id = fields.Integer(allow_none=True)
    script = fields.String()
    status = fields.String()
    exit_code = fields.Integer(allow_none=True)
    seconds = fields.Float()
    result = fields.Dict(allow_none=True)
    at = fields.DateTime()


class ResultQuery(PageQuery):
    """Which results of a machine."""

    operation_id = Id()
    script = fields.String()
    status = fields.String()
    all_runs = Switch(load_default=False, metadata={"description": "not only those of the newest run"})


class ResultPage(Schema):
    """Results in the order in which they came."""

    items = fields.List(fields.Nested(ResultSchema))
    next = fields.Integer(allow_none=True)
