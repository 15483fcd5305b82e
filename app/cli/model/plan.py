"""What differs between a model that is wanted and one that is there: creates, updates and deletes. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from app.cli.model.kinds import KINDS, Key, Kind, Model, Thing, outer_key, sort_key

CREATE, UPDATE, DELETE = "create", "update", "delete"
MOST_DELETED_PERCENT = 30
"""Of one kind, without force."""
_SIGNS = {CREATE: "+", UPDATE: "~", DELETE: "-"}


@dataclass(frozen=True)
class Change:
    """One thing that comes, changes or goes. before is None for what comes, after for what goes."""

    verb: str
    kind: Kind
    key: Key
    before: Thing | None
    after: Thing | None

    @property
    def changed(self) -> dict[str, tuple[Any, Any]]:
        """What it was and will be, by field."""
        if self.before is None or self.after is None:
            return {}
        return {name: (self.before[name], value) for name, value in self.after.items() if self.before[name] != value}

    @property
    def replaces(self) -> bool:
        """Whether it can be done only by another thing in the place of the present one."""
        return any(self.kind.field(name).fixed for name in self.changed)

    def __str__(self) -> str:
        return f"{self.verb} {self.kind.called(self.key)}"


@dataclass(frozen=True)
class Plan:
    """All changes, by kind and key. kept: what is there, is not in the file, and stays because nobody asked to prune."""

    changes: tuple[Change, ...]
    kept: tuple[Change, ...] = ()
    there: tuple[tuple[str, int], ...] = ()

    def count(self, verb: str) -> int:
        """How many changes of a kind."""
        return sum(change.verb == verb for change in self.changes)

    def too_many(self) -> list[str]:
        """Kinds of which more would go than may without force, each as a sentence."""
        gone = Counter(change.kind.name for change in self.changes if change.verb == DELETE)
        return [
            f"{gone[name]} of {count} {name} would be deleted, which is more than {MOST_DELETED_PERCENT} %"
            for name, count in self.there
            if gone[name] * 100 > MOST_DELETED_PERCENT * count
        ]

    def lines(self) -> Iterator[str]:
        """The plan for people."""
        for change in self.changes:
            yield f"{_SIGNS[change.verb]} {change.kind.called(change.key)}"
            if change.verb == CREATE:
                said = {name: (None, value) for name, value in (change.after or {}).items()}
                for field in change.kind.fields:
                    value = said[field.name][1]
                    if field.name not in change.kind.key and value != field.silent(change.after or {}):
                        yield from _shown(field.name, None, value, new=True)
            for name, (before, after) in change.changed.items():
                yield from _shown(name, before, after)


def plan(wanted: Model, present: Model, *, prune: bool = False) -> Plan:
    """What makes `present` as `wanted`, of the kinds that are wanted at all.

    Things that are not wanted go only when asked to prune; what goes along with the thing that it lies in is not named
    again, and a fabric's untagged VLAN and settings never go by themselves.
    """
    changes: list[Change] = []
    extra: list[Change] = []
    for kind in KINDS.values():
        if kind.name not in wanted:
            continue
        mine, theirs = wanted[kind.name], present.get(kind.name, {})
        for key in _ordered(kind, mine):
            before = theirs.get(key)
            if before is None:
                changes.append(Change(CREATE, kind, key, None, mine[key]))
            elif before != mine[key]:
                changes.append(Change(UPDATE, kind, key, before, mine[key]))
        extra += [
            Change(DELETE, kind, key, theirs[key], None)
            for key in _ordered(kind, theirs)
            if key not in mine and not _stays(kind, theirs[key], wanted)
        ]
    there = tuple((name, len(present.get(name, {}))) for name in wanted)
    return Plan((*changes, *extra), (), there) if prune else Plan(tuple(changes), tuple(extra), there)


def _ordered(kind: Kind, things: dict[Key, Thing]) -> list[Key]:
    return list(things) if kind.in_order else sorted(things, key=sort_key)


def _stays(kind: Kind, thing: Thing, wanted: Model) -> bool:
    if kind.name == "settings" or (kind.name == "vlans" and thing["vid"] == 0):
        return True
    return kind.goes_along and outer_key(kind, thing) not in wanted[str(kind.inside)]


def _shown(name: str, before: Any, after: Any, *, new: bool = False) -> Iterator[str]:
    """One field's change; text of many lines is compared line by line."""
    texts = [value for value in (before, after) if isinstance(value, str)]
    if any("\n" in text for text in texts):
        yield f"    {name}:"
        old, fresh = (str(value or "").splitlines() for value in (before, after))
        yield from (f"      - {line}" for line in old if line not in fresh)
        yield from (f"      + {line}" for line in fresh if line not in old)
    else:
        yield f"    {name}: {_word(after)}" if new else f"    {name}: {_word(before)} -> {_word(after)}"


def _word(value: Any) -> str:
    if value is None or value in ("", []):
        return "none"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return ", ".join(_word(one) for one in value)
    if isinstance(value, dict):
        return "; ".join(f"{name} {_word(one)}" for name, one in value.items())
    return str(value)


def dangling(made: Plan, wanted: Model, known: dict[str, dict[str, int]]) -> Iterator[tuple[Change, str, str]]:
    """References of changes to what neither is there nor is in the file: change, field, name."""
    labels = {name: {KINDS[name].label(key) for key in things} for name, things in wanted.items()}
    for change in made.changes:
        for field in change.kind.fields if change.after is not None else ():
            name = (change.after or {}).get(field.name)
            if not field.ref or name is None or name in known.get(field.ref, {}) or name in labels.get(field.ref, ()):
                continue
            yield change, field.name, name
