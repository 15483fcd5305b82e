"""Statements that are compiled once and run many times: what a lifecycle's hot path says to the database.

SQLAlchemy's execution of a statement that it has compiled before costs about a hundred Python calls besides the database's
own work: the cache's key, an execution context, a result and its metadata.  A `Prepared` statement keeps its text and the
converters of its types, and costs a fifth of that (docs/adr/0015-prepared-statements.md).  It is part of the session's
transaction like any other statement:

* listeners of `before_cursor_execute` and `after_cursor_execute` hear of it;
* what the driver raises comes out as SQLAlchemy's exception of that name, without the values, or as `Unstorable`;
* nothing is flushed before it, and objects that the session holds do not change by it.

It is for statements with a fixed text: no list in `IN`, no values that Python makes by default.

One that takes PostgreSQL longer to plan than to carry out may be kept there, planned once for each connection
(docs/adr/0031-plans-that-are-kept.md).
"""

from __future__ import annotations

import hashlib
from collections import namedtuple
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Dialect
from sqlalchemy.exc import DBAPIError, NoResultFound
from sqlalchemy.orm import Session

from app.store.unstorable import Unstorable, is_unstorable

LINE = "muster.line"
KEPT = "muster.kept"
"""In the notes of a driver's connection: the statements that PostgreSQL keeps for it."""
MOST_ROWS = 20
"""More than these SQLAlchemy writes faster, by putting many rows into one statement."""
Convert = Callable[[Any], Any]


@dataclass(frozen=True)
class Kept:
    """A statement that PostgreSQL keeps under a name until the connection ends, also if a transaction is taken back."""

    name: str
    prepare: str
    call: str


class Line:
    """An open connection, as prepared statements use it."""

    __slots__ = ("connection", "cursor", "dialect", "name")

    def __init__(self, connection: Connection) -> None:
        self.connection = connection
        self.dialect: Dialect = connection.dialect
        self.name: str = self.dialect.name
        self.cursor: Callable[[], Any] = connection.connection.cursor

    def execute(self, text: str, values: Any = (), *, many: bool = False, kept: Kept | None = None) -> Any:
        """Give the database one statement, or one for each of many rows; the driver's cursor, for the caller to close.

        kept: the statement as PostgreSQL keeps it.
        """
        dispatch, cursor = self.connection.dispatch, self.cursor()
        if dispatch.before_cursor_execute:
            for hear in dispatch.before_cursor_execute:
                text, values = hear(self.connection, cursor, text, values, None, many)
        try:
            if many:
                cursor.executemany(text, values)
            elif kept is not None:
                known: set[str] = self.connection.info.setdefault(KEPT, set())
                if kept.name not in known:
                    cursor.execute(kept.prepare)
                    known.add(kept.name)
                cursor.execute(kept.call, values)
            else:
                cursor.execute(text, values)
        except Exception as error:
            self._refuse(error, text, cursor, many)
            raise
        if dispatch.after_cursor_execute:
            for hear in dispatch.after_cursor_execute:
                hear(self.connection, cursor, text, values, None, many)
        return cursor

    def _refuse(self, error: Exception, text: str, cursor: Any, many: bool) -> None:
        """Raise what SQLAlchemy would raise, without the values."""
        driver, told, gone = self.dialect.loaded_dbapi, None, False
        if isinstance(error, driver.Error):
            gone = self.dialect.is_disconnect(error, self.connection.connection, cursor)
            told = DBAPIError.instance(
                text, None, error, driver.Error, True, connection_invalidated=gone, dialect=self.dialect, ismulti=many
            )
        if gone:
            self.connection.invalidate(error)
        else:
            cursor.close()
        if is_unstorable(error, told):
            raise Unstorable from None
        if told is not None:
            raise told from error


def line_of(session: Session) -> Line:
    """The line of a session's transaction."""
    kept: Line | None = session.info.get(LINE)
    if kept is None:
        return Line(session.connection())
    if session.in_nested_transaction():
        session.connection()  # Where a savepoint is begun, it is set when the session's connection is first asked for.
    return kept


def _row_of(keys: list[str]) -> Any:
    return namedtuple("Row", keys, rename=True)


