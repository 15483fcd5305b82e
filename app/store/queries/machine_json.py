"""Machines as the API's list shows them, written as JSON by the database itself: one statement a page, no objects.

A page of a hundred machines costs the object mapper more than everything else together, so the list does without it
(docs/adr/0021-lists-as-json.md).  Keys stand in alphabetical order, moments are RFC 3339 in UTC with microseconds unless
these are zero, and nothing stands between tokens: what `app.api.answers` writes of objects, to the byte.  Both databases
know the fields by the same names; how a flag, a moment, a list and an object are written is each one's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache

from sqlalchemy import ColumnElement, Select, literal_column, select
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.lifecycle.table import allowed
from app.store.models import Bmc, Domain, Machine, Pool, User, Zone

_MACHINE = Machine.__table__.alias("m")
_DOMAIN, _ZONE, _POOL = Domain.__table__.alias("d"), Zone.__table__.alias("z"), Pool.__table__.alias("p")
_USER, _BMC = User.__table__.alias("u"), Bmc.__table__.alias("b")
_JOINED = (
    _MACHINE.join(_DOMAIN, _DOMAIN.c.id == _MACHINE.c.domain_id)
    .join(_ZONE, _ZONE.c.id == _MACHINE.c.zone_id)
    .join(_POOL, _POOL.c.id == _MACHINE.c.pool_id)
    .outerjoin(_USER, _USER.c.id == _MACHINE.c.owner_id)
    .outerjoin(_BMC, _BMC.c.machine_id == _MACHINE.c.id)
)
_PLAIN = (
    *("architecture", "cpu_count", "domain_id", "firmware", "hostname", "id", "memory_mib", "power_state", "state"),
    *("state_reason", "storage_bytes", "system_uuid", "version"),
)
_MOMENTS = ("created_at", "power_checked_at", "state_since")
_NAMES = {
    "fqdn": "m.hostname || '.' || d.name",
    "owner": "u.name",
    "pool": "p.name",
    "power_driver": "b.driver",
    "zone": "z.name",
}
_TAGS = (
    "SELECT (SELECT {name} FROM tag t WHERE t.id = x.tag_id) AS one FROM machine_tag x WHERE x.machine_id = m.id"
    " ORDER BY one"
)
_ADDRESSES = (
    "SELECT a.address AS one FROM interface i JOIN ip_address a ON a.interface_id = i.id WHERE i.machine_id = m.id"
    " ORDER BY i.id, a.id"
)
_ADDRESSES_OF_INTERFACE = "SELECT a.address AS one FROM ip_address a WHERE a.interface_id = i.id ORDER BY a.id"
_INTERFACE = ("driver", "id", "mac", "name", "speed_mbps", "subnet_id", "vlan_id")
_INTERFACE_FLAGS = ("boot", "link")


class _PostgreSQL:
    """PostgreSQL (functions of JSON: section 9.16 of its manual): arrays and rows become JSON where the row does."""

    @staticmethod
    def moment(column: str) -> str:
        text = f"""to_char({column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
        return f"replace({text}, '.000000+', '+')"

    @staticmethod
    def flag(column: str) -> str:
        return column

    @staticmethod
    def texts(query: str) -> str:
        return f"ARRAY({query})"

    @staticmethod
    def sorted(column: str) -> str:
        return f'{column} COLLATE "C"'

    @classmethod
    def objects(cls, fields: dict[str, str], rest: str) -> str:
        listed = ", ".join(f"{what} AS {name}" for name, what in fields.items())
        rows = f"SELECT {listed} FROM {rest}"  # noqa: S608 - of this module's constants
        return f"ARRAY(SELECT row_to_json(o) FROM ({rows}) o)"  # noqa: S608 - of this module's constants

    @staticmethod
    def object(fields: dict[str, str]) -> str:
        listed = ", ".join(f"{what} AS {name}" for name, what in fields.items())
        return f"(SELECT row_to_json(r) FROM (SELECT {listed}) r)"  # noqa: S608 - of this module's constants

    @staticmethod
    def json(text: str) -> str:
        return f"({text})::json"


class _SQLite:
    """SQLite (json1): what a subquery hands on has to be called JSON again; the order of its rows is kept."""

    @staticmethod
    def moment(column: str) -> str:
        return f"replace(replace({column}, ' ', 'T') || '+00:00', '.000000+', '+')"

    @staticmethod
    def flag(column: str) -> str:
        return f"json(CASE {column} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"

    @staticmethod
    def texts(query: str) -> str:
        return f"json((SELECT json_group_array(one) FROM ({query})))"  # noqa: S608 - of this module's constants

    @staticmethod
    def sorted(column: str) -> str:
        return column

    @classmethod
    def objects(cls, fields: dict[str, str], rest: str) -> str:
        rows = f"SELECT {cls.object(fields)} AS one FROM {rest}"  # noqa: S608 - of this module's constants
        return f"json((SELECT json_group_array(json(one)) FROM ({rows})))"  # noqa: S608 - of this module's constants

    @staticmethod
    def object(fields: dict[str, str]) -> str:
        return "json_object(" + ", ".join(f"'{name}', {what}" for name, what in fields.items()) + ")"

    @staticmethod
    def json(text: str) -> str:
        return f"json({text})"


_Words = type[_PostgreSQL] | type[_SQLite]
_WORDS: dict[str, _Words] = {"postgresql": _PostgreSQL, "sqlite": _SQLite}


@cache
def _fields(database: str) -> dict[str, str]:
    """How this database writes each field of a machine `m`, in the fields' order."""
    words = _WORDS[database]
    interface = {name: f"i.{name}" for name in _INTERFACE}
    interface |= {name: words.flag(f"i.{name}") for name in _INTERFACE_FLAGS}
    interface["addresses"] = words.texts(_ADDRESSES_OF_INTERFACE)
    verbs = " ".join(
        f"WHEN '{state.value}' THEN '{json.dumps([one.name for one in allowed(state)], separators=(',', ':'))}'"
        for state in State
    )
    fields = {name: f"m.{name}" for name in _PLAIN}
    fields |= {name: words.moment(f"m.{name}") for name in _MOMENTS}
    fields |= _NAMES
    fields |= {
        "actions": words.json(f"CASE m.state {verbs} END"),
        "addresses": words.texts(_ADDRESSES),
        "interfaces": words.objects(
            dict(sorted(interface.items())), "interface i WHERE i.machine_id = m.id ORDER BY i.id"
        ),
        "tags": words.texts(_TAGS.format(name=words.sorted("t.name"))),
    }
    return dict(sorted(fields.items()))


@cache
def _object(database: str, only: frozenset[str] | None) -> str:
    fields = {name: what for name, what in _fields(database).items() if only is None or name in only}
    return f"CAST({_WORDS[database].object(fields)} AS text)"


def page(session: Session, chosen: Select[tuple[int]], only: Iterable[str] | None = None) -> list[tuple[int, str]]:
    """Id and JSON text of each of the machines whose ids are chosen, in the order of ids. One statement.

    only: the fields to write; all without it.
    """
    database = session.get_bind().dialect.name
    text: ColumnElement[str] = literal_column(_object(database, None if only is None else frozenset(only)))
    statement = (
        select(_MACHINE.c.id, text).select_from(_JOINED).where(_MACHINE.c.id.in_(chosen)).order_by(_MACHINE.c.id)
    )
    return [(row[0], row[1]) for row in session.execute(statement)]
