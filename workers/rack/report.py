"""What an offer asks of one service, what came of it, and how that is said to people."""

from __future__ import annotations

import errno
from dataclasses import dataclass, field
from typing import Any

from renderers.bundle import Bundle
from renderers.spec import ProbeSpec, StateFile
from workers.rack.channels.base import ChannelError
from workers.rack.probes.base import ProbeResult
from workers.rack.units import UnitError

WHOLE_OFFER = "offer"
"""The service's name in reports about an offer that was not taken at all."""
LONGEST_REASON = 1500


class Regression(Exception):
    """A probe that was green before the change is red after it."""


class CheckFailed(Exception):
    """The daemon's own checker refuses the staged files."""


@dataclass(frozen=True)
class Wanted:
    """One service as an offer asks for it; `command` is the daemon's whole command line, places not filled in."""

    offer: int
    bundle: Bundle
    command: tuple[str, ...]
    probes: tuple[ProbeSpec, ...] = ()
    state_files: tuple[StateFile, ...] = ()


@dataclass
class ApplyReport:
    """What came of one service; `digest` is that of the files that run now.

    outcome: kept, unchanged, undone (last-good runs again), failed (nothing to go back to, or nothing was touched).
    stage: where it ended: receive, check, swap, activate, probe, keep, remove, interrupted.
    """

    offer: int
    service: str
    outcome: str = "kept"
    stage: str = "check"
    reason: str | None = None
    digest: str | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    probes: tuple[ProbeResult, ...] = ()
    undone_ok: bool | None = None
    seeded: tuple[str, ...] = ()

    @property
    def good(self) -> bool:
        """Whether what the offer asked for runs."""
        return self.outcome in ("kept", "unchanged")

    def as_data(self) -> dict[str, Any]:
        """The JSON form of rackapi."""
        return {
            "offer": self.offer,
            "service": self.service,
            "outcome": self.outcome,
            "stage": self.stage,
            "reason": self.reason,
            "digest": self.digest,
            "seconds": {name: round(value, 4) for name, value in self.seconds.items()},
            "probes": [probe.as_data() for probe in self.probes],
            "undone_ok": self.undone_ok,
        }


def words(error: BaseException) -> str:
    """What to tell people of an exception."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" ({error.filename})" if error.filename else ""
        return f"the rack's disk is full: {error.strerror}{where}; make room on the rack host"
    known = (Regression, CheckFailed, ChannelError, UnitError, ValueError)
    return str(error) if isinstance(error, known) else f"{type(error).__name__}: {error}"
