"""Machines as the API's list shows them, written as JSON by the database itself: one statement a page, no objects.

A page of a hundred machines costs the object mapper more than everything else together, so the list does without it
(docs/adr/0021-lists-as-json.md).  Keys stand in alphabetical order, moments are RFC 3339 in UTC with microseconds unless
these are zero, and nothing stands between tokens: what `app.api.answers` writes of objects, to the byte.  Both databases
know the fields by the same names; how a value and a list are written is each one's own.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from functools import cache, lru_cache
from typing import Any

from sqlalchemy import (
    CTE,
    BigInteger,
    ColumnElement,
    Integer,
    Select,
    Text,
    TextualSelect,
    bindparam,
    column,
    literal_column,
    select,
    text,
)
from sqlalchemy.orm import Session

from app.lifecycle.states import State
from app.lifecycle.table import allowed
from app.store.models import Bmc, Domain, Machine, Pool, User, Zone
from app.store.prepared import Prepared

FORMS = 50
"""So many choices of fields are remembered with their statement."""
_DOMAIN, _ZONE, _POOL = Domain.__table__.alias("d"), Zone.__table__.alias("z"), Pool.__table__.alias("p")
_USER, _BMC = User.__table__.alias("u"), Bmc.__table__.alias("b")
_NUMBERS = ("cpu_count", "domain_id", "id", "memory_mib", "storage_bytes", "version")
_PLAIN_OF_IT, _WORDS_OF_IT = (
    ("hostname", "power_state", "state", "system_uuid"),
    ("architecture", "firmware", "state_reason"),
)
_MOMENTS = ("created_at", "power_checked_at", "state_since")
_PLACES = ("owner_id", "pool_id", "zone_id")
_PAGE = [getattr(Machine, name) for name in (*_NUMBERS, *_PLAIN_OF_IT, *_WORDS_OF_IT, *_MOMENTS, *_PLACES)]
_NAMES = {
    "fqdn": "m.hostname || '.' || d.name",
    "owner": "u.name",
    "pool": "p.name",
    "power_driver": "b.driver",
    "zone": "z.name",
}
_INTERFACE_NUMBERS, _INTERFACE_WORDS = ("id", "speed_mbps", "subnet_id", "vlan_id"), ("driver", "name")
_INTERFACE_FLAGS = ("boot", "link")


class _PostgreSQL:
    """PostgreSQL: texts of JSON put together by `concat`, and lists by three passes over the page's parts.

    `row_to_json` looks at the type of each column in each row, which costs more than all else of a machine; a list by a
    subquery of each machine is a sort for each.  Groups take the order in which the sorted rows come (section 9.21 of the
    manual), so there is one sort a pass.

    `to_json` finds out anew for each value how it is written, five times the work of putting quotation marks around it.
    Words that the services let hold no quotation mark, backslash or control character are plain; others are when they
    are what `quote_ident` calls an identifier (lower case, digits, underscores).
    """

    @staticmethod
    def plain(what: str) -> str:
        return f"""coalesce('"' || {what} || '"', 'null')"""

    @staticmethod
    def word(what: str) -> str:
        escaped = f"coalesce(to_json({what})::text, 'null')"
        return f"""CASE WHEN {what} = quote_ident({what}) THEN '"' || {what} || '"' ELSE {escaped} END"""

    @staticmethod
    def number(what: str) -> str:
        return f"coalesce({what}::text, 'null')"

    @staticmethod
    def flag(what: str) -> str:
        return f"CASE {what} WHEN true THEN 'true' WHEN false THEN 'false' ELSE 'null' END"

    @staticmethod
    def moment(what: str) -> str:
        written = f"""to_char({what} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"+00:00"')"""
        return f"""coalesce('"' || replace({written}, '.000000+', '+') || '"', 'null')"""

    @staticmethod
    def json(what: str) -> str:
        return f"coalesce({what}, 'null')"

    @staticmethod
    def lists() -> dict[str, str]:
        return {
            "addresses": "concat('[', l.addresses, ']')",
            "interfaces": "concat('[', l.interfaces, ']')",
            "tags": "concat('[', g.tags, ']')",
        }

    @staticmethod
    def object(fields: dict[str, str]) -> str:
        parts, before = [], "{"
        for name, what in fields.items():
            parts += [f"""'{before}"{name}":'""", what]
            before = ","
        return f"concat({', '.join(parts)}, '}}')"

    @classmethod
    def joined(cls, page: Any, source: Any, names: Iterable[str], whose: str) -> Any:
        """The page's machines with what their lists say; whose: how the page's machines are found in a table of parts."""
        if {"addresses", "interfaces"} & set(names):
            parts = _interfaces_of_page(whose)
            source = source.outerjoin(parts, parts.c.machine_id == page.c.id)
        if "tags" in names:
            tags = _tags_of_page(whose)
            source = source.outerjoin(tags, tags.c.machine_id == page.c.id)
        return source


class _SQLite:
    """SQLite (json1): what a subquery hands on has to be called JSON again; the order of its rows is kept."""

    @staticmethod
    def plain(what: str) -> str:
        return what

    @staticmethod
    def word(what: str) -> str:
        return what

    @staticmethod
    def number(what: str) -> str:
        return what

    @staticmethod
    def flag(what: str) -> str:
        return f"json(CASE {what} WHEN 1 THEN 'true' WHEN 0 THEN 'false' END)"

    @staticmethod
    def moment(what: str) -> str:
        return f"replace(replace({what}, ' ', 'T') || '+00:00', '.000000+', '+')"

    @staticmethod
    def json(what: str) -> str:
        return f"json({what})"

    @classmethod
    def lists(cls) -> dict[str, str]:
        interface = cls.object(_interface(cls, cls._texts(_ADDRESSES_OF_INTERFACE)))
        objects = f"SELECT {interface} AS one FROM interface i WHERE i.machine_id = m.id ORDER BY i.id"  # noqa: S608 - of this module's constants
        return {
            "addresses": cls._texts(_ADDRESSES),
            "interfaces": f"json((SELECT json_group_array(json(one)) FROM ({objects})))",  # noqa: S608 - the same
            "tags": cls._texts(_TAGS),
        }

    @staticmethod
    def _texts(query: str) -> str:
        return f"json((SELECT json_group_array(one) FROM ({query})))"  # noqa: S608 - of this module's constants

    @staticmethod
    def object(fields: dict[str, str]) -> str:
        return "json_object(" + ", ".join(f"'{name}', {what}" for name, what in fields.items()) + ")"

    @classmethod
    def joined(cls, page: Any, source: Any, names: Iterable[str], whose: str) -> Any:
        """Nothing more: lists are subqueries."""
        return source


_TAGS = "SELECT t.name AS one FROM machine_tag x JOIN tag t ON t.id = x.tag_id WHERE x.machine_id = m.id ORDER BY one"
_ADDRESSES = (
    "SELECT a.address AS one FROM interface i JOIN ip_address a ON a.interface_id = i.id WHERE i.machine_id = m.id"
    " ORDER BY i.id, a.id"
)
_ADDRESSES_OF_INTERFACE = "SELECT a.address AS one FROM ip_address a WHERE a.interface_id = i.id ORDER BY a.id"
_ANY = "machine_id = ANY(ARRAY(SELECT id FROM page))"
_ALL_BETWEEN = "machine_id BETWEEN (SELECT min(id) FROM page) AND (SELECT max(id) FROM page)"
"""Of a page that leaves no machine out: one range of an index, in place of a look for each machine."""
_Words = type[_PostgreSQL] | type[_SQLite]
_WORDS: dict[str, _Words] = {"postgresql": _PostgreSQL, "sqlite": _SQLite}


def _interface(words: _Words, addresses: str) -> dict[str, str]:
    """How the database writes each field of an interface `i`, in the fields' order."""
    fields = {"addresses": addresses}
    fields |= {name: words.number(f"i.{name}") for name in _INTERFACE_NUMBERS}
    fields |= {name: words.word(f"i.{name}") for name in _INTERFACE_WORDS} | {"mac": words.plain("i.mac")}
    fields |= {name: words.flag(f"i.{name}") for name in _INTERFACE_FLAGS}
    return dict(sorted(fields.items()))


@cache
def _fields(database: str) -> dict[str, str]:
    """How this database writes each field of a machine `m`, in the fields' order."""
    words = _WORDS[database]
    verbs = " ".join(
        f"WHEN '{state.value}' THEN '{json.dumps([one.name for one in allowed(state)], separators=(',', ':'))}'"
        for state in State
    )
    fields = {name: words.number(f"m.{name}") for name in _NUMBERS}
    fields |= {name: words.plain(f"m.{name}") for name in _PLAIN_OF_IT}
    fields |= {name: words.word(f"m.{name}") for name in _WORDS_OF_IT}
    fields |= {name: words.moment(f"m.{name}") for name in _MOMENTS}
    fields |= {name: words.plain(what) for name, what in _NAMES.items()}
    fields |= {"actions": words.json(f"CASE m.state {verbs} END"), **words.lists()}
    return dict(sorted(fields.items()))


@cache
def _interfaces_of_page(whose: str) -> CTE:
    """PostgreSQL: by machine of the page its interfaces and all its addresses, as the insides of JSON lists."""
    interface = _PostgreSQL.object(_interface(_PostgreSQL, "concat('[', i.list, ']')"))
    return _grouped(
        f"""
        WITH part AS (
          SELECT * FROM interface WHERE {whose}
        ), given AS (
          SELECT interface_id, string_agg(one, ',') AS list FROM (
            SELECT interface_id, '"' || address || '"' AS one FROM ip_address
            WHERE interface_id = ANY(ARRAY(SELECT id FROM part)) ORDER BY interface_id, id
          ) a GROUP BY interface_id
        )
        SELECT machine_id, string_agg({interface}, ',') AS interfaces, string_agg(list, ',') AS addresses FROM (
          SELECT part.*, given.list FROM part LEFT JOIN given ON given.interface_id = part.id
          ORDER BY part.machine_id, part.id
        ) i GROUP BY machine_id
        """,  # noqa: S608 - of this module's constants
        *("interfaces", "addresses"),
    ).cte("l")


@cache
def _tags_of_page(whose: str) -> CTE:
    """PostgreSQL: by machine of the page the inside of the JSON list of its tags."""
    return _grouped(
        f"""
        SELECT machine_id, string_agg('"' || name || '"', ',') AS tags FROM (
          SELECT machine_id, name FROM machine_tag JOIN tag ON tag.id = tag_id
          WHERE {whose} ORDER BY machine_id, name COLLATE "C"
        ) t GROUP BY machine_id
        """,  # noqa: S608 - of this module's constants
        "tags",
    ).cte("g")


def _grouped(statement: str, *names: str) -> TextualSelect:
    return text(statement).columns(column("machine_id", Integer), *(column(name, Text) for name in names))


def page(session: Session, chosen: Select[Any], only: Iterable[str] | None = None) -> list[tuple[int, str]]:
    """Id and JSON text of each of the machines whose ids are chosen, in the order of ids. One statement.

    only: the fields to write; all without it.
    """
    database = session.get_bind().dialect.name
    return [(row[0], row[1]) for row in session.execute(_statement(database, chosen, only))]


def page_after(session: Session, after: int, limit: int, only: Iterable[str] | None = None) -> list[tuple[int, str]]:
    """`page` of the machines whose ids come after one. The statement is made once, and PostgreSQL plans it once."""
    form = _form(session.get_bind().dialect.name, None if only is None else frozenset(only))
    return form.tuples(session, after=after, limit=limit)


@lru_cache(maxsize=FORMS)
def _form(database: str, only: frozenset[str] | None) -> Prepared:
    after, limit = bindparam("after", type_=BigInteger), bindparam("limit", type_=BigInteger)
    chosen = select(Machine.id).where(Machine.id > after).order_by(Machine.id).limit(limit)
    return Prepared(_statement(database, chosen, only, _ALL_BETWEEN), keep=only is None)


def one(session: Session, machine_id: int) -> str:
    """The JSON text of one machine, with what this transaction has written. NoResultFound when there is none."""
    return str(_one(session.get_bind().dialect.name).one(session, machine_id=machine_id)[1])


@cache
def _one(database: str) -> Prepared:
    chosen = select(Machine.id).where(Machine.id == bindparam("machine_id", type_=BigInteger))
    return Prepared(_statement(database, chosen, whose=_ALL_BETWEEN), keep=True)


def _statement(database: str, chosen: Select[Any], only: Iterable[str] | None = None, whose: str = _ANY) -> Select[Any]:
    words, wanted = _WORDS[database], None if only is None else frozenset(only)
    fields = {name: what for name, what in _fields(database).items() if wanted is None or name in wanted}
    m = chosen.with_only_columns(*_PAGE).cte("page").alias("m")
    source = (
        m.join(_DOMAIN, _DOMAIN.c.id == m.c.domain_id)
        .join(_ZONE, _ZONE.c.id == m.c.zone_id)
        .join(_POOL, _POOL.c.id == m.c.pool_id)
        .outerjoin(_USER, _USER.c.id == m.c.owner_id)
        .outerjoin(_BMC, _BMC.c.machine_id == m.c.id)
    )
    written: ColumnElement[str] = literal_column(words.object(fields)).label("written")
    return select(m.c.id, written).select_from(words.joined(m, source, fields, whose)).order_by(m.c.id)
