"""Fields that take what the description says and nothing that merely looks like it."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from marshmallow import ValidationError, fields, validate

_NUMBER = re.compile(r"-?[0-9]{1,18}")
LARGEST = 2**31 - 1
_WORDS = {"true": True, "false": False}


class Integer(fields.Integer):
    """A JSON number without a fraction; no text of digits."""

    def __init__(self, **words: Any) -> None:
        super().__init__(strict=True, **words)

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **words: Any) -> Any:
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValidationError(f"{str(value)[:80]!r} is no whole number.")
        return super()._deserialize(value, attr, data, **words)


class Boolean(fields.Boolean):
    """JSON's true or false."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **words: Any) -> Any:
        if not isinstance(value, bool):
            raise ValidationError("Must be true or false.")
        return value


class Number(fields.Integer):
    """A whole number in a query: digits, perhaps with a sign."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **words: Any) -> Any:
        if not _NUMBER.fullmatch(str(value)):
            raise ValidationError(f"{str(value)[:80]!r} is no whole number.")
        return super()._deserialize(value, attr, data, **words)


class Switch(fields.Boolean):
    """true or false in a query."""

    def _deserialize(self, value: Any, attr: str | None, data: Mapping[str, Any] | None, **words: Any) -> Any:
        if value not in _WORDS:
            raise ValidationError("Must be true or false.")
        return _WORDS[value]


class Id(Number):
    """The number of a thing, in a query."""

    def __init__(self, **words: Any) -> None:
        super().__init__(validate=validate.Range(min=1, max=LARGEST), **words)


class Reference(Integer):
    """The number of a thing, in a body."""

    def __init__(self, **words: Any) -> None:
        super().__init__(validate=validate.Range(min=1, max=LARGEST), **words)
