"""What a service says when it refuses: the thing, the value, the rule and the remedy.

Edges turn these into RFC 9457 problems, pages and exit codes; `status` is the HTTP status they suggest.
"""

from __future__ import annotations

import structlog

from app.store.unstorable import UNREACHABLE, Unstorable

__all__ = [
    "UNREACHABLE", "Changed", "Conflict", "Forbidden", "Invalid", "NotFound", "ServiceError", "TooMany", "Unanswered",
    "Unauthorized", "Unavailable", "Unstorable", "without_database",
]  # fmt: skip


class ServiceError(Exception):
    """Parent of all refusals. detail is a whole sentence for people; field names the input that was wrong, if one was."""

    status = 500
    title = "Internal error"

    def __init__(
        self, detail: str, *, field: str | None = None, remedy: str | None = None, rule: str | None = None
    ) -> None:
        super().__init__(detail)
        self.detail = detail
        self.field = field
        self.remedy = remedy
        self.rule = rule


class NotFound(ServiceError):
    """No such thing, or not one that the caller may know of."""

    status = 404
    title = "Not found"


class Invalid(ServiceError):
    """The input breaks a rule."""

    status = 422
    title = "Invalid input"


class Conflict(ServiceError):
    """The input is right, but the present state does not allow it."""

    status = 409
    title = "Conflict"


class Unauthorized(ServiceError):
    """Nobody known is calling."""

    status = 401
    title = "Not signed in"


class Forbidden(ServiceError):
    """The caller is known and may not do this."""

    status = 403
    title = "Not allowed"


class Changed(ServiceError):
    """The thing is not any more what the caller has seen."""

    status = 412
    title = "Changed meanwhile"


class Unanswered(Conflict):
    """A rack that should do it at once did not say in time that it did, or cannot."""

    title = "No answer from the rack"


class Unavailable(ServiceError):
    """Right, but not now."""

    status = 503
    title = "Not available now"


def without_database(error: Exception) -> Unavailable:
    """What callers are told when one of `UNREACHABLE` was raised; the log is told why, without the statement and its values."""
    reason = " ".join(str(getattr(error, "orig", None) or error).split())
    structlog.get_logger(__name__).error("database.unreachable", reason=reason)
    return Unavailable(
        "the database does not answer at this moment",
        remedy="try again in some seconds, and look first whether a change was made all the same; if it stays so, look at"
        " /readyz and at the control plane's log",
    )


class TooMany(ServiceError):
    """More requests of a kind than is good for anybody. retry_seconds: after how long it is worth to try again."""

    status = 429
    title = "Too many requests"

    def __init__(self, detail: str, *, retry_seconds: int, rule: str | None = None, remedy: str | None = None) -> None:
        super().__init__(detail, rule=rule, remedy=remedy)
        self.retry_seconds = retry_seconds