class _Text:
    """A statement in the words of one database."""

    def __init__(self, statement: Any, dialect: Dialect, names: tuple[str, ...], keep: bool) -> None:
        compiled = statement.compile(dialect=dialect, column_keys=names or None)
        if compiled.insert_prefetch or compiled.update_prefetch or compiled.literal_execute_params:
            raise ValueError(f"not to be prepared, as Python would make some of its values: {compiled}")
        if compiled.post_compile_params:
            raise ValueError(f"not to be prepared, as its text depends on its values: {compiled}")
        self.text, self.names = str(compiled), names
        binds = {name: compiled.binds[name] for name in compiled.params}
        self.fixed = {name: bind.effective_value for name, bind in binds.items() if not bind.required}
        self.positional: bool = compiled.positional
        self.puts: list[tuple[str, Convert | None]] = [
            (name, binds[name].type.dialect_impl(dialect).bind_processor(dialect))
            for name in (compiled.positiontup if compiled.positional else binds)
        ]
        columns = list(statement.exported_columns)
        self.reads: list[Convert | None] = [
            column.type.dialect_impl(dialect).result_processor(dialect, None) for column in columns
        ]
        self.converts = any(read is not None for read in self.reads)
        self.row = _row_of([column.key for column in columns])
        self.kept = None
        if keep and dialect.name == "postgresql":
            types = {name: dialect.type_compiler_instance.process(binds[name].type) for name, _ in self.puts}
            self.kept = _kept(self.text, types)

    def values(self, given: Mapping[str, Any]) -> Any:
        """The parameters as the driver wants them. KeyError when one is not given, ValueError when one is not wanted."""
        if self.names and len(given) != len(self.names):
            raise ValueError(f"{sorted(set(given) ^ set(self.names))}: not just what the statement writes")
        whole = {**self.fixed, **given} if self.fixed else given
        if self.positional:
            return [whole[name] if put is None else put(whole[name]) for name, put in self.puts]
        return {name: whole[name] if put is None else put(whole[name]) for name, put in self.puts}

    def made(self, raw: Sequence[Any]) -> Any:
        """A row of the driver's as a named tuple."""
        if not self.converts:
            return self.row._make(raw)
        return self.row._make(
            [value if read is None else read(value) for value, read in zip(raw, self.reads, strict=True)]
        )


def _kept(text: str, types: Mapping[str, str]) -> Kept:
    """PREPARE and EXECUTE of a statement in psycopg2's words, whose parameters are of these types."""
    name = f"muster_{hashlib.sha256(text.encode()).hexdigest()[:16]}"
    numbered = text % {one: f"${number}" for number, one in enumerate(types, 1)}
    given = ", ".join(f"%({one})s" for one in types)
    return Kept(name, f"PREPARE {name} ({', '.join(types.values())}) AS {numbered}", f"EXECUTE {name} ({given})")


class Prepared:
    """One statement, compiled once for each kind of database. Rows come as named tuples of its columns.

    names: the columns that an INSERT writes, when the statement itself does not say; each use gives just these.
    keep: whether PostgreSQL keeps it for the connection, with a plan for any values of the parameters' types, which must
    be said.  There must be few of these.
    """

    def __init__(self, statement: Any, *names: str, keep: bool = False) -> None:
        """Nothing is compiled before the first use."""
        self.statement, self.names, self.keep = statement, names, keep
        self._texts: dict[str, _Text] = {}

    def all(self, session: Session, /, **given: Any) -> list[Any]:
        """All rows."""
        line = line_of(session)
        text = self._text(line)
        cursor = line.execute(text.text, text.values(given), kept=text.kept)
        rows = cursor.fetchall()
        cursor.close()
        return [text.made(row) for row in rows]

    def tuples(self, session: Session, /, **given: Any) -> list[tuple[Any, ...]]:
        """All rows as the driver gives them, for columns whose values need no converting."""
        line = line_of(session)
        text = self._text(line)
        if text.converts:
            raise TypeError(f"rows of {text.row._fields} are not what the driver gives: ask for all()")
        cursor = line.execute(text.text, text.values(given), kept=text.kept)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        cursor.close()
        return rows

    def first(self, session: Session, /, **given: Any) -> Any | None:
        """The first row; None when there is none."""
        return self.first_on(line_of(session), given)

    def first_on(self, line: Line, given: Mapping[str, Any]) -> Any | None:
        """The same, on a line."""
        text = self._text(line)
        cursor = line.execute(text.text, text.values(given), kept=text.kept)
        row = cursor.fetchone()
        cursor.close()
        return None if row is None else text.made(row)

    def one(self, session: Session, /, **given: Any) -> Any:
        """The first row. NoResultFound when there is none."""
        row = self.first_on(line_of(session), given)
        if row is None:
            raise NoResultFound("no row was found, when one was required")
        return row

    def value(self, session: Session, /, **given: Any) -> Any | None:
        """The first column of the first row; None when there is none."""
        row = self.first_on(line_of(session), given)
        return None if row is None else row[0]

    def run(self, session: Session, /, **given: Any) -> int:
        """Carry it out; how many rows it was about."""
        line = line_of(session)
        text = self._text(line)
        cursor = line.execute(text.text, text.values(given))
        count = int(cursor.rowcount)
        cursor.close()
        return count

    def run_many(self, session: Session, rows: Sequence[Mapping[str, Any]]) -> None:
        """Carry it out for each of these rows."""
        if len(rows) == 1:
            self.run(session, **rows[0])
        elif len(rows) <= MOST_ROWS:
            line = line_of(session)
            text = self._text(line)
            line.execute(text.text, [text.values(row) for row in rows], many=True).close()
        else:
            session.connection().execute(self.statement, rows)

    def _text(self, line: Line) -> _Text:
        found = self._texts.get(line.name)
        if found is None:
            found = self._texts[line.name] = _Text(self.statement, line.dialect, self.names, self.keep)
        return found
