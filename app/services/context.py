"""Context: what every service needs besides its input, chosen by `app.wiring` and handed in by the edges."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Protocol

from app.services.errors import Forbidden
from app.services.wakes import Wakes
from app.store.unit_of_work import Store

ROLES = ("viewer", "operator", "admin")


class Ring(Protocol):
    """Wakes workers. A lost ring costs only time, so none of these raises."""

    def advance(self, machine_id: int) -> None:
        """Have the region worker look at a machine's operation."""

    def reconcile(self, rack_id: int) -> None:
        """Have the region worker compare a rack with what it should be."""

    def job(self, job_id: int) -> None:
        """Have the region worker begin or end a bulk job."""

    def rack(self, rack_name: str) -> None:
        """Have a rack fetch what is new."""

    def broker_users(self) -> None:
        """Have the region worker put racks' users into the broker, where it has users."""


class SecretBox(Protocol):
    """Encrypts secrets at rest."""

    def seal(self, plain: str) -> str:
        """Encrypt with the newest key."""

    def open(self, sealed: str) -> str:
        """Decrypt with any known key; ValueError if none fits."""


@dataclass(frozen=True)
class Actor:
    """Who is calling. role: viewer, operator, admin; `system` for Muster itself; `rack` and `machine` for those edges.

    scope and expires_at are those of the API token that is calling: `admin` and None for everybody else.  The role is
    already no more than the scope allows.
    """

    name: str
    role: str
    user_id: int | None = None
    scope: str = "admin"
    expires_at: dt.datetime | None = None


SYSTEM = Actor("muster", "system")


@dataclass
class Made:
    """What the transactions of a request have made: the last sequence of its records, and generations by rack id."""

    sequence: int = 0
    generations: dict[int, int] = field(default_factory=dict)


@dataclass(frozen=True)
class Context:
    """The store, the clock, the secret box, the bell and the caller; request_id: what the call is known by in the log.

    expected: the versions of a thing, as `app.services.versions` writes them, at one of which the caller wants it
    changed; None when any will do.  asked_at: when the call began, where that is known.
    made: filled with what the call makes, where somebody wants to know.  wakes: who waits in this process.
    """

    store: Store
    clock: Callable[[], dt.datetime]
    secrets: SecretBox
    ring: Ring
    actor: Actor = SYSTEM
    expected: frozenset[str] | None = None
    request_id: str | None = None
    asked_at: dt.datetime | None = None
    made: Made | None = None
    wakes: Wakes = field(default_factory=Wakes)

    def wake_rack(self, rack_name: str) -> None:
        """Have a rack fetch what is new: its long poll here is answered, and its doorbell rung by the broker."""
        self.wakes.ring(rack_name)
        self.ring.rack(rack_name)

    def acting_as(self, actor: Actor) -> Context:
        """The same context for another caller."""
        return replace(self, actor=actor)

    def asked_by(self, request_id: str | None) -> Context:
        """The same context for another request."""
        return replace(self, request_id=request_id)

    def require(self, role: str, doing: str) -> None:
        """Forbidden unless the caller has at least `role`. `doing` completes: 'you may not ...'."""
        if self.actor.role == "system":
            return
        held = ROLES.index(self.actor.role) if self.actor.role in ROLES else -1
        if held < ROLES.index(role):
            raise Forbidden(
                f"{self.actor.name} ({self.actor.role}) may not {doing}; it takes the role {role}; ask an administrator.",
                rule=f"role >= {role}",
            )
